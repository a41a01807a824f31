//! Tokens that were verified already: a request does not pay for the signature again.

use std::collections::HashMap;
use std::sync::{Mutex, PoisonError};

use sha2::{Digest, Sha256};

/// Tokens remembered at most.
const ROOM: usize = 4096;

/// The SHA-256 of a token: what is remembered lets nobody in.
pub(super) type Fingerprint = [u8; 32];

/// What tokens came to that were verified, until they expire.
pub(super) struct Cache<V> {
    known: Mutex<HashMap<Fingerprint, Verified<V>>>,
}

struct Verified<V> {
    value: V,
    /// Unix seconds.
    expires: i64,
}

impl<V> Default for Cache<V> {
    fn default() -> Self {
        Self {
            known: Mutex::default(),
        }
    }
}

/// What a token is remembered by.
pub(super) fn fingerprint(token: &str) -> Fingerprint {
    Sha256::digest(token).into()
}

impl<V: Clone> Cache<V> {
    /// What a token came to, if it was verified and has not expired.
    pub(super) fn find(&self, token: &Fingerprint, now: i64) -> Option<V> {
        let known = self.known.lock().unwrap_or_else(PoisonError::into_inner);
        let verified = known.get(token).filter(|verified| now < verified.expires)?;
        Some(verified.value.clone())
    }

    /// Remembers a token until it expires. When there is no room, the expired go first, then anybody.
    pub(super) fn keep(&self, token: Fingerprint, value: V, expires: i64, now: i64) {
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
        known.insert(token, Verified { value, expires });
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_token_is_forgotten_when_it_expires() {
        let cache = Cache::default();
        let (ana, other) = (fingerprint("ana's"), fingerprint("another"));
        cache.keep(ana, "ana", 100, 0);
        assert_eq!(cache.find(&ana, 99), Some("ana"));
        assert_eq!(cache.find(&ana, 100), None);
        assert_eq!(cache.find(&other, 0), None);
    }

    #[test]
    fn it_does_not_grow_without_bound() {
        let cache = Cache::default();
        for number in 0..3 * ROOM {
            cache.keep(fingerprint(&number.to_string()), number, 100, 0);
        }
        assert!(cache.known.lock().unwrap().len() <= ROOM);
    }
}
