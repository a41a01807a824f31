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
    /// How long clients call, for each figure and round.
    #[serde(skip)]
    pub span: Duration,
    /// The most calls of one figure and round.
    pub most_calls: u64,
}

impl Plan {
    /// For figures that count.
    pub const fn full(rounds: u32) -> Self {
        Self {
            rounds,
            starts: 5,
            opens: 20,
            span: Duration::from_millis(2500),
            most_calls: 50_000,
        }
    }

    /// To see that everything works.
    pub const fn quick(rounds: u32) -> Self {
        Self {
            rounds,
            starts: 1,
            opens: 2,
            span: Duration::from_millis(150),
            most_calls: 200,
        }
    }

    /// What comes first and is not counted: connections are made, statements prepared, pages touched.
    #[must_use]
    pub fn warm_up(&self) -> Self {
        Self {
            rounds: 1,
            starts: 1,
            opens: self.opens.min(5),
            span: self.span / 5,
            most_calls: self.most_calls,
        }
    }
}
