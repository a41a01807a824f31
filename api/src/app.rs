//! What every handler can reach.

use std::sync::Arc;

use warren_common::blobs::Blobs;
use warren_common::queue::Broker;
use warren_common::store::Db;

use crate::auth::password::Passwords;
use crate::auth::tokens::Tokens;
use crate::config::ApiConfig;
use crate::ready::Ready;
use crate::submit::Submitter;
use crate::watch::Watch;

/// The parts of a node.
pub struct App {
    /// Its settings.
    pub config: ApiConfig,
    /// Postgres.
    pub db: Db,
    /// RabbitMQ.
    pub broker: Broker,
    /// The object store.
    pub blobs: Blobs,
    /// Access tokens.
    pub tokens: Tokens,
    /// Passwords.
    pub passwords: Passwords,
    /// Whether it could do its work now.
    pub ready: Ready,
    /// Stores jobs.
    pub submitter: Arc<Submitter>,
    /// Waits for jobs.
    pub watch: Watch,
}

/// As handlers hold it.
pub type Shared = Arc<App>;
