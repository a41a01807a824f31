//! The conversation with the process of a service's parent.

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
use tokio::sync::{mpsc, oneshot, watch};
use warren_rhost::control::Exit;
use warren_rhost::service::{FromService, ToService};

use super::super::call_places::{CallPlace, CallPlaces};
use super::super::child::{Birth, Child, ChildExit, Grip, Hold};
use super::super::control::{Control, Packet};
use super::super::parent::HostError;
use super::{Call, Haste, Order, discard};

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

/// The conversation with the process of a parent.
pub(super) struct Task {
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
    /// Of a child that serves from now on.
    pub(super) fn new(
        control: Control,
        orders: mpsc::WeakUnboundedSender<Order>,
        grip: Arc<Grip>,
        child: Child,
        count: Arc<AtomicUsize>,
    ) -> io::Result<Self> {
        let owner = std::fs::metadata(child.dir())?;
        Ok(Self {
            control,
            orders,
            grip,
            places: CallPlaces::below(child.dir()),
            owner: (Uid::from_raw(owner.uid()), Gid::from_raw(owner.gid())),
            child,
            outgoing: VecDeque::new(),
            next_call: 1,
            forking: HashMap::new(),
            living: HashMap::new(),
            count,
        })
    }

    pub(super) async fn run(mut self, mut inbox: mpsc::UnboundedReceiver<Order>) {
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
