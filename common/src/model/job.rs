//! Jobs: what they are, where they stand, what they carry.

use super::{IllegalMove, words};

words! {
    /// What a job does.
    JobKind, "job kind" {
        /// Find a worker and an R process for a new session.
        OpenSession = "open_session",
        /// Run code in an open session.
        Execute = "execute",
        /// Name the objects of the workspace.
        ListObjects = "list_objects",
        /// Give out one object of the workspace.
        GetObject = "get_object",
        /// Take an object into the workspace.
        PutObject = "put_object",
        /// Remove an object from the workspace.
        DeleteObject = "delete_object",
        /// Name the files of the working directory.
        ListFiles = "list_files",
        /// Give out a file of the working directory.
        GetFile = "get_file",
        /// Take files into the working directory.
        PutFiles = "put_files",
        /// Remove a file from the working directory.
        DeleteFile = "delete_file",
        /// Save workspace and working directory.
        CreateSnapshot = "create_snapshot",
        /// Bring a saved workspace and working directory into the session.
        LoadSnapshot = "load_snapshot",
        /// Make a version of a service, or change one.
        Publish = "publish",
        /// Run a service once.
        Call = "call",
        /// Run a service for one record of a batch.
        BatchItem = "batch_item",
    }
}

words! {
    /// How a job of an open session takes its turn.
    Lane, "lane" {
        /// One at a time, in the order of acceptance: whatever needs R.
        Ordered = "ordered",
        /// At once, without R.
        Aside = "aside",
    }
}

impl JobKind {
    /// Whether a job of this kind belongs to no session and may be tried again when its worker is lost.
    pub const fn is_stateless(self) -> bool {
        matches!(self, Self::Publish | Self::Call | Self::BatchItem)
    }

    /// The lane of jobs of this kind; none for what does not take its turn in a session that is open.
    pub const fn lane(self) -> Option<Lane> {
        match self {
            Self::OpenSession | Self::Publish | Self::Call | Self::BatchItem => None,
            Self::Execute
            | Self::ListObjects
            | Self::GetObject
            | Self::PutObject
            | Self::DeleteObject
            | Self::CreateSnapshot
            | Self::LoadSnapshot => Some(Lane::Ordered),
            Self::ListFiles | Self::GetFile | Self::PutFiles | Self::DeleteFile => {
                Some(Lane::Aside)
            }
        }
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
        let sql = concat!(
            include_str!("../../../migrations/0004_hot_path.sql"),
            include_str!("../../../migrations/0006_services.sql")
        );
        let states: Vec<_> = JobState::ALL.iter().map(|state| state.word()).collect();
        let lanes: Vec<_> = Lane::ALL.iter().map(|lane| lane.word()).collect();
        let kinds: Vec<_> = JobKind::ALL.iter().map(|kind| kind.word()).collect();
        for words in [states, lanes, kinds] {
            let list = format!("'{{{}}}'", words.join(","));
            assert!(sql.contains(&list), "{list}");
        }
    }
}
