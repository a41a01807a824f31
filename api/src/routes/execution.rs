//! What a caller reads of an execution that has ended.

use serde::Serialize;
use warren_common::model::{JobState, ValuePair};

use crate::error::ApiError;
use crate::watch::Outcome;

/// The reply of execute: all five members, always.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct ExecuteResponse<'a> {
    success: bool,
    error_message: &'a str,
    output_parameters: &'a [ValuePair],
    console_output: &'a str,
    changed_files: &'a [String],
}

impl<'a> ExecuteResponse<'a> {
    /// The reply; an error where there is none.
    pub(super) fn of(outcome: &'a Outcome) -> Result<Self, ApiError> {
        let told = outcome
            .reason
            .as_deref()
            .filter(|reason| !reason.is_empty());
        let run_error = outcome.run.as_ref().map(|run| run.error_message.as_str());
        let run_error = run_error.filter(|message| !message.is_empty());
        let error_message = match outcome.state {
            JobState::Lost => return Err(lost(told)),
            JobState::Succeeded if outcome.run.is_none() => {
                return Err(ApiError::internal("the stored result cannot be read"));
            }
            JobState::Succeeded => "",
            JobState::Cancelled => told.or(run_error).unwrap_or("it was cancelled"),
            JobState::TimedOut => told.or(run_error).unwrap_or("it ran longer than it may"),
            _ => run_error.or(told).unwrap_or("it failed"),
        };
        let run = outcome.run.as_ref();
        Ok(Self {
            success: outcome.state == JobState::Succeeded,
            error_message,
            output_parameters: run.map_or(&[], |run| &run.output_parameters),
            console_output: &outcome.console,
            changed_files: run.map_or(&[], |run| &run.changed_files),
        })
    }
}

fn lost(reason: Option<&str>) -> ApiError {
    let reason = reason
        .map(|reason| format!(": {reason}"))
        .unwrap_or_default();
    ApiError::Gone(format!(
        "the job was lost and will not be run again{reason}; nobody knows how far it came"
    ))
}

#[cfg(test)]
mod tests {
    use super::*;
    use warren_common::model::RunResult;

    fn outcome(state: JobState, run: Option<&str>, reason: Option<&str>) -> Outcome {
        let run = run.map(|error| RunResult {
            success: error.is_empty(),
            error_message: error.to_owned(),
            output_parameters: Vec::new(),
            changed_files: Vec::new(),
        });
        Outcome {
            state,
            run,
            console: "[1] 2\n".to_owned(),
            reason: reason.map(str::to_owned),
        }
    }

    fn reply(state: JobState, run: Option<&str>, reason: Option<&str>) -> String {
        let outcome = outcome(state, run, reason);
        serde_json::to_string(&ExecuteResponse::of(&outcome).unwrap()).unwrap()
    }

    #[test]
    fn all_five_members_are_there() {
        assert_eq!(
            reply(JobState::Succeeded, Some(""), None),
            r#"{"success":true,"errorMessage":"","outputParameters":[],"consoleOutput":"[1] 2\n","changedFiles":[]}"#
        );
        assert_eq!(
            reply(
                JobState::Cancelled,
                None,
                Some("it was cancelled before it began")
            ),
            r#"{"success":false,"errorMessage":"it was cancelled before it began","outputParameters":[],"consoleOutput":"[1] 2\n","changedFiles":[]}"#
        );
    }

    #[test]
    fn whatever_did_not_succeed_says_why() {
        for (state, run, reason, expected) in [
            (JobState::Failed, Some("no"), None, "no"),
            (JobState::Failed, None, None, "it failed"),
            (
                JobState::TimedOut,
                Some(""),
                Some("60 s are over"),
                "60 s are over",
            ),
            (JobState::TimedOut, None, None, "it ran longer than it may"),
        ] {
            let outcome = outcome(state, run, reason);
            let reply = ExecuteResponse::of(&outcome).unwrap();
            assert!(!reply.success);
            assert_eq!(reply.error_message, expected);
        }
    }

    #[test]
    fn a_lost_job_is_gone() {
        let outcome = outcome(JobState::Lost, None, Some("its worker was lost"));
        let error = ExecuteResponse::of(&outcome).unwrap_err();
        assert!(matches!(&error, ApiError::Gone(message) if message.contains("its worker")));
    }
}
