//! The pool: parents kept alive, children kept ready.
//!
//! R is started once, in the *origin*. The parents are twins of it, so that all of them share its memory, and one that is lost is
//! there again in the time of a fork. The origin itself has no sessions; should it be lost, so are all parents.

use std::collections::VecDeque;
use std::path::PathBuf;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::sync::Notify;
use tokio_util::sync::CancellationToken;
use warren_rhost::control::Protection;

use super::child::Child;
use super::directory::Directories;
use super::orphans::Hosts;
use super::parent::{HostError, Parent, ParentSettings, Purpose, remove_later};
use crate::config::HostConfig;

/// How long a forked child may take until it takes code.
pub(super) const READY_LIMIT: Duration = Duration::from_secs(20);
/// The pause before a parent that could not be started is tried again.
const RESTART_PAUSE: Duration = Duration::from_millis(500);

/// How long a child may wait for a parent to be started again: R takes a fraction of that.
const PARENT_LIMIT: Duration = Duration::from_secs(2);
/// Parents that may be lost under one fork.
const FORK_TRIES: usize = 3;

/// Parents and ready children of one worker.
pub struct Pool {
    settings: ParentSettings,
    hosts: Hosts,
    directories: Directories,
    origin: Mutex<Option<Parent>>,
    /// Held while the origin is asked for a parent, and started before that when it has to be.
    making: tokio::sync::Mutex<()>,
    parents: Mutex<Vec<Option<Parent>>>,
    ready: Mutex<VecDeque<Child>>,
    ready_wanted: usize,
    /// The ready children are fewer, or may be.
    taken: Notify,
    /// A parent was started again.
    restarted: Notify,
    next_child: AtomicU64,
}

impl Pool {
    /// Starts R and every parent, and waits until all of them serve; then keeps them and the ready children until `stop`. R does
    /// not outlive a worker that is frozen for `tick_limit`.
    pub async fn start(
        config: &HostConfig,
        tick_limit: Duration,
        directories: Directories,
        stop: CancellationToken,
    ) -> Result<Arc<Self>, HostError> {
        let cores = std::thread::available_parallelism().map_or(1, usize::from);
        let settings = ParentSettings {
            program: program(config)?,
            r_executable: config.r_executable.clone(),
            preload: config.preload.clone(),
            sandbox: config.sandbox.clone(),
            tick_limit,
        };
        let pool = Arc::new(Self {
            settings,
            hosts: Hosts::new()?,
            directories,
            origin: Mutex::default(),
            making: tokio::sync::Mutex::default(),
            parents: Mutex::default(),
            ready: Mutex::default(),
            ready_wanted: config.ready_children,
            taken: Notify::new(),
            restarted: Notify::new(),
            next_child: AtomicU64::new(0),
        });
        for _ in 0..config.parents.unwrap_or(cores) {
            let parent = pool.make_parent().await?;
            lock(&pool.parents).push(Some(parent));
        }
        // One child now, so that a machine on which none can live is known at once.
        let purpose = if pool.ready_wanted > 0 {
            Purpose::Pool
        } else {
            Purpose::Session
        };
        let first = pool.fork(purpose).await?;
        if pool.ready_wanted > 0 {
            pool.give_back(first);
        }
        for place in 0..lock(&pool.parents).len() {
            let (keeping, stop) = (Arc::clone(&pool), stop.clone());
            tokio::spawn(async move { stop.run_until_cancelled(keeping.keep_parent(place)).await });
        }
        let keeping = Arc::clone(&pool);
        tokio::spawn(async move { stop.run_until_cancelled(keeping.keep_ready()).await });
        Ok(pool)
    }

    /// Version of R.
    pub fn r_version(&self) -> String {
        lock(&self.parents)
            .iter()
            .flatten()
            .next()
            .map_or_else(String::new, |parent| parent.hello.r_version.clone())
    }

    /// What keeps user code in its place on this machine.
    pub fn protections(&self) -> Vec<Protection> {
        lock(&self.parents)
            .iter()
            .flatten()
            .next()
            .map_or_else(Vec::new, |parent| parent.hello.protections.clone())
    }

    /// True while a parent lives.
    pub fn can_fork(&self) -> bool {
        self.least_busy_parent().is_some()
    }

    /// A child that takes code: one that is ready, else a new one.
    pub async fn take(&self) -> Result<Child, HostError> {
        let ready = loop {
            match lock(&self.ready).pop_front() {
                Some(child) if child.is_gone() => {}
                other => break other,
            }
        };
        self.taken.notify_one();
        match ready {
            Some(child) => Ok(child),
            None => self.fork(Purpose::Session).await,
        }
    }

    /// Gives back a child that has run nothing.
    pub fn give_back(&self, child: Child) {
        lock(&self.ready).push_back(child);
    }

    /// A fresh child that may become a service's parent. Never one of the ready ones.
    pub async fn service_child(&self) -> Result<Child, HostError> {
        self.fork(Purpose::Service).await
    }

