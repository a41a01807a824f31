//! Processes that lost their R host: the worker inherits them, and ends them.

use std::collections::HashSet;
use std::io;
use std::process::{Child, Command};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use rustix::process::{Pid, WaitOptions, waitpid};
use warren_rhost::processes;

/// How long something that was killed may take to be gone.
const DEATH_LIMIT: Duration = Duration::from_secs(20);
/// The pause between two looks at something that was killed.
const LOOK: Duration = Duration::from_millis(5);

/// The R hosts of this worker: its only children that are nobody's orphans.
#[derive(Clone, Default)]
pub(super) struct Hosts {
    living: Arc<Mutex<HashSet<Pid>>>,
}

impl Hosts {
    /// Makes this process the one that inherits what its R hosts leave behind.
    pub(super) fn new() -> io::Result<Self> {
        rustix::process::set_child_subreaper(Some(rustix::process::getpid()))?;
        Ok(Self::default())
    }

    /// Starts an R host.
    pub(super) fn spawn(&self, command: &mut Command) -> io::Result<Child> {
        // Held meanwhile, or the new one would be taken for an orphan.
        let mut living = self.lock();
        let host = command.spawn()?;
        living.insert(Pid::from_child(&host));
        Ok(host)
    }

    /// An R host has been waited for.
    pub(super) fn ended(&self, host: &Child) {
        self.lock().remove(&Pid::from_child(host));
    }

    /// Ends every orphan, and what they leave behind in turn. Blocks until they are gone.
    pub(super) fn end_orphans(&self) {
        let deadline = Instant::now() + DEATH_LIMIT;
        loop {
            let orphans = self.orphans();
            if orphans.is_empty() {
                return;
            }
            if Instant::now() > deadline {
                tracing::warn!("{} processes of a lost R host do not die", orphans.len());
                return;
            }
            processes::end_trees(&orphans);
            for orphan in orphans {
                while let Ok(None) = waitpid(Some(orphan), WaitOptions::NOHANG)
                    && Instant::now() < deadline
                {
                    std::thread::sleep(LOOK);
                }
            }
        }
    }

    fn orphans(&self) -> Vec<Pid> {
        let living = self.lock();
        let mut children = processes::own_children();
        children.retain(|child| !living.contains(child));
        children
    }

    fn lock(&self) -> MutexGuard<'_, HashSet<Pid>> {
        self.living.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
