//! The parent's loop: packets from the worker, deaths of children, the tick.
//!
//! A parent can fork parents: twins, which share its memory, and serve as it does until it ends.

use std::collections::HashMap;
use std::io;
use std::os::fd::{AsFd, FromRawFd, OwnedFd};
use std::time::{Duration, Instant};

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::io::Errno;
use rustix::process::{Pid, WaitOptions, WaitStatus};
use warren_rhost::control::{Exit, FromParent, Hello, Protection, ProtectionState, ToParent};
use warren_rhost::processes;

use crate::child::{self, Outfit};
use crate::crash::Note;
use crate::fork::{self, Forked, Twin, Wanted};
use crate::identity::{Identities, Identity, SESSIONS_OF_A_SERVICE};
use crate::packets::{self, Room};

/// Serves the worker until it is gone or silent, then ends every child. Also comes back in every twin, at its own end.
pub(crate) fn serve(
    control: OwnedFd,
    room: Room,
    tick_limit: Duration,
    r_version: String,
    outfit: &'static Outfit,
    identities: Option<Identities>,
) -> io::Result<()> {
    // What a dead child leaves behind becomes ours, to be killed and reaped.
    rustix::process::set_child_subreaper(Some(rustix::process::getpid()))?;
    child::default_signals();
    let deaths = child_signals()?;
    let mut parent = Parent {
        control,
        room,
        deaths,
        outfit,
        identities,
        r_version,
        tick_limit,
        last_tick: Instant::now(),
        children: HashMap::new(),
        ended: Vec::new(),
    };
    parent.introduce()?;
    // From here on the end of the control socket tells of the worker's death, and leaves time to end what sessions started.
    // The signal only wakes a parent that somebody stopped.
    rustix::process::set_parent_process_death_signal(Some(rustix::process::Signal::CONT))?;
    let served = parent.serve();
    end_all();
    served
}

fn protections(outfit: &Outfit, identities: Option<&Identities>) -> Vec<Protection> {
    let (Some(sandbox), Some(identities)) = (&outfit.sandbox, identities) else {
        return vec![Protection {
            name: "sandbox".to_owned(),
            state: ProtectionState::Off,
            how: "user code can do what the worker can".to_owned(),
            needs: Some("WARREN_SANDBOX, which is off".to_owned()),
        }];
    };
    let mut list = sandbox.protections();
    list.extend(identities.protections());
    list
}

struct Parent {
    control: OwnedFd,
    room: Room,
    deaths: OwnedFd,
    outfit: &'static Outfit,
    /// None when the sandbox is off.
    identities: Option<Identities>,
    r_version: String,
    tick_limit: Duration,
    last_tick: Instant,
    children: HashMap<Pid, Living>,
    /// Children that were reaped and whose leftovers may still live.
    ended: Vec<(Living, WaitStatus)>,
}

struct Living {
    /// The worker's number for the child.
    number: u64,
    identity: Identity,
    /// None of a bare fork, and of a twin.
    note: Option<Note>,
}

impl Living {
    /// A child that no session has.
    fn plain(number: u64) -> Self {
        Self {
            number,
            identity: Identity::default(),
            note: None,
        }
    }
}

impl Parent {
    fn introduce(&self) -> io::Result<()> {
        let hello = Hello {
            r_version: self.r_version.clone(),
            pid: rustix::process::getpid().as_raw_pid(),
            tick_limit_ms: u64::try_from(self.tick_limit.as_millis()).unwrap_or(u64::MAX),
            protections: protections(self.outfit, self.identities.as_ref()),
        };
        packets::send(&self.control, &FromParent::Ready(hello), &[])
    }

