//! Principals whose role changed, or who were disabled.

use std::collections::HashMap;
use std::sync::{Mutex, PoisonError};

use warren_common::id::PrincipalId;
use warren_common::model::Role;
use warren_common::store::principals::Standing;

/// What this node knows of principals that were ever changed. The others are not here: their tokens tell the truth.
#[derive(Default)]
pub(super) struct Standings {
    known: Mutex<HashMap<PrincipalId, Standing>>,
}

impl Standings {
    /// Takes note of what was true a moment ago; what is known of a later revision stays.
    pub(super) fn note(&self, principal: PrincipalId, standing: Standing) {
        let mut known = self.known.lock().unwrap_or_else(PoisonError::into_inner);
        let entry = known.entry(principal).or_insert(standing);
        if entry.revision < standing.revision {
            *entry = standing;
        }
    }

    /// Whether a principal is refused that was not at `revision`.
    pub(super) fn is_disabled(&self, principal: PrincipalId, revision: i32) -> bool {
        let standing = self.of(principal);
        standing.is_some_and(|standing| standing.disabled && standing.revision >= revision)
    }

    /// What a principal may do whose token says `role` as of `revision`; `None` when it is refused. What a token says is followed when
    /// nothing later is known.
    pub(super) fn role_of(
        &self,
        principal: PrincipalId,
        (role, revision): (Role, i32),
    ) -> Option<Role> {
        match self.of(principal) {
            Some(standing) if standing.disabled && standing.revision >= revision => None,
            Some(standing) if standing.revision > revision => Some(standing.role),
            _ => Some(role),
        }
    }

    fn of(&self, principal: PrincipalId) -> Option<Standing> {
        let known = self.known.lock().unwrap_or_else(PoisonError::into_inner);
        known.get(&principal).copied()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn standing(role: Role, revision: i32, disabled: bool) -> Standing {
        Standing {
            disabled,
            role,
            revision,
        }
    }

    #[test]
    fn the_latest_revision_counts() {
        let standings = Standings::default();
        let ana = PrincipalId::new();
        let token = (Role::Contributor, 0);
        assert_eq!(standings.role_of(ana, token), Some(Role::Contributor));
        standings.note(ana, standing(Role::Owner, 2, false));
        standings.note(ana, standing(Role::Reader, 1, false));
        assert_eq!(standings.role_of(ana, token), Some(Role::Owner));
        // A token that was issued after what is known here.
        assert_eq!(
            standings.role_of(ana, (Role::Reader, 3)),
            Some(Role::Reader)
        );
    }

    #[test]
    fn who_is_disabled_is_refused_until_enabled() {
        let standings = Standings::default();
        let ana = PrincipalId::new();
        standings.note(ana, standing(Role::Owner, 1, true));
        assert_eq!(standings.role_of(ana, (Role::Owner, 0)), None);
        assert_eq!(standings.role_of(ana, (Role::Owner, 1)), None);
        standings.note(ana, standing(Role::Owner, 2, false));
        assert_eq!(standings.role_of(ana, (Role::Reader, 0)), Some(Role::Owner));
    }
}
