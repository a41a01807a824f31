//! The floor: the least that keeps the promises of a job. INSERT, publish, consume, UPDATE, reply, in this one process,
//! with the pools, the queues and the grouping of the product; no HTTP and no R.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use serde_json::value::RawValue;
use tokio::sync::oneshot;
use tokio_util::sync::{CancellationToken, DropGuard};
use tokio_util::task::AbortOnDropHandle;
use warren_common::config::{DatabaseConfig, QueueConfig, Secret};
use warren_common::id::{ApiId, JobId, SessionId, WorkerId};
use warren_common::model::JobState;
use warren_common::queue::{
    Broker, Consumer, Event, Finished, Notice, QueueName, Role, Sent, Settle, Topology,
};
use warren_common::store::{Commit, Db};

use self::rows::{Row, Rows};
use super::BenchError;
use super::load::Caller;
use crate::postgres::{Address, OwnDatabase, setting};

mod rows;

/// How long one job, or the start, may take.
const LIMIT: Duration = Duration::from_secs(30);
/// Connections of each pool: the default of the API and of the worker.
const POOL: usize = 10;

/// How rows are written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Mode {
    /// A statement and a commit for each.
    ByRow,
    /// Those that wait at the same moment share both.
    Grouped,
}

/// A running floor with a database and queues of its own.
pub(super) struct Floor {
    inner: Arc<Inner>,
    _tasks: [AbortOnDropHandle<()>; 2],
    _stop: DropGuard,
    _database: OwnDatabase,
}

type Waiting = HashMap<JobId, oneshot::Sender<Result<(), BenchError>>>;

struct Inner {
    api: Side,
    worker: Side,
    waiting: Mutex<Waiting>,
}

/// What the API, or the worker, would have.
struct Side {
    rows: Rows,
    broker: Broker,
    queue: QueueName,
}

impl Floor {
    /// Makes the table, connects and consumes.
    pub(super) async fn start(mode: Mode) -> Result<Self, BenchError> {
        let database = OwnDatabase::create(&Address::shared()).await;
        rows::create_table(&pool(&database.address, "floor")?).await?;
        let stop = CancellationToken::new();
        let (api, worker) = (ApiId::new(), WorkerId::new());
        let inner = Arc::new(Inner {
            api: Side::start(mode, &database.address, Role::Api(api), &stop)?,
            worker: Side::start(mode, &database.address, Role::Worker(worker), &stop)?,
            waiting: Mutex::default(),
        });
        let works = inner.worker.consumer().await?;
        let replies = inner.api.consumer().await?;
        let tasks = [
            tokio::spawn(work(Arc::clone(&inner), works)),
            tokio::spawn(hear(Arc::clone(&inner), replies)),
        ];
        Ok(Self {
            inner,
            _tasks: tasks.map(AbortOnDropHandle::new),
            _stop: stop.drop_guard(),
            _database: database,
        })
    }

    /// This many clients of it.
    pub(super) fn clients(&self, count: usize) -> Vec<FloorClient> {
        let client = || FloorClient {
            inner: Arc::clone(&self.inner),
            session: SessionId::new(),
        };
        std::iter::repeat_with(client).take(count).collect()
    }
}

impl Side {
    fn start(
        mode: Mode,
        database: &Address,
        role: Role,
        stop: &CancellationToken,
    ) -> Result<Self, BenchError> {
        let (name, queue) = match role {
            Role::Api(id) => ("floor-api", QueueName::Api(id)),
            Role::Worker(id) => ("floor-worker", QueueName::Worker(id)),
        };
        let config = QueueConfig {
            url: Secret::new(setting("WARREN_TEST_AMQP_URL")),
            prefix: format!("{}.", database.name),
        };
        let topology = Topology {
            prefix: config.prefix.clone(),
            role,
        };
        Ok(Self {
            rows: Rows::start(mode, pool(database, name)?),
            broker: Broker::start(&config, topology, name, stop.clone())?,
            queue,
        })
    }

    /// A consumer of its own queue that hears everything from here on.
    async fn consumer(&self) -> Result<Consumer, BenchError> {
        let mut consumer = self.broker.consume(self.queue, Settle::OnReceipt);
        tokio::time::timeout(LIMIT, consumer.next())
            .await
            .map_err(|_elapsed| BenchError::Late("connecting the floor to RabbitMQ"))?;
        Ok(consumer)
    }

    async fn send(&self, queue: QueueName, notice: &Notice) -> Result<(), BenchError> {
        match self.broker.publish(queue, notice).await? {
            Sent::Queued => Ok(()),
            Sent::Returned => Err(BenchError::Returned),
        }
    }
}

fn pool(database: &Address, application: &str) -> Result<Db, BenchError> {
    let config = DatabaseConfig {
        url: Secret::new(database.url()),
        pool: POOL,
    };
    Ok(Db::new(&config, Commit::Durable, application)?)
}

/// One client of the floor.
pub(super) struct FloorClient {
    inner: Arc<Inner>,
    session: SessionId,
}

impl Caller for FloorClient {
    async fn call(&mut self) -> Result<(), BenchError> {
        tokio::time::timeout(LIMIT, self.inner.job(self.session))
            .await
            .map_err(|_elapsed| BenchError::Late("a job of the floor"))?
    }
}

impl Inner {
    /// One job, from its row to its reply. The confirm is waited for as well, not before the reply but beside it.
    async fn job(&self, session: SessionId) -> Result<(), BenchError> {
        let job = JobId::new();
        let (answer, answered) = oneshot::channel();
        self.waiting().insert(job, answer);
        self.api.rows.insert(Row { job, session }).await?;
        // The notice names a job where the product names a session: both are one id.
        let notice = Notice::SessionWorkV1 {
            session: SessionId::from_uuid(job.uuid()),
        };
        let reply = async { answered.await.unwrap_or(Err(BenchError::Died)) };
        tokio::try_join!(self.api.send(self.worker.queue, &notice), reply).map(drop)
    }

    /// What the worker does with a notice.
    async fn finish(&self, job: JobId) -> Result<(), BenchError> {
        self.worker.rows.finish(job).await?;
        let left = Finished {
            state: JobState::Succeeded,
            result: RawValue::from_string(rows::RESULT.to_owned()).ok(),
            console: "[1] 2\n".to_owned(),
            reason: None,
        };
        let notice = Notice::FinishedV1 {
            job,
            left: Some(Box::new(left)),
        };
        self.worker.send(self.api.queue, &notice).await
    }

    fn answer(&self, job: JobId, outcome: Result<(), BenchError>) {
        if let Some(waiter) = self.waiting().remove(&job) {
            // Whoever waited may have given up.
            let _ = waiter.send(outcome);
        }
    }

    fn waiting(&self) -> MutexGuard<'_, Waiting> {
        self.waiting.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The worker: every notice is a job of its own.
async fn work(inner: Arc<Inner>, mut notices: Consumer) {
    while let Some(event) = notices.next().await {
        if let Event::Delivery(delivery) = event
            && let Notice::SessionWorkV1 { session } = delivery.notice
        {
            let job = JobId::from_uuid(session.uuid());
            let inner = Arc::clone(&inner);
            tokio::spawn(async move {
                if let Err(error) = inner.finish(job).await {
                    inner.answer(job, Err(error));
                }
            });
        }
    }
}

/// The API: every reply wakes whoever waits for it.
async fn hear(inner: Arc<Inner>, mut replies: Consumer) {
    while let Some(event) = replies.next().await {
        if let Event::Delivery(delivery) = event
            && let Notice::FinishedV1 { job, .. } = delivery.notice
        {
            inner.answer(job, Ok(()));
        }
    }
}
