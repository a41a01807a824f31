//! What a run comes to: the state of its job, what its caller reads, and what becomes of its session.

use serde::Serialize;
use warren_common::model::{
    CancelOutcome, GotObject, JobState, Names, Refusal, RefusalKind, RunResult, SavedSnapshot,
    ValuePair,
};
use warren_common::store::snapshots::NewSnapshot;
use warren_rhost::session::{Done, Ending};

use crate::files::FilesError;
use crate::host::ChildExit;

/// Why R was asked to unwind.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Wish {
    Cancel,
    TimeOut,
    Close,
    /// The worker stops and will not wait.
    Stop,
}

/// What a job leaves, as it is stored.
#[derive(Debug, Serialize)]
#[serde(untagged)]
pub(crate) enum Left {
    Run(RunResult),
    Names(Names),
    Object(GotObject),
    Snapshot(SavedSnapshot),
    Refusal(Refusal),
}

/// Why a session ends whose worker is drained, and with it what has not ended within the grace period.
pub(crate) const DRAINED: &str =
    "its worker was drained, as for an upgrade, and its sessions end with it: open a new one";

/// How a job ends, but for its console text.
#[derive(Debug)]
pub(crate) struct Verdict {
    pub(crate) state: JobState,
    pub(crate) result: Option<Box<Left>>,
    /// A snapshot that is whole in the store.
    pub(crate) snapshot: Option<Box<NewSnapshot>>,
    /// Why, where the result does not say.
    pub(crate) reason: Option<String>,
    pub(crate) cancel: Option<CancelOutcome>,
    /// Why the session ends with it, when it does.
    pub(crate) gone: Option<String>,
    /// Nothing ran, because an input cannot be what it is declared to be.
    pub(crate) is_about_input: bool,
}

impl Verdict {
    /// It did what was asked.
    pub(crate) fn done(result: Option<Left>) -> Self {
        Self {
            state: JobState::Succeeded,
            result: result.map(Box::new),
            snapshot: None,
            reason: None,
            cancel: None,
            gone: None,
            is_about_input: false,
        }
    }

    /// R was not asked at all, or has no part in it.
    pub(crate) fn without_r(reason: String) -> Self {
        Self {
            state: JobState::Failed,
            reason: Some(reason),
            ..Self::done(None)
        }
    }

    /// Something of the worker's own operating system.
    pub(crate) fn of_worker(error: std::io::Error) -> Self {
        Self::from(FilesError::from(error))
    }

    /// It came to nothing through no fault of its own, and another attempt may do better.
    pub(crate) fn may_work_later(&self) -> bool {
        let unavailable = matches!(
            self.result.as_deref(),
            Some(Left::Refusal(refusal)) if refusal.refusal == RefusalKind::Unavailable
        );
        self.state == JobState::Lost || unavailable
    }

    pub(crate) fn cancelled_before_it_began() -> Self {
        Self {
            state: JobState::Cancelled,
            reason: Some("it was cancelled before it began".to_owned()),
            cancel: Some(CancelOutcome::Confirmed),
            ..Self::done(None)
        }
    }

    /// Somebody wanted it to stop while R had no part in it; the session lives.
    pub(crate) fn of_unwinding(wish: Option<Wish>, limit: u64) -> Self {
        let (state, message) = told(&Ending::Interrupted, wish, limit);
        Self {
            state,
            reason: Some(message),
            cancel: confirmed(state),
            ..Self::done(None)
        }
    }

    /// R came back from a question about the workspace without having done what was asked; none when it has.
    pub(crate) fn of_question(ending: &Ending, wish: Option<Wish>, limit: u64) -> Option<Self> {
        Some(match ending {
            Ending::Succeeded => return None,
            Ending::Interrupted => Self::of_unwinding(wish, limit),
            Ending::NoObject => FilesError::refused(
                RefusalKind::NotFound,
                "the workspace has no object of this name",
            )
            .into(),
            Ending::ParseError { message }
            | Ending::Error { message }
            | Ending::ValueError { message }
            | Ending::OutOfMemory { message } => {
                FilesError::refused(RefusalKind::Invalid, format!("R: {message}")).into()
            }
        })
    }

