//! Tokens that were verified already: a request does not pay for the signature again.

use std::collections::HashMap;
use std::sync::{Mutex, PoisonError};

use crate::auth::Caller;

/// Tokens remembered at most.
const ROOM: usize = 4096;

type Fingerprint = [u8; 32];

/// Verified tokens by their SHA-256, until they expire.
#[derive(Default)]
pub(super) struct Cache {
    known: Mutex<HashMap<Fingerprint, (Caller, i64)>>,
}

impl Cache {
    /// Whose token it is, if it was verified and has not expired.
    pub(super) fn find(&self, token: &Fingerprint, now: i64) -> Option<Caller> {
        let known = self.known.lock().unwrap_or_else(PoisonError::into_inner);
        let (caller, expires) = known.get(token)?;
        (now < *expires).then(|| caller.clone())
    }

    /// Remembers a token. When there is no room, the expired go first, then anybody.
    pub(super) fn keep(&self, token: Fingerprint, caller: &Caller, expires: i64, now: i64) {
        let mut known = self.known.lock().unwrap_or_else(PoisonError::into_inner);
        if known.len() >= ROOM {
            known.retain(|_token, (_caller, expires)| now < *expires);
        }
        if known.len() >= ROOM {
            let mut place = 0_usize;
            known.retain(|_token, _known| {
                place += 1;
                place.is_multiple_of(2)
            });
        }
        known.insert(token, (caller.clone(), expires));
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use warren_common::id::PrincipalId;

    fn caller() -> Caller {
        Caller {
            id: PrincipalId::new(),
            name: "ana".to_owned(),
        }
    }

    #[test]
    fn a_token_is_forgotten_when_it_expires() {
        let cache = Cache::default();
        let ana = caller();
        cache.keep([1; 32], &ana, 100, 0);
        assert_eq!(cache.find(&[1; 32], 99), Some(ana));
        assert_eq!(cache.find(&[1; 32], 100), None);
        assert_eq!(cache.find(&[2; 32], 0), None);
    }

    #[test]
    fn it_does_not_grow_without_bound() {
        let cache = Cache::default();
        let ana = caller();
        for number in 0..3 * u32::try_from(ROOM).unwrap() {
            let mut token = [0; 32];
            token[..4].copy_from_slice(&number.to_be_bytes());
            cache.keep(token, &ana, 100, 0);
        }
        assert!(cache.known.lock().unwrap().len() <= ROOM);
    }
}
