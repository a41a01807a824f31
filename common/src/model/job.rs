//! Jobs: what they are, where they stand, what they carry.

use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;

use super::{IllegalMove, words};

words! {
    /// What a job does.
    JobKind, "job kind" {
        /// Find a worker and an R process for a new session.
        OpenSession = "open_session",
        /// Run code in an open session.
        Execute = "execute",
    }
}

words! {
    /// Where a job stands. `docs/STATES.md` has the picture, the table `jobs` the same words.
    JobState, "job state" {
        /// A batch item that is not released yet.
        Waiting = "waiting",
        /// To be claimed.
        Queued = "queued",
        /// Claimed by a worker that is alive as far as anybody knows.
        Running = "running",
        /// R ran to the end.
        Succeeded = "succeeded",
        /// R raised an error, or the job could not be done.
        Failed = "failed",
        /// Somebody asked for it to stop, and it did.
        Cancelled = "cancelled",
        /// It ran longer than it may.
        TimedOut = "timed_out",
        /// Its owner vanished; nobody knows how far it came.
        Lost = "lost",
    }
}

impl JobState {
    /// True when nothing will change any more.
    pub const fn is_final(self) -> bool {
        match self {
            Self::Waiting | Self::Queued | Self::Running => false,
            Self::Succeeded | Self::Failed | Self::Cancelled | Self::TimedOut | Self::Lost => true,
        }
    }

    /// The move to `next`, if the state machine has it.
    ///
    /// Back from running to queued is for stateless kinds only; who asks must know the kind.
    pub const fn to(self, next: Self) -> Result<Self, IllegalMove> {
        let legal = match self {
            Self::Waiting => matches!(next, Self::Queued | Self::Cancelled | Self::Lost),
            Self::Queued => matches!(next, Self::Running | Self::Cancelled | Self::Lost),
            Self::Running => next.is_final() || matches!(next, Self::Queued),
            Self::Succeeded | Self::Failed | Self::Cancelled | Self::TimedOut | Self::Lost => false,
        };
        if legal {
            Ok(next)
        } else {
            Err(IllegalMove {
                from: self.word(),
                to: next.word(),
            })
        }
    }
}

words! {
    /// What became of a wish to cancel a running job.
    CancelOutcome, "cancel outcome" {
        /// R unwound; the session lives.
        Confirmed = "confirmed",
        /// The process was killed; the session is gone.
        Forced = "forced",
    }
}

/// The request of a [`JobKind::OpenSession`].
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
pub struct OpenRequest {}

/// The request of a [`JobKind::Execute`], as it is stored.
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

/// A named value on its way out of R, as exact JSON.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct ValuePair {
    /// Name in the workspace.
    pub name: String,
    /// The value.
    pub value: Box<RawValue>,
}

/// What a run left, as it is stored: everything but the console text, which has its own place.
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_final_job_never_moves() {
        for from in JobState::ALL.iter().filter(|state| state.is_final()) {
            for next in JobState::ALL {
                assert!(from.to(*next).is_err(), "{from:?} to {next:?}");
            }
        }
    }

    #[test]
    fn only_a_queued_job_starts() {
        let starters: Vec<_> = JobState::ALL
            .iter()
            .filter(|state| state.to(JobState::Running).is_ok())
            .collect();
        assert_eq!(starters, [&JobState::Queued]);
    }

    #[test]
    fn every_word_reads_back() {
        for state in JobState::ALL {
            assert_eq!(state.word().parse(), Ok(*state));
        }
        assert_eq!(
            "done".parse::<JobState>().unwrap_err().to_string(),
            "\"done\" is no job state"
        );
    }

    #[test]
    fn the_table_says_the_same_words() {
        let sql = include_str!("../../../migrations/0001_spine.sql");
        for word in JobState::ALL
            .iter()
            .map(|state| state.word())
            .chain(JobKind::ALL.iter().map(|kind| kind.word()))
        {
            assert!(sql.contains(&format!("'{word}'")), "{word}");
        }
    }
}
