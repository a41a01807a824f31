//! The sweeper of this node: ends what has lost its owner, repeats notices that nobody heard.

mod contact;

use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use tokio::time::{Instant, MissedTickBehavior};
use warren_common::model::JobKind;
use warren_common::queue::{Broker, Notice, QueueName};
use warren_common::store::sweep::{self, Silent, Swept, Whose};
use warren_common::store::{Db, batches, jobs};
use warren_common::telemetry::metrics;

pub(crate) use contact::Contact;

use crate::submit::notify;

/// The longest time between two passes.
const LONGEST_INTERVAL: Duration = Duration::from_millis(500);
/// Notices repeated in one pass at most.
const SILENT_LIMIT: i64 = 200;
/// Batches counted anew between two passes at most.
const RECOUNTS: usize = 10;
/// Between two counts of what waits.
const COUNT_EVERY: Duration = Duration::from_secs(5);

/// How much waits for workers, as it was counted last.
#[derive(Clone, Default)]
pub struct Waiting {
    calls: Arc<AtomicU32>,
}

impl Waiting {
    /// Calls that nobody has claimed.
    pub fn calls(&self) -> u32 {
        self.calls.load(Ordering::Relaxed)
    }

    fn count(&self, queued: &[(JobKind, i64, f64)]) {
        let calls = queued.iter().find(|(kind, ..)| *kind == JobKind::Call);
        let calls = calls.map_or(0, |(_, jobs, _)| u32::try_from(*jobs).unwrap_or(u32::MAX));
        self.calls.store(calls, Ordering::Relaxed);
    }
}

/// Sweeps for ever.
pub async fn run(db: Db, broker: Broker, waiting: Waiting, lease: Duration) {
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
        recount(&db, &broker).await;
        if counted.is_none_or(|at| at.elapsed() >= COUNT_EVERY) {
            counted = Some(Instant::now());
            if let Ok(queued) = jobs::queued_by_kind(&db).await {
                metrics().queued(&queued);
                waiting.count(&queued);
            }
        }
    }
}

/// Counts batches anew that were marked, a few at a time; what fails now is done by another round.
async fn recount(db: &Db, broker: &Broker) {
    for _ in 0..RECOUNTS {
        match batches::recount(db).await {
            Ok((released, more)) => {
                for job in released {
                    notify(broker, QueueName::Batch, Notice::CallV1 { job });
                }
                if !more {
                    return;
                }
            }
            Err(error) => {
                tracing::debug!(error = %error, "A batch could not be counted anew");
                return;
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
    for Silent { job, whose } in swept.silent {
        match whose {
            Whose::AnyForSession => {
                let notice = Notice::OpenSessionV1 { job };
                notify(broker, QueueName::SessionsNew, notice);
            }
            Whose::AnyForCall => notify(broker, QueueName::Calls, Notice::CallV1 { job }),
            Whose::AnyForItem => notify(broker, QueueName::Batch, Notice::CallV1 { job }),
            Whose::Holder(session, worker, lane) => {
                let notice = Notice::work(session, Some(lane));
                notify(broker, QueueName::Worker(worker), notice);
            }
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
        let notice = Notice::cancel(session, job);
        notify(broker, QueueName::Control(worker), notice);
    }
    for (job, api) in swept.ended {
        let notice = Notice::FinishedV1 { job, left: None };
        notify(broker, QueueName::Api(api), notice);
    }
}
