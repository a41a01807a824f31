//! Sign-ins whose access tokens are not all good any more.

use std::collections::HashMap;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::time::Instant;
use warren_common::id::FamilyId;
use warren_common::store::tokens::FamilyState;

/// How long what was read last counts as all there is to know.
const GOOD_FOR: Duration = Duration::from_secs(5);
/// Clocks of nodes differ, and a token is accepted for some seconds beyond its end.
const SLACK: Duration = Duration::from_secs(60);
/// Between two looks for what nobody can ask for any more.
const FORGET_EVERY: Duration = Duration::from_secs(30);

/// What this node knows of families that were renewed or revoked. The others are not here: all their access tokens are good.
pub(super) struct Families {
    known: Mutex<HashMap<FamilyId, Known>>,
    read: Mutex<Read>,
}

struct Known {
    /// Access tokens of this generation or a later one are accepted; none when none are.
    accepted: Option<i32>,
    /// When the last of its access tokens has expired for sure.
    until: Instant,
}

struct Read {
    /// When the last read that succeeded began.
    at: Option<Instant>,
    forgot: Instant,
}

impl Default for Families {
    fn default() -> Self {
        let read = Read {
            at: None,
            forgot: Instant::now(),
        };
        Self {
            known: Mutex::default(),
            read: Mutex::new(read),
        }
    }
}

impl Families {
    /// True while nothing of importance can be missing.
    pub(super) fn is_current(&self, now: Instant) -> bool {
        let read = self.read.lock().unwrap_or_else(PoisonError::into_inner);
        read.at.is_some_and(|at| now.duration_since(at) < GOOD_FOR)
    }

    /// Whether an access token of this family and generation is accepted, as far as it is known here. A generation later than the one
    /// that is known began at another node a moment ago.
    pub(super) fn accepts(&self, family: FamilyId, generation: i32) -> bool {
        match self.lock().get(&family) {
            Some(known) => known
                .accepted
                .is_some_and(|accepted| generation >= accepted),
            None => true,
        }
    }

    /// Takes note of what is true of a family now, or was a moment ago: what is revoked stays so, and no generation comes back.
    pub(super) fn note(&self, family: FamilyId, state: FamilyState) {
        let relevant = Duration::try_from_secs_f64(state.relevant_seconds).unwrap_or_default();
        let until = Instant::now() + relevant + SLACK;
        let mut known = self.lock();
        let entry = known.entry(family).or_insert(Known {
            accepted: state.accepted,
            until,
        });
        entry.accepted = entry
            .accepted
            .zip(state.accepted)
            .map(|(before, now)| before.max(now));
        entry.until = entry.until.max(until);
    }

    /// Everything that changed before `began` has been noted.
    pub(super) fn noted_all(&self, began: Instant) {
        let mut read = self.read.lock().unwrap_or_else(PoisonError::into_inner);
        read.at = Some(began);
        if began.duration_since(read.forgot) < FORGET_EVERY {
            return;
        }
        read.forgot = began;
        self.lock().retain(|_family, known| known.until > began);
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<FamilyId, Known>> {
        self.known.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn state(accepted: Option<i32>) -> FamilyState {
        FamilyState {
            accepted,
            relevant_seconds: 100.0,
        }
    }

    #[test]
    fn earlier_generations_are_refused_and_later_ones_are_not() {
        let families = Families::default();
        let family = FamilyId::new();
        assert!(families.accepts(family, 0));
        families.note(family, state(Some(2)));
        assert!(!families.accepts(family, 1));
        assert!(families.accepts(family, 2));
        assert!(families.accepts(family, 3));
        assert!(families.accepts(FamilyId::new(), 0));
    }

    #[test]
    fn what_is_revoked_stays_so_whatever_is_heard_late() {
        let families = Families::default();
        let family = FamilyId::new();
        families.note(family, state(Some(2)));
        families.note(family, state(Some(1)));
        assert!(!families.accepts(family, 1));
        families.note(family, state(None));
        families.note(family, state(Some(3)));
        assert!(!families.accepts(family, 3));
    }

    #[test]
    fn what_nobody_can_ask_for_is_forgotten_and_what_was_read_gets_old() {
        let families = Families::default();
        let now = Instant::now();
        assert!(!families.is_current(now));
        families.note(FamilyId::new(), state(None));
        families.noted_all(now);
        assert!(families.is_current(now));
        assert!(!families.is_current(now + GOOD_FOR));
        families.noted_all(now + Duration::from_secs(150));
        assert_eq!(families.lock().len(), 1);
        families.noted_all(now + Duration::from_secs(200));
        assert_eq!(families.lock().len(), 0);
    }
}
