//! What a caller reads of a call that has ended.

use serde::Serialize;
use serde::ser::{SerializeMap, Serializer};
use warren_common::model::{JobState, OutputFile, Refusal, RunResult, ValuePair};

use crate::error::ApiError;
use crate::routes::turn::succeeded;
use crate::watch::Outcome;

/// The reply of a call: all six members, always.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub(in crate::routes) struct CallResponse<'a> {
    success: bool,
    error_message: String,
    #[serde(serialize_with = "values")]
    output_parameters: Vec<ValuePair>,
    #[serde(serialize_with = "files")]
    output_files: Vec<OutputFile>,
    console_output: &'a str,
    changed_files: Vec<String>,
}

impl<'a> CallResponse<'a> {
    /// The reply; an error where the call was refused before any of its code ran. Code that raised an error, crashed or was
    /// lost with its worker three times is a reply, of no success.
    pub(in crate::routes) fn of(outcome: &'a Outcome) -> Result<Self, ApiError> {
        let run: Option<RunResult> = match &outcome.result {
            Some(result) if serde_json::from_str::<Refusal>(result.get()).is_ok() => {
                succeeded(outcome)?;
                None
            }
            _ => outcome.read(),
        };
        let success = outcome.state == JobState::Succeeded;
        if success && run.is_none() {
            return Err(ApiError::internal("the stored result cannot be read"));
        }
        let told = outcome.reason.clone().unwrap_or_default();
        let run = run.unwrap_or_else(|| RunResult {
            success,
            error_message: String::new(),
            output_parameters: Vec::new(),
            changed_files: Vec::new(),
            output_files: Vec::new(),
        });
        let error_message = match (success, run.error_message) {
            (true, _) => String::new(),
            (false, message) if !message.is_empty() => message,
            (false, _) if !told.is_empty() => told,
            (false, _) => format!("the call ended {}", outcome.state.word()),
        };
        Ok(Self {
            success,
            error_message,
            output_parameters: run.output_parameters,
            output_files: run.output_files,
            console_output: &outcome.console,
            changed_files: run.changed_files,
        })
    }
}

fn values<S: Serializer>(pairs: &[ValuePair], to: S) -> Result<S::Ok, S::Error> {
    let mut map = to.serialize_map(Some(pairs.len()))?;
    for pair in pairs {
        map.serialize_entry(&pair.name, &pair.value)?;
    }
    map.end()
}

fn files<S: Serializer>(files: &[OutputFile], to: S) -> Result<S::Ok, S::Error> {
    let mut map = to.serialize_map(Some(files.len()))?;
    for file in files {
        map.serialize_entry(&file.name, &file.content)?;
    }
    map.end()
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::value::RawValue;

    fn reply(
        state: JobState,
        result: Option<&str>,
        reason: Option<&str>,
    ) -> Result<String, ApiError> {
        let outcome = Outcome {
            state,
            result: result.map(|json| RawValue::from_string(json.to_owned()).unwrap()),
            console: String::new(),
            reason: reason.map(str::to_owned),
        };
        CallResponse::of(&outcome).map(|reply| serde_json::to_string(&reply).unwrap())
    }

    #[test]
    fn outputs_and_files_are_maps() {
        let result = r#"{"success":true,"errorMessage":"","outputParameters":[{"name":"z","value":5.50},{"name":"a","value":null}],
            "changedFiles":["f"],"outputFiles":[{"name":"f","content":"AA=="},{"name":"g","content":null}]}"#;
        assert_eq!(
            reply(JobState::Succeeded, Some(result), None).unwrap(),
            r#"{"success":true,"errorMessage":"","outputParameters":{"z":5.50,"a":null},"outputFiles":{"f":"AA==","g":null},"consoleOutput":"","changedFiles":["f"]}"#
        );
    }

    #[test]
    fn what_was_not_run_is_no_success_and_says_why() {
        let lost = reply(JobState::Lost, None, Some("its worker was lost")).unwrap();
        assert!(lost.contains(r#""success":false,"errorMessage":"its worker was lost""#));
        let refused = r#"{"refusal":"invalid","message":"input `x`: no"}"#;
        let error = reply(JobState::Failed, Some(refused), None).unwrap_err();
        assert!(matches!(error, ApiError::BadRequest(text) if text.contains("input `x`")));
    }
}
