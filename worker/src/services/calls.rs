//! Taking calls and publications: from the queue while there is room, from Postgres when there is room again.

use std::collections::{HashMap, HashSet};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use futures::FutureExt;
use tokio::sync::{OwnedSemaphorePermit, Semaphore, mpsc};
use tracing::Instrument;
use warren_common::id::JobId;
use warren_common::model::JobKind;
use warren_common::queue::{Delivery, Event, Notice, QueueName, Settle};
use warren_common::store::jobs::{self, Claimed};
use warren_common::telemetry::metrics;

use super::call::give_back;
use super::parents::Parents;
use super::{call, publish};
use crate::context::Context;
use crate::conversation::Mail;
use crate::host::Pool;
use crate::lease::Standing;
use crate::session::Registry;

/// How long a notice waits here for a place before others may have it.
const HOLD: Duration = Duration::from_millis(50);

/// How often it is looked whether everything that runs here in the database does so in truth.
const LOOK_EVERY: Duration = Duration::from_secs(5);

/// What is taken: each kind of work has a queue of its own, so that one never stands in the other's way.
#[derive(Debug, Clone, Copy)]
enum Intake {
    Calls,
    Batch,
}

impl Intake {
    const fn queue(self) -> QueueName {
        match self {
            Self::Calls => QueueName::Calls,
            Self::Batch => QueueName::Batch,
        }
    }

    const fn kinds(self) -> &'static [JobKind] {
        match self {
            Self::Calls => &[JobKind::Call, JobKind::Publish],
            Self::Batch => &[JobKind::BatchItem],
        }
    }
}

/// Leave to run one job. Batches have at most half of all, so that a call never waits for more than a few of their items.
struct Place {
    _any: OwnedSemaphorePermit,
    _of_batches: Option<OwnedSemaphorePermit>,
}

/// An attempt that runs here.
struct Running {
    attempt: i32,
    task: mpsc::Sender<Mail>,
}

/// Takes and runs what belongs to no session.
#[derive(Clone)]
pub struct Calls {
    pub(super) context: Context,
    pub(super) pool: Arc<Pool>,
    pub(super) parents: Parents,
    registry: Registry,
    places: Arc<Semaphore>,
    /// Of these places, those that batches may take.
    batch_places: Arc<Semaphore>,
    running: Arc<Mutex<HashMap<JobId, Running>>>,
}

impl Calls {
    /// For this worker; what it runs, [`Registry::ended`] waits for.
    pub fn new(registry: Registry, pool: Arc<Pool>) -> Self {
        let context = registry.context().clone();
        Self {
            parents: Parents::new(context.clone(), Arc::clone(&pool)),
            places: Arc::new(Semaphore::new(context.config.services.call_slots)),
            batch_places: Arc::new(Semaphore::new(
                (context.config.services.call_slots / 2).max(1),
            )),
            context,
            pool,
            registry,
            running: Arc::default(),
        }
    }

    /// Tells a job that runs here something.
    pub fn tell(&self, job: JobId, letter: Mail) {
        if let Some(running) = self.lock().get(&job) {
            // One that is full has been told already.
            let _ = running.task.try_send(letter);
        }
    }

    /// Takes jobs until the worker takes no more.
    pub async fn run(self) {
        let ahead = self.parents.clone();
        tokio::spawn(async move { ahead.start_ahead().await });
        let taken = async {
            tokio::join!(self.take_in(Intake::Calls), self.take_in(Intake::Batch));
            self.registry.ended().await;
        };
        tokio::select! {
            () = taken => {}
            () = self.give_back_strangers() => {}
            () = self.parents.look_after() => {}
        }
    }

    async fn take_in(&self, intake: Intake) {
        let stop = &self.context.stop.soft;
        while !stop.is_cancelled() {
            let room = async {
                let mut lease = self.context.lease.clone();
                let _ = lease
                    .wait_for(|standing| *standing == Standing::Valid)
                    .await;
                drop(self.place(intake).await);
            };
            if stop.run_until_cancelled(room).await.is_none() {
                return;
            }
            if self.catch_up(intake).await {
                self.consume(intake).await;
            }
        }
    }

    /// Waits for a place.
    async fn place(&self, intake: Intake) -> Option<Place> {
        let of_batches = match intake {
            Intake::Calls => None,
            Intake::Batch => Some(Arc::clone(&self.batch_places).acquire_owned().await.ok()?),
        };
        Some(Place {
            _any: Arc::clone(&self.places).acquire_owned().await.ok()?,
            _of_batches: of_batches,
        })
    }

    /// A place that is free now.
    fn free_place(&self, intake: Intake) -> Option<Place> {
        self.place(intake).now_or_never().flatten()
    }

