//! Fleets of three API nodes and one, two or four workers, side by side: what more workers bring on this machine.

use super::BenchError;
use super::figure::{Figure, WORKERS};
use super::load;
use super::plan::Plan;
use super::stage::{Found, Stage};
use super::warren::{Size, Warren};

/// Nodes of each fleet; clients are spread over them.
const NODES: usize = 3;

/// A Warren for each number of [`WORKERS`].
pub(super) struct FleetStage {
    warrens: Vec<(usize, Warren)>,
}

impl FleetStage {
    /// Starts them and opens a session for each client.
    pub(super) async fn set_up() -> Result<Self, BenchError> {
        let mut warrens = Vec::new();
        for workers in WORKERS {
            let size = Size {
                nodes: NODES,
                workers,
                sessions: Figure::ExecuteWith(workers).clients(),
            };
            warrens.push((workers, Warren::of(size).await?));
        }
        Ok(Self { warrens })
    }
}

impl Stage for FleetStage {
    type Step = usize;

    fn steps() -> Vec<usize> {
        WORKERS.to_vec()
    }

    async fn measure(&self, workers: usize, plan: &Plan) -> Result<Vec<Found>, BenchError> {
        let figure = Figure::ExecuteWith(workers);
        let mut found = Vec::new();
        for (_, warren) in self.warrens.iter().filter(|(count, _)| *count == workers) {
            let clients = warren.clients(figure.clients()).await?;
            found.push(Found::Times(figure, load::run(clients, plan).await?));
        }
        Ok(found)
    }
}
