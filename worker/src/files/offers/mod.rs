//! Files that are held ready for an API node, which fetches each once and soon.
//!
//! A file that went through the object store would be written there and read again before its first byte is answered. So where
//! API nodes reach the workers, a worker opens the file, tells where it can be fetched, and sends it while it reads it. Whoever
//! does not come in time asks anew, and gets it by way of the store.

mod serve;

use std::collections::HashMap;
use std::fs::File;
use std::ops::Range;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use rustix::fs::Stat;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio_util::bytes::Bytes;
use tokio_util::task::AbortOnDropHandle;
use warren_common::model::{Offer, OfferToken, RefusalKind};
use warren_common::paced::Pieces;
use warren_common::telemetry::metrics;

use super::read::next_bytes;
use super::{FilesError, refused};

/// Files that are held ready, or are on their way, at one moment; what is beyond goes through the store.
const PLACES: u32 = 64;
/// How long one is held for whoever was told of it a moment ago.
const HELD_FOR: Duration = Duration::from_secs(10);
/// Bytes that are read at once.
const PIECE: u64 = 256 * 1024;

/// The offers of a worker.
#[derive(Clone)]
pub struct Offers {
    /// Where API nodes fetch them; none where they cannot.
    at: Option<String>,
    held_for: Duration,
    places: Arc<Semaphore>,
    held: Arc<Mutex<HashMap<OfferToken, Held>>>,
}

/// Bytes of an open file.
struct Held {
    bytes: Unread,
    place: OwnedSemaphorePermit,
    /// Forgets it in time.
    _forgets: AbortOnDropHandle<()>,
}

/// What is still to be read of a file.
struct Unread {
    /// None while the next piece of it is read, and after an error.
    file: Option<File>,
    range: Range<u64>,
    version: Version,
}

/// What changes with a write: how long a file is, and when it was last written to.
#[derive(Debug, PartialEq, Eq)]
struct Version(i64, i64, u64);

impl Version {
    fn of(stat: &Stat) -> Self {
        Self(stat.st_size, stat.st_mtime, stat.st_mtime_nsec)
    }
}

impl Offers {
    /// None yet; `at` is the host and port that API nodes reach, if they reach any.
    pub fn new(at: Option<String>) -> Self {
        Self {
            at,
            held_for: HELD_FOR,
            places: Arc::new(Semaphore::new(PLACES as usize)),
            held: Arc::default(),
        }
    }

    /// Holds bytes of a file ready as long as it is what `stat` told; gives the file back when that cannot be.
    pub(super) fn hold(&self, file: File, stat: &Stat, range: Range<u64>) -> Result<Offer, File> {
        let Some(at) = self.at.clone() else {
            return Err(file);
        };
        let Ok(place) = Arc::clone(&self.places).try_acquire_owned() else {
            return Err(file);
        };
        let token = OfferToken::new();
        let (offers, forgotten) = (self.clone(), token.clone());
        let forgets = tokio::spawn(async move {
            tokio::time::sleep(offers.held_for).await;
            if offers.held().remove(&forgotten).is_some() {
                metrics().offer("expired");
            }
        });
        let held = Held {
            bytes: Unread {
                file: Some(file),
                range,
                version: Version::of(stat),
            },
            place,
            _forgets: AbortOnDropHandle::new(forgets),
        };
        self.held().insert(token.clone(), held);
        Ok(Offer { at, token })
    }

    /// Takes one; nobody can a second time.
    fn take(&self, token: &OfferToken) -> Option<Held> {
        let held = self.held().remove(token)?;
        metrics().offer("taken");
        Some(held)
    }

    /// Makes no more offers, and returns when none is left and none on its way.
    pub async fn ended(&self) {
        // Never closed, so that it cannot fail; held to the end, all places are taken.
        if let Ok(all) = self.places.acquire_many(PLACES).await {
            all.forget();
        }
    }

    fn held(&self) -> MutexGuard<'_, HashMap<OfferToken, Held>> {
        self.held.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Unread {
    fn length(&self) -> u64 {
        self.range.end - self.range.start
    }
}

impl Pieces for Unread {
    type Error = FilesError;

