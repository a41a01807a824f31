//! One parent: the R process that only forks, and the conversation with it.

use std::collections::HashMap;
use std::io;
use std::os::fd::OwnedFd;
use std::path::PathBuf;
use std::process::{Command, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::Duration;

use tokio::sync::{mpsc, oneshot, watch};
use tokio::time::MissedTickBehavior;
use warren_rhost::control::{FromParent, Hello, ToParent};

use super::child::{Birth, Child, ChildExit, Grip, Hold};
use super::control::{Control, Packet};
use super::orphans::Hosts;
use super::removal::remove_tree;
use crate::config::SandboxConfig;

/// Time between two ticks.
const TICK: Duration = Duration::from_secs(1);
/// How long R may take to start.
const START_LIMIT: Duration = Duration::from_secs(60);

/// R processes cannot be had.
#[derive(Debug, Clone, thiserror::Error)]
pub enum HostError {
    /// The program could not be started.
    #[error(
        "the R host {program} could not be started (set WARREN_RHOST to where warren-rhost is)"
    )]
    Spawn {
        /// What was tried.
        program: PathBuf,
        /// Why not.
        #[source]
        source: Arc<io::Error>,
    },
    /// The R host says why it cannot work.
    #[error("{0}")]
    Refused(String),
    /// It said nothing in time, or went away.
    #[error("the R host went away before R was ready")]
    Silent,
    /// A child could not be forked.
    #[error("no R process could be forked: {0}")]
    Fork(String),
    /// Something of the operating system.
    #[error("the R host cannot be talked to")]
    Io(#[source] Arc<io::Error>),
}

impl From<io::Error> for HostError {
    fn from(source: io::Error) -> Self {
        Self::Io(Arc::new(source))
    }
}

/// How a parent is started.
#[derive(Debug, Clone)]
pub(super) struct ParentSettings {
    pub(super) program: PathBuf,
    pub(super) r_executable: String,
    pub(super) preload: String,
    pub(super) sandbox: SandboxConfig,
    pub(super) tick_limit: Duration,
}

/// What a child is forked for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Purpose {
    /// For a session that waits for it.
    Session,
    /// For whoever comes: nobody waits for it yet.
    Pool,
    /// To become the parent of a service's calls.
    Service,
}

/// What the task of a parent is asked.
pub(super) enum Order {
    Fork {
        child: u64,
        dir: PathBuf,
        purpose: Purpose,
        answer: oneshot::Sender<Result<Child, HostError>>,
    },
    Twin {
        child: u64,
        answer: oneshot::Sender<Result<Twin, HostError>>,
    },
    Kill {
        child: u64,
    },
}

/// A parent that was forked by another and has not introduced itself yet.
pub(super) struct Twin {
    control: Control,
    /// Closed when it is gone with everything that it left behind.
    over: oneshot::Receiver<()>,
}

/// A parent that is ready.
#[derive(Clone)]
pub(super) struct Parent {
    pub(super) hello: Hello,
    orders: mpsc::UnboundedSender<Order>,
    children: Arc<AtomicUsize>,
    /// It is to end.
    let_go: Arc<AtomicBool>,
}

impl Parent {
    /// Starts the program and waits until R runs.
    pub(super) async fn start(settings: &ParentSettings, hosts: &Hosts) -> Result<Self, HostError> {
        let (control, theirs) = Control::pair()?;
        let over = spawn(settings.clone(), hosts.clone(), theirs).await?;
        Self::meet(control, over).await
    }

    /// Forks a parent that has R in the same memory. It ends with this one.
    pub(super) async fn twin(&self, child: u64) -> Result<Self, HostError> {
        let (answer, answered) = oneshot::channel();
        self.orders
            .send(Order::Twin { child, answer })
            .map_err(|_gone| HostError::Silent)?;
        let Twin { control, over } = answered.await.unwrap_or(Err(HostError::Silent))?;
        Self::meet(control, over).await
    }

