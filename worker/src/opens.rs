//! Taking new sessions: from the queue while there is room, from Postgres when there is room again.

use std::sync::Arc;
use std::time::Duration;

use tokio::sync::OwnedSemaphorePermit;
use warren_common::id::JobId;
use warren_common::model::{JobKind, JobState};
use warren_common::queue::{Delivery, Event, Finished, Notice, QueueName, Settle};
use warren_common::store::sessions::{self, Opened};
use warren_common::telemetry::{chain, metrics};

use crate::host::{Child, Pool};
use crate::lease::Standing;
use crate::session::{Begin, Registry};

/// Notices of `sessions.new` that wait here at most.
const PREFETCH: u16 = 64;
/// Waiting sessions asked for at once.
const BATCH: usize = 64;
/// The pause when no R process can be had.
const PAUSE: Duration = Duration::from_millis(500);

/// Takes sessions for a worker.
#[derive(Clone)]
pub struct Opens {
    registry: Registry,
    pool: Arc<Pool>,
}

impl Opens {
    /// For this registry, out of this pool.
    pub fn new(registry: Registry, pool: Arc<Pool>) -> Self {
        Self { registry, pool }
    }

    /// Takes sessions until the worker takes no more. What is under way then is brought to its end: it is looked at
    /// between two steps whether to go on, and no step is cut off.
    pub async fn run(self) {
        let stop = self.registry.context().stop.soft.clone();
        while !stop.is_cancelled() {
            if !self.wait_for_room().await {
                return;
            }
            if self.catch_up().await {
                self.consume().await;
            }
        }
    }

    /// True when there is room, false when none is wanted any more.
    async fn wait_for_room(&self) -> bool {
        let context = self.registry.context();
        let mut lease = context.lease.clone();
        let room = async {
            let _ = lease
                .wait_for(|standing| *standing == Standing::Valid)
                .await;
            // Given back at once: this only waits until there is a place.
            drop(Arc::clone(self.registry.slots()).acquire_owned().await);
        };
        context.stop.soft.run_until_cancelled(room).await.is_some()
    }

    /// Takes what waits in Postgres, oldest first; true when nothing is left, false when there is no room for it.
    ///
    /// Each job is tried once: one that is there still is being opened by another worker at this moment. Should that come to
    /// nothing, a notice tells.
    async fn catch_up(&self) -> bool {
        let context = self.registry.context();
        let mut seen = None;
        loop {
            let Some(waiting) = context
                .writes
                .insist(|db, _me| async move { sessions::waiting(&db, seen, BATCH).await })
                .await
            else {
                return false;
            };
            if waiting.is_empty() {
                return true;
            }
            seen = waiting.last().copied();
            for job in waiting {
                let Ok(permit) = Arc::clone(self.registry.slots()).try_acquire_owned() else {
                    return false;
                };
                if context.stop.soft.is_cancelled() || !self.open(job, permit).await {
                    return false;
                }
            }
        }
    }

    async fn consume(&self) {
        let context = self.registry.context();
        let mut consumer = context
            .broker
            .consume(QueueName::SessionsNew, Settle::ByTaker(PREFETCH));
        while let Some(Some(event)) = context.stop.soft.run_until_cancelled(consumer.next()).await {
            match event {
                Event::Consuming => {
                    if !self.catch_up().await {
                        return;
                    }
                }
                Event::Delivery(delivery) => {
                    if !self.take(delivery).await {
                        return;
                    }
                }
            }
        }
    }

    /// Takes a session that a notice tells of; false when there is no room for it.
    async fn take(&self, delivery: Delivery) -> bool {
        let Notice::OpenSessionV1 { job } = delivery.notice else {
            delivery.done().await;
            return true;
        };
        let valid = *self.registry.context().lease.borrow() == Standing::Valid;
        match Arc::clone(self.registry.slots()).try_acquire_owned() {
            Ok(permit) if valid => {
                let opens = self.clone();
                self.registry.track(async move {
                    if opens.open(job, permit).await {
                        delivery.done().await;
                    } else {
                        delivery.requeue().await;
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

    /// Opens the session of a job; true when it is open here or somewhere else.
    async fn open(&self, job: JobId, permit: OwnedSemaphorePermit) -> bool {
        let child = match self.pool.take().await {
            Ok(child) => child,
            Err(error) => {
                tracing::warn!(error = %chain(&error), "A session waits, for want of an R process");
                // The notice would come back at once, here or to a worker that can do no better.
                tokio::time::sleep(PAUSE).await;
                return false;
            }
        };
        if self.registry.context().stop.soft.is_cancelled() {
            return false;
        }
        match self.registry.context().writes.open(job).await {
            Ok(Some(opened)) => self.begin(&opened, child, permit),
            Ok(None) => return self.open_with(job, child, permit).await,
            Err(_stopped) => return false,
        }
        true
    }

    /// Begins to open a session with a snapshot, if that is what the job asks for.
    async fn open_with(&self, job: JobId, child: Child, permit: OwnedSemaphorePermit) -> bool {
        match self.registry.context().writes.claim_opening(job).await {
            Some(Some(opening)) => {
                let Some(session) = opening.session else {
                    tracing::error!("An opening without a session was claimed");
                    return true;
                };
                let begin = Begin::With(Box::new(opening));
                if let Some(child) = self.registry.start(session, child, permit, begin) {
                    // Told of twice: it is under way.
                    self.pool.give_back(child);
                }
                true
            }
            Some(None) => {
                self.pool.give_back(child);
                true
            }
            None => false,
        }
    }

    fn begin(&self, opened: &Opened, child: Child, permit: OwnedSemaphorePermit) {
        let (session, pid) = (opened.session, child.pid);
        let begin = Begin::Open { more: opened.more };
        if let Some(child) = self.registry.start(session, child, permit, begin) {
            // Told of twice, while Postgres was away: its task is there already.
            self.pool.give_back(child);
            return;
        }
        tracing::debug!("{session} runs in R process {pid}");
        metrics().claimed(JobKind::OpenSession);
        metrics().ended(JobKind::OpenSession, JobState::Succeeded);
        let broker = self.registry.context().broker.clone();
        let (job, api) = (opened.job, opened.api);
        tokio::spawn(async move {
            let left = Finished {
                state: JobState::Succeeded,
                result: None,
                console: String::new(),
                reason: None,
            };
            let notice = Notice::FinishedV1 {
                job,
                left: Some(Box::new(left)),
            };
            if let Err(error) = broker.publish(QueueName::Api(api), &notice).await {
                tracing::debug!(error = %error, "Nobody could be told that {session} is open");
            }
        });
    }
}