    async fn next(&mut self) -> Result<Option<Bytes>, FilesError> {
        let Some(file) = self.file.take().filter(|_file| !self.range.is_empty()) else {
            return Ok(None);
        };
        let end = self.range.end.min(self.range.start + PIECE);
        let (file, bytes) = next_bytes(file, self.range.start..end).await?;
        // It is sent for as long as its reader takes: old bytes and new ones together would be no version of it.
        let stat = rustix::fs::fstat(&file).map_err(std::io::Error::from)?;
        if Version::of(&stat) != self.version {
            return Err(refused(
                RefusalKind::Unavailable,
                "the file was changed while it was sent".to_owned(),
            ));
        }
        self.range.start += bytes.len() as u64;
        self.file = Some(file);
        Ok(Some(bytes))
    }
}

#[cfg(test)]
mod tests {
    use std::io::Write;

    use super::*;

    fn offers() -> Offers {
        Offers::new(Some("here:1".to_owned()))
    }

    fn file(bytes: &[u8]) -> File {
        let mut file = tempfile::tempfile().unwrap();
        file.write_all(bytes).unwrap();
        file
    }

    fn hold(offers: &Offers, file: File, range: Range<u64>) -> Result<Offer, File> {
        let stat = rustix::fs::fstat(&file).unwrap();
        offers.hold(file, &stat, range)
    }

    async fn read(mut bytes: Unread) -> Result<Vec<u8>, FilesError> {
        let mut all = Vec::new();
        while let Some(piece) = bytes.next().await? {
            all.extend_from_slice(&piece);
        }
        Ok(all)
    }

    #[tokio::test]
    async fn an_offer_is_taken_once_and_by_its_token_only() {
        let offers = offers();
        let offer = hold(&offers, file(b"0123456789"), 2..5).unwrap();
        assert!(offers.take(&OfferToken::new()).is_none());
        let held = offers.take(&offer.token).unwrap();
        assert!(offers.take(&offer.token).is_none());
        assert_eq!(held.bytes.length(), 3);
        assert_eq!(read(held.bytes).await.unwrap(), b"234");
    }

    #[tokio::test]
    async fn a_file_that_became_shorter_does_not_end_as_if_it_were_whole() {
        let offers = offers();
        let offer = hold(&offers, file(b"0123"), 0..9).unwrap();
        let held = offers.take(&offer.token).unwrap();
        assert!(read(held.bytes).await.is_err());
    }

    #[tokio::test]
    async fn a_file_that_is_written_to_does_not_become_a_mixture() {
        let offers = offers();
        let mut file = file(b"");
        file.set_len(2 * PIECE).unwrap();
        let reader = file.try_clone().unwrap();
        let offer = hold(&offers, reader, 0..2 * PIECE).unwrap();
        let mut bytes = offers.take(&offer.token).unwrap().bytes;
        assert!(bytes.next().await.unwrap().is_some());
        file.write_all(b"new").unwrap();
        // Whatever the clock of the file system tells of the two moments.
        file.set_len(2 * PIECE + 1).unwrap();
        assert!(bytes.next().await.is_err());
        assert!(bytes.next().await.unwrap().is_none());
    }

    #[tokio::test]
    async fn what_nobody_takes_is_not_held() {
        let offers = Offers {
            held_for: Duration::from_millis(1),
            ..offers()
        };
        let offer = hold(&offers, file(b"0"), 0..1).unwrap();
        // Waits for the places of what is held.
        offers.ended().await;
        assert!(offers.take(&offer.token).is_none());
        assert!(hold(&offers, file(b"0"), 0..1).is_err());
    }

    #[tokio::test]
    async fn there_are_only_so_many() {
        let offers = offers();
        let held: Vec<_> = (0..PLACES)
            .map(|_| hold(&offers, file(b"0"), 0..1).unwrap())
            .collect();
        assert!(hold(&offers, file(b"0"), 0..1).is_err());
        drop(offers.take(&held[0].token));
        assert!(hold(&offers, file(b"0"), 0..1).is_ok());
        assert!(hold(&Offers::new(None), file(b"0"), 0..1).is_err());
    }
}
