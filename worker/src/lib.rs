//! The fleet member: takes jobs off the queue, drives R processes pinned to sessions, writes what they say.
//!
//! [`run`] is the whole program. In reading order: [`host`] is R, [`session`] is what a session's task does, [`writes`]
//! and [`lease`] are what it may write, [`opens`] and [`notices`] are how it hears.

pub mod config;
pub mod context;
pub mod conversation;
mod disk;
pub mod doctor;
pub mod files;
pub mod host;
pub mod lease;
pub mod notices;
pub mod opens;
pub mod services;
pub mod session;
mod snapshots;
mod tree;
pub mod writes;

use std::sync::Arc;
use std::time::Duration;

use tokio::net::TcpListener;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;
use warren_common::blobs::Blobs;
use warren_common::id::WorkerId;
use warren_common::model::{Weakness, WorkerIdentity};
use warren_common::queue::{Broker, Role, Topology};
use warren_common::stop::Stop;
use warren_common::store::workers::Registration;
use warren_common::store::{Commit, Db, DbError, migrate, workers};
use warren_common::telemetry;
use warren_rhost::control::ProtectionState;

use crate::config::{ConfigError, OfferConfig, WorkerConfig};
use crate::context::Context;
use crate::files::{Limits, Offers, Transfers};
use crate::host::{Directories, HostError, Pool};
use crate::lease::{Keeper, LeaseWatch, Load, Standing};
use crate::opens::Opens;
use crate::services::Calls;
use crate::session::Registry;
use crate::writes::Writes;

/// How long a starting worker waits for Postgres, its schema and `RabbitMQ`.
const START_LIMIT: Duration = Duration::from_secs(30);
/// How long R may take to die and its jobs to be written once it was interrupted for good.
const LAST_WRITES: Duration = Duration::from_secs(20);
/// How long the last writes may take.
const LEAVE_LIMIT: Duration = Duration::from_secs(5);