    /// Waits until a new parent says what it is.
    async fn meet(control: Control, over: oneshot::Receiver<()>) -> Result<Self, HostError> {
        let first = tokio::time::timeout(START_LIMIT, control.receive()).await;
        let hello = match first {
            Ok(Ok(Some(Packet {
                message: FromParent::Ready(hello),
                ..
            }))) => hello,
            Ok(Ok(Some(Packet {
                message: FromParent::Refused { message },
                ..
            }))) => {
                return Err(HostError::Refused(message));
            }
            _ => return Err(HostError::Silent),
        };
        let (orders, inbox) = mpsc::unbounded_channel();
        let children = Arc::new(AtomicUsize::new(0));
        let let_go = Arc::new(AtomicBool::new(false));
        let task = Task {
            control,
            let_go: Arc::clone(&let_go),
            orders: orders.downgrade(),
            forking: HashMap::new(),
            twinning: HashMap::new(),
            living: HashMap::new(),
            twins: HashMap::new(),
            count: Arc::clone(&children),
            over,
        };
        tokio::spawn(task.run(inbox));
        Ok(Self {
            hello,
            orders,
            children,
            let_go,
        })
    }

    /// Nobody wants it any more: that it ends is no loss from now on.
    pub(super) fn let_go(&self) {
        self.let_go.store(true, Ordering::Relaxed);
    }

    /// Forks a child, which is not ready yet.
    pub(super) async fn fork(
        &self,
        child: u64,
        dir: PathBuf,
        purpose: Purpose,
    ) -> Result<Child, HostError> {
        let (answer, answered) = oneshot::channel();
        self.orders
            .send(Order::Fork {
                child,
                dir,
                purpose,
                answer,
            })
            .map_err(|_gone| HostError::Silent)?;
        answered.await.unwrap_or(Err(HostError::Silent))
    }

    /// Waits until its process is gone.
    pub(super) async fn gone(&self) {
        self.orders.closed().await;
    }

    /// True while its process lives.
    pub(super) fn is_alive(&self) -> bool {
        !self.orders.is_closed()
    }

    /// How many children it has.
    pub(super) fn children(&self) -> usize {
        self.children.load(Ordering::Relaxed)
    }
}

/// Removes a child's directory without holding up whoever asks.
pub(super) fn remove_later(dir: PathBuf) {
    drop(tokio::task::spawn_blocking(move || {
        if let Err(error) = remove_tree(&dir) {
            tracing::debug!(error = %error, "The directory of an R process could not be removed");
        }
    }));
}

/// Spawns the program from a thread that lives as long as it: the parent-death signal fires when the *thread* ends. What
/// comes back is closed when the program is gone with everything that it left behind.
async fn spawn(
    settings: ParentSettings,
    hosts: Hosts,
    control: OwnedFd,
) -> Result<oneshot::Receiver<()>, HostError> {
    let (started, answer) = oneshot::channel();
    let (living, over) = oneshot::channel();
    std::thread::Builder::new()
        .name("rhost".to_owned())
        .spawn(move || {
            let mut command = Command::new(&settings.program);
            command
                .args(["--r", &settings.r_executable])
                .args(["--worker-pid", &std::process::id().to_string()])
                .args([
                    "--tick-limit-ms",
                    &settings.tick_limit.as_millis().to_string(),
                ])
                .args(sandbox_arguments(&settings.sandbox))
                // Nothing of the worker's settings, which hold passwords, may be in the memory of R.
                .env_clear()
                .envs(std::env::vars_os().filter(|(name, _)| KEPT.iter().any(|kept| name == kept)))
                .stdin(Stdio::from(control))
                .stdout(Stdio::null());
            if !settings.preload.is_empty() {
                command.args(["--preload", &settings.preload]);
            }
            match hosts.spawn(&mut command) {
                Ok(mut process) => {
                    let _ = started.send(Ok(()));
                    // The command holds our copy of the parent's end; without closing it no end of file would ever come.
                    drop(command);
                    match process.wait() {
                        Ok(status) => tracing::debug!("The R host ended with {status}"),
                        Err(error) => {
                            tracing::warn!(error = %error, "The R host could not be waited for");
                        }
                    }
                    hosts.ended(&process);
                    // Only now are they ours: its sockets close before the kernel hands its children on.
                    hosts.end_orphans();
                    drop(living);
                }
                Err(source) => {
                    let program = settings.program;
                    let _ = started.send(Err(HostError::Spawn {
                        program,
                        source: Arc::new(source),
                    }));
                }
            }
        })?;
    answer
        .await
        .unwrap_or(Err(HostError::Silent))
        .map(|()| over)
}

