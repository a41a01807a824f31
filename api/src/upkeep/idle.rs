//! Closing sessions that nobody uses.

use std::time::Duration;

use tokio::time::{Instant, MissedTickBehavior};
use warren_common::queue::{Broker, Notice, QueueName};
use warren_common::store::chores::{self, Chore};
use warren_common::store::{Db, DbError, idle};

use crate::activity::Activity;
use crate::submit::notify;
use crate::sweeper::Contact;

/// Sessions closed by one statement.
const LARGEST: i64 = 100;
/// After Postgres was away callers get this long, or a whole idle time if that is shorter, to come back before anything is closed.
const LONGEST_PATIENCE: Duration = Duration::from_secs(60);

/// Closes sessions that are idle for so long, for ever.
pub(crate) async fn run(db: Db, broker: Broker, idle: Duration) {
    let period = Activity::delay(idle);
    // A use may be written down that much later, by a node that does so as often as this one.
    let limit = idle + period * 2;
    let mut contact = Contact::new(LONGEST_PATIENCE.min(idle));
    let mut pace = tokio::time::interval(period);
    pace.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        pace.tick().await;
        let may_close = contact.lasts(Instant::now());
        match pass(&db, &broker, may_close, limit, period).await {
            Ok(()) => contact.made(Instant::now()),
            Err(error) => contact.failed(&error),
        }
    }
}

async fn pass(
    db: &Db,
    broker: &Broker,
    may_close: bool,
    limit: Duration,
    period: Duration,
) -> Result<(), DbError> {
    if !may_close {
        // Another node may; this one only gets in touch.
        return db.ping().await;
    }
    if !chores::take(db, Chore::Idle, period).await? {
        return Ok(());
    }
    loop {
        let closing = idle::close(db, limit, LARGEST).await?;
        let is_full = i64::try_from(closing.len()).is_ok_and(|closed| closed == LARGEST);
        for (session, worker) in closing {
            tracing::info!(session.id = %session, "An idle session is closing");
            let notice = Notice::CloseV1 {
                session,
                force: false,
            };
            notify(broker, QueueName::Control(worker), notice);
        }
        if !is_full {
            return Ok(());
        }
    }
}
