//! A control group for each session: bounds for the memory and the processes of everything that it starts, taken together.
//!
//! Version 1 where this process may make groups below its own (as root), version 2 where its group was delegated to it.
//! Groups are made once and lent again: making one costs more than a fork.

use std::fs::{self, File};
use std::io::{self, Read};
use std::path::{Path, PathBuf};

/// The group in version 2 that the worker and its parents move to: a group that has controllers for its children may hold
/// no process itself.
const SUPERVISOR: &str = "warren.supervisor";

/// What a group bounds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Controller {
    Memory,
    Pids,
}

impl Controller {
    fn name(self) -> &'static str {
        match self {
            Self::Memory => "memory",
            Self::Pids => "pids",
        }
    }
}

/// Where groups with one controller can be made.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Hierarchy {
    version: u8,
    base: PathBuf,
}

/// The groups of one parent, each bounding one thing.
pub(crate) struct Groups {
    controller: Controller,
    hierarchy: Hierarchy,
    prefix: String,
    made: u64,
    free: Vec<Group>,
}

/// One group, lent to one session at a time.
pub(crate) struct Group {
    dir: PathBuf,
    version: u8,
    limit: u64,
    /// What the kernel had counted before the group was lent.
    kills_before: u64,
}

impl Groups {
    /// Finds out whether groups can be made here, by making one. The message says what it needs.
    pub(crate) fn open(controller: Controller, limit: u64) -> Result<Self, String> {
        let read = |path: &str| {
            fs::read_to_string(path).map_err(|error| format!("{path} cannot be read: {error}"))
        };
        let places = places(
            controller,
            &read("/proc/self/cgroup")?,
            &read("/proc/self/mountinfo")?,
        );
        let mut reasons = Vec::new();
        for hierarchy in places {
            match Self::open_in(controller, hierarchy, limit) {
                Ok(groups) => return Ok(groups),
                Err(reason) => reasons.push(reason),
            }
        }
        if reasons.is_empty() {
            reasons.push(format!(
                "no control groups for {} are mounted",
                controller.name()
            ));
        }
        Err(format!(
            "a control group of its own: {}",
            reasons.join("; ")
        ))
    }

    fn open_in(controller: Controller, hierarchy: Hierarchy, limit: u64) -> Result<Self, String> {
        if hierarchy.version == 2 {
            delegate(&hierarchy.base, controller)?;
        }
        remove_leftovers(&hierarchy.base);
        let own = rustix::process::getpid();
        let mut groups = Self {
            controller,
            prefix: format!(
                "{PREFIX}{own}-{}-",
                began(own.as_raw_pid()).unwrap_or_default()
            ),
            hierarchy,
            made: 0,
            free: Vec::new(),
        };
        let group = groups.make(limit).map_err(|error| {
            format!(
                "no group for {} can be made in {}: {error}",
                controller.name(),
                groups.hierarchy.base.display()
            )
        })?;
        groups.free.push(group);
        Ok(groups)
    }

    /// 1 or 2.
    pub(crate) fn version(&self) -> u8 {
        self.hierarchy.version
    }

    /// A group without processes that bounds to this much.
    pub(crate) fn lend(&mut self, limit: u64) -> io::Result<Group> {
        let mut group = match self.free.iter().rposition(|group| group.limit == limit) {
            Some(at) => self.free.swap_remove(at),
            None => self.make(limit)?,
        };
        group.kills_before = group.kills();
        Ok(group)
    }

    /// Takes a group back of which no process is left.
    pub(crate) fn give_back(&mut self, group: Group) {
        self.free.push(group);
    }

    fn make(&mut self, limit: u64) -> io::Result<Group> {
        let dir = self
            .hierarchy
            .base
            .join(format!("{}{}", self.prefix, self.made));
        self.made += 1;
        fs::create_dir(&dir)?;
        let group = Group {
            dir,
            version: self.hierarchy.version,
            limit,
            kills_before: 0,
        };
        group.bound(self.controller)?;
        Ok(group)
    }
}

impl Group {
    /// Moves this process, which has one thread, into the group. In version 1 as a thread: for a whole process the kernel
    /// shuts out every fork and exit of the machine and waits until all processors have noticed, which may take 10 ms.
    pub(crate) fn join(&self) -> io::Result<()> {
        let members = if self.version == 2 {
            "cgroup.procs"
        } else {
            "tasks"
        };
        fs::write(self.dir.join(members), "0")
    }

    /// Whether the kernel killed a process of the group for want of memory since it was lent.
    pub(crate) fn ran_out_of_memory(&self) -> bool {
        self.kills() > self.kills_before
    }

    fn kills(&self) -> u64 {
        let file = if self.version == 2 {
            "memory.events"
        } else {
            "memory.oom_control"
        };
        // Longer than the file gets. Nobody asks for its size first, and the heap is left alone.
        let mut space = [0; 1024];
        let read = File::open(self.dir.join(file)).and_then(|mut file| file.read(&mut space));
        let text = std::str::from_utf8(&space[..read.unwrap_or(0)]).unwrap_or_default();
        text.lines()
            .find_map(|line| line.strip_prefix("oom_kill ")?.trim().parse().ok())
            .unwrap_or(0)
    }