/// A worker could not start, or may not go on.
#[derive(Debug, thiserror::Error)]
pub enum WorkerError {
    /// Settings contradict each other.
    #[error(transparent)]
    Config(#[from] ConfigError),
    /// Postgres cannot be used.
    #[error(
        "PostgreSQL at {place} cannot be used: check WARREN_DATABASE_URL and that the server runs"
    )]
    Database {
        /// Where it was looked for.
        place: String,
        /// Why not.
        #[source]
        source: DbError,
    },
    /// The schema is older than this program.
    #[error(
        "the schema of the database is not up to date: run `warren-api migrate`, or start an API node of this version"
    )]
    Schema,
    /// The broker's address is wrong.
    #[error(transparent)]
    BrokerAddress(#[from] warren_common::queue::BadAddress),
    /// The broker does not answer.
    #[error("RabbitMQ at {0} does not answer: check WARREN_AMQP_URL and that the server runs")]
    Broker(String),
    /// R cannot be used.
    #[error("R cannot be used")]
    Host(#[source] HostError),
    /// The directory of the sessions cannot be used.
    #[error("WARREN_WORK_DIR {path} cannot be used")]
    WorkDir {
        /// Which.
        path: std::path::PathBuf,
        /// Why.
        #[source]
        source: std::io::Error,
    },
    /// The port of the probes cannot be used.
    #[error("WARREN_METRICS_LISTEN cannot be used")]
    Probes(#[source] std::io::Error),
    /// Where files are fetched.
    #[error("WARREN_OFFER_LISTEN cannot be used")]
    Offers(#[source] std::io::Error),
    /// The lease is lost: what this worker held is somebody else's to judge.
    #[error("this worker's lease is lost")]
    LeaseLost,
}

/// Runs a worker until `stop`, or until its lease is lost.
pub async fn run(config: WorkerConfig, stop: Stop) -> Result<(), WorkerError> {
    config.check()?;
    // Things that must outlive the last session end with this, not with `stop`.
    let life = CancellationToken::new();
    let _ends = life.clone().drop_guard();
    let config = Arc::new(config);
    let db = Db::new(&config.database, Commit::Durable, "warren-worker")
        .map_err(|source| no_database(&config, source))?;
    let relaxed = Db::new(&config.database, Commit::Relaxed, "warren-worker claims")
        .map_err(|source| no_database(&config, source))?;
    wait_for_schema(&db, &config).await?;
    let id = WorkerId::new();
    let topology = Topology {
        prefix: config.queue.prefix.clone(),
        role: Role::Worker(id),
    };
    let broker = Broker::start(
        &config.queue,
        topology,
        &format!("warren-worker {id}"),
        life.clone(),
    )?;
    tokio::time::timeout(START_LIMIT, broker.connected())
        .await
        .map_err(|_elapsed| WorkerError::Broker(config.queue.place().to_owned()))?;
    let directories =
        Directories::open(&config.host.work_dir, id).map_err(|source| WorkerError::WorkDir {
            path: config.host.work_dir.clone(),
            source,
        })?;
    let tick_limit = config.lease.tick_limit();
    let pool = Pool::start(&config.host, tick_limit, directories, life.clone())
        .await
        .map_err(WorkerError::Host)?;
    let weaknesses = weaknesses(&pool);

    let offers = serve_offers(&config.offers, life.clone()).await?;
    let (me, registered) = register(&db, id, &config, &pool, weaknesses).await?;
    let load = Arc::new(Load::default());
    let keeper = Keeper {
        db: db.clone(),
        me,
        config: config.lease.clone(),
        load: Arc::clone(&load),
        draining: stop.soft.clone(),
    };
    let lease = keeper.start(registered, life.clone());
    let writes = Writes::start(me, broker.clone(), db.clone(), relaxed, lease.clone());
    let context = Context {
        db: db.clone(),
        me,
        writes,
        broker: broker.clone(),
        transfers: transfers(&config, db.clone(), offers),
        lease: lease.clone(),
        config: Arc::clone(&config),
        stop: stop.clone(),
    };
    let registry = Registry::new(context, load);
    serve_probes(&config, &broker, &lease, &pool, life.clone()).await?;
    let calls = Calls::new(registry.clone(), Arc::clone(&pool));
    let (hearing, called) = (registry.clone(), calls.clone());
    let heard = life.clone();
    tokio::spawn(async move {
        heard
            .run_until_cancelled(notices::hear(hearing, called, me))
            .await
    });
    tokio::spawn(calls.run());
    tokio::spawn(Opens::new(registry.clone(), Arc::clone(&pool)).run());
    tracing::info!(worker.id = %id, "Ready, with R {} and {} places", pool.r_version(), config.session_slots);

    let outcome = until_the_end(&registry, lease, &stop).await;
    pool.close();
    if outcome.is_ok()
        && let Ok(Err(error)) = tokio::time::timeout(LEAVE_LIMIT, workers::leave(&db, me)).await
    {
        tracing::warn!(error = %error, "This worker could not say that it leaves; its lease will tell");
    }
    outcome
}

fn transfers(config: &WorkerConfig, db: Db, offers: Offers) -> Transfers {
    let limits = Limits {
        file_bytes: config.host.sandbox.session_file_bytes,
        names_bytes: config.result_max_bytes,
    };
    Transfers::new(Blobs::new(&config.blobs), db, offers, limits)
}

async fn until_the_end(
    registry: &Registry,
    mut lease: LeaseWatch,
    stop: &Stop,
) -> Result<(), WorkerError> {
    let drained = async {
        stop.soft.cancelled().await;
        registry.ended().await;
        // Who reads slowly holds nobody up for longer than R may.
        let offers = &registry.context().transfers.offers;
        stop.hard.run_until_cancelled(offers.ended()).await;
    };
    // Interrupted, then killed, then written down: what is not done by then waits for a Postgres that is away.
    let patience = registry.context().config.interrupt_grace + LAST_WRITES;
    let out_of_patience = async {
        stop.hard.cancelled().await;
        tokio::time::sleep(patience).await;
    };
    tokio::select! {
        () = drained => Ok(()),
        () = out_of_patience => {
            tracing::warn!("Not everything could be brought to its end, the lease will tell");
            Ok(())
        }
        _ = lease.wait_for(|standing| *standing == Standing::Lost) => Err(WorkerError::LeaseLost),
    }
}

fn no_database(config: &WorkerConfig, source: DbError) -> WorkerError {
    WorkerError::Database {
        place: config.database.place().to_owned(),
        source,
    }
}

async fn wait_for_schema(db: &Db, config: &WorkerConfig) -> Result<(), WorkerError> {
    let deadline = Instant::now() + START_LIMIT;
    loop {
        let problem = match migrate::is_current(db).await {
            Ok(true) => return Ok(()),
            Ok(false) => WorkerError::Schema,
            Err(source) => no_database(config, source),
        };
        if Instant::now() > deadline {
            return Err(problem);
        }
        tokio::time::sleep(Duration::from_millis(200)).await;
    }
}

async fn register(
    db: &Db,
    id: WorkerId,
    config: &WorkerConfig,
    pool: &Pool,
    weaknesses: Vec<Weakness>,
) -> Result<(WorkerIdentity, Instant), WorkerError> {
    let host = rustix::system::uname();
    let about = Registration {
        name: format!(
            "{}-{}",
            host.nodename().to_string_lossy(),
            std::process::id()
        ),
        session_slots: i32::try_from(config.session_slots).unwrap_or(i32::MAX),
        r_version: pool.r_version(),
        weaknesses,
        lease: config.lease.length,
    };
    let sent = Instant::now();
    let me = workers::register(db, id, &about)
        .await
        .map_err(|source| no_database(config, source))?;
    Ok((me, sent))
}

/// What the sandbox lacks here. Said once in the log, and in `/status`.
fn weaknesses(pool: &Pool) -> Vec<Weakness> {
    let protections = pool.protections();
    let weaker = protections
        .iter()
        .filter(|protection| protection.state != ProtectionState::Active);
    weaker
        .map(|protection| {
            let weakness = Weakness {
                name: protection.name.clone(),
                state: doctor::word(protection.state).to_owned(),
                how: protection.how.clone(),
                needs: protection.needs.clone().unwrap_or_default(),
            };
            tracing::warn!(
                "The sandbox is weaker than it could be: {}: {}. It needs: {}",
                weakness.name,
                weakness.how,
                weakness.needs
            );
            weakness
        })
        .collect()
}

async fn serve_offers(
    config: &OfferConfig,
    life: CancellationToken,
) -> Result<Offers, WorkerError> {
    let Some(address) = config.listen else {
        return Ok(Offers::new(None));
    };
    let listener = TcpListener::bind(address)
        .await
        .map_err(WorkerError::Offers)?;
    let listening = listener.local_addr().map_err(WorkerError::Offers)?;
    let host = rustix::system::uname();
    let at = config.address(listening, &host.nodename().to_string_lossy());
    tracing::info!("API nodes may fetch large files of sessions at {at}");
    let offers = Offers::new(Some(at));
    tokio::spawn(offers.clone().serve(listener, life));
    Ok(offers)
}

async fn serve_probes(
    config: &WorkerConfig,
    broker: &Broker,
    lease: &LeaseWatch,
    pool: &Arc<Pool>,
    life: CancellationToken,
) -> Result<(), WorkerError> {
    let Some(address) = config.telemetry.metrics_listen else {
        return Ok(());
    };
    let listener = TcpListener::bind(address)
        .await
        .map_err(WorkerError::Probes)?;
    let (broker, lease, pool) = (broker.clone(), lease.clone(), Arc::clone(pool));
    let ready: telemetry::Readiness = Arc::new(move || {
        let up = broker.is_connected() && *lease.borrow() == Standing::Valid && pool.can_fork();
        Box::pin(async move { up })
    });
    tokio::spawn(telemetry::serve(listener, ready, life));
    Ok(())
}