    /// Takes what waits in Postgres; true when nothing is left, false when there is no room for more.
    async fn catch_up(&self, intake: Intake) -> bool {
        loop {
            let mut places = Vec::new();
            while let Some(place) = self.free_place(intake) {
                places.push(place);
            }
            if places.is_empty() || !self.may_take() {
                return false;
            }
            let claims = self
                .context
                .writes
                .claim_waiting_calls(intake.kinds(), places.len());
            let Some(claimed) = claims.await else {
                return false;
            };
            let more = claimed.len() >= places.len();
            for claimed in claimed {
                let Some(place) = places.pop() else { break };
                self.begin(claimed, place);
            }
            if !more {
                return true;
            }
        }
    }

    async fn consume(&self, intake: Intake) {
        let prefetch = u16::try_from(self.context.config.services.call_slots).unwrap_or(u16::MAX);
        let mut consumer = self
            .context
            .broker
            .consume(intake.queue(), Settle::ByTaker(prefetch));
        let stop = &self.context.stop.soft;
        while let Some(Some(event)) = stop.run_until_cancelled(consumer.next()).await {
            let goes_on = match event {
                Event::Consuming => self.catch_up(intake).await,
                Event::Delivery(delivery) => self.take(intake, delivery).await,
            };
            if !goes_on {
                return;
            }
        }
    }

    /// Takes a job that a notice tells of; false when there is no room for it.
    async fn take(&self, intake: Intake, delivery: Delivery) -> bool {
        let Notice::CallV1 { job } = delivery.notice else {
            delivery.done().await;
            return true;
        };
        match tokio::time::timeout(HOLD, self.place(intake)).await {
            Ok(Some(place)) if self.may_take() => {
                let calls = self.clone();
                self.registry.track(async move {
                    match calls.context.writes.claim_call(job).await {
                        Ok(claimed) => {
                            delivery.done().await;
                            if let Some(claimed) = claimed {
                                calls.work(claimed, place).await;
                            }
                        }
                        Err(_stopped) => delivery.requeue().await,
                    }
                });
                true
            }
            // No room: what is held goes back to those who have some, with the consumer.
            _ => {
                delivery.requeue().await;
                false
            }
        }
    }

    fn may_take(&self) -> bool {
        !self.context.stop.soft.is_cancelled() && *self.context.lease.borrow() == Standing::Valid
    }

    fn begin(&self, claimed: Claimed, place: Place) {
        let calls = self.clone();
        self.registry
            .track(async move { calls.work(claimed, place).await });
    }

    /// Does one job that was claimed.
    async fn work(&self, claimed: Claimed, _place: Place) {
        let (task, mail) = mpsc::channel(1);
        let job = claimed.job;
        let attempt = claimed.attempt;
        // An earlier attempt may be here still, which was given back this very moment.
        self.lock().insert(job, Running { attempt, task });
        let span = tracing::debug_span!("call", job.id = %job);
        let kind = claimed.kind.clone();
        if let Ok(kind) = &kind {
            metrics().claimed(*kind);
        }
        let done = async {
            match kind {
                Ok(JobKind::Call | JobKind::BatchItem) => call::call(self, claimed, mail).await,
                Ok(JobKind::Publish) => publish::publish(self, claimed, mail).await,
                _ => tracing::error!("{job} is no call"),
            }
        };
        done.instrument(span).await;
        let mut running = self.lock();
        if running
            .get(&job)
            .is_some_and(|running| running.attempt == attempt)
        {
            running.remove(&job);
        }
    }

    /// Gives back what runs here according to the database and not in truth: claims whose answers were lost. It is looked at twice,
    /// because a claim is in the database before it is known here.
    async fn give_back_strangers(&self) {
        let mut suspects: HashSet<(JobId, i32)> = HashSet::new();
        loop {
            tokio::time::sleep(LOOK_EVERY).await;
            let listed = self
                .context
                .writes
                .insist(|db, me| async move { jobs::calls_running_here(&db, me).await })
                .await;
            let Some(listed) = listed else { return };
            let strangers: HashSet<(JobId, i32)> = {
                let running = self.lock();
                let is_here = |job: &JobId, attempt: i32| {
                    running.get(job).is_some_and(|here| here.attempt >= attempt)
                };
                listed
                    .into_iter()
                    .filter(|(job, attempt)| !is_here(job, *attempt))
                    .collect()
            };
            for (job, attempt) in strangers.intersection(&suspects).copied() {
                tracing::warn!("{job} was claimed here and never begun; it is given back");
                give_back(self, job, attempt).await;
            }
            suspects = strangers;
        }
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<JobId, Running>> {
        self.running.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
