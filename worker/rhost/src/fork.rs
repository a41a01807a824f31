//! The fork itself: pipes before, descriptors after.

use std::io;
use std::os::fd::OwnedFd;
use std::path::Path;

use rustix::net::{AddressFamily, SocketFlags, SocketType};
use rustix::pipe::PipeFlags;
use rustix::process::{Pid, PidfdFlags, Signal};
use warren_rhost::control::FromParent;

use crate::child::{self, Outfit};
use crate::crash::Note;
use crate::eval;
use crate::identity::Identity;
use crate::packets;

/// A new child and what the worker gets of it.
pub(crate) struct Forked {
    pub(crate) pid: Pid,
    /// The worker's end of the frame socket.
    pub(crate) frames: OwnedFd,
    /// The read end of the console pipe.
    pub(crate) console: OwnedFd,
    pub(crate) pidfd: OwnedFd,
    pub(crate) note: Note,
}

/// What the worker wants a child for.
pub(crate) struct Wanted<'a> {
    /// Where it lives.
    pub(crate) dir: &'a Path,
    /// Whether it has the time to warm up.
    pub(crate) ahead: bool,
    /// Whether it may become the parent of a service's calls.
    pub(crate) service: bool,
}

/// Forks a child.
pub(crate) fn fork(
    wanted: &Wanted<'_>,
    outfit: &'static Outfit,
    identity: &Identity,
) -> io::Result<Forked> {
    let dir = wanted.dir;
    let (frames, child_frames) = rustix::net::socketpair(
        AddressFamily::UNIX,
        SocketType::STREAM,
        SocketFlags::CLOEXEC,
        None,
    )?;
    let (console, child_console) = rustix::pipe::pipe_with(PipeFlags::CLOEXEC)?;
    identity.own(dir, &child_console)?;
    let note = Note::new()?;
    let parent = rustix::process::getpid();
    // SAFETY: the process has one thread, so the copy is whole and every lock in it is free or its own.
    let pid = match unsafe { libc::fork() } {
        -1 => return Err(io::Error::last_os_error()),
        0 => {
            drop((frames, console));
            child::live(&child::Birth {
                dir,
                ahead: wanted.ahead,
                service: wanted.service,
                parent,
                frames: child_frames,
                console: child_console,
                outfit,
                identity,
                note: &note,
            })
        }
        pid => pid,
    };
    note.keep();
    let pid = Pid::from_raw(pid).ok_or_else(|| io::Error::other("fork returned no process id"))?;
    // Both sides set it, so that neither has to wait for the other.
    let _ = rustix::process::setpgid(Some(pid), Some(pid));
    let pidfd = rustix::process::pidfd_open(pid, PidfdFlags::empty()).inspect_err(|_| {
        // The worker will not know of this child.
        let _ = rustix::process::kill_process(pid, Signal::KILL);
    })?;
    Ok(Forked {
        pid,
        frames,
        console,
        pidfd,
        note,
    })
}

/// A process that was forked to be a parent itself, as the first one sees it, or as it sees itself.
pub(crate) enum Twin {
    /// In the first one: the new process, and the worker's end of its control socket.
    Other(Pid, OwnedFd),
    /// In the new one: its own end.
    This(OwnedFd),
}

/// Forks a parent.
pub(crate) fn twin() -> io::Result<Twin> {
    let (theirs, own) = rustix::net::socketpair(
        AddressFamily::UNIX,
        SocketType::SEQPACKET,
        SocketFlags::CLOEXEC,
        None,
    )?;
    // SAFETY: as in [`fork`].
    match unsafe { libc::fork() } {
        -1 => Err(io::Error::last_os_error()),
        0 => Ok(Twin::This(own)),
        pid => Pid::from_raw(pid)
            .map(|pid| Twin::Other(pid, theirs))
            .ok_or_else(|| io::Error::other("fork returned no process id")),
    }
}

/// The least that an answer from a fork of this parent can be, for the bench to compare a session with: the child evaluates
/// `1 + 1`, says on the control socket that it did, and ends. No pipes, no descriptors for the worker, no directory, no sandbox,
/// no main loop and no console.
pub(crate) fn bare(control: &OwnedFd, child: u64) -> io::Result<Pid> {
    // SAFETY: as in [`fork`].
    match unsafe { libc::fork() } {
        -1 => Err(io::Error::last_os_error()),
        0 => {
            let pid = rustix::process::getpid().as_raw_pid();
            let answered = eval::run_own("1 + 1").is_ok()
                && packets::send(control, &FromParent::Forked { child, pid }, &[]).is_ok();
            // SAFETY: ends the process; the parent's exit code must not run here.
            unsafe { libc::_exit(i32::from(!answered)) }
        }
        pid => Pid::from_raw(pid).ok_or_else(|| io::Error::other("fork returned no process id")),
    }
}
