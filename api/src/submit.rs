//! Storing jobs: once, also when the answer of Postgres is lost.

mod work;

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use tokio::time::Instant;
use tracing::Instrument;
use warren_common::group::Group;
use warren_common::id::{ApiId, JobId, SessionId, WorkerId};
use warren_common::model::{Lane, PublishRequest};
use warren_common::queue::{Broker, Notice, QueueName};
use warren_common::store::jobs::{self, IdempotencyKey, KeyVerdict, NewCall, NewJob, Verdict};
use warren_common::store::services::{self, Reserved};
use warren_common::store::sessions::{self, Stored};
use warren_common::store::{Conn, Db, DbError};

pub use work::{
    Opening, Placed, Publishing, Work, no_service, no_session, not_yours, session_over,
};

use work::quota_reached;

use crate::error::ApiError;

/// Jobs that share one statement at most.
const LARGEST_GROUP: usize = 128;
/// How long this node tries to find out whether a job was stored.
const DOUBT_LIMIT: Duration = Duration::from_secs(30);
/// The first pause between two tries; it doubles.
const FIRST_PAUSE: Duration = Duration::from_millis(50);
/// The longest pause.
const LONGEST_PAUSE: Duration = Duration::from_secs(2);

/// What one try to store a job came to.
#[derive(Debug)]
enum Tried {
    /// And this worker is still to be told.
    Stored(Option<WorkerId>),
    Refused(ApiError),
    /// Somebody else holds the idempotency key.
    KeyHeld,
}

/// The first try: told at once what came of it, or failed, and the work is given back.
enum First {
    Told(Tried),
    Failed(DbError, Work),
}

/// What a group answers: what became of a job, or why that is not known, and the job is given back.
type Grouped = Result<Verdict, Box<(DbError, NewJob)>>;
/// The same for calls: whether what is called is still the same.
type GroupedCall = Result<bool, Box<(DbError, NewCall)>>;

/// Whom to tell of a job.
#[derive(Debug, Clone, Copy)]
enum About {
    Opening,
    Turn(SessionId, Option<Lane>),
    Call,
}

impl About {
    fn of(work: &Work) -> Self {
        match work {
            Work::Open(_) => Self::Opening,
            Work::Turn(job) => Self::Turn(job.session, job.kind.lane()),
            Work::Publish(_) | Work::Call(_) => Self::Call,
        }
    }
}

/// Stores jobs and tells workers.
pub struct Submitter {
    db: Db,
    broker: Broker,
    api: ApiId,
    waiting_limit: u32,
    /// Live sessions that one owner may have; 0: however many.
    quota: u32,
    group: Group<NewJob, Grouped>,
    calls: Group<NewCall, GroupedCall>,
}

impl Submitter {
    /// Starts the runner that groups what is submitted at the same moment.
    pub fn start(db: Db, broker: Broker, api: ApiId, waiting_limit: u32, quota: u32) -> Self {
        let (storing, telling) = (db.clone(), broker.clone());
        let group = Group::start(LARGEST_GROUP, move |jobs| {
            let (db, broker) = (storing.clone(), telling.clone());
            async move { flush(&db, &broker, api, waiting_limit, jobs).await }
        });
        let storing = db.clone();
        let calls = Group::start(LARGEST_GROUP, move |calls| {
            let db = storing.clone();
            async move { flush_calls(&db, api, calls).await }
        });
        Self {
            db,
            broker,
            api,
            waiting_limit,
            quota,
            group,
            calls,
        }
    }

    /// Stores a job and tells a worker. Goes on to its end also when the caller goes away.
    pub async fn submit(
        self: &Arc<Self>,
        work: Work,
        key: Option<IdempotencyKey>,
    ) -> Result<Placed, ApiError> {
        let me = Arc::clone(self);
        let task = async move { me.place(work, key).await };
        tokio::spawn(task.in_current_span())
            .await
            .map_err(ApiError::internal)?
    }