    fn serve(&mut self) -> io::Result<()> {
        while let Some(patience) = self.tick_limit.checked_sub(self.last_tick.elapsed()) {
            let (packet, death) = self.wait(patience)?;
            if death {
                self.reap()?;
            }
            if !packet {
                continue;
            }
            match packets::receive(&self.control, &mut self.room) {
                Some(ToParent::Tick) => self.last_tick = Instant::now(),
                Some(ToParent::Fork {
                    child,
                    dir,
                    ahead,
                    service,
                }) => {
                    let dir = &dir;
                    let wanted = Wanted {
                        dir,
                        ahead,
                        service,
                    };
                    self.fork(child, &wanted)?;
                }
                Some(ToParent::Twin { child }) => self.twin(child)?,
                Some(ToParent::Kill { child }) => self.kill(child),
                None => break,
            }
        }
        Ok(())
    }

    /// Sleeps until there is a packet or a death, at most as long as the worker may stay silent.
    fn wait(&self, patience: Duration) -> io::Result<(bool, bool)> {
        let mut ready = [
            PollFd::new(&self.control, PollFlags::IN),
            PollFd::new(&self.deaths, PollFlags::IN),
        ];
        let timeout = Timespec::try_from(patience).map_err(io::Error::other)?;
        match poll(&mut ready, Some(&timeout)) {
            Ok(_) | Err(Errno::INTR) => {}
            Err(error) => return Err(error.into()),
        }
        Ok((
            !ready[0].revents().is_empty(),
            !ready[1].revents().is_empty(),
        ))
    }

    fn fork(&mut self, child: u64, wanted: &Wanted<'_>) -> io::Result<()> {
        if self.outfit.bare {
            let pid = fork::bare(&self.control, child)?;
            self.children.insert(pid, Living::plain(child));
            return Ok(());
        }
        match self.try_fork(wanted) {
            Ok((forked, identity)) => {
                let Forked {
                    pid,
                    frames,
                    console,
                    pidfd,
                    note,
                } = forked;
                let number = child;
                let living = Living {
                    number,
                    identity,
                    note: Some(note),
                };
                self.children.insert(pid, living);
                let message = FromParent::Forked {
                    child,
                    pid: pid.as_raw_pid(),
                };
                packets::send(
                    &self.control,
                    &message,
                    &[frames.as_fd(), console.as_fd(), pidfd.as_fd()],
                )
            }
            Err(error) => self.fork_failed(child, &error),
        }
    }

    fn fork_failed(&self, child: u64, error: &io::Error) -> io::Result<()> {
        let message = error.to_string();
        let message = FromParent::ForkFailed { child, message };
        packets::send(&self.control, &message, &[])
    }

    /// Forks a parent that serves as this one does. Comes back in both.
    fn twin(&mut self, child: u64) -> io::Result<()> {
        let this = rustix::process::getpid();
        match fork::twin() {
            Ok(Twin::Other(pid, control)) => {
                self.children.insert(pid, Living::plain(child));
                let pid = pid.as_raw_pid();
                let message = FromParent::Forked { child, pid };
                packets::send(&self.control, &message, &[control.as_fd()])
            }
            Ok(Twin::This(control)) => self.begin_as_twin_of(this, control),
            Err(error) => self.fork_failed(child, &error),
        }
    }

    /// In the twin: puts what is its own in place of what it has of the first one.
    fn begin_as_twin_of(&mut self, first: Pid, control: OwnedFd) -> io::Result<()> {
        child::die_with(first)?;
        rustix::process::set_child_subreaper(Some(rustix::process::getpid()))?;
        self.control = control;
        // What the children of the first one were lent is not this one's to take back.
        std::mem::forget(std::mem::take(&mut self.children));
        std::mem::forget(std::mem::take(&mut self.ended));
        if let (Some(lent), Some(sandbox)) = (self.identities.take(), &self.outfit.sandbox) {
            lent.leave();
            self.identities = Some(Identities::open(sandbox.limits()));
        }
        self.last_tick = Instant::now();
        self.introduce()
    }

