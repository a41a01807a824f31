//! Names of blobs.

use std::fmt;
use std::str::FromStr;

use crate::id::{ContentId, SnapshotId, TransferId};

/// What a blob holds, and so its key in the bucket. A transfer of more than a segment is several objects, the second of which has
/// the key `transfers/{id}.1`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum BlobKey {
    /// The zip of a snapshot: `snapshots/{id}.zip`.
    Snapshot(SnapshotId),
    /// Bytes on their way between a caller and a session: `transfers/{id}`.
    Transfer(TransferId),
    /// The copy of a snapshot that a published service has for itself: `services/{id}.zip`.
    Service(ContentId),
}

impl BlobKey {
    /// The key of one of its objects.
    pub(super) fn object(self, nth: u32) -> String {
        match nth {
            0 => self.to_string(),
            nth => format!("{self}.{nth}"),
        }
    }
}

impl fmt::Display for BlobKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Snapshot(id) => write!(f, "snapshots/{id}.zip"),
            Self::Transfer(id) => write!(f, "transfers/{id}"),
            Self::Service(id) => write!(f, "services/{id}.zip"),
        }
    }
}

/// A key that no blob of ours has.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
#[error("no key of a blob: expected snapshots/{{id}}.zip, services/{{id}}.zip or transfers/{{id}}")]
pub struct ForeignKey;

impl FromStr for BlobKey {
    type Err = ForeignKey;

    fn from_str(key: &str) -> Result<Self, ForeignKey> {
        let zip = |name: &str| name.strip_suffix(".zip").map(str::to_owned);
        let read = match key.split_once('/') {
            Some(("snapshots", name)) => {
                zip(name).and_then(|id| id.parse().ok()).map(Self::Snapshot)
            }
            Some(("services", name)) => zip(name).and_then(|id| id.parse().ok()).map(Self::Service),
            Some(("transfers", object)) => {
                let (id, nth) = object.split_once('.').unwrap_or((object, "0"));
                let read = id.parse().ok().zip(nth.parse().ok());
                return read
                    .map(|(id, nth)| (Self::Transfer(id), nth))
                    .filter(|(read, nth): &(Self, u32)| read.object(*nth) == key)
                    .map(|(read, _nth)| read)
                    .ok_or(ForeignKey);
            }
            _ => None,
        };
        // An id has several spellings, a blob one key.
        read.filter(|read| read.to_string() == key)
            .ok_or(ForeignKey)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_key_reads_back() {
        for key in [
            BlobKey::Snapshot(SnapshotId::new()),
            BlobKey::Transfer(TransferId::new()),
            BlobKey::Service(ContentId::new()),
        ] {
            assert_eq!(key.object(0).parse(), Ok(key));
        }
    }

    #[test]
    fn every_object_of_a_transfer_is_the_transfer_s() {
        let key = BlobKey::Transfer(TransferId::new());
        for nth in [1, 12] {
            assert_eq!(key.object(nth), format!("{key}.{nth}"));
            assert_eq!(key.object(nth).parse(), Ok(key));
        }
    }

    #[test]
    fn foreign_keys_are_no_blobs() {
        let id = TransferId::new();
        for key in [
            String::new(),
            format!("transfers/{id}.zip"),
            format!("transfers/{id}.0"),
            format!("transfers/{id}.01"),
            format!("transfers/{id}."),
            format!("transfers/{}", id.to_string().to_uppercase()),
            format!("transfers/{}", id.uuid().simple()),
            format!("snapshots/{id}"),
            format!("services/{id}/x.zip"),
            format!("services/{id}"),
            format!("/transfers/{id}"),
            "transfers/".to_owned(),
        ] {
            assert_eq!(key.parse::<BlobKey>(), Err(ForeignKey), "{key}");
        }
    }
}
