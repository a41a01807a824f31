//! The parent of a service's calls: a child that was prepared like a session and then forks a process for each call.
//!
//! It runs the publisher's code, and so nothing that it says is believed. The worker makes the sockets and pipes of calls and keeps
//! its ends to itself, signals no process that it names, and ends it, by the R host that forked it, when it does not speak as
//! agreed.

use std::collections::{HashMap, VecDeque};
use std::future::pending;
use std::io;
use std::os::fd::OwnedFd;
use std::os::unix::fs::MetadataExt;
use std::os::unix::net::UnixStream;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use rustix::fs::{Gid, Uid, fchown};
use rustix::pipe::PipeFlags;
use tokio::net::unix::pipe;
use tokio::sync::{mpsc, oneshot, watch};
use warren_rhost::control::Exit;
use warren_rhost::service::{FromService, ToService};
use warren_rhost::session::ToChild;

use super::call_places::{CallPlace, CallPlaces};
use super::child::{Birth, Child, ChildExit, Grip, Hold};
use super::control::{Control, Packet};
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
        let owner = std::fs::metadata(child.dir())?;
        let (orders, inbox) = mpsc::unbounded_channel();
        let calls = Arc::new(AtomicUsize::new(0));
        let parent = Self {
            pid: child.pid,
            orders,
            grip: Arc::clone(&grip),
            calls: Arc::clone(&calls),
        };
        let task = Task {
            control,
            orders: parent.orders.downgrade(),
            grip,
            places: CallPlaces::below(child.dir()),
            owner: (Uid::from_raw(owner.uid()), Gid::from_raw(owner.gid())),
            child,
            outgoing: VecDeque::new(),
            next_call: 1,
            forking: HashMap::new(),
            living: HashMap::new(),
            count: calls,
        };
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

/// A call whose process exists.
struct Living {
    _place: Arc<CallPlace>,
    exited: watch::Sender<Option<ChildExit>>,
}

/// A call that was asked for.
struct Forking {
    place: Arc<CallPlace>,
    frames: UnixStream,
    console: OwnedFd,
    answer: oneshot::Sender<Result<Child, HostError>>,
}

struct Task {
    control: Control,
    /// For the calls; weak, so that the task ends with the last [`ServiceParent`] and call.
    orders: mpsc::WeakUnboundedSender<Order>,
    grip: Arc<Grip>,
    /// The service's user, to whom the consoles of calls belong.
    owner: (Uid, Gid),
    /// What the parent was before, and still is to the R host.
    child: Child,
    /// Packets that wait until the parent reads.
    outgoing: VecDeque<(ToService, Vec<OwnedFd>)>,
    next_call: u64,
    forking: HashMap<u64, Forking>,
    living: HashMap<u64, Living>,
    places: CallPlaces,
    count: Arc<AtomicUsize>,
}

impl Task {
    async fn run(mut self, mut inbox: mpsc::UnboundedReceiver<Order>) {
        let mut exit = self.child.exit.clone();
        loop {
            let done = tokio::select! {
                order = inbox.recv() => match order {
                    Some(order) => {
                        self.obey(order);
                        Ok(())
                    }
                    None => return,
                },
                packet = self.control.receive() => match packet {
                    Ok(Some(packet)) => self.hear(packet),
                    Ok(None) => Err(io::ErrorKind::UnexpectedEof.into()),
                    Err(error) => Err(error),
                },
                sent = send_first(&self.control, &self.outgoing) => {
                    self.outgoing.pop_front();
                    sent
                }
                _ = exit.wait_for(Option::is_some) => Err(io::ErrorKind::UnexpectedEof.into()),
                never = discard(&self.child.console) => match never {},
            };
            self.count
                .store(self.living.len() + self.forking.len(), Ordering::Relaxed);
            if let Err(error) = done {
                let calls = self.living.len();
                tracing::info!(error = %error, calls, "A service's parent has ended, and every call of it");
                inbox.close();
                return self.give_up().await;
            }
        }
    }

    /// It is gone, or is ended for what it said.
    async fn give_up(mut self) {
        self.grip.kill();
        drop(self.control);
        // Those who wait for a fork go elsewhere.
        drop(self.forking);
        let exit = match self.child.gone().await {
            exit @ ChildExit::Reaped(Exit::Signal {
                out_of_memory: true,
                ..
            }) => exit,
            _ => ChildExit::ParentLost,
        };
        for living in self.living.into_values() {
            living.exited.send_replace(Some(exit.clone()));
        }
        self.count.store(0, Ordering::Relaxed);
    }

