//! Calls of published services, each durable and in a fresh process, beside the same functions behind plumber.

mod calls;
mod plumber;

use std::time::{Duration, Instant};

use serde_json::{Value, json};

use self::calls::{Call, Function};
use self::plumber::Plumber;
use super::BenchError;
use super::api::parts;
use super::cpu::{self, Meter};
use super::figure::{ADDERS, Figure, PREDICTORS, Quantity};
use super::load::{self, Caller};
use super::memory;
use super::plan::Plan;
use super::series::Sample;
use super::stage::{Found, Stage};
use super::warren::Warren;
use crate::services::service;

/// Records of a batch.
const RECORDS: usize = 10_000;
/// Between two looks at one.
const POLL: Duration = Duration::from_millis(200);
/// Calls that run while their memory is looked at: as many as a worker has places for.
const ASLEEP: usize = 8;
/// How long they sleep, in seconds: longer than it takes to begin them and to look.
const NAP: f64 = 4.0;
/// How long the processes of a worker must stay the same to count as all there.
const QUIET: Duration = Duration::from_millis(200);
/// How long that may take.
const QUIET_LIMIT: Duration = Duration::from_secs(20);

/// What is measured in one go.
#[derive(Debug, Clone, Copy)]
pub(super) enum Step {
    /// Clients that call.
    Load(Figure),
    /// What calls take of memory while they run.
    Memory,
    /// Many records in one batch.
    Batch,
}

/// A Warren with its services, and plumber where it is installed.
pub(super) struct ServicesStage {
    warren: Warren,
    plumber: Option<Plumber>,
    meter: Meter,
}

impl ServicesStage {
    /// Publishes and starts everything.
    pub(super) async fn set_up() -> Result<Self, BenchError> {
        let warren = Warren::start(0).await?;
        publish(&warren).await;
        Ok(Self {
            meter: Meter::new(parts(&warren)),
            plumber: Plumber::start().await?,
            warren,
        })
    }

    /// Whether there is something to compare with.
    pub(super) const fn has_plumber(&self) -> bool {
        self.plumber.is_some()
    }

    async fn load(&self, figure: Figure, plan: &Plan) -> Result<Option<Sample>, BenchError> {
        let clients = figure.clients();
        let function = match figure {
            Figure::PlumberAdd(_) => return self.by_plumber(&Function::ADD, clients, plan).await,
            Figure::PlumberPredict(_) => {
                return self.by_plumber(&Function::PREDICT, clients, plan).await;
            }
            Figure::Predict(_) => &Function::PREDICT,
            Figure::CallLarge => &Function::LARGE,
            _ => &Function::ADD,
        };
        let callers = Call::clients(self.warren.target(0), function, clients).await?;
        let before = self.meter.read();
        let mut sample = load::run(callers, plan).await?;
        sample.spent = self.meter.since(&before);
        Ok(Some(sample))
    }

    async fn by_plumber(
        &self,
        function: &Function,
        clients: usize,
        plan: &Plan,
    ) -> Result<Option<Sample>, BenchError> {
        match &self.plumber {
            Some(plumber) => load::run(plumber.clients(function, clients), plan)
                .await
                .map(Some),
            None => Ok(None),
        }
    }

    /// Megabytes that the worker's processes take more for each call that sleeps.
    async fn memory(&self) -> Result<f64, BenchError> {
        let target = self.warren.target(0);
        // The parent is there, and the fork that it keeps ready.
        for mut call in Call::clients(target, &Function::nap(0.0), 1).await? {
            call.call().await?;
        }
        let awake = self.processes(0).await?;
        let before = total(&awake)?;
        let mut calls = tokio::task::JoinSet::new();
        for mut call in Call::clients(target, &Function::nap(NAP), ASLEEP).await? {
            calls.spawn(async move { call.call().await });
        }
        // One of them has the process that was ready.
        let asleep = self.processes(awake.len() + ASLEEP - 1).await?;
        let after = total(&asleep)?;
        while let Some(call) = calls.join_next().await {
            call.map_err(|_died| BenchError::Died)??;
        }
        #[expect(clippy::cast_precision_loss, reason = "few processes")]
        let more = (asleep.len() - awake.len()).max(1) as f64;
        Ok(memory::megabytes(after.saturating_sub(before)) / more)
    }

