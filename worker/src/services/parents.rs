//! What calls are forked from, kept by recent use within a budget of memory.

use std::collections::{HashMap, VecDeque};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::time::Instant;
use warren_common::id::ContentId;
use warren_common::model::RefusalKind;
use warren_common::store::services::{self, Content};
use warren_common::telemetry::metrics;

use super::prepare::{prepare, unavailable};
use crate::context::Context;
use crate::conversation::{Left, Verdict};
use crate::files::FilesError;
use crate::host::{Child, HostError, Pool, ServiceParent};

/// Calls that wait for a parent that could not be started share that answer for this long.
const FAILURE_HOLDS: Duration = Duration::from_secs(1);
/// Between two looks at how large parents have become.
const LOOK_EVERY: Duration = Duration::from_secs(10);
/// Parents that may be lost under one call.
const TRIES: usize = 3;

/// The parents of one worker.
#[derive(Clone)]
pub(super) struct Parents {
    shared: Arc<Shared>,
}

struct Shared {
    context: Context,
    pool: Arc<Pool>,
    places: Mutex<HashMap<ContentId, Arc<Place>>>,
    /// Counts uses, to tell which was last.
    clock: AtomicU64,
}

/// Where the parent of a content is, or will be.
#[derive(Default)]
struct Place {
    /// Held while it is started.
    state: tokio::sync::Mutex<State>,
    used: AtomicU64,
}

#[derive(Default)]
enum State {
    #[default]
    Empty,
    Here(Arc<Parent>),
    Failed(Instant, String, RefusalKind),
}

/// What calls of a content run in.
pub(super) struct Parent {
    pub(super) content: Content,
    from: From,
    ready: Mutex<VecDeque<Child>>,
    /// Held by whoever forks ahead: calls that end together would each fork, and leave many.
    refilling: tokio::sync::Mutex<()>,
}

/// Where a call's process comes from.
enum From {
    /// A fork of this.
    Parent(ServiceParent),
    /// A process of its own, because the service cannot be forked.
    Whole,
}

impl Parents {
    pub(super) fn new(context: Context, pool: Arc<Pool>) -> Self {
        Self {
            shared: Arc::new(Shared {
                context,
                pool,
                places: Mutex::default(),
                clock: AtomicU64::new(0),
            }),
        }
    }

    /// A process that is ready for one call, with what it is to run.
    pub(super) async fn child(&self, content: ContentId) -> Result<(Child, Arc<Parent>), Verdict> {
        let mut tries = 1;
        loop {
            let parent = self.parent(content).await?;
            match self.fork(&parent).await {
                Ok(child) => return Ok((child, parent)),
                // A parent that was lost under it says nothing of the next one.
                Err(_lost) if !parent.is_alive() && tries < TRIES => tries += 1,
                Err(verdict) => return Err(verdict),
            }
        }
    }

    /// Starts those that were published last, if some are to be there before they are called.
    pub(super) async fn start_ahead(&self) {
        let Shared { context, .. } = &*self.shared;
        let wanted = context.config.services.parents;
        if wanted == 0 {
            return;
        }
        let newest = context
            .writes
            .insist(|db, _me| async move { services::newest(&db, wanted).await })
            .await;
        for content in newest.unwrap_or_default() {
            // Why not is the publisher's: nothing of it belongs into a log.
            if self.parent(content).await.is_err() {
                tracing::warn!(content.id = %content, "A parent could not be started ahead");
            }
        }
    }

    /// Keeps a process that was prepared for a publication as the parent of what it published.
    pub(super) async fn adopt(&self, id: ContentId, content: Content, child: Child) {
        let parent = self.make(content, child).await;
        let place = self.place(id);
        *place.state.lock().await = State::Here(Arc::new(parent));
        self.stay_within_budget().await;
    }

    /// Lets go of what came to nothing.
    pub(super) fn forget(&self, id: ContentId) {
        self.lock().remove(&id);
    }

    async fn parent(&self, id: ContentId) -> Result<Arc<Parent>, Verdict> {
        let place = self.place(id);
        let mut state = place.state.lock().await;
        match &*state {
            State::Here(parent) if parent.is_alive() => return Ok(Arc::clone(parent)),
            State::Failed(at, message, kind) if at.elapsed() < FAILURE_HOLDS => {
                return Err(FilesError::refused(*kind, message.clone()).into());
            }
            State::Empty | State::Here(_) | State::Failed(..) => {}
        }
        match self.start(id).await {
            Ok(parent) => {
                let parent = Arc::new(parent);
                *state = State::Here(Arc::clone(&parent));
                drop(state);
                self.stay_within_budget().await;
                Ok(parent)
            }
            Err(verdict) => {
                if let Some(Left::Refusal(refusal)) = verdict.result.as_deref() {
                    *state =
                        State::Failed(Instant::now(), refusal.message.clone(), refusal.refusal);
                }
                Err(verdict)
            }
        }
    }

    fn place(&self, id: ContentId) -> Arc<Place> {
        let place = Arc::clone(self.lock().entry(id).or_default());
        let now = self.shared.clock.fetch_add(1, Ordering::Relaxed);
        place.used.store(now, Ordering::Relaxed);
        place
    }

    async fn start(&self, id: ContentId) -> Result<Parent, Verdict> {
        let Shared { context, pool, .. } = &*self.shared;
        let found = services::content(&context.db, id).await;
        let content = found
            .map_err(|error| unavailable(&format!("the service cannot be looked up: {error}")))?
            .ok_or_else(|| FilesError::refused(RefusalKind::NotFound, "the service was deleted"))?;
        let began = Instant::now();
        let child = prepare(context, pool, &content).await?;
        let parent = self.make(content, child).await;
        tracing::info!(
            content.id = %id,
            forks = parent.is_forked(),
            "A parent of a service was started in {:?}",
            began.elapsed()
        );
        Ok(parent)
    }

