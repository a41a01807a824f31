//! From the fork to R's prompt: a process of its own.

use std::ffi::{c_int, c_uint, c_void};
use std::fs;
use std::io;
use std::os::fd::{AsRawFd, OwnedFd};
use std::path::{Path, PathBuf};

use rustix::process::{Pid, Signal};

use crate::calls::Home;
use crate::console;
use crate::crash::{self, Note};
use crate::ffi::{f, v};
use crate::heap;
use crate::identity::Identity;
use crate::places::{self, Seen};
use crate::run;
use crate::sandbox::{CallSandbox, Sandbox};
use crate::setup::Helpers;

/// The frame socket moves up here, out of the way of descriptors that user code opens or guesses.
const FRAMES_FROM: c_int = 200;

/// What a child is born with.
pub(crate) struct Birth<'a> {
    pub(crate) dir: &'a Path,
    /// Whether it has the time to warm up.
    pub(crate) ahead: bool,
    pub(crate) parent: Pid,
    pub(crate) frames: OwnedFd,
    pub(crate) console: OwnedFd,
    /// Whether it may become the parent of a service's calls.
    pub(crate) service: bool,
    pub(crate) outfit: &'static Outfit,
    pub(crate) identity: &'a Identity,
    pub(crate) note: &'a Note,
}

/// What every child of a parent gets.
pub(crate) struct Outfit {
    pub(crate) helpers: Helpers,
    /// None when the operator switched it off.
    pub(crate) sandbox: Option<Sandbox>,
    /// Forks are [`crate::fork::bare`].
    pub(crate) bare: bool,
}

/// What a call is born with.
pub(crate) struct CallBirth<'a> {
    pub(crate) dir: &'a Path,
    pub(crate) parent: Pid,
    pub(crate) frames: &'a OwnedFd,
    pub(crate) console: &'a OwnedFd,
    pub(crate) note: &'a Note,
    /// Of its parent's places.
    pub(crate) seen: &'a Seen,
    /// None when the operator switched it off.
    pub(crate) sandbox: Option<&'a CallSandbox>,
}

/// Lives as a session's process. What goes wrong before R's prompt is said on the console pipe.
pub(crate) fn live(birth: &Birth<'_>) -> ! {
    if let Err(error) = settle(birth) {
        give_up(&error);
    }
    // SAFETY: R is initialised and set up, and this is its main thread. The loop ends only with the process.
    unsafe {
        (f().run_Rmainloop)();
        libc::_exit(0)
    }
}

/// Says why this process is of no use, and ends it.
fn give_up(error: &io::Error) -> ! {
    console::say(&format!(
        "the session's process cannot be set up: {error}\n"
    ));
    // SAFETY: ends the process; the parent's exit code must not run here.
    unsafe { libc::_exit(3) }
}

/// Makes this process, just forked from a service's parent at R's prompt, one of a call. What comes back are its frame socket
/// and its working directory; every other descriptor is closed, whatever owns it.
pub(crate) fn become_call(birth: &CallBirth<'_>) -> (OwnedFd, PathBuf) {
    settle_call(birth).unwrap_or_else(|error| give_up(&error))
}

fn settle_call(birth: &CallBirth<'_>) -> io::Result<(OwnedFd, PathBuf)> {
    // First, so that what goes wrong is said to the right one.
    let frames = descriptors(birth.frames, birth.console)?;
    rustix::process::setpgid(None, None)?;
    heap::small_pages();
    listen_to_signals();
    crash::watch(birth.note)?;
    rustix::process::set_child_subreaper(Some(rustix::process::getpid()))?;
    let work = places::take_for_call(birth.dir, birth.seen)?;
    reseed()?;
    become_r_child();
    die_with(birth.parent)?;
    if let Some(sandbox) = birth.sandbox {
        sandbox.enter(birth.dir)?;
    }
    close_others(&frames)?;
    Ok((frames, work))
}

fn settle(birth: &Birth<'_>) -> io::Result<()> {
    rustix::process::setpgid(None, None)?;
    heap::small_pages();
    listen_to_signals();
    crash::watch(birth.note)?;
    let frames = descriptors(&birth.frames, &birth.console)?;
    do_not_buffer();
    rustix::process::set_child_subreaper(Some(rustix::process::getpid()))?;
    offer_to_the_oom_killer();
    birth.identity.enter()?;
    let work = places::take(birth.dir)?;
    reseed()?;
    become_r_child();
    die_with(birth.parent)?;
    if let Some(sandbox) = &birth.outfit.sandbox {
        sandbox.enter(birth.dir, birth.service)?;
    }
    close_others(&frames)?;
    let home = birth.service.then(|| Home {
        dir: birth.dir.to_owned(),
        sandbox: birth.outfit.sandbox.as_ref(),
    });
    run::open(frames, work, birth.outfit.helpers, birth.ahead, home)
}

