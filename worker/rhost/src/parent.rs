//! The parent's loop: packets from the worker, deaths of children, the tick.

use std::collections::HashMap;
use std::io;
use std::os::fd::{AsFd, FromRawFd, OwnedFd};
use std::time::{Duration, Instant};

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::io::Errno;
use rustix::process::{Pid, WaitOptions, WaitStatus};
use warren_rhost::control::{Exit, FromParent, Hello, ToParent};

use crate::child::Outfit;
use crate::fork::{self, Forked};
use crate::packets;
use crate::processes;

/// Serves the worker until it is gone or silent, then ends every child.
pub(crate) fn serve(
    control: OwnedFd,
    tick_limit: Duration,
    r_version: String,
    outfit: Outfit,
) -> io::Result<()> {
    // What a dead child leaves behind becomes ours, to be killed and reaped.
    rustix::process::set_child_subreaper(Some(rustix::process::getpid()))?;
    let hello = Hello {
        r_version,
        pid: rustix::process::getpid().as_raw_pid(),
        tick_limit_ms: u64::try_from(tick_limit.as_millis()).unwrap_or(u64::MAX),
    };
    let deaths = child_signals()?;
    let mut parent = Parent {
        control,
        deaths,
        outfit,
        tick_limit,
        last_tick: Instant::now(),
        children: HashMap::new(),
        ended: Vec::new(),
    };
    packets::send(&parent.control, &FromParent::Ready(hello), &[])?;
    let served = parent.serve();
    end_all();
    served
}

struct Parent {
    control: OwnedFd,
    deaths: OwnedFd,
    outfit: Outfit,
    tick_limit: Duration,
    last_tick: Instant,
    /// Living children and the worker's numbers for them.
    children: HashMap<Pid, u64>,
    /// Children that were reaped and whose leftovers may still live.
    ended: Vec<(u64, Exit)>,
}

impl Parent {
    fn serve(&mut self) -> io::Result<()> {
        while let Some(patience) = self.tick_limit.checked_sub(self.last_tick.elapsed()) {
            let (packet, death) = self.wait(patience)?;
            if death {
                self.reap()?;
            }
            if !packet {
                continue;
            }
            match packets::receive(&self.control) {
                Some(ToParent::Tick) => self.last_tick = Instant::now(),
                Some(ToParent::Fork { child, dir }) => self.fork(child, &dir)?,
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

    fn fork(&mut self, child: u64, dir: &std::path::Path) -> io::Result<()> {
        match fork::fork(dir, &self.outfit) {
            Ok(Forked {
                pid,
                frames,
                console,
                pidfd,
            }) => {
                self.children.insert(pid, child);
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
            Err(error) => {
                let message = error.to_string();
                packets::send(
                    &self.control,
                    &FromParent::ForkFailed { child, message },
                    &[],
                )
            }
        }
    }

    /// Its descendants become ours when it is dead, and [`Self::reap`] kills them.
    fn kill(&self, number: u64) {
        for (pid, child) in &self.children {
            if *child == number {
                processes::kill(*pid);
            }
        }
    }

    fn reap(&mut self) -> io::Result<()> {
        drain(&self.deaths);
        while let Some((pid, status)) = reap_one() {
            if let Some(child) = self.children.remove(&pid) {
                // The group's other members live on without their leader.
                let _ = rustix::process::kill_process_group(pid, rustix::process::Signal::KILL);
                self.ended.push((child, exit_of(status)));
            }
        }
        // Each child reaps its own orphans, so any other child of ours was left by a dead one. Its own descendants come to
        // us in turn, and their deaths bring us back here.
        let strays: Vec<Pid> = processes::own_children()
            .into_iter()
            .filter(|pid| !self.children.contains_key(pid))
            .collect();
        for stray in &strays {
            processes::kill(*stray);
        }
        if strays.is_empty() {
            for (child, exit) in self.ended.drain(..) {
                packets::send(&self.control, &FromParent::Exited { child, exit }, &[])?;
            }
        }
        Ok(())
    }
}

fn exit_of(status: WaitStatus) -> Exit {
    match status.terminating_signal() {
        Some(signal) => Exit::Signal {
            signal,
            out_of_memory: false,
        },
        None => Exit::Status {
            code: status.exit_status().unwrap_or(-1),
        },
    }
}

fn reap_one() -> Option<(Pid, WaitStatus)> {
    loop {
        match rustix::process::wait(WaitOptions::NOHANG) {
            Ok(found) => return found,
            Err(Errno::INTR) => {}
            Err(_) => return None,
        }
    }
}

/// A descriptor that is readable when a child has died. Children undo the block of the signal.
fn child_signals() -> io::Result<OwnedFd> {
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

fn drain(deaths: &OwnedFd) {
    let mut waste = [0_u8; 1024];
    while rustix::io::read(deaths, &mut waste).is_ok_and(|count| count > 0) {}
}

/// Kills children and their descendants until none is left.
fn end_all() {
    loop {
        for child in processes::own_children() {
            processes::kill(child);
        }
        match rustix::process::wait(WaitOptions::empty()) {
            Ok(_) | Err(Errno::INTR) => {}
            Err(_) => return,
        }
    }
}