fn sandbox_arguments(sandbox: &SandboxConfig) -> Vec<String> {
    let values = [
        ("sandbox", sandbox.mode.clone()),
        ("connect-ports", sandbox.connect_ports.clone()),
        ("uids", sandbox.session_uids.clone()),
        ("cgroups", sandbox.cgroups.clone()),
        ("memory-bytes", sandbox.session_memory_bytes.to_string()),
        ("processes", sandbox.session_processes.to_string()),
        ("open-files", sandbox.session_open_files.to_string()),
        ("file-bytes", sandbox.session_file_bytes.to_string()),
    ];
    values
        .into_iter()
        .map(|(name, value)| format!("--{name}={value}"))
        .collect()
}

/// What of the worker's environment R may see.
const KEPT: &[&str] = &[
    "PATH",
    "HOME",
    "LANG",
    "LC_ALL",
    "TZ",
    "R_HOME",
    "R_LIBS",
    "R_LIBS_SITE",
    "USER",
    "LOGNAME",
];

struct Task {
    control: Control,
    let_go: Arc<AtomicBool>,
    /// For the children, who ask for their own death; weak, so that the task ends with its [`Parent`] and children.
    orders: mpsc::WeakUnboundedSender<Order>,
    forking: HashMap<u64, (PathBuf, oneshot::Sender<Result<Child, HostError>>)>,
    twinning: HashMap<u64, oneshot::Sender<Result<Twin, HostError>>>,
    living: HashMap<u64, (PathBuf, watch::Sender<Option<ChildExit>>)>,
    /// Each is dropped when nothing of that parent is left.
    twins: HashMap<u64, oneshot::Sender<()>>,
    count: Arc<AtomicUsize>,
    /// Closed when the program is gone with everything that it left behind.
    over: oneshot::Receiver<()>,
}

