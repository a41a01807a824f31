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

/// A protection of the sandbox that does not hold in full on a worker's machine, for operators.
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub struct Weakness {
    /// What the protection is called.
    pub name: String,
    /// `weaker` or `off`.
    pub state: String,
    /// What holds instead.
    pub how: String,
    /// What the machine or the settings lack.
    pub needs: String,
}
