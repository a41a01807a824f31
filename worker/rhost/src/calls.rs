//! The parent of a service's calls: a session's process that holds what the service's code needs, takes no more runs, and forks a
//! process for each call.
//!
//! It stands below R's main loop, where it waits for a request. A call goes on from there, with a socket, a console and places of
//! its own, and everything of R's as it was.

use std::collections::HashMap;
use std::io;
use std::os::fd::OwnedFd;
use std::path::{Path, PathBuf};

use rustix::event::{PollFd, PollFlags, poll};
use rustix::io::Errno;
use rustix::process::{Pid, Signal, WaitStatus};
use warren_rhost::control::MAX_PACKET_BYTES;
use warren_rhost::processes;
use warren_rhost::service::{FromService, ToService};

use crate::child::{self, CallBirth};
use crate::crash::Note;
use crate::eval;
use crate::heap;
use crate::packets;
use crate::parent;
use crate::places::{self, Seen};
use crate::sandbox::{CallSandbox, Sandbox};
use crate::setup::{self, Helpers};

/// A parent that has forked so often is worth memory of its own.
const OFTEN: u64 = 64;

/// What a process keeps that may become the parent of calls.
pub(crate) struct Home {
    pub(crate) dir: PathBuf,
    /// None when the operator switched it off.
    pub(crate) sandbox: Option<&'static Sandbox>,
}

/// What a call goes on with, in its own process.
pub(crate) struct Call {
    pub(crate) frames: OwnedFd,
    pub(crate) work: PathBuf,
    /// Whether it has the time to warm up.
    pub(crate) ahead: bool,
}

/// Serves the worker until it is gone, and then ends this process. Comes back in each call, and when it has told the worker that
/// this process cannot be forked. `frames`: the socket of the session that it was, whose end is the worker's as well.
pub(crate) fn serve(
    control: OwnedFd,
    frames: &OwnedFd,
    home: Option<&Home>,
    helpers: Helpers,
) -> Option<Call> {
    match Parent::prepare(control, home, helpers) {
        Ok(mut parent) => {
            if let Ok(Some(call)) = parent.serve(frames) {
                // What it owns is closed in this process, and belongs to the parent.
                std::mem::forget(parent);
                return Some(call);
            }
            // SAFETY: ends the process; nothing of R's should run now. Whatever descends from it the parent above ends.
            unsafe { libc::_exit(0) }
        }
        Err((control, message)) => {
            // A worker that cannot be told sees the end of the socket.
            let _ = packets::send(control, &FromService::Refused { message }, &[]);
            None
        }
    }
}

struct Parent {
    control: OwnedFd,
    buffer: Box<[u8]>,
    deaths: OwnedFd,
    /// Where the directories of the calls are.
    calls: PathBuf,
    seen: Seen,
    sandbox: Option<CallSandbox>,
    /// How often it has forked.
    forks: u64,
    living: HashMap<Pid, Living>,
    /// Calls that were reaped and whose leftovers may still live.
    ended: Vec<(Living, WaitStatus)>,
}

struct Living {
    /// The worker's number for the call.
    number: u64,
    note: Note,
}

/// After a fork.
enum Side {
    Parent(Pid, Note),
    Call(Call),
}

impl Parent {
    /// Puts this process in order. Gives the socket back together with what is wrong.
    fn prepare(
        control: OwnedFd,
        home: Option<&Home>,
        helpers: Helpers,
    ) -> Result<Self, (OwnedFd, String)> {
        let prepared = (|| {
            let home = home.ok_or("this process was not forked to be a service's parent")?;
            put_in_order(helpers)?;
            let calls = home.dir.join("calls");
            let opened = |error: io::Error| format!("its calls can have no places: {error}");
            places::make(&calls).map_err(opened)?;
            let seen = Seen::look(&home.dir).map_err(opened)?;
            let sandbox = home.sandbox.map(|sandbox| sandbox.for_calls(&home.dir));
            let deaths = parent::child_signals().map_err(|error| error.to_string())?;
            Ok((deaths, calls, seen, sandbox))
        })();
        match prepared {
            Ok((deaths, calls, seen, sandbox)) => Ok(Self {
                control,
                buffer: vec![0; MAX_PACKET_BYTES].into_boxed_slice(),
                deaths,
                calls,
                seen,
                sandbox,
                forks: 0,
                living: HashMap::new(),
                ended: Vec::new(),
            }),
            Err(message) => Err((control, message)),
        }
    }

    fn serve(&mut self, frames: &OwnedFd) -> io::Result<Option<Call>> {
        packets::send(&self.control, &FromService::Serving, &[])?;
        // What died before that was not told of.
        self.reap()?;
        while let Some((packet, death)) = self.wait(frames)? {
            if death {
                self.reap()?;
            }
            if !packet {
                continue;
            }
            match packets::receive_for_service(&self.control, &mut self.buffer) {
                Some((
                    ToService::Fork {
                        child,
                        place,
                        ahead,
                    },
                    ends,
                )) => {
                    if let Some(call) = self.fork(child, place, ahead, ends)? {
                        return Ok(Some(call));
                    }
                }
                Some((ToService::Interrupt { child }, _)) => self.interrupt(child),
                Some((ToService::Kill { child }, _)) => self.kill(child),
                None => break,
            }
        }
        Ok(None)
    }