    async fn place(&self, work: Work, key: Option<IdempotencyKey>) -> Result<Placed, ApiError> {
        if let Some(key) = &key
            && let Some(before) = self.recall(key).await?
        {
            return Ok(Placed::Before(before));
        }
        // Before anything is stored; afterwards no failure of a notice is shown to anybody.
        if !self.broker.is_connected() {
            return Err(ApiError::unavailable("RabbitMQ cannot be reached"));
        }
        let job = work.job();
        let about = About::of(&work);
        match self.store(work, key.as_ref()).await? {
            Tried::Stored(worker) => {
                self.tell(job, about, worker);
                Ok(Placed::Now(job))
            }
            Tried::Refused(error) => Err(error),
            Tried::KeyHeld => {
                let before = match &key {
                    Some(key) => self.recall(key).await?,
                    None => None,
                };
                let changed = || ApiError::unavailable("the Idempotency-Key has just expired");
                before.map(Placed::Before).ok_or_else(changed)
            }
        }
    }

    async fn recall(&self, key: &IdempotencyKey) -> Result<Option<JobId>, ApiError> {
        match jobs::recall(&self.db, key).await? {
            KeyVerdict::New => Ok(None),
            KeyVerdict::SameAs(job) => Ok(Some(job)),
            KeyVerdict::Taken => Err(ApiError::KeyTaken),
        }
    }

    /// Tries until it is known whether the job is stored.
    ///
    /// Nobody is told 503 for a job that may run: once a try was interrupted, only an answer of Postgres or the end of
    /// this node's patience (504, which says where to ask) ends the doubt.
    async fn store(&self, work: Work, key: Option<&IdempotencyKey>) -> Result<Tried, ApiError> {
        let job = work.job();
        let deadline = Instant::now() + DOUBT_LIMIT;
        let mut pause = FIRST_PAUSE;
        let mut doubt = false;
        let mut alone = key.is_some();
        let (mut outcome, work) = match self.first_try(work, key).await? {
            First::Told(tried) => return Ok(tried),
            First::Failed(error, work) => (Err(error), work),
        };
        loop {
            let error = match outcome {
                Ok(Tried::Stored(worker)) => return Ok(Tried::Stored(worker)),
                Ok(refusal) if !doubt => return Ok(refusal),
                // It took the lock that the interrupted try held, so that one is decided: perhaps it was the last that fitted.
                Ok(refusal) => match jobs::is_stored(&self.db, job).await {
                    Ok(Some(worker)) => return Ok(Tried::Stored(worker)),
                    Ok(None) => return Ok(refusal),
                    Err(error) => error,
                },
                Err(error) => error,
            };
            // A refusal of a whole group may be meant for another job of it.
            let meant_for_another = !alone && matches!(error, DbError::Refused { .. });
            let refused_for_now = matches!(error, DbError::Refused { .. }) && error.is_away();
            alone = true;
            if error.is_interrupted()
                || error.is_unique_violation()
                || matches!(error, DbError::BadRow { .. })
            {
                doubt = true;
            } else if !doubt && !meant_for_another && !refused_for_now {
                return Err(error.into());
            }
            tracing::debug!(error = %error, "Job {job} is not known to be stored, trying again");
            if Instant::now() >= deadline {
                return Err(if doubt {
                    ApiError::InDoubt(job)
                } else {
                    ApiError::DatabaseAway(error)
                });
            }
            tokio::time::sleep(pause).await;
            pause = (pause * 2).min(LONGEST_PAUSE);
            outcome = match jobs::is_stored(&self.db, job).await {
                Ok(Some(worker)) => Ok(Tried::Stored(worker)),
                Ok(None) => self.try_alone(&work, key).await,
                Err(error) => Err(error),
            };
        }
    }

