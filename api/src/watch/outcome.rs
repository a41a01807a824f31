//! How a watched job ended, whether an event or a row said so.

use serde_json::value::RawValue;
use warren_common::model::{JobState, RunResult};
use warren_common::queue::Finished;
use warren_common::store::jobs::Ended;

/// How a job ended and what it left.
#[derive(Debug)]
pub struct Outcome {
    /// A final state.
    pub state: JobState,
    /// What R left; absent when the job never ran to an end, and for jobs without R.
    pub run: Option<RunResult>,
    /// All of the console text.
    pub console: String,
    /// Why it ended, where the result does not say.
    pub reason: Option<String>,
}

impl From<Finished> for Outcome {
    fn from(left: Finished) -> Self {
        Self {
            state: left.state,
            run: left.result.as_deref().and_then(run_of),
            console: left.console,
            reason: left.reason,
        }
    }
}

impl From<Ended> for Outcome {
    fn from(ended: Ended) -> Self {
        let result = ended.result.as_deref().map(serde_json::from_slice);
        let console = String::from_utf8(ended.console)
            .unwrap_or_else(|error| String::from_utf8_lossy(error.as_bytes()).into_owned());
        Self {
            state: ended.job.state,
            run: result.and_then(noted),
            console,
            reason: ended.job.reason,
        }
    }
}

fn run_of(result: &RawValue) -> Option<RunResult> {
    noted(serde_json::from_str(result.get()))
}

/// A result that cannot be read is one of a newer worker, or a fault of ours; its job ended all the same.
fn noted(read: serde_json::Result<RunResult>) -> Option<RunResult> {
    // Only where it is wrong: the text of the error may repeat values.
    read.inspect_err(|error| {
        tracing::error!(column = error.column(), "A stored result cannot be read");
    })
    .ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_stay_exact() {
        let result = r#"{"success":true,"errorMessage":"","outputParameters":[{"name":"z","value":[5.50,1e3]}],"changedFiles":[]}"#;
        let outcome = Outcome::from(Finished {
            state: JobState::Succeeded,
            result: Some(RawValue::from_string(result.to_owned()).unwrap()),
            console: String::new(),
            reason: None,
        });
        let run = outcome.run.unwrap();
        assert_eq!(
            run.output_parameters.first().unwrap().value.get(),
            "[5.50,1e3]"
        );
    }
}
