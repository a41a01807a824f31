//! What jobs leave, as it is stored.

use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;

use super::{Content, Offer, words};
use crate::id::SnapshotId;

/// What a run left: everything but the console text, which has its own place.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct RunResult {
    /// The code ran without an R error.
    pub success: bool,
    /// The error's text; empty on success.
    pub error_message: String,
    /// The outputs asked for.
    pub output_parameters: Vec<ValuePair>,
    /// Files of the working directory that the run made or changed.
    pub changed_files: Vec<String>,
    /// Files that a call of a service returns.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub output_files: Vec<OutputFile>,
}

/// A file that a service declares as its output.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct OutputFile {
    /// Its name in the working directory.
    pub name: String,
    /// What was in it, as base64; none when the call wrote no such file.
    pub content: Option<String>,
}

/// A named value on its way out of R, as exact JSON.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct ValuePair {
    /// Name in the workspace.
    pub name: String,
    /// The value.
    pub value: Box<RawValue>,
}

/// What a `list_objects` or `list_files` left.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Names {
    /// Sorted.
    pub names: Vec<String>,
}

/// What a `get_object` left.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct GotObject {
    /// What a file of it is called.
    pub file: String,
    /// The object in the format that was asked for.
    pub content: Content,
}

/// What a `get_file` left.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct GotFile {
    /// Its name.
    pub name: String,
    /// Bytes of the whole file.
    pub size: u64,
    /// Entity tag of RFC 9110, with its quotes: another one when the file was written since.
    pub etag: String,
    /// What of it was wanted.
    #[serde(flatten)]
    pub got: Got,
}

/// What of a file a `get_file` brought.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "got", rename_all = "snake_case")]
pub enum Got {
    /// All of it.
    Whole {
        /// The bytes.
        content: Content,
    },
    /// A range of it.
    Range {
        /// Its first byte.
        first: u64,
        /// The bytes.
        content: Content,
    },
    /// All of it or a range, to be fetched from the worker; only when the request allowed it.
    Offered {
        /// The first byte of the range; none for all of it.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        first: Option<u64>,
        /// How many bytes.
        length: u64,
        /// Where.
        offer: Offer,
    },
    /// What describes it.
    Head,
    /// It still has a tag that the caller knows.
    NotModified,
    /// It has none of the bytes of the range.
    OutOfRange,
}

/// What a `create_snapshot` left.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct SavedSnapshot {
    /// The snapshot.
    pub snapshot_id: SnapshotId,
}

words! {
    /// Why a job could not be done, as far as its caller can do something about it.
    RefusalKind, "kind of refusal" {
        /// There is no such object, file or snapshot.
        NotFound = "not_found",
        /// What was sent cannot be used.
        Invalid = "invalid",
        /// It is larger than may be.
        TooLarge = "too_large",
        /// Something that is needed is away; the same call may work later.
        Unavailable = "unavailable",
    }
}

/// What a job left that ended `failed` without having run code.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Refusal {
    /// Which kind.
    pub refusal: RefusalKind,
    /// For the caller: what was wrong and what to do.
    pub message: String,
}
