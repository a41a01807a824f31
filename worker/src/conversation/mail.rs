//! What a task is told while it talks to R.

use warren_common::id::JobId;

/// What the task of a session, or of a call, is told.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Mail {
    /// Jobs wait.
    Work,
    /// Jobs wait that need no R.
    Aside,
    /// Cancel this job, if it is one that runs.
    Cancel(JobId),
    /// End the session.
    Close {
        /// Do not wait for R.
        force: bool,
    },
}