    fn obey(&mut self, order: Order) {
        match order {
            Order::Fork { haste, answer } => {
                let child = self.next_call;
                self.next_call += 1;
                match self.ends() {
                    Ok((frames, console, ends)) => {
                        let place = self.places.lend();
                        let fork = ToService::Fork {
                            child,
                            place: place.number(),
                            ahead: haste == Haste::Ahead,
                        };
                        self.outgoing.push_back((fork, ends));
                        let forking = Forking {
                            place,
                            frames,
                            console,
                            answer,
                        };
                        self.forking.insert(child, forking);
                    }
                    Err(error) => drop(answer.send(Err(error.into()))),
                }
            }
            Order::Interrupt { call: child } if self.living.contains_key(&child) => {
                let interrupt = ToService::Interrupt { child };
                self.outgoing.push_back((interrupt, Vec::new()));
            }
            Order::Kill { call: child } if self.living.contains_key(&child) => {
                let kill = ToService::Kill { child };
                self.outgoing.push_back((kill, Vec::new()));
            }
            Order::Interrupt { .. } | Order::Kill { .. } => {}
        }
    }

    /// The worker's ends of a call's socket and console, and the call's.
    fn ends(&self) -> io::Result<(UnixStream, OwnedFd, Vec<OwnedFd>)> {
        let (frames, its_frames) = UnixStream::pair()?;
        let (console, its_console) = rustix::pipe::pipe_with(PipeFlags::CLOEXEC)?;
        // A program may open its standard output again by name.
        let (user, group) = self.owner;
        if user != rustix::process::geteuid() {
            fchown(&its_console, Some(user), Some(group))?;
        }
        Ok((frames, console, vec![its_frames.into(), its_console]))
    }

    fn hear(&mut self, packet: Packet<FromService>) -> io::Result<()> {
        match packet.message {
            FromService::Forked { child, pid } => {
                let forking = self.forking.remove(&child).ok_or_else(unasked)?;
                self.forked(child, pid, forking);
            }
            FromService::ForkFailed { child, message } => {
                let forking = self.forking.remove(&child).ok_or_else(unasked)?;
                let _ = forking.answer.send(Err(HostError::Fork(message)));
            }
            FromService::Exited { child, exit } => {
                let living = self.living.remove(&child).ok_or_else(unasked)?;
                living.exited.send_replace(Some(ChildExit::Reaped(exit)));
            }
            FromService::Serving | FromService::Refused { .. } => return Err(unasked()),
        }
        Ok(())
    }

    fn forked(&mut self, number: u64, pid: i32, forking: Forking) {
        let Some(orders) = self.orders.upgrade() else {
            return;
        };
        let (exited, exit) = watch::channel(None);
        let place = Arc::clone(&forking.place);
        let living = Living {
            _place: place,
            exited,
        };
        self.living.insert(number, living);
        let child = Child::adopt(Birth {
            pid,
            dir: forking.place.path(),
            frames: forking.frames.into(),
            console: forking.console,
            exit,
            hold: Hold::Call(Call {
                number,
                orders,
                grip: Arc::clone(&self.grip),
                _place: forking.place,
            }),
        });
        // Nobody waiting any more drops the child, which kills it.
        let _ = forking.answer.send(child.map_err(HostError::from));
    }
}

fn unasked() -> io::Error {
    io::Error::new(
        io::ErrorKind::InvalidData,
        "a service's parent said what it was not asked",
    )
}

/// Sends the first of the packets that wait.
async fn send_first(
    control: &Control,
    outgoing: &VecDeque<(ToService, Vec<OwnedFd>)>,
) -> io::Result<()> {
    match outgoing.front() {
        Some((message, fds)) => control.send_with(message, fds).await,
        None => pending().await,
    }
}