    /// Sleeps until there is a packet or a death. None when the worker let go of the session's socket.
    fn wait(&self, frames: &OwnedFd) -> io::Result<Option<(bool, bool)>> {
        let mut ready = [
            PollFd::new(&self.control, PollFlags::IN),
            PollFd::new(&self.deaths, PollFlags::IN),
            // Its end is told unasked.
            PollFd::new(frames, PollFlags::empty()),
        ];
        match poll(&mut ready, None) {
            Ok(_) | Err(Errno::INTR) => {}
            Err(error) => return Err(error.into()),
        }
        let [packet, death, over] = ready.map(|one| !one.revents().is_empty());
        Ok((!over).then_some((packet, death)))
    }

    fn fork(
        &mut self,
        child: u64,
        place: u64,
        ahead: bool,
        ends: Vec<OwnedFd>,
    ) -> io::Result<Option<Call>> {
        let message = match self.try_fork(place, ahead, ends) {
            Ok(Side::Call(call)) => return Ok(Some(call)),
            Ok(Side::Parent(pid, note)) => {
                let number = child;
                self.living.insert(pid, Living { number, note });
                let pid = pid.as_raw_pid();
                FromService::Forked { child, pid }
            }
            Err(error) => {
                let message = error.to_string();
                FromService::ForkFailed { child, message }
            }
        };
        packets::send(&self.control, &message, &[])?;
        self.forks += 1;
        if self.forks == OFTEN {
            heap::huge_pages();
        }
        Ok(None)
    }

    fn try_fork(&self, place: u64, ahead: bool, ends: Vec<OwnedFd>) -> io::Result<Side> {
        let [frames, console] = <[OwnedFd; 2]>::try_from(ends)
            .map_err(|ends| io::Error::other(format!("{} descriptors came, not 2", ends.len())))?;
        let dir = self.calls.join(place.to_string());
        places::make(&dir)?;
        let note = Note::new()?;
        let parent = rustix::process::getpid();
        // SAFETY: the process has one thread, so the copy is whole and every lock in it is free or its own.
        let pid = match unsafe { libc::fork() } {
            -1 => return Err(io::Error::last_os_error()),
            0 => {
                let call = self.become_call(ahead, &dir, parent, (&frames, &console), &note);
                // Closed already; the page is needed to the end.
                std::mem::forget((frames, console, note));
                return Ok(Side::Call(call));
            }
            pid => Pid::from_raw(pid).ok_or_else(|| io::Error::other("fork returned no number"))?,
        };
        note.keep();
        // Both sides set it, so that neither has to wait for the other.
        let _ = rustix::process::setpgid(Some(pid), Some(pid));
        Ok(Side::Parent(pid, note))
    }

    fn become_call(
        &self,
        ahead: bool,
        dir: &Path,
        parent: Pid,
        (frames, console): (&OwnedFd, &OwnedFd),
        note: &Note,
    ) -> Call {
        let (frames, work) = child::become_call(&CallBirth {
            dir,
            parent,
            frames,
            console,
            note,
            seen: &self.seen,
            sandbox: self.sandbox.as_ref(),
        });
        Call {
            frames,
            work,
            ahead,
        }
    }

    fn process(&self, number: u64) -> Option<Pid> {
        let mut living = self.living.iter();
        let (pid, _) = living.find(|(_, living)| living.number == number)?;
        Some(*pid)
    }

    /// A call leads its process group. One that is not reaped yet keeps its number.
    fn interrupt(&self, number: u64) {
        if let Some(pid) = self.process(number) {
            let _ = rustix::process::kill_process_group(pid, Signal::INT);
        }
    }

    fn kill(&self, number: u64) {
        if let Some(pid) = self.process(number) {
            processes::end_trees(&[pid]);
        }
    }

    /// As any parent does: what has ended is told of when nothing of it is left.
    fn reap(&mut self) -> io::Result<()> {
        parent::drain(&self.deaths);
        while let Some((pid, status)) = parent::reap_one() {
            if let Some(living) = self.living.remove(&pid) {
                self.ended.push((living, status));
            }
        }
        let strays: Vec<Pid> = processes::own_children()
            .into_iter()
            .filter(|pid| !self.living.contains_key(pid))
            .collect();
        if !strays.is_empty() {
            processes::end_trees(&strays);
            return Ok(());
        }
        for (living, status) in std::mem::take(&mut self.ended) {
            let exit = parent::told(status, Some(&living.note));
            let child = living.number;
            packets::send(&self.control, &FromService::Exited { child, exit }, &[])?;
        }
        Ok(())
    }
}

/// What all calls would share is taken down: processes and connections that the service's code started, its plots, the seed.
fn put_in_order(helpers: Helpers) -> Result<(), String> {
    // Before the connections: one to a program waits for its end.
    processes::end_trees(&processes::own_children());
    setup::single_threaded_service()?;
    eval::call_own(helpers.before_calls)
        .map_err(|failure| format!("its workspace cannot be shared: {}", failure.message()))?;
    eval::forget_last_value();
    heap::own_huge_pages();
    Ok(())
}
