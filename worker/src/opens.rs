//! Taking new sessions: from the queue while there is room, from Postgres when there is room again.

use std::sync::Arc;

use tokio::sync::OwnedSemaphorePermit;
use warren_common::id::JobId;
use warren_common::model::{JobKind, JobState};
use warren_common::queue::{Delivery, Event, Finished, Notice, QueueName, Settle};
use warren_common::store::sessions::{self, Opened};
use warren_common::telemetry::{chain, metrics};

use crate::host::Pool;
use crate::lease::Standing;
use crate::session::Registry;

/// Notices of `sessions.new` that wait here at most.
const PREFETCH: u16 = 64;

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

    /// Takes sessions until the worker takes no more.
    pub async fn run(self) {
        let stop = self.registry.context().stop.soft.clone();
        stop.run_until_cancelled(async {
            loop {
                self.wait_for_room().await;
                if self.catch_up().await {
                    self.consume().await;
                }
            }
        })
        .await;
    }

    async fn wait_for_room(&self) {
        let mut lease = self.registry.context().lease.clone();
        let _ = lease
            .wait_for(|standing| *standing == Standing::Valid)
            .await;
        // Given back at once: this only waits until there is a place.
        drop(Arc::clone(self.registry.slots()).acquire_owned().await);
    }

    /// Takes what waits in Postgres, oldest first; true when nothing is left, false when there is no room for it.
    async fn catch_up(&self) -> bool {
        let context = self.registry.context();
        while let Ok(permit) = Arc::clone(self.registry.slots()).try_acquire_owned() {
            let child = match self.pool.take().await {
                Ok(child) => child,
                Err(error) => {
                    tracing::warn!(error = %chain(&error), "A session waits for an R process");
                    tokio::time::sleep(std::time::Duration::from_millis(200)).await;
                    return false;
                }
            };
            match sessions::open(&context.db, context.me, None, 1).await {
                Ok(mut opened) => {
                    let Some(opened) = opened.pop() else {
                        self.pool.give_back(child);
                        return true;
                    };
                    self.begin(&opened, child, permit);
                }
                Err(error) => {
                    // Should the statement have committed after all, no task would serve the session: end what it opened.
                    tracing::warn!(error = %error, "Waiting sessions could not be taken");
                    self.pool.give_back(child);
                    self.adopt_what_was_opened().await;
                    return false;
                }
            }
        }
        false
    }

    /// Sessions that the database gives this worker and that it does not know: their opening's answer was lost.
    async fn adopt_what_was_opened(&self) {
        let context = self.registry.context();
        let known = self.registry.ids();
        let strays = context
            .writes
            .insist(|db, me| async move { sessions::ids_here(&db, me).await })
            .await;
        for stray in strays
            .unwrap_or_default()
            .into_iter()
            .filter(|id| !known.contains(id))
        {
            let reason = "its worker could not tell whether it was opened";
            let lost = warren_common::model::SessionState::Lost;
            context
                .writes
                .insist(|db, me| async move { sessions::end(&db, me, stray, lost, reason).await })
                .await;
        }
    }

    async fn consume(&self) {
        let mut consumer = self
            .registry
            .context()
            .broker
            .consume(QueueName::SessionsNew, Settle::ByTaker(PREFETCH));
        while let Some(event) = consumer.next().await {
            match event {
                Event::Consuming => {
                    if !self.catch_up().await {
                        return;
                    }
                }
                Event::Delivery(delivery) => {
                    let Notice::OpenSessionV1 { job } = delivery.notice else {
                        delivery.done().await;
                        continue;
                    };
                    let valid = *self.registry.context().lease.borrow() == Standing::Valid;
                    let permit = Arc::clone(self.registry.slots()).try_acquire_owned();
                    match permit {
                        Ok(permit) if valid => {
                            let opens = self.clone();
                            tokio::spawn(async move { opens.open(job, permit, delivery).await });
                        }
                        // No room: what is held goes back to those who have some, with the consumer.
                        _ => {
                            delivery.requeue().await;
                            return;
                        }
                    }
                }
            }
        }
    }

    async fn open(&self, job: JobId, permit: OwnedSemaphorePermit, delivery: Delivery) {
        let child = match self.pool.take().await {
            Ok(child) => child,
            Err(error) => {
                tracing::warn!(error = %chain(&error), "A session goes to another worker, for want of an R process");
                delivery.requeue().await;
                return;
            }
        };
        match self.registry.context().writes.open(job).await {
            Ok(Some(opened)) => self.begin(&opened, child, permit),
            Ok(None) | Err(_) => self.pool.give_back(child),
        }
        delivery.done().await;
    }

    fn begin(&self, opened: &Opened, child: crate::host::Child, permit: OwnedSemaphorePermit) {
        metrics().claimed(JobKind::OpenSession);
        metrics().ended(JobKind::OpenSession, JobState::Succeeded);
        tracing::debug!("{} runs in R process {}", opened.session, child.pid);
        self.registry
            .start(opened.session, child, permit, opened.more);
        let broker = self.registry.context().broker.clone();
        let (job, session, api) = (opened.job, opened.session, opened.api);
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
