//! Services: what is published, and what their parameters are declared to be.

use serde::{Deserialize, Serialize};

use super::words;

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