    /// Jobs that take their turn go together with others, unless an idempotency key wants a transaction of its own.
    async fn first_try(&self, work: Work, key: Option<&IdempotencyKey>) -> Result<First, ApiError> {
        match work {
            Work::Turn(job) if key.is_none() => {
                let id = job.id;
                match self.group.submit(job).await {
                    // The group has told its workers.
                    Ok(Ok(Verdict::Accepted(_))) => Ok(First::Told(Tried::Stored(None))),
                    Ok(Ok(verdict)) => Ok(First::Told(tried(verdict, self.waiting_limit))),
                    Ok(Err(failed)) => {
                        let (error, job) = *failed;
                        Ok(First::Failed(error, Work::Turn(job)))
                    }
                    // This process stops, perhaps between the statement and its answer.
                    Err(_stopped) => Err(ApiError::InDoubt(id)),
                }
            }
            Work::Call(call) if key.is_none() => {
                let id = call.id;
                match self.calls.submit(call).await {
                    Ok(Ok(true)) => Ok(First::Told(Tried::Stored(None))),
                    Ok(Ok(false)) => Ok(First::Told(Tried::Refused(ApiError::Changed))),
                    Ok(Err(failed)) => {
                        let (error, call) = *failed;
                        Ok(First::Failed(error, Work::Call(call)))
                    }
                    Err(_stopped) => Err(ApiError::InDoubt(id)),
                }
            }
            work => Ok(match self.try_alone(&work, key).await {
                Ok(tried) => First::Told(tried),
                Err(error) => First::Failed(error, work),
            }),
        }
    }

    async fn try_alone(&self, work: &Work, key: Option<&IdempotencyKey>) -> Result<Tried, DbError> {
        let mut conn = self.db.conn().await?;
        let needs_transaction = key.is_some() || matches!(work, Work::Publish(_));
        if !needs_transaction {
            return self.put(&mut conn, work).await;
        }
        let mut tx = conn.begin("submit::with_key").await?;
        let tried = self.put(&mut tx, work).await?;
        if !matches!(tried, Tried::Stored(_)) {
            tx.roll_back("submit::with_key").await?;
            return Ok(tried);
        }
        let remembered = match key {
            Some(key) => jobs::remember(&mut tx, key, work.job()).await?,
            None => true,
        };
        if remembered {
            tx.commit("submit::with_key").await?;
            Ok(tried)
        } else {
            tx.roll_back("submit::with_key").await?;
            Ok(Tried::KeyHeld)
        }
    }

    async fn put(&self, conn: &mut Conn, work: &Work) -> Result<Tried, DbError> {
        match work {
            Work::Open(opening) => {
                let new = sessions::NewSession {
                    session: opening.session,
                    job: opening.job,
                    owner: opening.owner,
                    name: opening.name.as_deref(),
                    request: &opening.request,
                    api: self.api,
                    traceparent: &opening.traceparent,
                };
                match sessions::store_opening(conn, &new, self.quota.into()).await? {
                    Stored::Yes => Ok(Tried::Stored(None)),
                    Stored::QuotaReached(live) => Ok(Tried::Refused(quota_reached(live))),
                }
            }
            Work::Turn(job) => {
                let limit = self.waiting_limit;
                let jobs = std::slice::from_ref(job);
                let verdicts = jobs::submit(conn, self.api, limit.into(), jobs).await?;
                let verdict = verdicts.into_iter().next();
                Ok(tried(verdict.unwrap_or(Verdict::UnknownSession), limit))
            }
            Work::Publish(publishing) => self.put_publication(conn, publishing).await,
            Work::Call(call) => {
                let calls = std::slice::from_ref(call);
                let accepted = jobs::submit_calls(conn, self.api, calls).await?;
                Ok(if accepted.first() == Some(&true) {
                    Tried::Stored(None)
                } else {
                    Tried::Refused(ApiError::Changed)
                })
            }
        }
    }

