//! Whether this node may judge by the clock of Postgres: only if it has been in touch for long enough.

use std::time::Duration;

use tokio::time::Instant;
use warren_common::store::DbError;
use warren_common::telemetry::chain;

/// A pause between passes that is always taken for ordinary.
const ORDINARY_GAP: Duration = Duration::from_secs(2);

/// For how long this node has reached Postgres without a gap, on the monotonic clock.
pub(crate) struct Contact {
    /// How long is long enough.
    lease: Duration,
    /// The first and the last success of an unbroken row.
    row: Option<(Instant, Instant)>,
}

impl Contact {
    pub(crate) const fn new(lease: Duration) -> Self {
        Self { lease, row: None }
    }

    /// True when the row is unbroken until now and at least one lease long.
    pub(crate) fn lasts(&mut self, now: Instant) -> bool {
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
    pub(crate) fn made(&mut self, now: Instant) {
        // Asking forgets a row that a gap has broken.
        self.lasts(now);
        let first = self.row.map_or(now, |(first, _last)| first);
        self.row = Some((first, now));
    }

    /// It did not.
    pub(crate) fn failed(&mut self, error: &DbError) {
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
