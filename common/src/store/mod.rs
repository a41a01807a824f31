//! Postgres: the truth of Warren.
//!
//! One module per table, one function per statement. Every statement begins with a comment that names it, so that it can
//! be found in `pg_stat_activity`; every wait has a limit.

pub mod audit;
pub mod batches;
pub mod chores;
pub mod console;
mod error;
pub mod idle;
pub mod jobs;
pub mod keys;
pub mod login_failures;
pub mod migrate;
pub mod principals;
pub mod retention;
pub mod services;
pub mod sessions;
pub mod snapshots;
pub mod sweep;
pub mod tokens;
pub mod transfers;
pub mod workers;

use std::time::{Duration, Instant};

use deadpool_postgres::{Manager, ManagerConfig, Object, Pool, RecyclingMethod, Runtime, Timeouts};
use tokio_postgres::types::ToSql;
use tokio_postgres::{NoTls, Row};

pub use error::DbError;

use crate::config::DatabaseConfig;

/// How long a caller waits for a connection of the pool, or for a new one.
const CONNECTION_WAIT: Duration = Duration::from_secs(5);
/// How long one statement may take before its connection is given up.
const STATEMENT_LIMIT: Duration = Duration::from_secs(15);

/// How Postgres is to plan: once per statement, and by index. Planning a grouped statement anew costs more than running
/// it, and a plan made while a table was empty must not scan it when it is full (`docs/decisions/0004-plans.md`).
const PLANS: &str = "-c plan_cache_mode=force_generic_plan -c enable_seqscan=off -c enable_hashjoin=off \
                     -c enable_mergejoin=off -c enable_bitmapscan=off -c max_parallel_workers_per_gather=0 -c jit=off";

/// Whether a commit waits until it is on disk.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Commit {
    /// It does; what was answered survives a crash of Postgres.
    Durable,
    /// It does not; only for claims that the completion can repair (`docs/decisions/0003-asynchronous-claims.md`).
    Relaxed,
}

/// A pool of connections.
#[derive(Clone)]
pub struct Db {
    pool: Pool,
}

impl Db {
    /// Makes the pool; connects when first used.
    pub fn new(
        config: &DatabaseConfig,
        commit: Commit,
        application: &str,
    ) -> Result<Self, DbError> {
        let mut settings = config
            .url
            .reveal()
            .parse::<tokio_postgres::Config>()
            .map_err(DbError::url)?;
        let relaxed = if commit == Commit::Relaxed {
            " -c synchronous_commit=off"
        } else {
            ""
        };
        settings
            .application_name(application)
            .connect_timeout(CONNECTION_WAIT)
            .tcp_user_timeout(STATEMENT_LIMIT)
            .keepalives_idle(Duration::from_secs(10))
            .options(format!(
                "-c statement_timeout={}ms -c lock_timeout=10s -c idle_in_transaction_session_timeout=20s {PLANS}{relaxed}",
                STATEMENT_LIMIT.as_millis()
            ));
        let manager = Manager::from_config(
            settings,
            NoTls,
            ManagerConfig {
                recycling_method: RecyclingMethod::Fast,
            },
        );
        let pool = Pool::builder(manager)
            .max_size(config.pool)
            .timeouts(Timeouts {
                wait: Some(CONNECTION_WAIT),
                create: Some(CONNECTION_WAIT),
                recycle: Some(CONNECTION_WAIT),
            })
            .runtime(Runtime::Tokio1)
            .build()
            .map_err(DbError::pool)?;
        Ok(Self { pool })
    }

    /// A connection for the statements of one operation.
    pub async fn conn(&self) -> Result<Conn, DbError> {
        let started = Instant::now();
        let object = self.pool.get().await.map_err(DbError::no_connection)?;
        crate::telemetry::metrics().pool_wait(started.elapsed());
        Ok(Conn {
            object: Some(object),
            broken: false,
            in_transaction: false,
        })
    }

