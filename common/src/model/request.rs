//! What jobs are asked, as it is stored.

use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;

use super::{Content, words};
use crate::id::SnapshotId;

/// The request of an `open_session`.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
pub struct OpenRequest {
    /// What the session begins with.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub snapshot: Option<SnapshotId>,
}

impl OpenRequest {
    /// As it is stored when the session begins with nothing: such openings are told from the others by these bytes.
    pub const PLAIN: &[u8] = b"{}";
}

/// The request of an `execute`.
#[derive(Debug, Serialize, Deserialize)]
pub struct ExecuteRequest {
    /// R source as it was sent; history returns it.
    pub code: String,
    /// Assigned before the run, in this order.
    #[serde(default)]
    pub inputs: Vec<InputParameter>,
    /// Names read after the run, in this order.
    #[serde(default)]
    pub outputs: Vec<String>,
    /// The limit of this run; the worker's own when absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub timeout_seconds: Option<u32>,
}

/// A named value on its way into R, as exact JSON.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct InputParameter {
    /// Name in the workspace.
    pub name: String,
    /// The value.
    pub value: Box<RawValue>,
}

/// The request of a `get_object`.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct GetObjectRequest {
    /// Name in the workspace.
    pub name: String,
    /// How it is written.
    pub format: ObjectFormat,
}

words! {
    /// How an object of R is written as bytes.
    ObjectFormat, "format of an object" {
        /// What `save()` writes: the object under its name.
        Rdata = "rdata",
        /// What `serialize()` gives.
        Serialize = "serialize",
        /// What `saveRDS()` writes.
        Rds = "rds",
    }
}

/// The request of a `put_object`.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct PutObjectRequest {
    /// Name in the workspace.
    pub name: String,
    /// The object, in any format that R reads.
    pub content: Content,
}

/// The request of a `delete_object` or a `delete_file`.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct DeleteRequest {
    /// Name in the workspace or in the working directory.
    pub name: String,
}

/// The request of a `put_files`.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct PutFilesRequest {
    /// Each becomes a file of the working directory; they appear together.
    pub files: Vec<UploadedFile>,
}

/// A file on its way into a session.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct UploadedFile {
    /// Name in the working directory.
    pub name: String,
    /// What is in it.
    pub content: Content,
}

/// The request of a `get_file`.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct GetFileRequest {
    /// Name in the working directory.
    pub name: String,
    /// What of it is wanted.
    #[serde(default)]
    pub wanted: Wanted,
    /// Its bytes may be offered: nobody will ask for them later. Workers that know no offers overlook it.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub offer: bool,
}

/// What of a file is wanted, and on which conditions; as RFC 9110 has them.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Wanted {
    /// Nothing but what describes it.
    #[serde(default)]
    pub head: bool,
    /// Only these bytes.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub range: Option<ByteRange>,
    /// The range counts only if the file still has this tag.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub if_range: Option<String>,
    /// Nothing is wanted if the file still has one of these tags; `*` is any.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub if_none_match: Vec<String>,
}

/// A stretch of bytes of a file whose length the caller does not know.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "is", rename_all = "snake_case")]
pub enum ByteRange {
    /// From one on, up to and with another or to the end.
    From {
        /// The first.
        first: u64,
        /// The last.
        last: Option<u64>,
    },
    /// At the end.
    Suffix {
        /// How many.
        length: u64,
    },
}

impl ByteRange {
    /// Where it lies in a file of `size` bytes; none when it holds none of them.
    pub fn within(self, size: u64) -> Option<std::ops::Range<u64>> {
        let range = match self {
            Self::From { first, last } => {
                first..last.map_or(size, |last| last.saturating_add(1).min(size))
            }
            Self::Suffix { length } => size.saturating_sub(length)..size,
        };
        (!range.is_empty()).then_some(range)
    }
}

/// The request of a `create_snapshot`.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct CreateSnapshotRequest {
    /// The snapshot that is to be.
    pub snapshot: SnapshotId,
    /// A label of the owner.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub name: Option<String>,
}

/// The request of a `load_snapshot`.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct LoadSnapshotRequest {
    /// Which.
    pub snapshot: SnapshotId,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_opening_with_nothing_to_begin_with_is_stored_as_its_statement_expects() {
        let stored = serde_json::to_vec(&OpenRequest::default()).unwrap();
        assert_eq!(stored, OpenRequest::PLAIN);
    }

    #[test]
    fn a_range_is_cut_to_the_file() {
        let from = |first, last| ByteRange::From { first, last };
        let suffix = |length| ByteRange::Suffix { length };
        for (range, size, within) in [
            (from(0, None), 10, Some(0..10)),
            (from(2, Some(4)), 10, Some(2..5)),
            (from(9, Some(u64::MAX)), 10, Some(9..10)),
            (from(10, None), 10, None),
            (from(0, None), 0, None),
            (suffix(3), 10, Some(7..10)),
            (suffix(30), 10, Some(0..10)),
            (suffix(0), 10, None),
        ] {
            assert_eq!(range.within(size), within, "{range:?} of {size}");
        }
    }
}
