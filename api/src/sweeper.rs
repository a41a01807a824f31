//! The sweeper of this node: ends what has lost its owner, repeats notices that nobody heard.

use std::time::Duration;

use tokio::time::{Instant, MissedTickBehavior};
use warren_common::queue::{Broker, Notice, QueueName};
use warren_common::store::sweep::{self, Silent, Swept};
use warren_common::store::{Db, DbError, jobs};
use warren_common::telemetry::{chain, metrics};

use crate::submit::notify;

/// The longest time between two passes.
const LONGEST_INTERVAL: Duration = Duration::from_millis(500);
/// Notices repeated in one pass at most.
const SILENT_LIMIT: i64 = 200;
/// Between two counts of what waits.
const COUNT_EVERY: Duration = Duration::from_secs(5);
/// A pause between passes that is always taken for ordinary.
const ORDINARY_GAP: Duration = Duration::from_secs(2);

/// Sweeps for ever.
pub async fn run(db: Db, broker: Broker, lease: Duration) {
    let mut pace = tokio::time::interval(LONGEST_INTERVAL.min(lease / 6));
    pace.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let mut contact = Contact::new(lease);
    let mut counted: Option<Instant> = None;
    loop {
        pace.tick().await;
        let may_declare_dead = contact.lasts(Instant::now());
        // Without the broker nothing can be repeated, and whoever reconnects catches up by itself.
        let silent_limit = if broker.is_connected() {
            SILENT_LIMIT
        } else {
            0
        };
        match sweep::pass(&db, may_declare_dead, silent_limit).await {
            Ok(swept) => {
                contact.made(Instant::now());
                report(&broker, swept.unwrap_or_default());
            }
            Err(error) => contact.failed(&error),
        }
        if counted.is_none_or(|at| at.elapsed() >= COUNT_EVERY) {
            counted = Some(Instant::now());
            if let Ok(queued) = jobs::queued_by_kind(&db).await {
                metrics().queued(&queued);
            }
        }
    }
}

/// Tells workers and API nodes what a pass found; what gets lost is found by the next pass or the other side.
fn report(broker: &Broker, swept: Swept) {
    for worker in swept.dead {
        tracing::warn!(worker.id = %worker, "A worker is declared dead: its lease is past");
    }
    metrics().notices_sent_again(swept.silent.len());
    for silent in swept.silent {
        let Silent { job, opens, at } = silent;
        if opens {
            let notice = Notice::OpenSessionV1 { job };
            notify(broker, QueueName::SessionsNew, notice);
        } else if let Some((session, worker)) = at {
            let notice = Notice::SessionWorkV1 { session };
            notify(broker, QueueName::Worker(worker), notice);
        }
    }
    for (session, worker) in swept.closing {
        let notice = Notice::CloseV1 {
            session,
            force: false,
        };
        notify(broker, QueueName::Control(worker), notice);
    }
    for (job, session, worker) in swept.cancels {
        notify(
            broker,
            QueueName::Control(worker),
            Notice::CancelV1 { session, job },
        );
    }
    for (job, api) in swept.ended {
        let notice = Notice::FinishedV1 { job, left: None };
        notify(broker, QueueName::Api(api), notice);
    }
}

/// For how long this node has reached Postgres without a gap, on the monotonic clock.
struct Contact {
    lease: Duration,
    /// The first and the last success of an unbroken row.
    row: Option<(Instant, Instant)>,
}

impl Contact {
    const fn new(lease: Duration) -> Self {
        Self { lease, row: None }
    }

    /// True when the row is unbroken until now and at least one lease long.
    fn lasts(&mut self, now: Instant) -> bool {
        let longest_gap = (self.lease / 3).max(ORDINARY_GAP);
        match self.row {
            Some((_first, last)) if now - last > longest_gap => {
                self.row = None;
                false
            }
            Some((first, last)) => last - first >= self.lease,
            None => false,
        }
    }

    /// Postgres answered.
    fn made(&mut self, now: Instant) {
        // Asking forgets a row that a gap has broken.
        self.lasts(now);
        let first = self.row.map_or(now, |(first, _last)| first);
        self.row = Some((first, now));
    }

    /// It did not.
    fn failed(&mut self, error: &DbError) {
        if matches!(error, DbError::Refused { .. }) {
            // A refusal is an answer: Postgres is there.
            tracing::warn!(cause = chain(error), "A pass of the sweeper was refused");
            return;
        }
        if self.row.take().is_some() {
            tracing::warn!(
                cause = chain(error),
                "The sweeper does not get through to PostgreSQL, nobody is declared dead until it does for one whole lease"
            );
        } else {
            tracing::debug!(cause = chain(error), "A pass of the sweeper failed");
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const LEASE: Duration = Duration::from_secs(15);
    const SECOND: Duration = Duration::from_secs(1);

    /// A node that has had contact every second for `seconds`.
    fn after(start: Instant, seconds: u32) -> Contact {
        let mut contact = Contact::new(LEASE);
        for second in 0..=seconds {
            contact.made(start + SECOND * second);
        }
        contact
    }

    #[test]
    fn nobody_is_declared_dead_before_one_whole_lease_of_contact() {
        let start = Instant::now();
        assert!(!after(start, 14).lasts(start + SECOND * 14));
        assert!(after(start, 15).lasts(start + SECOND * 15));
    }

    #[test]
    fn a_gap_begins_a_new_row() {
        let start = Instant::now();
        let mut contact = after(start, 15);
        // This process, or the machine, was stopped.
        assert!(!contact.lasts(start + SECOND * 60));
        contact.made(start + SECOND * 60);
        assert!(!contact.lasts(start + SECOND * 60));
        let mut contact = after(start, 15);
        contact.made(start + SECOND * 60);
        assert!(!contact.lasts(start + SECOND * 60));
    }
}
