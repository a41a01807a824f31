//! What every group of figures has: something that is started, and steps that are measured round by round.

use super::BenchError;
use super::figure::{Figure, Quantity};
use super::plan::Plan;
use super::series::Sample;

/// One thing that a step measured.
pub(super) enum Found {
    /// Times.
    Times(Figure, Sample),
    /// An amount, in the unit of the quantity.
    Amount(Quantity, f64),
}

/// Everything that a group of figures needs, started and ready.
pub(super) trait Stage {
    /// What is measured in one go.
    type Step: Copy;

    /// Every step; what is compared with each other stands together.
    fn steps() -> Vec<Self::Step>;

    /// Measures one step, once.
    async fn measure(&self, step: Self::Step, plan: &Plan) -> Result<Vec<Found>, BenchError>;
}
