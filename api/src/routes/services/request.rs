//! What a publication asks for, checked.

use std::collections::HashSet;

use serde::Deserialize;
use warren_common::id::SnapshotId;
use warren_common::model::{Change, Parameter, ParameterType};

use crate::error::ApiError;
use crate::routes::files::checked;
use crate::services::inputs::{Inputs, MOST};

/// The longest name of a parameter, in bytes.
const LONGEST_NAME: usize = 10_000;

/// A service to be published, or what is to change of one; every member may be absent or null.
#[derive(Deserialize, Default)]
#[serde(rename_all = "camelCase")]
pub struct Request {
    code: Option<String>,
    init_code: Option<String>,
    snapshot_id: Option<String>,
    description: Option<String>,
    operation_id: Option<String>,
    input_parameter_definitions: Option<Vec<Declared>>,
    output_parameter_definitions: Option<Vec<Declared>>,
    output_file_names: Option<Vec<String>>,
    runtime_type: Option<String>,
    example_inputs: Option<Inputs>,
}

#[derive(Deserialize)]
struct Declared {
    name: String,
    r#type: String,
}

impl Request {
    /// All of a service that is new.
    pub fn of_new(self) -> Result<Change, ApiError> {
        if self.code.is_none() {
            return Err(bad("code is missing: a service runs it for each call"));
        }
        self.change()
    }

    /// What is to change.
    pub fn change(self) -> Result<Change, ApiError> {
        match self.runtime_type.as_deref() {
            None | Some("R") => {}
            Some(other) => {
                return Err(bad(format!(
                    "runtimeType {other:?} is not there; it can be \"R\""
                )));
            }
        }
        let snapshot: Option<SnapshotId> = self
            .snapshot_id
            .map(|id| id.parse())
            .transpose()
            .map_err(|_error| bad("snapshotId is no UUID"))?;
        if let Some(files) = &self.output_file_names {
            for name in files {
                checked(name)?;
            }
            distinct("outputFileNames", files.iter().map(String::as_str))?;
        }
        Ok(Change {
            code: self.code,
            init_code: self.init_code,
            snapshot,
            description: self.description,
            operation_id: self.operation_id,
            inputs: declared(
                "inputParameterDefinitions",
                self.input_parameter_definitions,
            )?,
            outputs: declared(
                "outputParameterDefinitions",
                self.output_parameter_definitions,
            )?,
            output_files: self.output_file_names,
            example: self.example_inputs.map(|Inputs(inputs)| inputs),
        })
    }
}

fn declared(
    what: &str,
    parameters: Option<Vec<Declared>>,
) -> Result<Option<Vec<Parameter>>, ApiError> {
    let Some(parameters) = parameters else {
        return Ok(None);
    };
    distinct(
        what,
        parameters.iter().map(|declared| declared.name.as_str()),
    )?;
    let read = parameters.into_iter().map(|Declared { name, r#type }| {
        if name.is_empty() || name.len() > LONGEST_NAME || name.contains('\0') {
            return Err(bad(format!(
                "a name in {what} is empty, or no name that R can have"
            )));
        }
        let known: Vec<&str> = ParameterType::ALL
            .iter()
            .map(|known| known.word())
            .collect();
        let r#type = r#type.parse().map_err(|_unknown| {
            bad(format!(
                "{name:?} in {what} has the type {type:?}; it can be {}",
                known.join(", ")
            ))
        })?;
        Ok(Parameter { name, r#type })
    });
    read.collect::<Result<Vec<_>, _>>().map(Some)
}

fn distinct<'a>(what: &str, names: impl Iterator<Item = &'a str>) -> Result<(), ApiError> {
    let mut seen = HashSet::new();
    for name in names {
        if !seen.insert(name) {
            return Err(bad(format!("{name:?} is in {what} twice")));
        }
    }
    if seen.len() > MOST {
        return Err(bad(format!("{what} has more than {MOST} entries")));
    }
    Ok(())
}

fn bad(text: impl Into<String>) -> ApiError {
    ApiError::BadRequest(text.into())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(json: &str) -> Result<Change, String> {
        let request: Request = serde_json::from_str(json).unwrap();
        request.of_new().map_err(|error| error.to_string())
    }

    #[test]
    fn null_means_absent_and_an_empty_list_is_one() {
        let change = read(
            r#"{"code":"x","snapshotId":null,"inputParameterDefinitions":null,"outputParameterDefinitions":[],
                "outputFileNames":null,"runtimeType":null,"unknown":1}"#,
        )
        .unwrap();
        assert!(change.inputs.is_none() && change.outputs.unwrap().is_empty());
    }

    #[test]
    fn what_makes_no_sense_is_named() {
        for (json, named) in [
            ("{}", "code"),
            (r#"{"code":"x","snapshotId":"1"}"#, "snapshotId"),
            (r#"{"code":"x","runtimeType":"Python"}"#, "runtimeType"),
            (
                r#"{"code":"x","inputParameterDefinitions":[{"name":"a","type":"string"}]}"#,
                "logical, numeric, integer, character, vector, matrix, data.frame",
            ),
            (
                r#"{"code":"x","inputParameterDefinitions":[{"name":"a","type":"vector"},{"name":"a","type":"vector"}]}"#,
                "twice",
            ),
            (
                r#"{"code":"x","outputParameterDefinitions":[{"name":"","type":"vector"}]}"#,
                "empty",
            ),
            (r#"{"code":"x","outputFileNames":["../x"]}"#, "../x"),
        ] {
            let problem = read(json).unwrap_err();
            assert!(problem.contains(named), "{json}: {problem}");
        }
    }
}
