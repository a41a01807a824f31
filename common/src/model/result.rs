//! What jobs leave, as it is stored.

use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;

use super::{Content, words};

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
    /// The object in the format that was asked for.
    pub content: Content,
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