    fn bound(&self, controller: Controller) -> io::Result<()> {
        let set = |file: &str, value: &str| fs::write(self.dir.join(file), value);
        // A kernel that does not count swap has no such file.
        let set_if_there = |file: &str, value: &str| match set(file, value) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
            done => done,
        };
        let text = self.limit.to_string();
        match (controller, self.version) {
            (Controller::Pids, _) => set("pids.max", &text),
            (Controller::Memory, 2) => {
                set("memory.max", &text)?;
                set_if_there("memory.swap.max", "0")?;
                // A session that lost a part of itself is not worth keeping, and says why it ended.
                set_if_there("memory.oom.group", "1")
            }
            (Controller::Memory, _) => {
                set("memory.limit_in_bytes", &text)?;
                set_if_there("memory.memsw.limit_in_bytes", &text)
            }
        }
    }
}

impl Drop for Group {
    fn drop(&mut self) {
        // One that still holds processes stays; the next parent removes it.
        let _ = fs::remove_dir(&self.dir);
    }
}

const PREFIX: &str = "warren-";

/// Removes groups of parents that are gone. One that holds processes cannot be removed.
fn remove_leftovers(base: &Path) {
    for entry in fs::read_dir(base).into_iter().flatten().flatten() {
        let name = entry.file_name();
        if name.to_str().is_some_and(is_leftover) {
            let _ = fs::remove_dir(entry.path());
        }
    }
}

fn is_leftover(name: &str) -> bool {
    let Some(rest) = name.strip_prefix(PREFIX) else {
        return false;
    };
    let mut parts = rest.split('-');
    let (Some(pid), Some(start)) = (parts.next(), parts.next()) else {
        return false;
    };
    pid.parse()
        .is_ok_and(|pid| began(pid).as_deref() != Some(start))
}

/// When a process began, in ticks since the machine started: with the number it names one process for good.
fn began(pid: i32) -> Option<String> {
    let stat = fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
    let (_, behind) = stat.rsplit_once(')')?;
    behind.split_whitespace().nth(19).map(str::to_owned)
}

/// Where the group of this process is, in every hierarchy that has the controller or might.
fn places(controller: Controller, own: &str, mounts: &str) -> Vec<Hierarchy> {
    mounts
        .lines()
        .filter_map(|line| {
            let (left, right) = line.split_once(" - ")?;
            let mut left = left.split(' ').skip(3);
            let (root, mounted) = (left.next()?, left.next()?);
            let mut right = right.split(' ');
            let (kind, options) = (right.next()?, right.nth(1)?);
            let version = match kind {
                "cgroup2" => 2,
                "cgroup" if options.split(',').any(|option| option == controller.name()) => 1,
                _ => return None,
            };
            let path = own_group(own, version, controller)?;
            // A container sees its own part of the tree only.
            let below = Path::new(path).strip_prefix(root).ok()?;
            let mut base = Path::new(mounted).join(below);
            if base.ends_with(SUPERVISOR) {
                base.pop();
            }
            Some(Hierarchy { version, base })
        })
        .collect()
}

/// The path in `/proc/self/cgroup`: lines of a number, controllers and a path.
fn own_group(own: &str, version: u8, controller: Controller) -> Option<&str> {
    own.lines().find_map(|line| {
        let mut parts = line.splitn(3, ':');
        let (_number, controllers, path) = (parts.next()?, parts.next()?, parts.next()?);
        let found = match version {
            2 => controllers.is_empty(),
            _ => controllers.split(',').any(|name| name == controller.name()),
        };
        found.then_some(path)
    })
}

/// Makes a group of version 2 pass the controller on to its children.
fn delegate(base: &Path, controller: Controller) -> Result<(), String> {
    let has = |file: &str| {
        fs::read_to_string(base.join(file))
            .unwrap_or_default()
            .split_whitespace()
            .any(|name| name == controller.name())
    };
    let place = base.display();
    if !has("cgroup.controllers") {
        return Err(format!(
            "the control group {place} does not have the controller {}",
            controller.name()
        ));
    }
    if has("cgroup.subtree_control") {
        return Ok(());
    }
    make_room(base)?;
    fs::write(
        base.join("cgroup.subtree_control"),
        format!("+{}", controller.name()),
    )
    .map_err(|error| format!("the control group {place} is not delegated to this process: {error}"))
}