impl Task {
    async fn run(mut self, mut inbox: mpsc::UnboundedReceiver<Order>) {
        let mut tick = tokio::time::interval(TICK);
        tick.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            let done = tokio::select! {
                order = inbox.recv() => match order {
                    Some(order) => self.obey(order).await,
                    None => return,
                },
                packet = self.control.receive() => match packet {
                    Ok(Some(packet)) => self.hear(packet),
                    Ok(None) => Err(io::ErrorKind::UnexpectedEof.into()),
                    Err(error) => Err(error),
                },
                _ = tick.tick() => self.control.send(&ToParent::Tick).await,
            };
            self.count
                .store(self.living.len() + self.forking.len(), Ordering::Relaxed);
            if let Err(error) = done {
                if self.let_go.load(Ordering::Relaxed) {
                    tracing::debug!("An R host has ended, and every session of it");
                } else {
                    tracing::error!(error = %error, "An R host is lost, and every session of it");
                }
                inbox.close();
                return self.give_up().await;
            }
        }
    }

    /// The program is gone, or goes at the end of its control socket.
    async fn give_up(self) {
        let mut dirs = Vec::new();
        for (dir, exited) in self.living.into_values() {
            exited.send_replace(Some(ChildExit::ParentLost));
            dirs.push(dir);
        }
        // Those who wait for a fork go elsewhere.
        drop((self.forking, self.twinning));
        drop(self.control);
        // Not under the hands of those who still write there. Twins have ended with this one.
        let _ = self.over.await;
        drop(self.twins);
        dirs.into_iter().for_each(remove_later);
    }

    async fn obey(&mut self, order: Order) -> io::Result<()> {
        match order {
            Order::Fork {
                child,
                dir,
                purpose,
                answer,
            } => {
                self.forking.insert(child, (dir.clone(), answer));
                let fork = ToParent::Fork {
                    child,
                    dir,
                    ahead: purpose == Purpose::Pool,
                    service: purpose == Purpose::Service,
                };
                self.control.send(&fork).await
            }
            Order::Twin { child, answer } => {
                self.twinning.insert(child, answer);
                self.control.send(&ToParent::Twin { child }).await
            }
            Order::Kill { child } if self.living.contains_key(&child) => {
                self.control.send(&ToParent::Kill { child }).await
            }
            Order::Kill { .. } => Ok(()),
        }
    }

    fn hear(&mut self, packet: Packet<FromParent>) -> io::Result<()> {
        match packet.message {
            FromParent::Forked { child, pid } => match self.twinning.remove(&child) {
                Some(answer) => self.twinned(child, packet.fds, answer),
                None => self.forked(child, pid, packet.fds),
            },
            FromParent::ForkFailed { child, message } => {
                if let Some((_, answer)) = self.forking.remove(&child) {
                    let _ = answer.send(Err(HostError::Fork(message)));
                } else if let Some(answer) = self.twinning.remove(&child) {
                    let _ = answer.send(Err(HostError::Fork(message)));
                }
            }
            FromParent::Exited { child, exit } => {
                if let Some((dir, exited)) = self.living.remove(&child) {
                    exited.send_replace(Some(ChildExit::Reaped(exit)));
                    remove_later(dir);
                }
                self.twins.remove(&child);
            }
            FromParent::Ready(_) | FromParent::Refused { .. } => {
                return Err(io::Error::new(
                    io::ErrorKind::InvalidData,
                    "an R host introduced itself twice",
                ));
            }
        }
        Ok(())
    }

    fn twinned(
        &mut self,
        number: u64,
        fds: Vec<OwnedFd>,
        answer: oneshot::Sender<Result<Twin, HostError>>,
    ) {
        let twin = match <[OwnedFd; 1]>::try_from(fds) {
            Ok([control]) => Control::adopt(control).map_err(HostError::from),
            Err(fds) => Err(HostError::Fork(format!(
                "{} descriptors came instead of 1",
                fds.len()
            ))),
        };
        let (living, over) = oneshot::channel();
        self.twins.insert(number, living);
        // Nobody waiting any more drops its control socket, which ends it.
        let _ = answer.send(twin.map(|control| Twin { control, over }));
    }

    fn forked(&mut self, number: u64, pid: i32, fds: Vec<OwnedFd>) {
        let (Some((dir, answer)), Some(orders)) =
            (self.forking.remove(&number), self.orders.upgrade())
        else {
            return;
        };
        let (exited, exit) = watch::channel(None);
        self.living.insert(number, (dir.clone(), exited));
        let child = match <[OwnedFd; 3]>::try_from(fds) {
            Ok([frames, console, pidfd]) => Child::adopt(Birth {
                pid,
                dir,
                frames,
                console,
                exit,
                hold: Hold::Grip(Arc::new(Grip {
                    number,
                    pidfd,
                    orders,
                })),
            })
            .map_err(HostError::from),
            Err(fds) => Err(HostError::Fork(format!(
                "{} descriptors came instead of 3",
                fds.len()
            ))),
        };
        // Nobody waiting any more drops the child, which kills it.
        let _ = answer.send(child);
    }
}