    /// Lets go of everything: ready children and parents, and with them whatever still runs.
    pub fn close(&self) {
        // The origin takes its twins with it, whichever is heard of first.
        let origin = lock(&self.origin).take();
        let parents = std::mem::take(&mut *lock(&self.parents));
        for parent in parents.iter().flatten().chain(&origin) {
            parent.let_go();
        }
        lock(&self.ready).clear();
    }

    async fn fork(&self, purpose: Purpose) -> Result<Child, HostError> {
        let mut tries = 1;
        loop {
            let (place, parent) = self.living_parent().await?;
            let outcome = self.fork_from(place, &parent, purpose).await;
            // A parent that was lost under it says nothing of the next one.
            if outcome.is_ok() || parent.is_alive() || tries == FORK_TRIES {
                return outcome;
            }
            tries += 1;
        }
    }

    async fn fork_from(
        &self,
        place: usize,
        parent: &Parent,
        purpose: Purpose,
    ) -> Result<Child, HostError> {
        let number = self.next_child.fetch_add(1, Ordering::Relaxed);
        let dir = self.directories.make(place, number)?;
        let forked = async {
            let child = parent.fork(number, dir.clone(), purpose).await?;
            child.until_ready().await
        };
        let outcome = tokio::time::timeout(READY_LIMIT, forked)
            .await
            .unwrap_or(Err(HostError::Silent));
        if outcome.is_err() {
            remove_later(dir);
        }
        outcome
    }

    /// Waits for a parent while none lives, but not for long: another worker may have some.
    async fn living_parent(&self) -> Result<(usize, Parent), HostError> {
        let waiting = async {
            loop {
                // Before the look, so that no start in between is missed.
                let restarted = self.restarted.notified();
                if let Some(found) = self.least_busy_parent() {
                    return found;
                }
                restarted.await;
            }
        };
        tokio::time::timeout(PARENT_LIMIT, waiting)
            .await
            .map_err(|_elapsed| HostError::Silent)
    }

    fn least_busy_parent(&self) -> Option<(usize, Parent)> {
        let parents = lock(&self.parents);
        let living = parents.iter().enumerate().filter_map(|(place, parent)| {
            parent
                .as_ref()
                .filter(|parent| parent.is_alive())
                .map(|parent| (place, parent))
        });
        living
            .min_by_key(|(_, parent)| parent.children())
            .map(|(place, parent)| (place, parent.clone()))
    }

    /// A new parent, and before it a new origin when there is none.
    async fn make_parent(&self) -> Result<Parent, HostError> {
        let _one_at_a_time = self.making.lock().await;
        let mut tries = 1;
        loop {
            let living = lock(&self.origin).clone().filter(Parent::is_alive);
            let origin = if let Some(origin) = living {
                origin
            } else {
                let started = Parent::start(&self.settings, &self.hosts).await?;
                lock(&self.origin).insert(started).clone()
            };
            let number = self.next_child.fetch_add(1, Ordering::Relaxed);
            let outcome = origin.twin(number).await;
            // One that was lost under it says nothing of the next one.
            if outcome.is_ok() || origin.is_alive() || tries == FORK_TRIES {
                return outcome;
            }
            tries += 1;
        }
    }

    /// Makes a parent again when it went away.
    async fn keep_parent(&self, place: usize) {
        loop {
            let living = lock(&self.parents).get(place).cloned().flatten();
            if let Some(parent) = living {
                parent.gone().await;
            }
            match self.make_parent().await {
                Ok(parent) => {
                    if let Some(slot) = lock(&self.parents).get_mut(place) {
                        *slot = Some(parent);
                    }
                    self.restarted.notify_waiters();
                    // The ready children of the one that was lost are gone with it.
                    self.taken.notify_one();
                }
                Err(error) => {
                    tracing::error!(
                        error = %warren_common::telemetry::chain(&error),
                        "An R host cannot be started again, trying on"
                    );
                    tokio::time::sleep(RESTART_PAUSE).await;
                }
            }
        }
    }

    /// Forks ahead of demand.
    async fn keep_ready(&self) {
        loop {
            lock(&self.ready).retain(|child| !child.is_gone());
            while lock(&self.ready).len() < self.ready_wanted {
                match self.fork(Purpose::Pool).await {
                    Ok(child) => lock(&self.ready).push_back(child),
                    Err(error) => {
                        tracing::warn!(error = %error, "No R process could be made ready");
                        tokio::time::sleep(RESTART_PAUSE).await;
                    }
                }
            }
            self.taken.notified().await;
        }
    }
}

/// Where the R host is.
fn program(config: &HostConfig) -> Result<PathBuf, HostError> {
    match &config.rhost {
        Some(program) => Ok(program.clone()),
        None => Ok(std::env::current_exe()?.with_file_name("warren-rhost")),
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
