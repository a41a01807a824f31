//! Services: what is published, and what their parameters are declared to be.

use serde::{Deserialize, Serialize};

use super::{InputParameter, words};
use crate::id::{ContentId, SnapshotId, VersionId};

words! {
    /// What an input or an output of a service is declared to be.
    ParameterType, "parameter type" {
        /// `TRUE` or `FALSE`.
        Logical = "logical",
        /// A double.
        Numeric = "numeric",
        /// A 32-bit integer.
        Integer = "integer",
        /// A string.
        Character = "character",
        /// An atomic vector: an array of JSON.
        Vector = "vector",
        /// A matrix: an array of rows.
        Matrix = "matrix",
        /// A data frame: an object of columns.
        DataFrame = "data.frame",
    }
}

/// An input or an output of a service. The order of several is part of the service.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Parameter {
    /// Name in the workspace and in JSON.
    pub name: String,
    /// What it is declared to be.
    #[serde(rename = "type")]
    pub r#type: ParameterType,
}

/// What a version of a service consists of, as it is stored.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
pub struct Definition {
    /// R source that every call runs.
    pub code: String,
    /// R source that a parent of the service runs once.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub init_code: Option<String>,
    /// The snapshot whose content was copied; it may be gone.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub snapshot: Option<SnapshotId>,
    /// Free text.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub description: Option<String>,
    /// What clients name the operation.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub operation_id: Option<String>,
    /// Assigned before the code runs; each is required.
    #[serde(default)]
    pub inputs: Vec<Parameter>,
    /// Read after it ran.
    #[serde(default)]
    pub outputs: Vec<Parameter>,
    /// Files of the working directory that a call returns.
    #[serde(default)]
    pub output_files: Vec<String>,
    /// Inputs of a call that is made when a parent starts, so that what it needs is loaded and compiled before the first caller comes.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub example: Option<Vec<InputParameter>>,
}

/// What a publication asks for: all of a definition, or those parts of one that are to be others.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
#[expect(missing_docs, reason = "the members of a definition")]
pub struct Change {
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub code: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub init_code: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub snapshot: Option<SnapshotId>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub description: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub operation_id: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub inputs: Option<Vec<Parameter>>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub outputs: Option<Vec<Parameter>>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub output_files: Option<Vec<String>>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub example: Option<Vec<InputParameter>>,
}

impl Definition {
    /// This one after a change. What the change does not name stays as it is, but for an example of inputs that are declared
    /// anew: it may not fit any more.
    #[must_use]
    pub fn changed(self, change: Change) -> Self {
        let declared_anew = change.inputs.is_some();
        Self {
            code: change.code.unwrap_or(self.code),
            init_code: change.init_code.or(self.init_code),
            snapshot: change.snapshot.or(self.snapshot),
            description: change.description.or(self.description),
            operation_id: change.operation_id.or(self.operation_id),
            inputs: change.inputs.unwrap_or(self.inputs),
            outputs: change.outputs.unwrap_or(self.outputs),
            output_files: change.output_files.unwrap_or(self.output_files),
            example: change.example.or(self.example.filter(|_| !declared_anew)),
        }
    }
}

/// The request of a `publish`.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct PublishRequest {
    /// The version.
    pub version: VersionId,
    /// The version is new.
    pub fresh: bool,
    /// What it is to consist of, if all goes well.
    pub content: ContentId,
    /// What the content is made of.
    pub change: Change,
}

/// The request of a `call`.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct CallRequest {
    /// What to run.
    pub content: ContentId,
    /// Every input of it, in the order they were sent.
    pub inputs: Vec<InputParameter>,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_change_leaves_what_it_does_not_name_and_clears_what_it_names_empty() {
        let change = |json: &str| serde_json::from_str::<Change>(json).unwrap();
        let published = Definition::default().changed(change(
            r#"{"code":"z <- x","inputs":[{"name":"x","type":"data.frame"}],"output_files":["a"],
                "example":[{"name":"x","value":{"a":[1]}}]}"#,
        ));
        assert_eq!(published.example.as_ref().unwrap().len(), 1);
        let changed = published.changed(change(r#"{"output_files":[],"description":"d"}"#));
        assert_eq!(changed.code, "z <- x");
        assert_eq!(changed.inputs[0].r#type, ParameterType::DataFrame);
        assert!(changed.output_files.is_empty() && changed.example.is_some());
        assert!(
            changed
                .changed(change(r#"{"inputs":[]}"#))
                .example
                .is_none()
        );
    }
}
