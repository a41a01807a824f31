//! What every handler can reach.

use std::sync::Arc;

use tokio_util::sync::CancellationToken;
use warren_common::blobs::Blobs;
use warren_common::id::ApiId;
use warren_common::queue::Broker;
use warren_common::store::Db;

use crate::activity::Activity;
use crate::audit::Audit;
use crate::auth::ldap::Directory;
use crate::auth::openid::OpenId;
use crate::auth::password::Passwords;
use crate::auth::tokens::Tokens;
use crate::config::ApiConfig;
use crate::offers::Offers;
use crate::ready::Ready;
use crate::services::targets::Targets;
use crate::streams::Streams;
use crate::submit::Submitter;
use crate::sweeper::Waiting;
use crate::watch::{Progress, Watch};

/// The parts of a node.
pub struct App {
    /// Its id, new at every start.
    pub id: ApiId,
    /// Its settings.
    pub config: ApiConfig,
    /// Postgres.
    pub db: Db,
    /// RabbitMQ.
    pub broker: Broker,
    /// The object store.
    pub blobs: Blobs,
    /// What workers hold ready, past the store.
    pub offers: Offers,
    /// Who did what.
    pub audit: Audit,
    /// Access tokens.
    pub tokens: Tokens,
    /// The provider whose tokens are taken instead.
    pub openid: Option<OpenId>,
    /// Passwords.
    pub passwords: Passwords,
    /// Who checks them instead.
    pub directory: Option<Directory>,
    /// Whether it could do its work now.
    pub ready: Ready,
    /// Stores jobs.
    pub submitter: Arc<Submitter>,
    /// Waits for jobs.
    pub watch: Watch,
    /// Waits for jobs to come further.
    pub progress: Progress,
    /// What calls of services run.
    pub targets: Targets,
    /// How much waits for workers.
    pub waiting: Waiting,
    /// Places for event streams.
    pub streams: Streams,
    /// Notes which sessions are used.
    pub activity: Activity,
    /// Cancelled when this node takes no more requests: whoever reads here goes on reading elsewhere.
    pub leaving: CancellationToken,
}

/// As handlers hold it.
pub type Shared = Arc<App>;