/// When the machine as a whole runs out of memory, a session goes before the worker and before anything else on it.
fn offer_to_the_oom_killer() {
    // A kernel that does not take it kills by size alone.
    let _ = fs::write("/proc/self/oom_score_adj", "800");
}

/// Ends this process with its parent. After a change of user, which would clear it.
pub(crate) fn die_with(parent: Pid) -> io::Result<()> {
    rustix::process::set_parent_process_death_signal(Some(Signal::KILL))?;
    if rustix::process::getppid() == Some(parent) {
        Ok(())
    } else {
        Err(io::Error::other("the parent is gone"))
    }
}

/// In the parent, for its children to inherit: undoes what Rust's runtime set. R may write to broken pipes and beyond the longest file, so these signals
/// get a handler that does nothing, and the write fails: unlike "ignore" it is not passed on to programs that user code starts.
pub(crate) fn default_signals() {
    extern "C" fn ignore(_signal: c_int) {}
    // SAFETY: zeroed actions are filled before use; the handlers are safe at any time; sets are initialised.
    unsafe {
        let mut action: libc::sigaction = std::mem::zeroed();
        action.sa_sigaction = libc::SIG_DFL;
        for signal in 1..=libc::SIGRTMAX() {
            // Kill, stop and the C library's own signals refuse, which is right.
            libc::sigaction(signal, &raw const action, std::ptr::null_mut());
        }
        action.sa_sigaction = ignore as *const () as usize;
        action.sa_flags = libc::SA_RESTART;
        libc::sigaction(libc::SIGPIPE, &raw const action, std::ptr::null_mut());
        libc::sigaction(libc::SIGXFSZ, &raw const action, std::ptr::null_mut());
    }
}

/// Undoes what the parent blocks, and takes interrupts.
fn listen_to_signals() {
    // SAFETY: the set is initialised before use.
    unsafe {
        let mut none: libc::sigset_t = std::mem::zeroed();
        libc::sigemptyset(&raw mut none);
        libc::sigprocmask(libc::SIG_SETMASK, &raw const none, std::ptr::null_mut());
    }
    console::handle_interrupts();
}

/// The console on 1 and 2, the frame socket high up.
fn descriptors(frames: &OwnedFd, console: &OwnedFd) -> io::Result<OwnedFd> {
    rustix::stdio::dup2_stdout(console)?;
    rustix::stdio::dup2_stderr(console)?;
    Ok(rustix::io::fcntl_dupfd_cloexec(frames, FRAMES_FROM)?)
}

/// Output of C code comes in order with R's only when C does not hold it back.
fn do_not_buffer() {
    unsafe extern "C" {
        static stdout: *mut libc::FILE;
    }
    // SAFETY: before any output of this process.
    unsafe { libc::setvbuf(stdout, std::ptr::null_mut(), libc::_IONBF, 0) };
}

/// Closes what belongs to the parent and to siblings, and what the sandbox was built from.
fn close_others(frames: &OwnedFd) -> io::Result<()> {
    let keep = frames.as_raw_fd().cast_unsigned();
    close_range(3, keep - 1)?;
    close_range(keep + 1, c_uint::MAX)
}

fn close_range(first: c_uint, last: c_uint) -> io::Result<()> {
    // SAFETY: the descriptors that Rust values of this process own above `first` are never used or dropped again: the
    // child leaves only through `_exit`.
    let result = unsafe { libc::syscall(libc::SYS_close_range, first, last, 0) };
    if result == 0 {
        Ok(())
    } else {
        Err(io::Error::last_os_error())
    }
}

/// R seeds itself from time and process id at the first draw, since the parent drew nothing; C must be told.
fn reseed() -> io::Result<()> {
    let mut seed = [0_u8; 4];
    // SAFETY: the buffer has the length that is named.
    let got = unsafe { libc::getrandom(seed.as_mut_ptr().cast::<c_void>(), seed.len(), 0) };
    if got != 4 {
        return Err(io::Error::last_os_error());
    }
    // SAFETY: no preconditions. `random` shares the state of `rand`.
    unsafe { libc::srand(u32::from_ne_bytes(seed)) };
    Ok(())
}

fn become_r_child() {
    console::become_child(rustix::process::getpid().as_raw_pid());
    // SAFETY: a plain store: R's own cleaning up at exit is the parent's affair.
    unsafe { *v().R_isForkedChild = 1 };
}