    fn try_fork(&mut self, wanted: &Wanted<'_>) -> io::Result<(Forked, Identity)> {
        let sessions = if wanted.service {
            SESSIONS_OF_A_SERVICE
        } else {
            1
        };
        let identity = match &mut self.identities {
            Some(identities) => identities.lend(sessions)?,
            None => Identity::default(),
        };
        match fork::fork(wanted, self.outfit, &identity) {
            Ok(forked) => Ok((forked, identity)),
            Err(error) => {
                self.take_back(identity);
                Err(error)
            }
        }
    }

    fn take_back(&mut self, identity: Identity) {
        if let Some(identities) = &mut self.identities {
            identities.give_back(identity);
        }
    }

    fn kill(&self, number: u64) {
        let found = self
            .children
            .iter()
            .find(|(_, living)| living.number == number);
        if let Some((pid, _)) = found {
            processes::end_trees(&[*pid]);
        }
    }

    fn reap(&mut self) -> io::Result<()> {
        drain(&self.deaths);
        while let Some((pid, status)) = reap_one() {
            if let Some(living) = self.children.remove(&pid) {
                self.ended.push((living, status));
            }
        }
        // Each child reaps its own orphans, so any other child of ours was left by a dead one. Their deaths bring us back
        // here.
        let strays: Vec<Pid> = processes::own_children()
            .into_iter()
            .filter(|pid| !self.children.contains_key(pid))
            .collect();
        if !strays.is_empty() {
            processes::end_trees(&strays);
            return Ok(());
        }
        for (living, status) in std::mem::take(&mut self.ended) {
            let exit = exit_of(status, &living);
            self.take_back(living.identity);
            let child = living.number;
            packets::send(&self.control, &FromParent::Exited { child, exit }, &[])?;
        }
        Ok(())
    }
}

fn exit_of(status: WaitStatus, living: &Living) -> Exit {
    let mut exit = told(status, living.note.as_ref());
    if let Exit::Signal {
        signal: libc::SIGKILL,
        out_of_memory,
        ..
    } = &mut exit
    {
        *out_of_memory = living.identity.ran_out_of_memory();
    }
    exit
}

/// How a child ended, as far as its status and its note tell.
pub(crate) fn told(status: WaitStatus, note: Option<&Note>) -> Exit {
    match status.terminating_signal() {
        Some(signal) => Exit::Signal {
            signal,
            out_of_memory: false,
            stack_overflow: signal == libc::SIGSEGV && note.is_some_and(Note::says_stack_overflow),
        },
        None => Exit::Status {
            code: status.exit_status().unwrap_or(-1),
        },
    }
}

pub(crate) fn reap_one() -> Option<(Pid, WaitStatus)> {
    loop {
        match rustix::process::wait(WaitOptions::NOHANG) {
            Ok(found) => return found,
            Err(Errno::INTR) => {}
            Err(_) => return None,
        }
    }
}

/// A descriptor that is readable when a child has died. Children undo the block of the signal.
pub(crate) fn child_signals() -> io::Result<OwnedFd> {
    // SAFETY: the set is initialised before use; the descriptor is new and owned by nobody else.
    unsafe {
        let mut set: libc::sigset_t = std::mem::zeroed();
        libc::sigemptyset(&raw mut set);
        libc::sigaddset(&raw mut set, libc::SIGCHLD);
        libc::sigprocmask(libc::SIG_BLOCK, &raw const set, std::ptr::null_mut());
        let fd = libc::signalfd(-1, &raw const set, libc::SFD_CLOEXEC | libc::SFD_NONBLOCK);
        if fd < 0 {
            Err(io::Error::last_os_error())
        } else {
            Ok(OwnedFd::from_raw_fd(fd))
        }
    }
}

pub(crate) fn drain(deaths: &OwnedFd) {
    let mut waste = [0_u8; 1024];
    while rustix::io::read(deaths, &mut waste).is_ok_and(|count| count > 0) {}
}

/// Kills children and their descendants until none is left.
fn end_all() {
    loop {
        processes::end_trees(&processes::own_children());
        match rustix::process::wait(WaitOptions::empty()) {
            Ok(_) | Err(Errno::INTR) => {}
            Err(_) => return,
        }
    }
}
