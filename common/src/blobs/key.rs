//! Names of blobs.

use std::fmt;
use std::str::FromStr;

use crate::id::{SnapshotId, TransferId};

/// What a blob holds, and so its key in the bucket.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum BlobKey {
    /// The zip of a snapshot: `snapshots/{id}.zip`.
    Snapshot(SnapshotId),
    /// Bytes on their way between a caller and a session: `transfers/{id}`.
    Transfer(TransferId),
}

impl fmt::Display for BlobKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Snapshot(id) => write!(f, "snapshots/{id}.zip"),
            Self::Transfer(id) => write!(f, "transfers/{id}"),
        }
    }
}

/// A key that no blob of ours has.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
#[error("no key of a blob: expected snapshots/{{id}}.zip or transfers/{{id}}")]
pub struct ForeignKey;

impl FromStr for BlobKey {
    type Err = ForeignKey;

    fn from_str(key: &str) -> Result<Self, ForeignKey> {
        let read = match key.split_once('/') {
            Some(("snapshots", name)) => name
                .strip_suffix(".zip")
                .and_then(|id| id.parse().ok())
                .map(Self::Snapshot),
            Some(("transfers", id)) => id.parse().ok().map(Self::Transfer),
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
        ] {
            assert_eq!(key.to_string().parse(), Ok(key));
        }
    }

    #[test]
    fn foreign_keys_are_no_blobs() {
        let id = TransferId::new();
        for key in [
            String::new(),
            format!("transfers/{id}.zip"),
            format!("transfers/{}", id.to_string().to_uppercase()),
            format!("transfers/{}", id.uuid().simple()),
            format!("snapshots/{id}"),
            format!("services/{id}/x.zip"),
            format!("/transfers/{id}"),
            "transfers/".to_owned(),
        ] {
            assert_eq!(key.parse::<BlobKey>(), Err(ForeignKey), "{key}");
        }
    }
}
