//! Waiting for jobs to end: one set a node, told by completion events, checked by one grouped query.
//!
//! Waiting for more of a job's console text is [`Progress`]'s.

mod mark;
mod outcome;
mod progress;
mod waiter;

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::sync::{Notify, oneshot};
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;
use warren_common::id::JobId;
use warren_common::queue::{Consumer, Event, Notice};
use warren_common::store::{Db, jobs};

pub use mark::{Mark, Stage};
pub use outcome::Outcome;
pub use progress::Progress;
pub use waiter::Waiter;

/// How often a job is looked at whose completion event comes to this node.
const EXPECTED_EVERY: Duration = Duration::from_secs(1);
/// How often one is whose event goes elsewhere.
const ELSEWHERE_EVERY: Duration = Duration::from_millis(200);
/// Jobs asked for in one query.
const LARGEST: usize = 500;
/// The pause after a query that failed.
const PAUSE: Duration = Duration::from_millis(200);

/// Where the completion event of a job goes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum EventGoes {
    Here,
    Elsewhere,
}

impl EventGoes {
    const fn every(self) -> Duration {
        match self {
            Self::Here => EXPECTED_EVERY,
            Self::Elsewhere => ELSEWHERE_EVERY,
        }
    }
}

struct Entry {
    event: EventGoes,
    due: Instant,
    waiters: Vec<(u64, oneshot::Sender<Arc<Outcome>>)>,
}

#[derive(Default)]
struct Set {
    entries: HashMap<JobId, Entry>,
    /// The poller sleeps until somebody wakes it.
    idle: bool,
    /// Names waiters.
    waiters: u64,
}

struct Inner {
    set: Mutex<Set>,
    wake: Notify,
    leaving: CancellationToken,
}

/// The jobs that somebody on this node waits for.
#[derive(Clone)]
pub struct Watch {
    inner: Arc<Inner>,
}

impl Watch {
    /// Nobody waits yet. When `leaving` is cancelled nobody waits any longer.
    pub fn new(leaving: CancellationToken) -> Self {
        let inner = Inner {
            set: Mutex::default(),
            wake: Notify::new(),
            leaving,
        };
        Self {
            inner: Arc::new(inner),
        }
    }

    /// Waits for a job that this node is about to submit: its completion event comes here.
    pub fn expect(&self, job: JobId) -> Waiter {
        self.add(job, EventGoes::Here, Instant::now() + EXPECTED_EVERY)
    }

    /// Waits for a job that another node may have submitted, or that may have ended already.
    pub fn follow(&self, job: JobId) -> Waiter {
        self.add(job, EventGoes::Elsewhere, Instant::now())
    }

    /// Looks at a job at once: something has just been done to it.
    pub fn look_at(&self, job: JobId) {
        self.make_due(|id| *id == job);
    }

    fn add(&self, job: JobId, event: EventGoes, due: Instant) -> Waiter {
        let (sender, answer) = oneshot::channel();
        let mut set = self.inner.lock();
        set.waiters += 1;
        let number = set.waiters;
        let entry = set.entries.entry(job).or_insert_with(|| Entry {
            event,
            due,
            waiters: Vec::with_capacity(1),
        });
        entry.due = entry.due.min(due);
        entry.waiters.push((number, sender));
        if set.idle || event == EventGoes::Elsewhere {
            self.inner.wake.notify_one();
        }
        Waiter {
            inner: Arc::clone(&self.inner),
            job,
            number,
            answer,
        }
    }

    fn make_due(&self, which: impl Fn(&JobId) -> bool) {
        let now = Instant::now();
        let mut set = self.inner.lock();
        let mut any = false;
        for (_job, entry) in set.entries.iter_mut().filter(|(job, _entry)| which(job)) {
            entry.due = now;
            any = true;
        }
        if any {
            self.inner.wake.notify_one();
        }
    }

    /// Hears completion events until the broker connection is given up for good.
    pub async fn hear(self, mut events: Consumer) {
        while let Some(event) = events.next().await {
            match event {
                // What was sent in the meantime may be lost.
                Event::Consuming => self.make_due(|_job| true),
                Event::Delivery(delivery) => self.heard(delivery.notice),
            }
        }
    }

    fn heard(&self, notice: Notice) {
        match notice {
            Notice::FinishedV1 { job, left } => match left {
                Some(left) => self.inner.settle(job, || Outcome::from(*left)),
                None => self.look_at(job),
            },
            other => tracing::debug!("A notice {} is not for an API node", other.name()),
        }
    }

