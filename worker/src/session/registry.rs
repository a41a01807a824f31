//! Which sessions this worker holds, and how to reach their tasks.

use std::collections::{HashMap, HashSet};
use std::sync::atomic::Ordering;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tokio::sync::{OwnedSemaphorePermit, Semaphore, mpsc};
use tokio_util::task::TaskTracker;
use warren_common::id::SessionId;
use warren_common::telemetry::metrics;

use super::actor::{Actor, Context, Mail};
use crate::host::Child;
use crate::lease::Load;

/// Letters that wait for a task that writes its last result; `Work` beyond that says nothing new.
const MAILBOX: usize = 16;

/// The sessions of one worker.
#[derive(Clone)]
pub struct Registry {
    context: Context,
    sessions: Arc<Mutex<HashMap<SessionId, mpsc::Sender<Mail>>>>,
    slots: Arc<Semaphore>,
    load: Arc<Load>,
    tasks: TaskTracker,
}

impl Registry {
    /// Room for `session_slots` sessions.
    pub fn new(context: Context, load: Arc<Load>) -> Self {
        let slots = Arc::new(Semaphore::new(context.config.session_slots));
        Self {
            context,
            sessions: Arc::default(),
            slots,
            load,
            tasks: TaskTracker::new(),
        }
    }

    /// Places for sessions.
    pub fn slots(&self) -> &Arc<Semaphore> {
        &self.slots
    }

    /// What every session shares.
    pub fn context(&self) -> &Context {
        &self.context
    }

    /// Starts the task of a session that was opened just now.
    pub fn start(&self, id: SessionId, child: Child, permit: OwnedSemaphorePermit, more: bool) {
        let (letters, mail) = mpsc::channel(MAILBOX);
        self.lock().insert(id, letters);
        self.count();
        let actor = Actor {
            id,
            child,
            mail,
            context: self.context.clone(),
            permit,
        };
        let registry = self.clone();
        self.tasks.spawn(async move {
            actor.live(more).await;
            registry.lock().remove(&id);
            registry.count();
        });
    }

    /// Which sessions are here.
    pub fn ids(&self) -> HashSet<SessionId> {
        self.lock().keys().copied().collect()
    }

    /// Tells a session something; a session that is not here has ended.
    pub fn tell(&self, id: SessionId, letter: Mail) {
        let Some(letters) = self.lock().get(&id).cloned() else {
            return;
        };
        if let Err(mpsc::error::TrySendError::Full(letter)) = letters.try_send(letter)
            && letter != Mail::Work
        {
            // A wish to stop must not get lost because a dozen notices of work came before it.
            tokio::spawn(async move { letters.send(letter).await });
        }
    }

    /// Waits until every session has ended; none can be started any more.
    pub async fn ended(&self) {
        self.tasks.close();
        self.tasks.wait().await;
    }

    fn count(&self) {
        let held = self.lock().len();
        self.load.sessions.store(held, Ordering::Relaxed);
        metrics().slots(held, self.context.config.session_slots.saturating_sub(held));
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<SessionId, mpsc::Sender<Mail>>> {
        self.sessions.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