    /// Asks Postgres for nothing, to know that it answers.
    pub async fn ping(&self) -> Result<(), DbError> {
        self.conn()
            .await?
            .execute("ping", "-- ping\nSELECT 1", &[])
            .await
            .map(drop)
    }

    /// Closes every connection; later calls fail.
    pub fn close(&self) {
        self.pool.close();
    }
}

/// A reason as a column of text can hold it: `text` has no NUL, and nobody reads more than a line or two.
fn storable(reason: &str) -> String {
    reason
        .chars()
        .filter(|letter| *letter != '\0')
        .take(1000)
        .collect()
}

/// A connection out of the pool. One that failed in an unclear way does not go back.
pub struct Conn {
    object: Option<Object>,
    /// It failed in an unclear way, or whoever asked went away before the answer.
    broken: bool,
    in_transaction: bool,
}

impl Conn {
    /// Runs a statement and returns its rows.
    pub async fn query(
        &mut self,
        op: &'static str,
        sql: &str,
        params: &[&(dyn ToSql + Sync)],
    ) -> Result<Vec<Row>, DbError> {
        let object = self
            .object
            .as_ref()
            .ok_or_else(|| DbError::interrupted(op))?;
        let work = async {
            let statement = object.prepare_cached(sql).await?;
            object.query(&statement, params).await
        };
        self.broken = true;
        let answer = tokio::time::timeout(STATEMENT_LIMIT, work).await;
        self.judge(op, answer)
    }

    /// Runs a statement and returns how many rows it touched.
    pub async fn execute(
        &mut self,
        op: &'static str,
        sql: &str,
        params: &[&(dyn ToSql + Sync)],
    ) -> Result<u64, DbError> {
        let object = self
            .object
            .as_ref()
            .ok_or_else(|| DbError::interrupted(op))?;
        let work = async {
            let statement = object.prepare_cached(sql).await?;
            object.execute(&statement, params).await
        };
        self.broken = true;
        let answer = tokio::time::timeout(STATEMENT_LIMIT, work).await;
        self.judge(op, answer)
    }

    /// Runs statements without parameters, among them BEGIN and COMMIT.
    pub async fn batch(&mut self, op: &'static str, sql: &str) -> Result<(), DbError> {
        let object = self
            .object
            .as_ref()
            .ok_or_else(|| DbError::interrupted(op))?;
        self.broken = true;
        let answer = tokio::time::timeout(STATEMENT_LIMIT, object.batch_execute(sql)).await;
        self.judge(op, answer)
    }

    /// Begins a transaction. Dropped without [`Conn::commit`] it is rolled back, with its connection.
    pub async fn begin(mut self, op: &'static str) -> Result<Self, DbError> {
        self.batch(op, "BEGIN").await?;
        self.in_transaction = true;
        Ok(self)
    }

    /// Keeps what the transaction did.
    pub async fn commit(mut self, op: &'static str) -> Result<(), DbError> {
        self.batch(op, "COMMIT").await?;
        self.in_transaction = false;
        Ok(())
    }

    /// Forgets what the transaction did, and keeps the connection.
    pub async fn roll_back(mut self, op: &'static str) -> Result<(), DbError> {
        self.batch(op, "ROLLBACK").await?;
        self.in_transaction = false;
        Ok(())
    }

    fn judge<T>(
        &mut self,
        op: &'static str,
        answer: Result<Result<T, tokio_postgres::Error>, tokio::time::error::Elapsed>,
    ) -> Result<T, DbError> {
        match answer {
            Ok(Ok(value)) => {
                self.broken = false;
                Ok(value)
            }
            Ok(Err(source)) => {
                let error = DbError::statement(op, source);
                self.broken = error.is_interrupted();
                Err(error)
            }
            Err(_elapsed) => Err(DbError::interrupted(op)),
        }
    }
}

impl Drop for Conn {
    fn drop(&mut self) {
        if (self.broken || self.in_transaction)
            && let Some(object) = self.object.take()
        {
            drop(Object::take(object));
        }
    }
}