    async fn make(&self, content: Content, child: Child) -> Parent {
        let from = match ServiceParent::start(child).await {
            Ok(parent) => From::Parent(parent),
            // What it says of itself is the service's own text.
            Err(_refused) => {
                tracing::warn!("A service gets a whole process for each call: it cannot be forked");
                From::Whole
            }
        };
        Parent {
            content,
            from,
            ready: Mutex::default(),
            refilling: tokio::sync::Mutex::default(),
        }
    }

    async fn fork(&self, parent: &Arc<Parent>) -> Result<Child, Verdict> {
        let Shared { context, pool, .. } = &*self.shared;
        let forks = match &parent.from {
            From::Parent(forks) => forks,
            From::Whole => return prepare(context, pool, &parent.content).await,
        };
        match parent.take_ready() {
            Some(child) => Ok(child),
            None => forks.fork().await.map_err(|error| of_host(&error)),
        }
    }

    /// Forks for the next call what the last one took: once R has answered that one, which it would keep from a processor before.
    pub(super) fn refill(&self, parent: &Arc<Parent>) {
        let wanted = self.shared.context.config.services.ready_forks;
        if let From::Parent(forks) = &parent.from
            && wanted > 0
        {
            let (parent, forks) = (Arc::clone(parent), forks.clone());
            tokio::spawn(async move { parent.refill(&forks, wanted).await });
        }
    }

    /// Keeps parents within their memory for as long as it is polled: they grow while they are used.
    pub(super) async fn look_after(&self) {
        loop {
            tokio::time::sleep(LOOK_EVERY).await;
            self.stay_within_budget().await;
        }
    }

    /// Lets go of parents that are gone, and of those that were used least lately until the others fit. Calls that run keep theirs
    /// alive.
    async fn stay_within_budget(&self) {
        let here = self.living();
        // The kernel may take milliseconds to tell, for each.
        let measured = tokio::task::spawn_blocking(move || {
            let measured = here.into_iter().map(|held| (held.parent.memory(), held));
            measured.collect::<Vec<_>>()
        });
        let mut held = measured.await.unwrap_or_default();
        held.sort_unstable_by_key(|(_, held)| held.used);
        let mut sum: u64 = held.iter().map(|(bytes, _)| bytes).sum();
        let budget = self.shared.context.config.services.memory_bytes;
        while sum > budget && held.len() > 1 {
            // The one that was used last stays, however large it is.
            let (bytes, idlest) = held.remove(0);
            let mut places = self.lock();
            let place = places.get(&idlest.id);
            // Used while it was measured, it is not the idlest any more.
            if place.is_none_or(|place| place.used.load(Ordering::Relaxed) != idlest.used) {
                continue;
            }
            places.remove(&idlest.id);
            sum -= bytes;
            tracing::debug!(content.id = %idlest.id, "A parent of a service makes room for others");
        }
        let forked = held.iter().filter(|(_, held)| held.parent.is_forked());
        let forked = forked.count();
        metrics().service_parents(forked, held.len() - forked);
    }

    /// Those that live. What came to nothing is forgotten.
    fn living(&self) -> Vec<Held> {
        let mut held = Vec::new();
        self.lock().retain(|id, place| {
            // One that is being started is kept.
            let Ok(state) = place.state.try_lock() else {
                return true;
            };
            match &*state {
                State::Here(parent) if parent.is_alive() => {
                    held.push(Held {
                        id: *id,
                        used: place.used.load(Ordering::Relaxed),
                        parent: Arc::clone(parent),
                    });
                    true
                }
                State::Here(_) => false,
                State::Failed(at, ..) => at.elapsed() < FAILURE_HOLDS,
                // Somebody is about to start it.
                State::Empty => Arc::strong_count(place) > 1,
            }
        });
        held
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<ContentId, Arc<Place>>> {
        self.shared
            .places
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
    }
}

/// A parent that lives.
struct Held {
    id: ContentId,
    /// When it was used last, as the clock of places counts.
    used: u64,
    parent: Arc<Parent>,
}

impl Parent {
    fn is_alive(&self) -> bool {
        match &self.from {
            From::Parent(parent) => parent.is_alive(),
            From::Whole => true,
        }
    }

    fn is_forked(&self) -> bool {
        matches!(self.from, From::Parent(_))
    }

    fn memory(&self) -> u64 {
        match &self.from {
            From::Parent(parent) => parent.memory().unwrap_or(0),
            From::Whole => 0,
        }
    }

    fn take_ready(&self) -> Option<Child> {
        let mut ready = self.lock();
        while let Some(child) = ready.pop_front() {
            if !child.is_gone() {
                return Some(child);
            }
        }
        None
    }

    /// Forks ahead of demand.
    async fn refill(&self, forks: &ServiceParent, wanted: usize) {
        let Ok(_alone) = self.refilling.try_lock() else {
            return;
        };
        while self.lock().len() < wanted {
            match forks.fork_ahead().await {
                Ok(child) => self.lock().push_back(child),
                Err(_lost) => return,
            }
        }
    }

    fn lock(&self) -> MutexGuard<'_, VecDeque<Child>> {
        self.ready.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn of_host(error: &HostError) -> Verdict {
    unavailable(&format!("no R process can be had: {error}"))
}