    /// Reads what is due, in one query for all, for ever.
    pub async fn poll(self, db: Db) {
        loop {
            let (due, next) = self.inner.due(Instant::now());
            if due.is_empty() {
                self.sleep_until(next).await;
                continue;
            }
            match jobs::ended(&db, &due).await {
                Ok(ended) => {
                    for job in ended {
                        self.inner.settle(job.job.id, || Outcome::from(job));
                    }
                }
                Err(error) => {
                    tracing::debug!(error = %error, "The watched jobs could not be read");
                    tokio::time::sleep(PAUSE).await;
                }
            }
        }
    }

    async fn sleep_until(&self, next: Option<Instant>) {
        match next {
            Some(next) => {
                // An elapsed timeout is the other reason to go on.
                let _ = tokio::time::timeout_at(next, self.inner.wake.notified()).await;
            }
            None => self.inner.wake.notified().await,
        }
    }
}

impl Inner {
    fn lock(&self) -> MutexGuard<'_, Set> {
        self.set.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Answers everybody who waits for a job, if anybody does.
    fn settle(&self, job: JobId, outcome: impl FnOnce() -> Outcome) {
        let Some(entry) = self.lock().entries.remove(&job) else {
            return;
        };
        let outcome = Arc::new(outcome());
        for (_number, waiter) in entry.waiters {
            // Whoever waited may be going away at this moment.
            let _ = waiter.send(Arc::clone(&outcome));
        }
    }

    /// What is to be read now, and when to look again. What is nearly due is taken along, so that queries are few.
    fn due(&self, now: Instant) -> (Vec<JobId>, Option<Instant>) {
        let mut set = self.lock();
        let mut due = Vec::new();
        let mut next: Option<Instant> = None;
        let is_due = set.entries.values().any(|entry| entry.due <= now);
        for (job, entry) in &mut set.entries {
            let every = entry.event.every();
            if is_due && due.len() < LARGEST && entry.due <= now + every / 2 {
                due.push(*job);
                entry.due = now + every;
            }
            next = Some(next.map_or(entry.due, |next| next.min(entry.due)));
        }
        set.idle = set.entries.is_empty();
        (due, next)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::error::ApiError;
    use warren_common::model::JobState;
    use warren_common::queue::Finished;

    fn finished(job: JobId) -> Notice {
        let left = Finished {
            state: JobState::Succeeded,
            result: None,
            console: "hello\n".to_owned(),
            reason: None,
        };
        Notice::FinishedV1 {
            job,
            left: Some(Box::new(left)),
        }
    }

    #[tokio::test]
    async fn everybody_who_waits_hears_the_event() {
        let watch = Watch::new(CancellationToken::new());
        let job = JobId::new();
        let mut waiters = [watch.expect(job), watch.follow(job)];
        watch.heard(finished(job));
        for waiter in &mut waiters {
            let outcome = waiter.outcome(None).await.unwrap().unwrap();
            assert_eq!(outcome.console, "hello\n");
        }
        assert!(watch.inner.lock().entries.is_empty());
    }

    #[tokio::test]
    async fn who_goes_away_is_forgotten() {
        let watch = Watch::new(CancellationToken::new());
        let job = JobId::new();
        let (first, second) = (watch.expect(job), watch.expect(job));
        drop(first);
        assert_eq!(watch.inner.lock().entries.len(), 1);
        drop(second);
        assert!(watch.inner.lock().entries.is_empty());
        watch.heard(finished(job));
    }

    #[test]
    fn an_expected_job_is_looked_at_every_second_and_another_at_once() {
        let watch = Watch::new(CancellationToken::new());
        let expected = watch.expect(JobId::new());
        let now = Instant::now();
        let (due, next) = watch.inner.due(now);
        assert!(due.is_empty());
        assert!(next.is_some_and(|next| next > now && next <= now + EXPECTED_EVERY));
        let followed = watch.follow(JobId::new());
        let now = Instant::now();
        assert_eq!(watch.inner.due(now).0, [followed.job]);
        assert!(watch.inner.due(now).0.is_empty());
        let (due, _next) = watch.inner.due(now + EXPECTED_EVERY);
        assert_eq!(due.len(), 2);
        assert!(due.contains(&expected.job));
    }

    #[tokio::test]
    async fn a_node_that_leaves_says_where_to_ask() {
        let leaving = CancellationToken::new();
        let watch = Watch::new(leaving.clone());
        let mut waiter = watch.expect(JobId::new());
        let none = waiter.outcome(Some(Duration::ZERO)).await.unwrap();
        assert!(none.is_none());
        leaving.cancel();
        let error = waiter.outcome(None).await.unwrap_err();
        assert!(matches!(error, ApiError::Leaving(_)));
    }
}