    /// R came back to its prompt. `names` are those of the outputs; `limit` is the time the run was given, in seconds.
    pub(crate) fn of_run(
        done: Done,
        names: &[String],
        wish: Option<Wish>,
        limit: u64,
        result_max_bytes: u64,
    ) -> Self {
        let bytes: usize = done.outputs.iter().map(|value| value.get().len()).sum();
        if bytes as u64 > result_max_bytes {
            // The R host checks each value; this holds for their sum, and for a host that was tampered with.
            let message = format!(
                "the outputs are {bytes} bytes of JSON, more than WARREN_RESULT_MAX_BYTES allows ({result_max_bytes})"
            );
            let mut result = failed(message);
            result.changed_files = done.changed_files;
            return Self {
                state: JobState::Failed,
                ..Self::done(Some(Left::Run(result)))
            };
        }
        let (state, message) = told(&done.ending, wish, limit);
        // What R says of itself stands in the result; what was done to it is the job's reason too.
        let done_to_it = matches!(
            state,
            JobState::Cancelled | JobState::TimedOut | JobState::Lost
        );
        let values = names.iter().zip(done.outputs);
        // Only the host itself ends a run so, and it names inputs before it runs anything.
        let is_about_input = matches!(
            &done.ending,
            Ending::ValueError { message } if message.starts_with("input ")
        );
        Self {
            is_about_input,
            state,
            reason: done_to_it.then(|| message.clone()),
            cancel: confirmed(state),
            ..Self::done(Some(Left::Run(RunResult {
                success: state == JobState::Succeeded,
                error_message: message,
                output_parameters: values
                    .map(|(name, value)| ValuePair {
                        name: name.clone(),
                        value,
                    })
                    .collect(),
                changed_files: done.changed_files,
                output_files: Vec::new(),
            })))
        }
    }

    /// The process is gone. `forced`: because it was killed for the sake of the wish.
    pub(crate) fn of_process(
        exit: &ChildExit,
        wish: Option<Wish>,
        forced: bool,
        limit: u64,
    ) -> Self {
        let cancel = forced.then_some(CancelOutcome::Forced);
        match (wish, forced) {
            (Some(Wish::Close), _) => Self {
                state: JobState::Cancelled,
                cancel,
                ..Self::end_of_session(
                    "its session was closed".to_owned(),
                    "it was closed by its owner".to_owned(),
                )
            },
            (Some(Wish::Cancel), true) => Self {
                state: JobState::Cancelled,
                cancel,
                ..Self::end_of_session(
                    "it was cancelled; R did not stop in time, so its process was killed"
                        .to_owned(),
                    "a run was cancelled and did not stop in time, so the R process was killed"
                        .to_owned(),
                )
            },
            (Some(Wish::TimeOut), true) => Self {
                state: JobState::TimedOut,
                cancel,
                ..Self::end_of_session(
                    format!(
                        "it ran longer than its {limit} s and did not stop when it was interrupted, so its process was killed"
                    ),
                    format!(
                        "a run took longer than its {limit} s and did not stop when it was interrupted, so the R process was \
                         killed"
                    ),
                )
            },
            (Some(Wish::Stop), _) => Self {
                state: JobState::Lost,
                ..Self::end_of_session(DRAINED.to_owned(), DRAINED.to_owned())
            },
            // Nothing that the code did: nobody knows how far it came.
            (_, _) if *exit == ChildExit::ParentLost => Self {
                state: JobState::Lost,
                result: None,
                ..Self::end_of_session(exit.to_string(), exit.to_string())
            },
            // It died by itself, if only while it was asked to stop.
            (None | Some(Wish::Cancel | Wish::TimeOut), _) => {
                Self::end_of_session(format!("{exit}; the session is gone"), exit.to_string())
            }
        }
    }

    /// The process did not keep to the protocol, or would not die, and is nobody's any more.
    pub(crate) fn of_misconduct(what: &str) -> Self {
        Self::end_of_session(format!("{what}; the session is gone"), what.to_owned())
    }

    fn end_of_session(message: String, gone: String) -> Self {
        Self {
            state: JobState::Failed,
            reason: Some(message.clone()),
            gone: Some(gone),
            ..Self::done(Some(Left::Run(failed(message))))
        }
    }
}

impl From<FilesError> for Verdict {
    fn from(error: FilesError) -> Self {
        match error {
            FilesError::Failed(reason) => Self::without_r(reason),
            FilesError::Refused(refusal) => Self {
                state: JobState::Failed,
                reason: Some(refusal.message.clone()),
                ..Self::done(Some(Left::Refusal(refusal)))
            },
        }
    }
}

