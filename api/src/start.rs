//! From settings to a node that answers, and back to silence.

use std::sync::Arc;
use std::time::Duration;

use tokio::net::TcpListener;
use tokio::task::JoinSet;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;
use warren_common::blobs::Blobs;
use warren_common::id::ApiId;
use warren_common::model::Role;
use warren_common::queue::{self, Broker, QueueName, Settle, Topology};
use warren_common::stop::Stop;
use warren_common::store::{Commit, Db, DbError, migrate, principals};
use warren_common::telemetry::{self, Readiness};

use crate::activity::Activity;
use crate::app::{App, Shared};
use crate::audit::Audit;
use crate::auth::ldap::Directory;
use crate::auth::openid::{ClientError, OpenId, Provider};
use crate::auth::password::{HashError, Passwords, hash};
use crate::auth::tokens::{KeyError, Tokens};
use crate::config::{ADMIN, AdminConfig, ApiConfig, BadSetting};
use crate::offers::Offers;
use crate::ready::Ready;
use crate::services::targets::Targets;
use crate::streams::Streams;
use crate::submit::Submitter;
use crate::sweeper::Waiting;
use crate::transport::tls::{Tls, TlsError};
use crate::transport::{self, Listening};
use crate::watch::{Progress, Watch};
use crate::{router, sweeper, upkeep};

/// How long a server that is missing at start is waited for.
const SERVERS_WAIT: Duration = Duration::from_secs(15);
/// How long the last records of the audit may take to be stored.
const LAST_RECORDS: Duration = Duration::from_secs(2);
/// The pause between two tries.
const SERVERS_PAUSE: Duration = Duration::from_millis(250);