    /// Records a second of one batch, from the request to the last result.
    async fn batch(&self) -> f64 {
        let record: Value = Function::ADD.example();
        let records = vec![record; RECORDS];
        let path = format!("/api/{}/v1/batch?parallelCount=16", Function::ADD.name);
        let client = self.warren.house.admin().await;
        let began = Instant::now();
        let started = client.post(&path, &Value::Array(records)).await;
        let batch = format!("{}?showPartialResults=false", started.header("location"));
        started.expect(202);
        while client.get(&batch).await.expect(200)["completedItemCount"] != RECORDS {
            tokio::time::sleep(POLL).await;
        }
        #[expect(clippy::cast_precision_loss, reason = "ten thousand")]
        let records = RECORDS as f64;
        records / began.elapsed().as_secs_f64()
    }

    /// What runs below the worker, at least so many, once that does not change any more.
    async fn processes(&self, least: usize) -> Result<Vec<u32>, BenchError> {
        let worker = self.warren.house.workers[0].process.pid();
        let began = Instant::now();
        let mut since = began;
        let mut found = Vec::new();
        while since.elapsed() < QUIET || found.len() < least {
            if began.elapsed() > QUIET_LIMIT {
                return Err(BenchError::Late("the processes of calls"));
            }
            tokio::time::sleep(crate::wait::PAUSE).await;
            let mut now = cpu::descendants(worker);
            now.sort_unstable();
            if now != found {
                since = Instant::now();
                found = now;
            }
        }
        Ok(found)
    }
}

impl Stage for ServicesStage {
    type Step = Step;

    fn steps() -> Vec<Step> {
        let adds = ADDERS
            .into_iter()
            .flat_map(|clients| [Figure::Add(clients), Figure::PlumberAdd(clients)]);
        let predicts = PREDICTORS
            .into_iter()
            .flat_map(|clients| [Figure::Predict(clients), Figure::PlumberPredict(clients)]);
        // The large model beside the small one, each at one client.
        [Figure::CallLarge]
            .into_iter()
            .chain(adds)
            .chain(predicts)
            .map(Step::Load)
            .chain([Step::Memory, Step::Batch])
            .collect()
    }

    async fn measure(&self, step: Step, plan: &Plan) -> Result<Vec<Found>, BenchError> {
        match step {
            Step::Load(figure) => {
                let sample = self.load(figure, plan).await?;
                let found = sample.map(|sample| Found::Times(figure, sample));
                Ok(found.into_iter().collect())
            }
            Step::Memory => Ok(vec![Found::Amount(Quantity::Call, self.memory().await?)]),
            Step::Batch => Ok(vec![Found::Amount(Quantity::Records, self.batch().await)]),
        }
    }
}

async fn publish(warren: &Warren) {
    let client = warren.house.admin().await;
    let numbers = [("x", "numeric"), ("y", "numeric")];
    let mut add = service(calls::ADD, &numbers, &[("z", "numeric")]);
    add["exampleInputs"] = Function::ADD.example();
    client.published(Function::ADD.name, &add).await;

    let mut predict = service(
        calls::PREDICT,
        &[("cars", "data.frame")],
        &[("p", "vector")],
    );
    predict["initCode"] = json!(calls::MODEL);
    predict["exampleInputs"] = Function::PREDICT.example();
    client.published(Function::PREDICT.name, &predict).await;

    let session = client.open_session().await;
    session.prints(calls::LARGE_MODEL).await;
    let mut large = service(calls::LARGE, &[("x", "numeric")], &[("z", "numeric")]);
    large["snapshotId"] = Value::String(session.save().await);
    large["exampleInputs"] = Function::LARGE.example();
    client.published(Function::LARGE.name, &large).await;
    session.close().await;

    let nap = service(calls::NAP, &[("seconds", "numeric")], &[("z", "numeric")]);
    client.published(calls::NAP_NAME, &nap).await;
}

fn total(pids: &[u32]) -> Result<u64, BenchError> {
    let each = pids.iter().map(|pid| memory::of_process(*pid));
    each.sum::<std::io::Result<u64>>()
        .map_err(BenchError::Memory)
}
