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

use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio_util::bytes::Bytes;
use warren_common::model::{Offer, OfferToken};
use warren_common::paced::Pieces;

use super::FilesError;
use super::read::next_bytes;

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
}

/// What is still to be read of a file.
struct Unread {
    /// None while the next piece of it is read, and after an error.
    file: Option<File>,
    range: Range<u64>,
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

    /// Holds bytes of a file ready; gives the file back when that cannot be.
    pub(super) fn hold(&self, file: File, range: Range<u64>) -> Result<Offer, File> {
        let Some(at) = self.at.clone() else {
            return Err(file);
        };
        let Ok(place) = Arc::clone(&self.places).try_acquire_owned() else {
            return Err(file);
        };
        let token = OfferToken::new();
        let bytes = Unread {
            file: Some(file),
            range,
        };
        self.held().insert(token.clone(), Held { bytes, place });
        let (offers, forgotten) = (self.clone(), token.clone());
        tokio::spawn(async move {
            tokio::time::sleep(offers.held_for).await;
            offers.held().remove(&forgotten);
        });
        Ok(Offer { at, token })
    }

    /// Takes one; nobody can a second time.
    fn take(&self, token: &OfferToken) -> Option<Held> {
        self.held().remove(token)
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
        let offer = offers.hold(file(b"0123456789"), 2..5).unwrap();
        assert!(offers.take(&OfferToken::new()).is_none());
        let held = offers.take(&offer.token).unwrap();
        assert!(offers.take(&offer.token).is_none());
        assert_eq!(held.bytes.length(), 3);
        assert_eq!(read(held.bytes).await.unwrap(), b"234");
    }

    #[tokio::test]
    async fn a_file_that_became_shorter_does_not_end_as_if_it_were_whole() {
        let offers = offers();
        let offer = offers.hold(file(b"0123"), 0..9).unwrap();
        let held = offers.take(&offer.token).unwrap();
        assert!(read(held.bytes).await.is_err());
    }

    #[tokio::test]
    async fn what_nobody_takes_is_not_held() {
        let offers = Offers {
            held_for: Duration::from_millis(1),
            ..offers()
        };
        let offer = offers.hold(file(b"0"), 0..1).unwrap();
        // Waits for the places of what is held.
        offers.ended().await;
        assert!(offers.take(&offer.token).is_none());
        assert!(offers.hold(file(b"0"), 0..1).is_err());
    }

    #[tokio::test]
    async fn there_are_only_so_many() {
        let offers = offers();
        let held: Vec<_> = (0..PLACES)
            .map(|_| offers.hold(file(b"0"), 0..1).unwrap())
            .collect();
        assert!(offers.hold(file(b"0"), 0..1).is_err());
        drop(offers.take(&held[0].token));
        assert!(offers.hold(file(b"0"), 0..1).is_ok());
        assert!(Offers::new(None).hold(file(b"0"), 0..1).is_err());
    }
}
