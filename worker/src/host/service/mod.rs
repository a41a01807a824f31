//! The parent of a service's calls: a child that was prepared like a session and then forks a process for each call.
//!
//! It runs the publisher's code, and so nothing that it says is believed. The worker makes the sockets and pipes of calls and keeps
//! its ends to itself, signals no process that it names, and ends it, by the R host that forked it, when it does not speak as
//! agreed.

mod task;

use std::convert::Infallible;
use std::future::pending;
use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use tokio::net::unix::pipe;
use tokio::sync::{mpsc, oneshot};
use warren_rhost::service::FromService;
use warren_rhost::session::ToChild;

use self::task::Task;
use super::call_places::CallPlace;
use super::child::{Child, Grip, Hold};
use super::control::Control;
use super::parent::HostError;
use super::pool::READY_LIMIT;

/// A parent of one service: forks a child for each call. It ends when nobody has it any more and its last call is over.
#[derive(Clone)]
pub struct ServiceParent {
    pid: i32,
    orders: mpsc::UnboundedSender<Order>,
    grip: Arc<Grip>,
    calls: Arc<AtomicUsize>,
}

impl ServiceParent {
    /// Turns a prepared child into a parent. [`HostError::Refused`] when it cannot be forked safely. The child is gone then.
    pub async fn start(mut child: Child) -> Result<Self, HostError> {
        let Hold::Grip(grip) = &child.hold else {
            return Err(HostError::Refused("a call is no service".to_owned()));
        };
        let grip = Arc::clone(grip);
        let (control, theirs) = Control::pair()?;
        let asked = child.writer.begin(&ToChild::Serve, Some(theirs));
        // So short a frame is taken at once by a child that waits for it.
        let asked = asked.map_err(|error| HostError::Fork(error.to_string()))?;
        if asked.is_some() {
            return Err(HostError::Silent);
        }
        let answered = tokio::select! {
            answered = tokio::time::timeout(READY_LIMIT, control.receive()) => answered,
            never = discard(&child.console) => match never {},
        };
        match answered.map(|packet| packet.map(|packet| packet.map(|packet| packet.message))) {
            Ok(Ok(Some(FromService::Serving))) => {}
            Ok(Ok(Some(FromService::Refused { message }))) => {
                return Err(HostError::Refused(message));
            }
            _ => return Err(HostError::Silent),
        }
        let (orders, inbox) = mpsc::unbounded_channel();
        let calls = Arc::new(AtomicUsize::new(0));
        let parent = Self {
            pid: child.pid,
            orders,
            grip: Arc::clone(&grip),
            calls: Arc::clone(&calls),
        };
        let task = Task::new(control, parent.orders.downgrade(), grip, child, calls)?;
        tokio::spawn(task.run(inbox));
        Ok(parent)
    }

    /// A child that is ready for one call.
    pub async fn fork(&self) -> Result<Child, HostError> {
        self.fork_for(Haste::Awaited).await
    }

    /// The same for a call that has not come yet: it takes longer, and the call's own first run less long.
    pub async fn fork_ahead(&self) -> Result<Child, HostError> {
        self.fork_for(Haste::Ahead).await
    }

    async fn fork_for(&self, haste: Haste) -> Result<Child, HostError> {
        let (answer, answered) = oneshot::channel();
        self.orders
            .send(Order::Fork { haste, answer })
            .map_err(|_gone| HostError::Silent)?;
        let forked = async {
            let child = answered.await.unwrap_or(Err(HostError::Silent))?;
            child.until_ready().await
        };
        match tokio::time::timeout(READY_LIMIT, forked).await {
            Ok(outcome) => outcome,
            Err(_elapsed) => {
                tracing::warn!("A service's parent does not fork in time and is killed");
                self.kill();
                Err(HostError::Silent)
            }
        }
    }

    /// True while it takes calls.
    pub fn is_alive(&self) -> bool {
        !self.orders.is_closed()
    }

    /// Waits until it takes no more calls.
    pub async fn gone(&self) {
        self.orders.closed().await;
    }

    /// How many calls it has.
    pub fn children(&self) -> usize {
        self.calls.load(Ordering::Relaxed)
    }

    /// Kills it with everything that descends from it.
    pub fn kill(&self) {
        self.grip.kill();
    }

    /// The memory that it takes by itself, in bytes: what it shares with others counts in part (`Pss`). Reads a file that the kernel
    /// may take a few milliseconds for. None when the kernel does not tell.
    pub fn memory(&self) -> Option<u64> {
        if !self.is_alive() {
            return None;
        }
        let rollup = std::fs::read_to_string(format!("/proc/{}/smaps_rollup", self.pid)).ok()?;
        proportional_bytes(&rollup)
    }

    /// Process id, as the R host said it.
    pub fn pid(&self) -> i32 {
        self.pid
    }
}

/// Whether somebody waits for a fork.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Haste {
    Awaited,
    Ahead,
}

/// What the task of a service's parent is asked.
enum Order {
    Fork {
        haste: Haste,
        answer: oneshot::Sender<Result<Child, HostError>>,
    },
    Interrupt {
        call: u64,
    },
    Kill {
        call: u64,
    },
}

/// How a call is interrupted and killed. Keeps its parent.
pub(super) struct Call {
    number: u64,
    orders: mpsc::UnboundedSender<Order>,
    grip: Arc<Grip>,
    /// Whoever has the call may still read what it wrote.
    _place: Arc<CallPlace>,
}

impl Call {
    pub(super) fn interrupt(&self) {
        // A parent that is gone takes the call with it.
        let _ = self.orders.send(Order::Interrupt { call: self.number });
    }

    pub(super) fn kill(&self) {
        if self.orders.send(Order::Kill { call: self.number }).is_err() {
            self.grip.kill();
        }
    }

    /// For when the parent does not kill the call.
    pub(super) fn kill_service(&self) {
        tracing::warn!("A service's parent does not end a call and is killed");
        self.grip.kill_process();
    }
}

/// Reads a console that is nobody's, so that what writes there is not held up.
async fn discard(console: &pipe::Receiver) -> Infallible {
    let mut waste = [0; 4096];
    while console.readable().await.is_ok() {
        match console.try_read(&mut waste) {
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
            Ok(0) | Err(_) => break,
            // Whoever prints without end keeps nobody from being heard.
            Ok(_) => tokio::task::yield_now().await,
        }
    }
    pending().await
}

/// Of `smaps_rollup`.
fn proportional_bytes(rollup: &str) -> Option<u64> {
    let line = rollup.lines().find_map(|line| line.strip_prefix("Pss:"))?;
    let kib: u64 = line.trim().strip_suffix(" kB")?.parse().ok()?;
    Some(kib * 1024)
}

#[cfg(test)]
mod tests;
