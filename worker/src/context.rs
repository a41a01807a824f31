//! What everything shares that runs jobs in this worker.

use std::sync::Arc;

use warren_common::model::WorkerIdentity;
use warren_common::queue::Broker;
use warren_common::stop::Stop;
use warren_common::store::Db;

use crate::config::WorkerConfig;
use crate::files::Transfers;
use crate::lease::LeaseWatch;
use crate::writes::Writes;

/// The parts of a worker.
#[derive(Clone)]
pub struct Context {
    /// Postgres.
    pub db: Db,
    /// Who writes.
    pub me: WorkerIdentity,
    /// Grouped writes.
    pub writes: Writes,
    /// For completion events.
    pub broker: Broker,
    /// Whether anything new may begin.
    pub lease: LeaseWatch,
    /// What moves files between sessions and the object store.
    pub transfers: Transfers,
    /// Settings.
    pub config: Arc<WorkerConfig>,
    /// When to end.
    pub stop: Stop,
}