    async fn put_publication(
        &self,
        conn: &mut Conn,
        publishing: &Publishing,
    ) -> Result<Tried, DbError> {
        let Publishing { new, change } = publishing;
        let request = |version| {
            let request = PublishRequest {
                version,
                fresh: new.fresh.is_some(),
                content: new.content,
                change: change.clone(),
            };
            // Strings, ids and JSON that was read once: nothing of it can fail.
            serde_json::to_vec(&request).unwrap_or_default()
        };
        let refused = |error| Ok(Tried::Refused(error));
        match services::reserve(conn, self.api, new, request).await? {
            Reserved::Yes(_version) => Ok(Tried::Stored(None)),
            Reserved::NotYours => refused(not_yours(&new.name)),
            Reserved::Unknown => refused(no_service(&new.name, &new.version)),
            Reserved::Exists => refused(ApiError::Conflict(format!(
                "the service {:?} has the version {:?} already; change it with PATCH, or publish another version",
                new.name, new.version
            ))),
            Reserved::NoSnapshot => refused(ApiError::BadRequest(
                "snapshotId names no snapshot of yours; GET /snapshots lists them".to_owned(),
            )),
        }
    }

    /// Tells a worker, without anybody waiting for it: the sweeper repeats what gets lost.
    fn tell(&self, job: JobId, about: About, worker: Option<WorkerId>) {
        let (queue, notice) = match (about, worker) {
            (About::Opening, _) => (QueueName::SessionsNew, Notice::OpenSessionV1 { job }),
            (About::Call, _) => (QueueName::Calls, Notice::CallV1 { job }),
            (About::Turn(session, lane), Some(worker)) => {
                (QueueName::Worker(worker), Notice::work(session, lane))
            }
            // Whoever opens the session sees what waits in it.
            (About::Turn(..), None) => return,
        };
        notify(&self.broker, queue, notice);
    }
}

/// Sends a notice that may get lost.
pub fn notify(broker: &Broker, queue: QueueName, notice: Notice) {
    let broker = broker.clone();
    tokio::spawn(async move {
        if let Err(error) = broker.publish(queue, &notice).await {
            tracing::debug!(error = %error, "A notice {} was not sent", notice.name());
        }
    });
}

/// Stores a group and tells its workers, each with one message.
async fn flush(
    db: &Db,
    broker: &Broker,
    api: ApiId,
    waiting_limit: u32,
    jobs: Vec<NewJob>,
) -> Vec<Grouped> {
    let stored = async {
        let mut conn = db.conn().await?;
        jobs::submit(&mut conn, api, waiting_limit.into(), &jobs).await
    };
    match stored.await {
        Ok(verdicts) => {
            tell_workers(broker, &jobs, &verdicts);
            verdicts.into_iter().map(Ok).collect()
        }
        Err(error) => jobs
            .into_iter()
            .map(|job| Err(Box::new((error.clone(), job))))
            .collect(),
    }
}

async fn flush_calls(db: &Db, api: ApiId, calls: Vec<NewCall>) -> Vec<GroupedCall> {
    let stored = async {
        let mut conn = db.conn().await?;
        jobs::submit_calls(&mut conn, api, &calls).await
    };
    match stored.await {
        Ok(accepted) => accepted.into_iter().map(Ok).collect(),
        Err(error) => calls
            .into_iter()
            .map(|call| Err(Box::new((error.clone(), call))))
            .collect(),
    }
}

fn tell_workers(broker: &Broker, jobs: &[NewJob], verdicts: &[Verdict]) {
    let mut told: HashMap<WorkerId, Vec<Notice>> = HashMap::new();
    for (job, verdict) in jobs.iter().zip(verdicts) {
        if let Verdict::Accepted(Some(worker)) = verdict {
            let notice = Notice::work(job.session, job.kind.lane());
            told.entry(*worker).or_default().push(notice);
        }
    }
    for (worker, notices) in told {
        let broker = broker.clone();
        tokio::spawn(async move {
            let queue = QueueName::Worker(worker);
            if let Err(error) = broker.publish_together(queue, notices).await {
                tracing::debug!(error = %error, "{worker} was not told of its work");
            }
        });
    }
}

fn tried(verdict: Verdict, limit: u32) -> Tried {
    match verdict {
        Verdict::Accepted(worker) => Tried::Stored(worker),
        Verdict::UnknownSession => Tried::Refused(no_session()),
        Verdict::SessionOver(state, reason) => Tried::Refused(session_over(state, reason)),
        Verdict::QueueFull => Tried::Refused(ApiError::QueueFull(limit)),
    }
}