/// Why the API does not start, or stopped.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    /// Settings that cannot be used.
    #[error(transparent)]
    Setting(#[from] BadSetting),
    /// `WARREN_DATABASE_URL` or the pool.
    #[error(transparent)]
    Database(DbError),
    /// Postgres is missing.
    #[error(
        "PostgreSQL at {place} could not be used for {} s; start it, or correct WARREN_DATABASE_URL",
        SERVERS_WAIT.as_secs()
    )]
    DatabaseMissing {
        /// Host, port and database.
        place: String,
        /// What it said last.
        #[source]
        source: DbError,
    },
    /// The schema could not be brought up to date.
    #[error("the schema in PostgreSQL at {place} could not be brought up to date")]
    Migrate {
        /// Host, port and database.
        place: String,
        /// What it said.
        #[source]
        source: DbError,
    },
    /// `WARREN_AMQP_URL` cannot be read.
    #[error(transparent)]
    BrokerAddress(#[from] warren_common::queue::BadAddress),
    /// `RabbitMQ` is missing.
    #[error(
        "RabbitMQ at {place} could not be used for {} s (the warnings above say why); start it, or correct WARREN_AMQP_URL",
        SERVERS_WAIT.as_secs()
    )]
    BrokerMissing {
        /// Host, port and vhost.
        place: String,
    },
    /// The keys of access tokens.
    #[error(transparent)]
    Keys(#[from] KeyError),
    /// The provider whose tokens are taken.
    #[error(transparent)]
    OpenId(#[from] ClientError),
    /// The first user.
    #[error("the user {ADMIN} could not be created")]
    Admin(#[source] DbError),
    /// The first user's password.
    #[error(transparent)]
    Password(#[from] HashError),
    /// A port is taken, or the like.
    #[error("cannot listen on {place} (setting {setting})")]
    Listen {
        /// Address and port.
        place: std::net::SocketAddr,
        /// The setting that names it.
        setting: &'static str,
        /// What the system said.
        #[source]
        source: std::io::Error,
    },
    /// What workers hold ready.
    #[error("no HTTP client can be made for what workers hold ready")]
    Offers(#[source] reqwest::Error),
    /// The certificate of the API, or its key.
    #[error(transparent)]
    Tls(#[from] TlsError),
}

/// Runs a node on `listener` until `stop`: the soft wish lets requests end, the hard one sends everybody away.
pub async fn run(config: ApiConfig, listener: TcpListener, stop: Stop) -> Result<(), StartError> {
    config.validate()?;
    let provider = Provider::new(&config.openid)?;
    let ldap = Some(&config.ldap).filter(|ldap| ldap.is_on());
    let directory = ldap.map(Directory::new).transpose()?;
    let tls = Tls::load(&config.listen.tls).await?;
    let id = ApiId::new();
    // Cancelled last, or by drop when the start fails: ends what runs beside the server.
    let over = CancellationToken::new();
    let _end = over.clone().drop_guard();
    let topology = Topology {
        prefix: config.queue.prefix.clone(),
        role: queue::Role::Api(id),
    };
    let name = format!("warren-api {id}");
    let broker = Broker::start(&config.queue, topology, &name, over.clone())?;
    let db = prepare_database(&config.database, &config.admin).await?;
    if tokio::time::timeout(SERVERS_WAIT, broker.connected())
        .await
        .is_err()
    {
        let place = config.queue.place().to_owned();
        return Err(StartError::BrokerMissing { place });
    }
    let life = Duration::from_secs(config.token_seconds.into());
    let source = match &directory {
        Some(_) => principals::LDAP,
        None => principals::LOCAL,
    };
    let tokens = Tokens::load(db.clone(), life, source).await?;
    let offers = Offers::new().map_err(StartError::Offers)?;
    let (audit, records) = Audit::new();
    let app = Arc::new(App {
        id,
        audit,
        tokens,
        openid: provider
            .map(|provider| OpenId::new(provider, config.role_groups.clone(), db.clone())),
        passwords: Passwords::default(),
        directory,
        ready: Ready::new(db.clone(), broker.clone()),
        submitter: Arc::new(Submitter::start(
            db.clone(),
            broker.clone(),
            id,
            config.session_queue_limit,
            config.sessions_per_user,
        )),
        watch: Watch::new(stop.hard.clone()),
        progress: Progress::default(),
        targets: Targets::default(),
        waiting: Waiting::default(),
        streams: Streams::new(config.streams.limit, config.streams.limit_of_caller),
        activity: Activity::new(config.idle()),
        leaving: stop.soft.clone(),
        blobs: Blobs::new(&config.blobs),
        offers,
        db,
        broker,
        config,
    });
    // Dropping it aborts what it holds.
    let mut beside = JoinSet::new();
    let events = app.broker.consume(QueueName::Api(id), Settle::OnReceipt);
    beside.spawn(records.write(app.db.clone()));
    beside.spawn(app.watch.clone().hear(events));
    beside.spawn(app.watch.clone().poll(app.db.clone()));
    let follower = Arc::clone(&app);
    beside.spawn(async move { follower.tokens.follow().await });
    let reader = Arc::clone(&app);
    beside.spawn(async move {
        if let Some(openid) = &reader.openid {
            openid.follow().await;
        }
    });
    beside.spawn(sweeper::run(
        app.db.clone(),
        app.broker.clone(),
        app.waiting.clone(),
        app.config.lease,
    ));
    beside.spawn(app.progress.clone().poll(app.db.clone()));
    beside.spawn(app.activity.clone().write(app.db.clone()));
    if let Some(idle) = app.config.idle() {
        beside.spawn(upkeep::idle::run(app.db.clone(), app.broker.clone(), idle));
    }
    beside.spawn(upkeep::retention::run(
        app.db.clone(),
        app.blobs.clone(),
        app.config.retention.clone(),
    ));
    beside.spawn(upkeep::blobs::run(
        app.db.clone(),
        app.blobs.clone(),
        app.config.retention.blobs,
    ));
    beside.spawn(warn_without_store(app.blobs.clone()));
    serve_metrics(&app, &mut beside, over).await?;
    if let Some(tls) = &tls {
        beside.spawn(Arc::clone(tls).follow());
    }
    serve(&app, listener, tls, stop).await;
    if tokio::time::timeout(LAST_RECORDS, app.audit.flushed())
        .await
        .is_err()
    {
        tracing::error!("The last records of the audit are in the log only");
    }
    app.db.close();
    Ok(())
}

/// Waits for Postgres, brings its schema up to date, and creates the first user if that is asked for.
pub(crate) async fn prepare_database(
    config: &warren_common::config::DatabaseConfig,
    admin: &AdminConfig,
) -> Result<Db, StartError> {
    let db = Db::new(config, Commit::Durable, "warren-api").map_err(StartError::Database)?;
    let place = config.place().to_owned();
    let deadline = Instant::now() + SERVERS_WAIT;
    loop {
        match migrate::migrate(&db).await {
            Ok(applied) => {
                for name in applied {
                    tracing::info!("Applied the migration {name}");
                }
                break;
            }
            Err(source) if !source.is_away() => return Err(StartError::Migrate { place, source }),
            Err(source) if Instant::now() >= deadline => {
                return Err(StartError::DatabaseMissing { place, source });
            }
            Err(error) => {
                let cause = telemetry::chain(&error);
                tracing::debug!(cause, "PostgreSQL at {place} cannot be used yet");
                tokio::time::sleep(SERVERS_PAUSE).await;
            }
        }
    }
    create_admin(&db, admin).await?;
    Ok(db)
}

async fn create_admin(db: &Db, admin: &AdminConfig) -> Result<(), StartError> {
    let Some(password) = &admin.password else {
        return Ok(());
    };
    let there = principals::local_user(db, ADMIN)
        .await
        .map_err(StartError::Admin)?;
    if there.is_none()
        && principals::add_local_user(db, ADMIN, &hash(password.reveal())?, Role::Owner)
            .await
            .map_err(StartError::Admin)?
    {
        tracing::info!("Created the user {ADMIN}");
    }
    Ok(())
}

/// Execute works without the object store, so it is only spoken of.
async fn warn_without_store(blobs: Blobs) {
    if let Err(error) = blobs.check().await {
        let cause = telemetry::chain(&error);
        tracing::warn!(
            cause,
            "The object store cannot be used; check WARREN_S3_ENDPOINT, the bucket and the keys"
        );
    }
}

async fn serve_metrics(
    app: &Shared,
    beside: &mut JoinSet<()>,
    over: CancellationToken,
) -> Result<(), StartError> {
    let Some(place) = app.config.telemetry.metrics_listen else {
        return Ok(());
    };
    let listener = TcpListener::bind(place)
        .await
        .map_err(|source| StartError::Listen {
            place,
            setting: "WARREN_METRICS_LISTEN",
            source,
        })?;
    let ready = app.ready.clone();
    let ready: Readiness = Arc::new(move || {
        let ready = ready.clone();
        Box::pin(async move { ready.is_up().await })
    });
    beside.spawn(async move {
        if let Err(error) = telemetry::serve(listener, ready, over).await {
            tracing::error!(error = %error, "The server of /metrics stopped");
        }
    });
    Ok(())
}

async fn serve(app: &Shared, listener: TcpListener, tls: Option<Arc<Tls>>, stop: Stop) {
    if let Ok(place) = listener.local_addr() {
        tracing::info!("Listening on {place}");
    }
    let transport = &app.config.transport;
    let listening = Listening {
        tls,
        max_connections: transport.max_connections as usize,
        header_read: transport.header_read,
        stalled: app.config.streams.stalled,
    };
    let router = router::build(Arc::clone(app));
    transport::serve(listening, listener, router, &stop).await;
}
