//! How much is measured; everything has an end.

use std::time::Duration;

use serde::Serialize;

/// Bounds of a run.
#[derive(Debug, Clone, Serialize)]
pub struct Plan {
    /// How often everything is measured.
    pub rounds: u32,
    /// Starts of R a round.
    pub starts: u32,
    /// Sessions opened a round.
    pub opens: u32,
    /// How long clients call, for each figure and round, in milliseconds.
    pub span_ms: u64,
    /// The most calls of one figure and round.
    pub most_calls: u64,
    /// Children forked one after another, a round.
    pub forks: u32,
    /// Evaluations in one session, a round.
    pub evaluations: u32,
    /// Data frames a round, each way.
    pub frames: u32,
    /// Their rows.
    pub frame_rows: u32,
    /// Console text a round.
    pub console_mib: u32,
    /// Rows of the data frame that is saved; each has 80 bytes.
    pub snapshot_rows: u32,
    /// Size of a file that goes up and down.
    pub file_mib: u32,
    /// Finished jobs in the table that has many.
    pub rows: u64,
    /// Refused sign-ins of each kind, a round.
    pub sign_ins: u32,
    /// Sign-ins that are revoked, a round.
    pub revocations: u32,
}

impl Plan {
    /// For figures that count.
    pub const fn full(rounds: u32) -> Self {
        Self {
            rounds,
            starts: 5,
            opens: 20,
            span_ms: 2500,
            most_calls: 50_000,
            forks: 200,
            evaluations: 2000,
            frames: 3,
            frame_rows: 100_000,
            console_mib: 128,
            snapshot_rows: 1_250_000,
            file_mib: 1024,
            rows: 1_000_000,
            sign_ins: 40,
            revocations: 20,
        }
    }

    /// To see that everything works.
    pub const fn quick(rounds: u32) -> Self {
        Self {
            rounds,
            starts: 1,
            opens: 2,
            span_ms: 150,
            most_calls: 200,
            forks: 4,
            evaluations: 10,
            frames: 1,
            frame_rows: 1000,
            console_mib: 2,
            snapshot_rows: 10_000,
            file_mib: 16,
            rows: 10_000,
            sign_ins: 2,
            revocations: 2,
        }
    }

    /// Bytes of a file that goes up and down.
    pub fn file_bytes(&self) -> u64 {
        u64::from(self.file_mib) << 20
    }

    /// How long clients call.
    pub const fn span(&self) -> Duration {
        Duration::from_millis(self.span_ms)
    }

    /// What comes first and is not counted: connections are made, statements prepared, pages touched.
    #[must_use]
    pub fn warm_up(&self) -> Self {
        Self {
            rounds: 1,
            starts: 1,
            opens: self.opens.min(5),
            span_ms: self.span_ms / 5,
            most_calls: self.most_calls,
            forks: self.forks.min(10),
            evaluations: self.evaluations.min(10),
            frames: 1,
            frame_rows: self.frame_rows.min(1000),
            console_mib: self.console_mib.min(2),
            snapshot_rows: self.snapshot_rows.min(10_000),
            file_mib: self.file_mib.min(64),
            rows: self.rows,
            sign_ins: self.sign_ins.min(4),
            revocations: self.revocations.min(2),
        }
    }
}
