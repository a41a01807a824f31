//! Workers: who they are and whether they may write.

use super::words;
use crate::id::WorkerId;

words! {
    /// Where a worker stands.
    WorkerState, "worker state" {
        /// Takes work.
        Alive = "alive",
        /// Finishes what it has.
        Draining = "draining",
        /// Left by itself.
        Left = "left",
        /// Declared dead by a sweeper.
        Dead = "dead",
    }
}

/// A worker and the epoch it was given; named by every write it makes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct WorkerIdentity {
    /// New at every start.
    pub id: WorkerId,
    /// Given by the database when it registered.
    pub epoch: i64,
}