/// Moves the worker and its parents out of the group, if nobody else is in it.
fn make_room(base: &Path) -> Result<(), String> {
    let refused = |error: io::Error| {
        format!(
            "the control group {} is not delegated to this process: {error}",
            base.display()
        )
    };
    // The root of all groups is the one that may hold processes as well.
    if !base.join("cgroup.type").exists() {
        return Ok(());
    }
    let worker = rustix::process::getppid().map_or(0, rustix::process::Pid::as_raw_pid);
    let members = fs::read_to_string(base.join("cgroup.procs")).map_err(refused)?;
    let members: Vec<i32> = members.lines().filter_map(|pid| pid.parse().ok()).collect();
    let of_worker = |pid: i32| pid == worker || parent_of(pid) == Some(worker);
    if !members.iter().copied().all(of_worker) {
        return Err(format!(
            "other processes share the control group {}: give the worker a group of its own",
            base.display()
        ));
    }
    let supervisor = base.join(SUPERVISOR);
    match fs::create_dir(&supervisor) {
        Err(error) if error.kind() != io::ErrorKind::AlreadyExists => return Err(refused(error)),
        _ => {}
    }
    for pid in members {
        // One that has ended meanwhile is in nobody's way.
        let _ = fs::write(supervisor.join("cgroup.procs"), pid.to_string());
    }
    Ok(())
}

fn parent_of(pid: i32) -> Option<i32> {
    let stat = fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
    let (_, behind) = stat.rsplit_once(')')?;
    behind.split_whitespace().nth(1)?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    const MOUNTS: &str = "35 31 0:32 / /sys/fs/cgroup/memory rw,relatime - cgroup cgroup rw,memory\n\
        39 31 0:36 / /sys/fs/cgroup/cpu rw,relatime - cgroup cgroup rw,cpu,cpuacct\n";

    #[test]
    fn the_own_group_is_found_in_version_1() {
        let own = "4:memory:/app/one\n8:pids:/\n0::/\n";
        let places = places(Controller::Memory, own, MOUNTS);
        assert_eq!(
            places,
            [Hierarchy {
                version: 1,
                base: "/sys/fs/cgroup/memory/app/one".into()
            }]
        );
        assert_eq!(super::places(Controller::Pids, own, MOUNTS), []);
    }

    #[test]
    fn the_own_group_is_found_in_version_2_also_from_its_supervisor() {
        let mounts =
            "30 24 0:26 / /sys/fs/cgroup rw,nosuid shared:4 - cgroup2 cgroup2 rw,nsdelegate\n";
        for own in [
            "0::/worker.service\n",
            "0::/worker.service/warren.supervisor\n",
        ] {
            let places = places(Controller::Pids, own, mounts);
            assert_eq!(
                places,
                [Hierarchy {
                    version: 2,
                    base: "/sys/fs/cgroup/worker.service".into()
                }]
            );
        }
    }

    #[test]
    fn a_container_sees_its_own_part() {
        let mounts = "30 24 0:26 /docker/abc /sys/fs/cgroup/pids rw - cgroup cgroup rw,pids\n";
        let places = places(Controller::Pids, "8:pids:/docker/abc\n", mounts);
        assert_eq!(places[0].base, Path::new("/sys/fs/cgroup/pids"));
    }

    /// A directory that looks like a delegated group of version 2.
    fn delegated(members: &str) -> tempfile::TempDir {
        let base = tempfile::tempdir().unwrap();
        for (file, text) in [
            ("cgroup.type", "domain"),
            ("cgroup.controllers", "cpu memory pids"),
            ("cgroup.subtree_control", ""),
            ("cgroup.procs", members),
        ] {
            fs::write(base.path().join(file), text).unwrap();
        }
        base
    }

    #[test]
    fn a_delegated_group_passes_its_controllers_on_and_is_emptied_for_that() {
        let own = std::process::id();
        let base = delegated(&format!("{own}\n"));
        delegate(base.path(), Controller::Pids).unwrap();
        let read = |file: &str| fs::read_to_string(base.path().join(file)).unwrap();
        assert_eq!(read("cgroup.subtree_control"), "+pids");
        assert_eq!(read("warren.supervisor/cgroup.procs"), own.to_string());
        fs::write(base.path().join("cgroup.controllers"), "cpu").unwrap();
        let refusal = delegate(base.path(), Controller::Memory).unwrap_err();
        assert!(
            refusal.contains("does not have the controller memory"),
            "{refusal}"
        );
    }

    #[test]
    fn a_group_that_others_share_is_left_alone() {
        let base = delegated("1\n");
        let refusal = delegate(base.path(), Controller::Pids).unwrap_err();
        assert!(refusal.contains("other processes share"), "{refusal}");
        assert!(!base.path().join(SUPERVISOR).exists());
    }

    #[test]
    fn groups_of_parents_that_are_gone_are_known_by_their_names() {
        let own = std::process::id();
        let start = began(own.cast_signed()).unwrap();
        assert!(!is_leftover(&format!("warren-{own}-{start}-0")));
        assert!(is_leftover(&format!("warren-{own}-1-0")));
        assert!(is_leftover("warren-2147483647-5-0"));
        assert!(!is_leftover("warren.supervisor"));
        assert!(!is_leftover("user.slice"));
    }
}