/// The state of a job that ended this way, and the text for its caller.
fn told(ending: &Ending, wish: Option<Wish>, limit: u64) -> (JobState, String) {
    match (ending, wish) {
        (Ending::Succeeded, _) => (JobState::Succeeded, String::new()),
        (Ending::Interrupted, Some(Wish::Cancel)) => {
            (JobState::Cancelled, "it was cancelled".to_owned())
        }
        (Ending::Interrupted, Some(Wish::TimeOut)) => (
            JobState::TimedOut,
            format!("it ran longer than its {limit} s and was interrupted"),
        ),
        (Ending::Interrupted, Some(Wish::Close)) => {
            (JobState::Cancelled, "its session was closed".to_owned())
        }
        (Ending::Interrupted, Some(Wish::Stop)) => (JobState::Lost, DRAINED.to_owned()),
        (Ending::Interrupted, None) => (JobState::Failed, "interrupted".to_owned()),
        (Ending::NoObject, _) => (JobState::Failed, "there is no such object".to_owned()),
        (
            Ending::ParseError { message }
            | Ending::Error { message }
            | Ending::ValueError { message }
            | Ending::OutOfMemory { message },
            _,
        ) => (JobState::Failed, message.clone()),
    }
}

/// What became of the wish when R unwound for it.
fn confirmed(state: JobState) -> Option<CancelOutcome> {
    matches!(state, JobState::Cancelled | JobState::TimedOut).then_some(CancelOutcome::Confirmed)
}

fn failed(message: String) -> RunResult {
    RunResult {
        success: false,
        error_message: message,
        output_parameters: Vec::new(),
        changed_files: Vec::new(),
        output_files: Vec::new(),
    }
}

#[cfg(test)]
mod tests {
    use warren_rhost::control::Exit;

    use super::*;

    const CRASH: ChildExit = ChildExit::Reaped(Exit::Signal {
        signal: 11,
        out_of_memory: false,
        stack_overflow: false,
    });
    const KILL: ChildExit = ChildExit::Reaped(Exit::Signal {
        signal: 9,
        out_of_memory: false,
        stack_overflow: false,
    });

    fn done(ending: Ending) -> Done {
        Done {
            run: 0,
            ending,
            outputs: Vec::new(),
            changed_files: Vec::new(),
        }
    }

    #[test]
    fn a_wish_counts_only_when_r_unwound_for_it() {
        for (wish, state) in [
            (Wish::Cancel, JobState::Cancelled),
            (Wish::TimeOut, JobState::TimedOut),
            (Wish::Close, JobState::Cancelled),
            (Wish::Stop, JobState::Lost),
        ] {
            let unwound = Verdict::of_run(done(Ending::Interrupted), &[], Some(wish), 60, 1000);
            assert_eq!(unwound.state, state);
            assert_eq!(
                unwound.cancel.is_some(),
                state != JobState::Lost,
                "{wish:?}"
            );
            assert_eq!(unwound.gone, None);
            let finished = Verdict::of_run(done(Ending::Succeeded), &[], Some(wish), 60, 1000);
            assert_eq!(
                (finished.state, finished.cancel),
                (JobState::Succeeded, None)
            );
        }
    }

    #[test]
    fn a_process_that_dies_by_itself_while_it_is_asked_to_stop_has_crashed() {
        for wish in [None, Some(Wish::Cancel), Some(Wish::TimeOut)] {
            let crashed = Verdict::of_process(&CRASH, wish, false, 60);
            assert_eq!((crashed.state, crashed.cancel), (JobState::Failed, None));
            assert!(crashed.gone.unwrap().contains("segmentation fault"));
        }
        let killed = Verdict::of_process(&KILL, Some(Wish::Cancel), true, 60);
        assert_eq!(
            (killed.state, killed.cancel),
            (JobState::Cancelled, Some(CancelOutcome::Forced))
        );
        assert!(killed.gone.unwrap().contains("was cancelled"));
    }

    #[test]
    fn what_a_lost_host_ran_is_lost() {
        for wish in [None, Some(Wish::Cancel), Some(Wish::TimeOut)] {
            let lost = Verdict::of_process(&ChildExit::ParentLost, wish, false, 60);
            assert_eq!(lost.state, JobState::Lost);
            assert!(lost.result.is_none());
            assert!(lost.reason.unwrap().contains("R host"));
        }
        let closed = Verdict::of_process(&ChildExit::ParentLost, Some(Wish::Close), false, 60);
        assert_eq!(closed.state, JobState::Cancelled);
    }

    #[test]
    fn outputs_that_are_too_long_together_are_refused() {
        let mut done = done(Ending::Succeeded);
        done.outputs = vec![serde_json::value::to_raw_value("12345678").unwrap()];
        let verdict = Verdict::of_run(done, &["x".to_owned()], None, 60, 9);
        assert_eq!(verdict.state, JobState::Failed);
        let Some(Left::Run(result)) = verdict.result.map(|left| *left) else {
            panic!("no result of a run");
        };
        assert!(result.error_message.contains("WARREN_RESULT_MAX_BYTES"));
        assert!(result.output_parameters.is_empty());
    }
}
