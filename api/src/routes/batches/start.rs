//! `POST /api/{name}/{version}/batch`

use std::sync::Arc;
use std::time::Duration;

use axum::Json;
use axum::extract::{Request, State};
use axum::http::{HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use http_body_util::BodyExt;
use serde::{Deserialize, Serialize};
use warren_common::id::{BatchId, JobId};
use warren_common::queue::{Notice, QueueName};
use warren_common::store::batches::{self, Arrived, NewBatch, NewItem};
use warren_common::store::jobs::{self, IdempotencyKey, KeyVerdict};
use warren_common::store::services::Target;

use crate::app::{App, Shared};
use crate::auth::Caller;
use crate::error::ApiError;
use crate::extract::{Key, Params, Trace};
use crate::routes::calls::request;
use crate::routes::services::Place;
use crate::services::inputs::{self, Inputs};
use crate::services::records::{NoRecords, Records};
use crate::submit::notify;

/// How many items run at the same moment when nobody says.
const PARALLEL: u32 = 10;
/// Records that are stored by one statement.
const TOGETHER: usize = 500;
/// Bytes of them.
const TOGETHER_BYTES: usize = 4 * 1024 * 1024;
/// How often a batch that is whole is tried to be released, with a pause after each.
const TRIES: usize = 30;
const PAUSE: Duration = Duration::from_millis(500);
/// How long a caller may send nothing.
const SILENCE: Duration = Duration::from_secs(60);

/// How many items may run at the same moment.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Query {
    parallel_count: Option<String>,
}

/// The id under both names that clients look for.
#[derive(Serialize)]
struct Started {
    #[serde(rename = "batchExecutionId")]
    id: BatchId,
    #[serde(rename = "BatchExecutionId")]
    the_same: BatchId,
}

/// Stores every record as a job while the body arrives, and lets the first of them begin when it is whole.
pub async fn start(
    State(app): State<Shared>,
    caller: Caller,
    place: Place,
    Params(query): Params<Query>,
    Trace(traceparent): Trace,
    key: Key,
    body: Request,
) -> Result<Response, ApiError> {
    let parallel = parallel(&app, query.parallel_count.as_deref())?;
    let version = place.version()?.to_owned();
    let target = app.targets.look(&app.db, &place.name, &version).await?;
    let target = target.ok_or_else(|| place.unknown())?;
    if !app.broker.is_connected() {
        return Err(ApiError::unavailable("RabbitMQ cannot be reached"));
    }
    let new = NewBatch {
        id: BatchId::new(),
        owner: caller.id,
        name: place.name.clone(),
        version: version.clone(),
        content: target.content,
        parallel,
    };
    batches::begin(&app.db, &new).await?;
    let mut arriving = Arriving {
        app: &app,
        batch: new.id,
        target,
        traceparent,
        waiting: Vec::new(),
        waiting_bytes: 0,
        stored: 0,
        first: None,
    };
    let settled = match arriving.take_in(body, key).await {
        Ok(key) => {
            let key = key.map(|(key, body_hash)| IdempotencyKey {
                owner: caller.id,
                key,
                body_hash,
            });
            arriving.settle(key).await
        }
        Err(error) => Err(error),
    };
    let id = match settled {
        Ok(id) => id,
        Err(error) => {
            // What is not removed now is, when nothing more of it has arrived for a while.
            if let Err(left) = batches::abandon(&app.db, new.id).await {
                tracing::debug!(error = %left, "A batch that did not arrive is left for now");
            }
            return Err(error);
        }
    };
    let started = Json(Started { id, the_same: id });
    let mut response = (StatusCode::ACCEPTED, started).into_response();
    let location = format!("/api/{}/{version}/batch/{id}", place.name);
    if let Ok(location) = HeaderValue::from_str(&location) {
        response.headers_mut().insert(header::LOCATION, location);
    }
    Ok(response)
}

fn parallel(app: &App, text: Option<&str>) -> Result<i32, ApiError> {
    let asked = match text.map(str::parse::<u32>) {
        None => PARALLEL,
        Some(Ok(asked)) if asked > 0 => asked,
        Some(_) => {
            return Err(ApiError::BadRequest(
                "parallelCount must be a number from 1".to_owned(),
            ));
        }
    };
    let parallel = asked.min(app.config.batch_max_parallel.max(1));
    Ok(i32::try_from(parallel).unwrap_or(i32::MAX))
}

/// A batch of which records arrive.
struct Arriving<'a> {
    app: &'a App,
    batch: BatchId,
    target: Arc<Target>,
    traceparent: String,
    waiting: Vec<NewItem>,
    waiting_bytes: usize,
    stored: i32,
    /// The first item of all.
    first: Option<JobId>,
}