/// Reads a console that is nobody's, so that what writes there is not held up.
async fn discard(console: &pipe::Receiver) -> std::convert::Infallible {
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
mod tests {
    use std::io::IoSliceMut;
    use std::mem::MaybeUninit;
    use std::path::Path;
    use std::time::Duration;

    use rustix::net::{RecvAncillaryBuffer, RecvAncillaryMessage, RecvFlags, recvmsg};
    use rustix::process::{PidfdFlags, getpid, pidfd_open};
    use tokio::io::Interest;

    use super::super::parent;
    use super::*;

    /// A service's parent, and the R host above it, in the hands of the test.
    struct Fake {
        control: Control,
        /// What the R host is asked.
        asked: mpsc::UnboundedReceiver<parent::Order>,
        exited: watch::Sender<Option<ChildExit>>,
        _frames: tokio::net::UnixStream,
    }

    /// A parent that serves, whoever it is.
    async fn service(dir: &Path) -> (ServiceParent, Fake) {
        let (frames, its_frames) = UnixStream::pair().unwrap();
        let (console, _its_console) = rustix::pipe::pipe_with(PipeFlags::CLOEXEC).unwrap();
        let (orders, asked) = mpsc::unbounded_channel();
        let (exited, exit) = watch::channel(None);
        let child = Child::adopt(Birth {
            pid: 1,
            dir: dir.to_owned(),
            frames: frames.into(),
            console,
            exit,
            hold: Hold::Grip(Arc::new(Grip {
                number: 9,
                // Never signalled as long as the R host takes orders.
                pidfd: pidfd_open(getpid(), PidfdFlags::empty()).unwrap(),
                orders,
            })),
        });
        let fake = async {
            its_frames.set_nonblocking(true).unwrap();
            let frames = tokio::net::UnixStream::from_std(its_frames).unwrap();
            let control = Control::adopt(control_of(&frames).await).unwrap();
            control.send(&FromService::Serving).await.unwrap();
            Fake {
                control,
                asked,
                exited,
                _frames: frames,
            }
        };
        let (started, fake) = tokio::join!(ServiceParent::start(child.unwrap()), fake);
        (started.unwrap(), fake)
    }

    /// The socket that comes with the first frame.
    async fn control_of(frames: &tokio::net::UnixStream) -> OwnedFd {
        let received = frames.async_io(Interest::READABLE, || {
            let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(1))];
            let mut ancillary = RecvAncillaryBuffer::new(&mut space);
            let mut bytes = [0; 1024];
            let mut parts = [IoSliceMut::new(&mut bytes)];
            recvmsg(frames, &mut parts, &mut ancillary, RecvFlags::CMSG_CLOEXEC)?;
            let mut messages = ancillary.drain();
            let Some(RecvAncillaryMessage::ScmRights(mut fds)) = messages.next() else {
                return Err(io::Error::other("no socket came"));
            };
            Ok(fds.next().unwrap())
        });
        received.await.unwrap()
    }

    impl Fake {
        /// Waits until the worker wants it dead, and dies.
        async fn die_when_asked(mut self) {
            let asked = tokio::time::timeout(Duration::from_secs(20), self.asked.recv()).await;
            assert!(matches!(asked, Ok(Some(parent::Order::Kill { child: 9 }))));
            let exit = Exit::Signal {
                signal: 9,
                out_of_memory: false,
                stack_overflow: false,
            };
            self.exited.send_replace(Some(ChildExit::Reaped(exit)));
        }

        async fn is_asked_to_fork(&self) -> Vec<OwnedFd> {
            let packet = self.control.receive::<ToService>().await.unwrap().unwrap();
            assert!(matches!(packet.message, ToService::Fork { .. }));
            packet.fds
        }
    }

    #[tokio::test]
    async fn a_parent_that_says_what_it_was_not_asked_is_ended() {
        let dir = tempfile::tempdir().unwrap();
        let exit = Exit::Status { code: 0 };
        for unasked in [
            serde_json::to_value(FromService::Serving).unwrap(),
            serde_json::to_value(FromService::Exited { child: 1, exit }).unwrap(),
            serde_json::to_value(FromService::Forked { child: 7, pid: 1 }).unwrap(),
            serde_json::json!({"kind": "forked", "child": -1}),
            serde_json::json!("x".repeat(100_000)),
        ] {
            let (service, fake) = service(dir.path()).await;
            fake.control.send(&unasked).await.unwrap();
            fake.die_when_asked().await;
            service.gone().await;
            assert!(matches!(service.fork().await, Err(HostError::Silent)));
        }
    }

    #[tokio::test]
    async fn a_call_ends_with_its_parent_and_is_never_signalled() {
        let dir = tempfile::tempdir().unwrap();
        let (service, fake) = service(dir.path()).await;
        let forking = async {
            let ends = fake.is_asked_to_fork().await;
            assert_eq!(ends.len(), 2);
            // Were it believed, the test would interrupt itself.
            let pid = getpid().as_raw_pid();
            let forked = FromService::Forked { child: 1, pid };
            fake.control.send(&forked).await.unwrap();
            let ready = br#"{"kind":"ready"}"#;
            rustix::io::write(&ends[0], &[&[16, 0, 0, 0], &ready[..]].concat()).unwrap();
            ends
        };
        let (call, ends) = tokio::join!(service.fork(), forking);
        let mut call = call.unwrap();
        assert_eq!(call.dir(), dir.path().join("calls/1"));
        assert_eq!(service.children(), 1);
        call.interrupt();
        let packet = fake.control.receive::<ToService>().await.unwrap().unwrap();
        assert_eq!(packet.message, ToService::Interrupt { child: 1 });
        call.kill();
        let packet = fake.control.receive::<ToService>().await.unwrap().unwrap();
        assert_eq!(packet.message, ToService::Kill { child: 1 });
        // It keeps its parent.
        drop(service);
        fake.control.send(&"nonsense").await.unwrap();
        fake.die_when_asked().await;
        assert_eq!(call.gone().await, ChildExit::ParentLost);
        drop(ends);
    }

    #[tokio::test]
    async fn a_parent_that_nobody_has_any_more_is_ended() {
        let dir = tempfile::tempdir().unwrap();
        let (service, fake) = service(dir.path()).await;
        drop(service);
        assert!(fake.control.receive::<ToService>().await.unwrap().is_none());
        fake.die_when_asked().await;
    }

    #[test]
    fn memory_is_read_in_bytes() {
        let rollup = "55d0-7ffe ---p 00000000 00:00 0    [rollup]\nRss:    9000 kB\nPss:            2504 kB\nPss_Dirty: 12 kB\n";
        assert_eq!(proportional_bytes(rollup), Some(2504 * 1024));
        assert_eq!(proportional_bytes(""), None);
    }
}
