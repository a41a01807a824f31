//! Records on their way into the table.

use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use tokio::sync::{mpsc, oneshot};
use tokio::time::Instant;
use warren_common::model::{AuditEvent, AuditOutcome};
use warren_common::store::audit::{self, Record};
use warren_common::store::{Db, DbError};
use warren_common::telemetry::chain;

/// Records that may wait for Postgres. What does not fit is in the log only.
const ROOM: usize = 10_000;
/// Records of one statement.
const TOGETHER: usize = 500;
/// Between two tries while Postgres does not answer.
const PAUSE: Duration = Duration::from_millis(500);
/// Refusals that are recorded one by one in a second; of more there is a number only. Whoever sends nonsense must not fill the table.
const REFUSALS: u32 = 100;
/// What that second is.
const WINDOW: Duration = Duration::from_secs(1);

enum Entry {
    Record(Box<Record>),
    Flush(oneshot::Sender<()>),
}

/// Takes records.
pub struct Audit {
    sender: mpsc::Sender<Entry>,
    /// Of everything but sign-ins.
    refusals: Mutex<Refusals>,
    /// Of sign-ins, apart: who floods a node must not hide that he guesses passwords.
    refused_sign_ins: Mutex<Refusals>,
}

/// The other end: what [`Audit`] took.
pub struct Records(mpsc::Receiver<Entry>);

struct Refusals {
    since: Instant,
    count: u32,
}

impl Refusals {
    fn new() -> Self {
        Self {
            since: Instant::now(),
            count: 0,
        }
    }

    /// Counts one, and says whether it is recorded, and how many of the window before were not.
    fn count(&mut self, now: Instant) -> (bool, u32) {
        let mut left_out = 0;
        if now.duration_since(self.since) >= WINDOW {
            left_out = self.count.saturating_sub(REFUSALS);
            *self = Self {
                since: now,
                count: 0,
            };
        }
        self.count = self.count.saturating_add(1);
        (self.count <= REFUSALS, left_out)
    }
}

impl Audit {
    /// Both ends.
    pub fn new() -> (Self, Records) {
        let (sender, receiver) = mpsc::channel(ROOM);
        let audit = Self {
            sender,
            refusals: Mutex::new(Refusals::new()),
            refused_sign_ins: Mutex::new(Refusals::new()),
        };
        (audit, Records(receiver))
    }

    /// Takes a record: it is in the log when this returns. Waits for nothing.
    pub fn record(&self, record: Record) {
        if record.outcome == AuditOutcome::Refused && !self.has_room(record.event) {
            return;
        }
        log(&record);
        if self
            .sender
            .try_send(Entry::Record(Box::new(record)))
            .is_err()
        {
            tracing::error!("A record of the audit is in the log only: {ROOM} wait for PostgreSQL");
        }
    }

    /// Counts a refusal, and says whether it is recorded.
    fn has_room(&self, event: AuditEvent) -> bool {
        let of_its_kind = match event {
            AuditEvent::SignIn => &self.refused_sign_ins,
            _ => &self.refusals,
        };
        let mut refusals = of_its_kind.lock().unwrap_or_else(PoisonError::into_inner);
        let (is_recorded, left_out) = refusals.count(Instant::now());
        drop(refusals);
        if left_out > 0 {
            tracing::warn!("{left_out} refusals within a second were not recorded");
        }
        is_recorded
    }

    /// Waits until what was taken before is in the table.
    pub async fn flushed(&self) {
        let (done, is_done) = oneshot::channel();
        if self.sender.send(Entry::Flush(done)).await.is_ok() {
            // An error says that nobody writes any more.
            let _ = is_done.await;
        }
    }
}

/// Every record is a line, whatever comes of the table.
fn log(record: &Record) {
    tracing::info!(
        target: "warren_api::audit",
        event = record.event.word(),
        outcome = record.outcome.word(),
        status = record.status,
        principal.id = record.principal.map(tracing::field::display),
        name = record.name,
        target = record.target,
        address = record.address.map(tracing::field::display),
        "Audit"
    );
}

impl Records {
    /// Writes what comes, for ever. While Postgres does not answer it is kept.
    pub async fn write(mut self, db: Db) {
        let mut entries = Vec::with_capacity(TOGETHER);
        while self.0.recv_many(&mut entries, TOGETHER).await > 0 {
            let mut records = Vec::new();
            let mut waiting = Vec::new();
            for entry in entries.drain(..) {
                match entry {
                    Entry::Record(record) => records.push(*record),
                    Entry::Flush(done) => waiting.push(done),
                }
            }
            store(&db, &records).await;
            for done in waiting {
                // Whoever waited may have given up.
                let _ = done.send(());
            }
        }
    }
}

async fn store(db: &Db, records: &[Record]) {
    if records.is_empty() {
        return;
    }
    while let Err(error) = audit::write(db, records).await {
        if !error.is_away() {
            given_up(&error, records.len());
            return;
        }
        tracing::debug!(error = %error, "Records of the audit wait for PostgreSQL");
        tokio::time::sleep(PAUSE).await;
    }
}

fn given_up(error: &DbError, count: usize) {
    let cause = chain(error);
    tracing::error!(cause, "{count} records of the audit are in the log only");
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_flood_of_refusals_is_counted_only() {
        let begin = Instant::now();
        let mut refusals = Refusals {
            since: begin,
            count: 0,
        };
        for _ in 0..REFUSALS {
            assert_eq!(refusals.count(begin), (true, 0));
        }
        assert_eq!(refusals.count(begin), (false, 0));
        assert_eq!(refusals.count(begin), (false, 0));
        assert_eq!(refusals.count(begin + WINDOW), (true, 2));
        assert_eq!(refusals.count(begin + WINDOW), (true, 0));
    }

    #[tokio::test]
    async fn a_flood_does_not_hide_a_sign_in() {
        let (audit, _records) = Audit::new();
        for event in [AuditEvent::Refusal, AuditEvent::OpenSession] {
            for _ in 0..2 * REFUSALS {
                audit.record(Record::new(event, AuditOutcome::Refused));
            }
        }
        let before = audit.sender.capacity();
        audit.record(Record::new(AuditEvent::SignIn, AuditOutcome::Refused));
        assert_eq!(audit.sender.capacity(), before - 1);
    }

    #[tokio::test]
    async fn what_does_not_fit_does_not_wait() {
        let (audit, _records) = Audit::new();
        for _ in 0..=ROOM {
            audit.record(Record::new(AuditEvent::Publish, AuditOutcome::Done));
        }
        assert_eq!(audit.sender.capacity(), 0);
    }
}
