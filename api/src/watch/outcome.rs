//! How a watched job ended, whether an event or a row said so.

use serde::de::DeserializeOwned;
use serde_json::value::RawValue;
use warren_common::model::JobState;
use warren_common::queue::Finished;
use warren_common::store::jobs::Ended;

/// How a job ended and what it left.
#[derive(Debug)]
pub struct Outcome {
    /// A final state.
    pub state: JobState,
    /// What it left, as exact JSON; its form depends on the kind of the job. Absent when it left nothing.
    pub result: Option<Box<RawValue>>,
    /// All of the console text.
    pub console: String,
    /// Why it ended, where the result does not say.
    pub reason: Option<String>,
}

impl Outcome {
    /// What it left. A result that cannot be read is one of a newer worker, or a fault of ours; its job ended all the same.
    pub fn read<T: DeserializeOwned>(&self) -> Option<T> {
        let result = self.result.as_deref()?;
        // Only where it is wrong: the text of the error may repeat values.
        serde_json::from_str(result.get())
            .inspect_err(|error| {
                tracing::error!(column = error.column(), "A stored result cannot be read");
            })
            .ok()
    }
}

impl From<Finished> for Outcome {
    fn from(left: Finished) -> Self {
        Self {
            state: left.state,
            result: left.result,
            console: left.console,
            reason: left.reason,
        }
    }
}

impl From<Ended> for Outcome {
    fn from(ended: Ended) -> Self {
        let console = String::from_utf8(ended.console)
            .unwrap_or_else(|error| String::from_utf8_lossy(error.as_bytes()).into_owned());
        let result = ended.result.and_then(|bytes| {
            let raw = String::from_utf8(bytes).ok().map(RawValue::from_string);
            raw.and_then(Result::ok).or_else(|| {
                tracing::error!("A stored result of {} is no JSON", ended.job.id);
                None
            })
        });
        Self {
            state: ended.job.state,
            result,
            console,
            reason: ended.job.reason,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use warren_common::model::RunResult;

    #[test]
    fn values_stay_exact() {
        let result = r#"{"success":true,"errorMessage":"","outputParameters":[{"name":"z","value":[5.50,1e3]}],"changedFiles":[]}"#;
        let outcome = Outcome::from(Finished {
            state: JobState::Succeeded,
            result: Some(RawValue::from_string(result.to_owned()).unwrap()),
            console: String::new(),
            reason: None,
        });
        let run: RunResult = outcome.read().unwrap();
        assert_eq!(
            run.output_parameters.first().unwrap().value.get(),
            "[5.50,1e3]"
        );
    }
}
