//! Which sessions this worker holds, and how to reach their tasks.

use std::collections::HashMap;
use std::collections::hash_map::Entry;
use std::sync::atomic::Ordering;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::sync::{OwnedSemaphorePermit, Semaphore, mpsc};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;
use warren_common::id::SessionId;
use warren_common::telemetry::metrics;

use super::actor::{Actor, AsideTask, Begin};
use super::aside::{Aside, Letter};
use crate::context::Context;
use crate::conversation::Mail;
use crate::host::Child;
use crate::lease::Load;

/// Letters that wait for a task that writes its last result; `Work` beyond that says nothing new.
const MAILBOX: usize = 16;
/// A session's task starts at most this long after its opening is committed.
const OPENING: Duration = Duration::from_millis(100);

/// The sessions of one worker.
#[derive(Clone)]
pub struct Registry {
    context: Context,
    sessions: Arc<Mutex<HashMap<SessionId, Letters>>>,
    slots: Arc<Semaphore>,
    load: Arc<Load>,
    tasks: TaskTracker,
}

/// How to reach the two tasks of a session.
#[derive(Clone)]
struct Letters {
    session: mpsc::Sender<Mail>,
    aside: mpsc::Sender<Letter>,
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

    /// Starts the task of a session that was opened just now, or is to be opened with a snapshot; gives the child back when the
    /// session is here already.
    pub fn start(
        &self,
        id: SessionId,
        child: Child,
        permit: OwnedSemaphorePermit,
        begin: Begin,
    ) -> Option<Child> {
        let (session, mail) = mpsc::channel(MAILBOX);
        let (aside, letters) = mpsc::channel(MAILBOX);
        let later = aside.clone();
        match self.lock().entry(id) {
            Entry::Occupied(_) => return Some(child),
            Entry::Vacant(place) => drop(place.insert(Letters { session, aside })),
        }
        self.count();
        let (dir, over) = (child.dir().to_owned(), CancellationToken::new());
        let beside = Aside::new(id, dir, self.context.clone(), letters, over.clone());
        let aside = AsideTask {
            over,
            letters: later,
            task: self.tasks.spawn(beside.live(begin.more())),
        };
        let actor = Actor {
            id,
            child,
            mail,
            context: self.context.clone(),
            permit,
            aside,
        };
        let registry = self.clone();
        self.tasks.spawn(async move {
            actor.live(begin).await;
            registry.lock().remove(&id);
            registry.count();
        });
        None
    }

    /// Runs something that [`Registry::ended`] waits for as well.
    pub fn track(&self, work: impl Future<Output = ()> + Send + 'static) {
        self.tasks.spawn(work);
    }

    /// Tells a session something. One that is not here has ended, or is being opened at this very moment: then it is told
    /// a little later.
    pub fn tell(&self, id: SessionId, letter: Mail) {
        if let Err(letter) = self.try_tell(id, letter) {
            let registry = self.clone();
            tokio::spawn(async move {
                tokio::time::sleep(OPENING).await;
                let _ = registry.try_tell(id, letter);
            });
        }
    }

    fn try_tell(&self, id: SessionId, letter: Mail) -> Result<(), Mail> {
        let Some(letters) = self.lock().get(&id).cloned() else {
            return Err(letter);
        };
        match letter {
            Mail::Aside => {
                drop_in(letters.aside, Letter::Work, &Letter::Work);
                return Ok(());
            }
            // Which of the two has the job is theirs to know.
            Mail::Cancel(job) => drop_in(letters.aside, Letter::Cancel(job), &Letter::Work),
            Mail::Work | Mail::Close { .. } => {}
        }
        drop_in(letters.session, letter, &Mail::Work);
        Ok(())
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

    fn lock(&self) -> MutexGuard<'_, HashMap<SessionId, Letters>> {
        self.sessions.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Puts a letter into a mailbox. One that is full needs no other notice of work; but a wish to stop must not get lost because a
/// dozen of those came before it.
fn drop_in<L: PartialEq + Send + 'static>(mailbox: mpsc::Sender<L>, letter: L, work: &L) {
    if let Err(mpsc::error::TrySendError::Full(letter)) = mailbox.try_send(letter)
        && letter != *work
    {
        tokio::spawn(async move { mailbox.send(letter).await });
    }
}