impl Arriving<'_> {
    /// Reads the body to its end; gives the idempotency key over it.
    async fn take_in(
        &mut self,
        body: Request,
        mut key: Key,
    ) -> Result<Option<(String, Vec<u8>)>, ApiError> {
        let mut body = body.into_body();
        let mut records = Records::new(self.app.config.body_limit);
        let mut left = self.app.config.upload_limit;
        loop {
            let frame = tokio::time::timeout(SILENCE, body.frame()).await;
            let Some(frame) = frame.map_err(|_elapsed| ApiError::BodyTimeout)? else {
                break;
            };
            let broken = |_error| ApiError::BadRequest("the body did not arrive whole".to_owned());
            let Ok(data) = frame.map_err(broken)?.into_data() else {
                continue;
            };
            left = left.checked_sub(data.len() as u64).ok_or_else(|| {
                ApiError::ResultTooLarge(format!(
                    "the records are longer than {} bytes",
                    self.app.config.upload_limit
                ))
            })?;
            key.add(&data);
            records.push(&data, |record| self.take(record))?;
            if self.waiting.len() >= TOGETHER || self.waiting_bytes >= TOGETHER_BYTES {
                self.store().await?;
            }
        }
        records.finish()?;
        while !self.waiting.is_empty() {
            self.store().await?;
        }
        Ok(key.over(&[]))
    }

    /// Reads one record, which is judged as the inputs of a call are.
    fn take(&mut self, record: &[u8]) -> Result<(), ApiError> {
        let most = i32::try_from(self.app.config.batch_max_items).unwrap_or(i32::MAX);
        let nth = self.stored + i32::try_from(self.waiting.len()).unwrap_or(i32::MAX);
        if nth >= most {
            return Err(ApiError::ResultTooLarge(format!(
                "the batch has more than {most} records (WARREN_BATCH_MAX_ITEMS)"
            )));
        }
        let wrong = |problem: String| ApiError::BadRequest(format!("record {nth}: {problem}"));
        let inputs: Inputs =
            serde_json::from_slice(record).map_err(|error| wrong(error.to_string()))?;
        inputs::check(&self.target.definition.inputs, &inputs)
            .map_err(|problem| wrong(problem.to_string()))?;
        let request = request(self.target.content, &inputs)?;
        let job = JobId::new();
        self.first.get_or_insert(job);
        self.waiting_bytes += request.len();
        self.waiting.push(NewItem { job, request });
        Ok(())
    }

    async fn store(&mut self) -> Result<(), ApiError> {
        let several = self.waiting.len().min(TOGETHER);
        let items: Vec<NewItem> = self.waiting.drain(..several).collect();
        let added = batches::add_items(
            &self.app.db,
            self.app.id,
            self.batch,
            self.stored,
            &items,
            &self.traceparent,
        );
        if !added.await? {
            return Err(ApiError::BodyTimeout);
        }
        self.stored += i32::try_from(items.len()).unwrap_or(i32::MAX);
        self.waiting_bytes = self.waiting.iter().map(|item| item.request.len()).sum();
        Ok(())
    }

    /// Lets the first items begin; or finds the batch that the same request made before.
    async fn settle(&self, key: Option<IdempotencyKey>) -> Result<BatchId, ApiError> {
        let db = &self.app.db;
        if let Some(key) = &key {
            match jobs::recall(db, key).await? {
                KeyVerdict::New => {}
                KeyVerdict::Taken => return Err(ApiError::KeyTaken),
                KeyVerdict::SameAs(job) => return self.made_before(job).await,
            }
        }
        let tied = key.as_ref().zip(self.first);
        match self.release(tied).await? {
            Arrived::Released(jobs) => {
                for job in jobs {
                    notify(&self.app.broker, QueueName::Batch, Notice::CallV1 { job });
                }
                Ok(self.batch)
            }
            Arrived::Abandoned => Err(ApiError::BodyTimeout),
            Arrived::KeyHeld => match &key {
                Some(key) => match jobs::recall(db, key).await? {
                    KeyVerdict::SameAs(job) => self.made_before(job).await,
                    KeyVerdict::New | KeyVerdict::Taken => Err(ApiError::KeyTaken),
                },
                None => Err(ApiError::KeyTaken),
            },
        }
    }

    /// Tries until it is known whether the batch is released: nobody is told to try again for one that runs.
    async fn release(&self, tied: Option<(&IdempotencyKey, JobId)>) -> Result<Arrived, ApiError> {
        let db = &self.app.db;
        let mut doubt = false;
        for _ in 0..TRIES {
            let known = if doubt {
                batches::is_released(db, self.batch).await
            } else {
                Ok(false)
            };
            let answer = match known {
                // The sweeper tells the workers.
                Ok(true) => return Ok(Arrived::Released(Vec::new())),
                Ok(false) => batches::release(db, self.batch, self.stored, tied).await,
                Err(error) => Err(error),
            };
            match answer {
                Ok(arrived) => return Ok(arrived),
                Err(error) if !error.is_away() => return Err(error.into()),
                Err(error) => doubt |= error.is_interrupted(),
            }
            tokio::time::sleep(PAUSE).await;
        }
        match self.first.filter(|_first| doubt) {
            Some(first) => Err(ApiError::InDoubt(first)),
            None => Err(ApiError::unavailable("PostgreSQL cannot be reached")),
        }
    }

    async fn made_before(&self, job: JobId) -> Result<BatchId, ApiError> {
        batches::abandon(&self.app.db, self.batch).await?;
        let batch = batches::of_item(&self.app.db, job).await?;
        batch.ok_or(ApiError::KeyTaken)
    }
}

impl From<NoRecords> for ApiError {
    fn from(problem: NoRecords) -> Self {
        match problem {
            NoRecords::TooLong(_) => Self::ResultTooLarge(problem.to_string()),
            NoRecords::NoArray | NoRecords::Unfinished => Self::BadRequest(problem.to_string()),
        }
    }
}
