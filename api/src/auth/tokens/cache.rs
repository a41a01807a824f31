//! Tokens that were verified already: a request does not pay for the signature again.

use std::collections::HashMap;
use std::sync::{Mutex, PoisonError};

use super::claims::Verified;

/// Tokens remembered at most.
const ROOM: usize = 4096;

type Fingerprint = [u8; 32];

/// Verified tokens by their SHA-256, until they expire.
#[derive(Default)]
pub(super) struct Cache {
    known: Mutex<HashMap<Fingerprint, Verified>>,
}

impl Cache {
    /// What a token came to, if it was verified and has not expired.
    pub(super) fn find(&self, token: &Fingerprint, now: i64) -> Option<Verified> {
        let known = self.known.lock().unwrap_or_else(PoisonError::into_inner);
        known
            .get(token)
            .filter(|verified| now < verified.expires)
            .cloned()
    }

    /// Remembers a token. When there is no room, the expired go first, then anybody.
    pub(super) fn keep(&self, token: Fingerprint, verified: &Verified, now: i64) {
        let mut known = self.known.lock().unwrap_or_else(PoisonError::into_inner);
        if known.len() >= ROOM {
            known.retain(|_token, verified| now < verified.expires);
        }
        if known.len() >= ROOM {
            let mut place = 0_usize;
            known.retain(|_token, _known| {
                place += 1;
                place.is_multiple_of(2)
            });
        }
        known.insert(token, verified.clone());
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::auth::Caller;
    use warren_common::id::{FamilyId, PrincipalId};
    use warren_common::model::Role;

    fn ana() -> Verified {
        Verified {
            caller: Caller {
                id: PrincipalId::new(),
                name: "ana".to_owned(),
                role: Role::Reader,
            },
            revision: 0,
            family: FamilyId::new(),
            generation: 0,
            expires: 100,
        }
    }

    #[test]
    fn a_token_is_forgotten_when_it_expires() {
        let cache = Cache::default();
        let ana = ana();
        cache.keep([1; 32], &ana, 0);
        assert_eq!(cache.find(&[1; 32], 99), Some(ana));
        assert_eq!(cache.find(&[1; 32], 100), None);
        assert_eq!(cache.find(&[2; 32], 0), None);
    }

    #[test]
    fn it_does_not_grow_without_bound() {
        let cache = Cache::default();
        let ana = ana();
        for number in 0..3 * u32::try_from(ROOM).unwrap() {
            let mut token = [0; 32];
            token[..4].copy_from_slice(&number.to_be_bytes());
            cache.keep(token, &ana, 0);
        }
        assert!(cache.known.lock().unwrap().len() <= ROOM);
    }
}
