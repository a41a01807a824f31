//! What tells the processes of one session from everybody else's: a user and control groups of its own, where this machine
//! has them. Lent at the fork, taken back when nothing of the session is left.

use std::io;
use std::os::fd::AsFd;
use std::path::Path;

use rustix::fs::{Access, Gid, Mode, Uid, chmod, chown, fchown};
use warren_rhost::control::{Protection, ProtectionState};

use crate::args::Limits;
use crate::cgroups::{Controller, Group, Groups};
use crate::uids::{self, Uids};

/// What a parent has to lend.
pub(crate) struct Identities {
    uids: Result<Uids, String>,
    memory: Result<Groups, String>,
    /// Only without users: they bound the number of processes as well, and at no cost.
    pids: Result<Groups, String>,
    memory_bytes: u64,
    processes: u64,
}

/// What one session was lent.
#[derive(Default)]
pub(crate) struct Identity {
    uid: Option<u32>,
    memory: Option<Group>,
    pids: Option<Group>,
}

impl Identities {
    /// Finds out what this machine has.
    pub(crate) fn open(limits: &Limits) -> Self {
        let uids = match &limits.uids {
            Some(range) => Uids::open(range.clone()),
            None => Err("a range of users in WARREN_SESSION_UIDS, which is off".to_owned()),
        };
        let groups = |controller, limit| {
            if limits.cgroups {
                Groups::open(controller, limit)
            } else {
                Err("WARREN_CGROUPS, which is off".to_owned())
            }
        };
        let pids = if uids.is_ok() {
            Err("each user has a limit of its own".to_owned())
        } else {
            groups(Controller::Pids, limits.processes)
        };
        Self {
            uids,
            memory: groups(Controller::Memory, limits.memory_bytes),
            pids,
            memory_bytes: limits.memory_bytes,
            processes: limits.processes,
        }
    }

    /// In a process that was forked from the one that lends them: lets go of what is still the other's to lend.
    pub(crate) fn leave(self) {
        // A group that is dropped is removed. The locks of users end with the last copy of their file, so that is closed.
        std::mem::forget((self.memory, self.pids));
    }

    /// Whether every session has a user of its own.
    pub(crate) fn has_users(&self) -> bool {
        self.uids.is_ok()
    }

    /// What the next session may have, or so many of them together.
    pub(crate) fn lend(&mut self, sessions: u64) -> io::Result<Identity> {
        fn group(groups: &mut Result<Groups, String>, limit: u64) -> io::Result<Option<Group>> {
            let groups = groups.as_mut().ok();
            groups.map(|groups| groups.lend(limit)).transpose()
        }
        let memory_bytes = self.memory_bytes.saturating_mul(sessions);
        let processes = self.processes.saturating_mul(sessions);
        let mut identity = Identity::default();
        let lent = (|| {
            identity.memory = group(&mut self.memory, memory_bytes)?;
            identity.pids = group(&mut self.pids, processes)?;
            identity.uid = self.uids.as_mut().ok().map(Uids::lend).transpose()?;
            Ok(())
        })();
        match lent {
            Ok(()) => Ok(identity),
            Err(error) => {
                self.give_back(identity);
                Err(error)
            }
        }
    }

    /// Takes back what was lent. No process of the session may be left.
    pub(crate) fn give_back(&mut self, identity: Identity) {
        let Identity { uid, memory, pids } = identity;
        if let (Ok(uids), Some(uid)) = (&mut self.uids, uid) {
            uids.give_back(uid);
        }
        if let (Ok(groups), Some(group)) = (&mut self.memory, memory) {
            groups.give_back(group);
        }
        if let (Ok(groups), Some(group)) = (&mut self.pids, pids) {
            groups.give_back(group);
        }
    }

    /// What they protect from, and why not when they do not.
    pub(crate) fn protections(&self) -> Vec<Protection> {
        let mib = self.memory_bytes >> 20;
        let mut list = Vec::new();
        let mut say = |name: &str, state, how: String, needs: Option<&String>| {
            list.push(Protection {
                name: name.to_owned(),
                state,
                how,
                needs: needs.cloned(),
            });
        };
        match &self.uids {
            Ok(uids) => say("own user", ProtectionState::Active, format!("each session runs as one of the users {uids}"), None),
            Err(why) => say(
                "own user",
                ProtectionState::Weaker,
                "sessions run as the worker's user: they can see, not read, what belongs to it, change modes and times of \
                 its files, lower the priority of its processes, and before Landlock ABI 6 signal these"
                    .to_owned(),
                Some(why),
            ),
        }
        match &self.memory {
            Ok(groups) => say(
                "memory of a session",
                ProtectionState::Active,
                format!(
                    "{mib} MiB for all its processes together (cgroup v{})",
                    groups.version()
                ),
                None,
            ),
            Err(why) => say(
                "memory of a session",
                ProtectionState::Weaker,
                format!("{mib} MiB for each of its processes, no bound for their sum"),
                Some(why),
            ),
        }
        let processes = self.processes;
        match (&self.uids, &self.pids) {
            (Ok(_), _) => say(
                "processes of a session",
                ProtectionState::Active,
                format!("{processes}, by its user"),
                None,
            ),
            (_, Ok(groups)) => say(
                "processes of a session",
                ProtectionState::Active,
                format!("{processes} (cgroup v{})", groups.version()),
                None,
            ),
            (_, Err(why)) => {
                let (state, how) = if rustix::process::geteuid().is_root() {
                    (
                        ProtectionState::Off,
                        "no bound: the kernel holds root to none".to_owned(),
                    )
                } else {
                    (
                        ProtectionState::Weaker,
                        format!(
                            "{SHARED_PROCESSES} for all processes of the worker's user together: a fork bomb may keep others from starting any"
                        ),
                    )
                };
                let needs = format!("a user for each session, or {why}");
                say("processes of a session", state, how, Some(&needs));
            }
        }
        list
    }
}

/// Processes of the worker's user when sessions have none of their own: a bound for all of them together.
pub(crate) const SHARED_PROCESSES: u64 = 4_096;

/// A service's parent and all its calls have one user and one control group. It bounds them to what so many sessions may have.
pub(crate) const SESSIONS_OF_A_SERVICE: u64 = 16;

impl Identity {
    /// Makes the session's directory and its console belong to its user. In the parent, before the fork.
    pub(crate) fn own(&self, dir: &Path, console: impl AsFd) -> io::Result<()> {
        let because = |error| io::Error::other(format!("its directory {}: {error}", dir.display()));
        let Some(uid) = self.uid else {
            // What is missing is said here, and not by a child that nobody asks.
            return rustix::fs::access(dir, Access::WRITE_OK).map_err(because);
        };
        let (user, group) = (Some(Uid::from_raw(uid)), Some(Gid::from_raw(uid)));
        chown(dir, user, group).map_err(because)?;
        chmod(dir, Mode::RWXU).map_err(because)?;
        // A program may open its standard output again by name.
        Ok(fchown(console, user, group)?)
    }

    /// Makes this process the session's. In the child; there is no way back.
    pub(crate) fn enter(&self) -> io::Result<()> {
        for group in [&self.memory, &self.pids].into_iter().flatten() {
            group.join()?;
        }
        match self.uid {
            Some(uid) => uids::become_user(uid),
            None => Ok(()),
        }
    }

    /// Whether the kernel killed one of the session's processes for want of memory.
    pub(crate) fn ran_out_of_memory(&self) -> bool {
        self.memory.as_ref().is_some_and(Group::ran_out_of_memory)
    }
}
