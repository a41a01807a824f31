//! What a caller reads of an execution that has ended.

use serde::Serialize;
use warren_common::model::{JobState, RunResult, ValuePair};

use super::turn::lost;
use crate::error::ApiError;
use crate::watch::Outcome;

/// The reply of execute: all five members, always.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct ExecuteResponse<'a> {
    success: bool,
    error_message: String,
    output_parameters: Vec<ValuePair>,
    console_output: &'a str,
    changed_files: Vec<String>,
}

impl<'a> ExecuteResponse<'a> {
    /// The reply; an error where there is none.
    pub(super) fn of(outcome: &'a Outcome) -> Result<Self, ApiError> {
        let told = outcome
            .reason
            .as_deref()
            .filter(|reason| !reason.is_empty());
        if outcome.state == JobState::Lost {
            return Err(lost(told));
        }
        let run: Option<RunResult> = outcome.read();
        if outcome.state == JobState::Succeeded && run.is_none() {
            return Err(ApiError::internal("the stored result cannot be read"));
        }
        let (run_error, output_parameters, changed_files) = match run {
            Some(run) => (run.error_message, run.output_parameters, run.changed_files),
            None => (String::new(), Vec::new(), Vec::new()),
        };
        let run_error = Some(run_error.as_str()).filter(|message| !message.is_empty());
        let error_message = match outcome.state {
            JobState::Succeeded => "",
            JobState::Cancelled => told.or(run_error).unwrap_or("it was cancelled"),
            JobState::TimedOut => told.or(run_error).unwrap_or("it ran longer than it may"),
            _ => run_error.or(told).unwrap_or("it failed"),
        };
        Ok(Self {
            success: outcome.state == JobState::Succeeded,
            error_message: error_message.to_owned(),
            output_parameters,
            console_output: &outcome.console,
            changed_files,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::value::to_raw_value;

    fn outcome(state: JobState, run: Option<&str>, reason: Option<&str>) -> Outcome {
        let run = run.map(|error| RunResult {
            success: error.is_empty(),
            error_message: error.to_owned(),
            output_parameters: Vec::new(),
            changed_files: Vec::new(),
            output_files: Vec::new(),
        });
        Outcome {
            state,
            result: run.map(|run| to_raw_value(&run).unwrap()),
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
