//! Many open sessions on one worker, and whether one that is used notices the others: two Warrens side by side, which
//! differ in nothing but how many sessions are open.

use super::figure::{Figure, OPEN};
use super::plan::Plan;
use super::stage::{Found, Stage};
use super::warren::Warren;
use super::{BenchError, load};

/// A Warren for each number of [`OPEN`].
pub(super) struct SessionsStage {
    warrens: Vec<(usize, Warren)>,
}

impl SessionsStage {
    /// Starts them and opens the sessions.
    pub(super) async fn set_up() -> Result<Self, BenchError> {
        let mut warrens = Vec::new();
        for open in OPEN {
            warrens.push((open, Warren::start(open).await?));
        }
        Ok(Self { warrens })
    }
}

impl Stage for SessionsStage {
    type Step = usize;

    fn steps() -> Vec<usize> {
        OPEN.to_vec()
    }

    async fn measure(&self, open: usize, plan: &Plan) -> Result<Vec<Found>, BenchError> {
        let mut found = Vec::new();
        for (_, warren) in self.warrens.iter().filter(|(count, _)| *count == open) {
            let sample = load::run(warren.clients(1).await?, plan).await?;
            found.push(Found::Times(Figure::ExecuteBeside(open), sample));
        }
        Ok(found)
    }
}
