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
#[derive(Debug, Serialize, Deserialize)]
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
