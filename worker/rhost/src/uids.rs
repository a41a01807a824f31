//! A user for each session: what belongs to one is nobody else's, and can be found and ended as a whole.
//!
//! The users are numbers of a range that nobody else has. Several parents, and several workers of one machine, share the
//! range: each locks a block of it at a time, in a file that all of them know, and the locks end with the process that
//! holds them.

use std::collections::{HashSet, VecDeque};
use std::fs::{self, File};
use std::io;
use std::ops::RangeInclusive;
use std::os::fd::AsRawFd;

use rustix::process::{Pid, Signal};
use rustix::thread::CapabilitySet;

/// Byte N of this file is the lock of user N.
const LOCKS: &str = "/run/warren-uids.lock";
/// Users that are locked at once.
const BLOCK: u32 = 64;

/// The users that this parent may lend.
pub(crate) struct Uids {
    range: RangeInclusive<u32>,
    locks: File,
    /// Locked by this parent and used by nobody; the longest unused first.
    free: VecDeque<u32>,
    /// First users of the blocks that this parent has locked.
    held: HashSet<u32>,
}

impl std::fmt::Display for Uids {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{} to {}", self.range.start(), self.range.end())
    }
}

impl Uids {
    /// The message says what it needs.
    pub(crate) fn open(range: RangeInclusive<u32>) -> Result<Self, String> {
        may_change_users()?;
        for (map, what) in [
            ("/proc/self/uid_map", "users"),
            ("/proc/self/gid_map", "groups"),
        ] {
            let text = fs::read_to_string(map)
                .map_err(|error| format!("{map} cannot be read: {error}"))?;
            if !is_mapped(&text, &range) {
                return Err(format!(
                    "WARREN_SESSION_UIDS to be {what} of this user namespace; not all from {} to {} are, see {map}",
                    range.start(),
                    range.end()
                ));
            }
        }
        let locks = File::options()
            .create(true)
            .truncate(false)
            .write(true)
            .open(LOCKS)
            .map_err(|error| format!("a file {LOCKS} that it can write: {error}"))?;
        Ok(Self {
            range,
            locks,
            free: VecDeque::new(),
            held: HashSet::new(),
        })
    }

    /// A user that no process has.
    pub(crate) fn lend(&mut self) -> io::Result<u32> {
        if self.free.is_empty() {
            self.lock_another_block()?;
        }
        self.free.pop_front().ok_or_else(|| {
            io::Error::other(format!(
                "all users {self} are taken: WARREN_SESSION_UIDS is too small for the sessions of this machine"
            ))
        })
    }

    /// Takes a user back of whom no process is left.
    pub(crate) fn give_back(&mut self, uid: u32) {
        self.free.push_back(uid);
    }

    fn lock_another_block(&mut self) -> io::Result<()> {
        for first in self.range.clone().step_by(BLOCK as usize) {
            let last = first.saturating_add(BLOCK - 1).min(*self.range.end());
            if !self.held.contains(&first) && self.lock(first, last)? {
                end_all_of(first..=last);
                self.held.insert(first);
                self.free.extend(first..=last);
                break;
            }
        }
        Ok(())
    }

    /// False when another process has locked one of them.
    #[expect(
        clippy::cast_possible_truncation,
        reason = "both constants are one digit"
    )]
    fn lock(&self, first: u32, last: u32) -> io::Result<bool> {
        // SAFETY: a zeroed lock is valid; the descriptor is open, and the call reads the structure only.
        let locked = unsafe {
            let mut lock: libc::flock64 = std::mem::zeroed();
            lock.l_type = libc::F_WRLCK as libc::c_short;
            lock.l_whence = libc::SEEK_SET as libc::c_short;
            lock.l_start = i64::from(first);
            lock.l_len = i64::from(last - first) + 1;
            libc::fcntl(self.locks.as_raw_fd(), libc::F_OFD_SETLK, &raw const lock)
        };
        if locked == 0 {
            return Ok(true);
        }
        match io::Error::last_os_error() {
            error if error.kind() == io::ErrorKind::WouldBlock => Ok(false),
            error => Err(error),
        }
    }
}

/// Becomes this user for good, in a group of the same number and in no other.
pub(crate) fn become_user(uid: u32) -> io::Result<()> {
    // SAFETY: plain system calls of a process with one thread; an empty list of groups is never read.
    unsafe {
        check(libc::setgroups(0, std::ptr::null()))?;
        check(libc::setresgid(uid, uid, uid))?;
        check(libc::setresuid(uid, uid, uid))?;
        // The change shuts the process's own `/proc/self` to it.
        check(libc::prctl(libc::PR_SET_DUMPABLE, 1, 0, 0, 0))
    }
}

fn check(result: libc::c_int) -> io::Result<()> {
    if result == 0 {
        Ok(())
    } else {
        Err(io::Error::last_os_error())
    }
}

fn may_change_users() -> Result<(), String> {
    let needed =
        CapabilitySet::SETUID | CapabilitySet::SETGID | CapabilitySet::CHOWN | CapabilitySet::KILL;
    let held = rustix::thread::capabilities(None)
        .map_err(|error| format!("the capabilities of this process cannot be read: {error}"))?
        .effective;
    if held.contains(needed) {
        return Ok(());
    }
    Err("a worker that runs as root, or with the capabilities CHOWN, DAC_OVERRIDE, FOWNER, KILL, SETGID and SETUID".to_owned())
}

/// Whether a map of users or groups, as the kernel shows it, has the whole range in one of its lines.
fn is_mapped(map: &str, range: &RangeInclusive<u32>) -> bool {
    map.lines().any(|line| {
        let mut numbers = line.split_whitespace().map(str::parse::<u64>);
        let (Some(Ok(first)), Some(Ok(_outside)), Some(Ok(count))) =
            (numbers.next(), numbers.next(), numbers.next())
        else {
            return false;
        };
        u64::from(*range.start()) >= first && u64::from(*range.end()) < first + count
    })
}

/// Ends what a parent that died without cleaning up left of these users. Only where process numbers are the same as here:
/// another container may have users of the same numbers.
fn end_all_of(uids: RangeInclusive<u32>) {
    let here = fs::read_link("/proc/self/ns/pid").ok();
    for entry in fs::read_dir("/proc").into_iter().flatten().flatten() {
        let Some(pid) = entry
            .file_name()
            .to_str()
            .and_then(|name| Pid::from_raw(name.parse().ok()?))
        else {
            continue;
        };
        if user_of(&entry.path().join("status")).is_some_and(|uid| uids.contains(&uid))
            && fs::read_link(entry.path().join("ns/pid")).ok() == here
        {
            let _ = rustix::process::kill_process(pid, Signal::KILL);
        }
    }
}

fn user_of(status: &std::path::Path) -> Option<u32> {
    let status = fs::read_to_string(status).ok()?;
    let uids = status.lines().find_map(|line| line.strip_prefix("Uid:"))?;
    uids.split_whitespace().next()?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_range_must_be_mapped_as_a_whole() {
        let everything = "         0          0 4294967295\n";
        assert!(is_mapped(everything, &(70_000..=79_999)));
        let rootless = "0 1000 1\n1 100000 65536\n";
        assert!(!is_mapped(rootless, &(70_000..=79_999)));
        assert!(is_mapped(rootless, &(60_000..=65_536)));
        assert!(!is_mapped(rootless, &(60_000..=65_537)));
    }

    #[test]
    fn the_user_of_a_process_is_read() {
        let own = user_of(std::path::Path::new("/proc/self/status"));
        assert_eq!(own, Some(rustix::process::getuid().as_raw()));
    }
}
