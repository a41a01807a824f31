//! The keys of a provider as this node knows them: read in the background, and when a token names one that is not known.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, PoisonError, RwLock};
use std::time::Duration;

use jsonwebtoken::Algorithm;
use jsonwebtoken::jwk::Jwk;
use tokio::sync::Mutex;
use tokio::time::Instant;
use warren_common::telemetry;

use super::fetch::Fetcher;
use super::key_set::{KeySet, NoKey};

/// Between two reads that unknown keys cause, however many tokens name them.
const REREAD_PAUSE: Duration = Duration::from_secs(3);
/// Between two reads in the background that fail.
const RETRY_PAUSE: Duration = Duration::from_secs(15);

/// The keys, and when to read them.
pub(super) struct Keys {
    fetcher: Fetcher,
    known: RwLock<Option<Arc<KeySet>>>,
    changes: AtomicU64,
    /// Held while they are read.
    last: Mutex<Read>,
}

/// The last read.
struct Read {
    /// When it ended; none before the first.
    ended: Option<Instant>,
    /// How long what came may be kept; none when it failed.
    kept: Option<Duration>,
}

/// Why there is no key for a token.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Missing {
    /// The provider has no such key, or more than one that fits.
    Nowhere,
    /// It is not known here, and the provider does not say.
    ProviderAway,
}

impl Keys {
    pub(super) fn new(fetcher: Fetcher) -> Self {
        Self {
            fetcher,
            known: RwLock::default(),
            changes: AtomicU64::new(0),
            last: Mutex::new(Read {
                ended: None,
                kept: None,
            }),
        }
    }

    /// How often the keys have changed: what an earlier set verified has to be verified again.
    pub(super) fn changes(&self) -> u64 {
        self.changes.load(Ordering::Acquire)
    }

    /// Keeps the keys current for as long as it is polled.
    pub(super) async fn follow(&self) {
        loop {
            let wait = {
                let mut last = self.last.lock().await;
                self.read(&mut last).await;
                last.kept.unwrap_or(RETRY_PAUSE)
            };
            tokio::time::sleep(wait).await;
        }
    }

    /// The key that a token names.
    pub(super) async fn find(
        &self,
        algorithm: Algorithm,
        kid: Option<&str>,
    ) -> Result<Jwk, Missing> {
        match self.known_key(algorithm, kid) {
            Err(NoKey::Unknown) => {}
            found => return found.map_err(|_ambiguous| Missing::Nowhere),
        }
        let is_read = self.reread().await;
        self.known_key(algorithm, kid).map_err(|problem| {
            if problem == NoKey::Unknown && !is_read {
                Missing::ProviderAway
            } else {
                Missing::Nowhere
            }
        })
    }

    fn known_key(&self, algorithm: Algorithm, kid: Option<&str>) -> Result<Jwk, NoKey> {
        let known = self.known.read().unwrap_or_else(PoisonError::into_inner);
        let known = known.as_ref().ok_or(NoKey::Unknown)?;
        known.find(algorithm, kid).cloned()
    }

    /// Reads the keys again: once for everybody who came before the read, and with a pause after the one before. True when what is known
    /// now is what the provider says.
    async fn reread(&self) -> bool {
        let arrived = Instant::now();
        let mut last = self.last.lock().await;
        if last.ended.is_none_or(|ended| ended < arrived) {
            if let Some(ended) = last.ended {
                tokio::time::sleep_until(ended + REREAD_PAUSE).await;
            }
            self.read(&mut last).await;
        }
        last.kept.is_some()
    }

    async fn read(&self, last: &mut Read) {
        let answer = self.fetcher.keys().await;
        last.ended = Some(Instant::now());
        match answer {
            Ok((keys, kept)) => {
                if last.kept.is_none() {
                    tracing::info!("The keys of the OpenID provider were read");
                }
                last.kept = Some(kept);
                self.replace(keys);
            }
            Err(error) => {
                last.kept = None;
                let cause = telemetry::chain(&error);
                tracing::warn!(
                    cause,
                    "The keys of the OpenID provider cannot be read; those that are known stay in use"
                );
            }
        }
    }

    fn replace(&self, keys: KeySet) {
        let mut known = self.known.write().unwrap_or_else(PoisonError::into_inner);
        if known.as_deref() != Some(&keys) {
            *known = Some(Arc::new(keys));
            self.changes.fetch_add(1, Ordering::AcqRel);
        }
    }
}
