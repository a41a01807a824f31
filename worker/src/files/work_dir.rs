//! A working directory, in which every name may be a trap.
//!
//! A worker may be root. What it opens here for somebody else it opens beneath the session's own directory, without following
//! any link, and only if it is a regular file that belongs to the session's user: a link to a file outside, a hard link to one
//! of somebody else, a pipe that nobody writes to are no files of the session.

use std::ffi::CStr;
use std::fs::File;
use std::io;
use std::os::fd::{AsFd, OwnedFd};
use std::path::Path;

use rustix::fs::{AtFlags, CWD, Dir, FileType, Gid, Mode, OFlags, ResolveFlags, Stat, Uid};
use rustix::io::Errno;

/// Its name within the session's directory.
const WORK: &str = "work";
/// How often a name is looked up again because something was renamed meanwhile.
const LOOKS: usize = 10;

/// An open working directory.
pub(super) struct WorkDir {
    fd: OwnedFd,
    pub(super) user: Uid,
    pub(super) group: Gid,
}

impl WorkDir {
    /// That of the session which owns `dir`.
    pub(super) fn open(dir: &Path) -> io::Result<Self> {
        let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
        let outer = rustix::fs::openat(CWD, dir, flags | OFlags::NOFOLLOW, Mode::empty())?;
        let owner = rustix::fs::fstat(&outer)?;
        Ok(Self {
            fd: beneath(&outer, WORK, flags)?,
            user: Uid::from_raw(owner.st_uid),
            group: Gid::from_raw(owner.st_gid),
        })
    }

    /// The names of its files, sorted, without dot-files and names that are not UTF-8; none when they are more than `longest`
    /// bytes together.
    pub(super) fn names(&self, longest: u64) -> io::Result<Option<Vec<String>>> {
        let mut names = Vec::new();
        let mut bytes = 0;
        for entry in Dir::read_from(&self.fd)? {
            let entry = entry?;
            let Ok(name) = entry.file_name().to_str() else {
                continue;
            };
            if name.starts_with('.') || !self.is_file(entry.file_name(), entry.file_type()) {
                continue;
            }
            bytes += name.len() as u64;
            if bytes > longest {
                return Ok(None);
            }
            names.push(name.to_owned());
        }
        names.sort_unstable();
        Ok(Some(names))
    }

    fn is_file(&self, name: &CStr, seen: FileType) -> bool {
        match seen {
            FileType::RegularFile => true,
            // Not every file system says it.
            FileType::Unknown => rustix::fs::statat(&self.fd, name, AtFlags::SYMLINK_NOFOLLOW)
                .is_ok_and(|stat| is_regular(&stat)),
            _ => false,
        }
    }

    /// A file of the session, to read; none when there is no such file.
    pub(super) fn open_file(&self, name: &str) -> io::Result<Option<(File, Stat)>> {
        // Without waiting: to open a pipe is to wait for somebody who writes to it.
        let flags = OFlags::RDONLY | OFlags::NONBLOCK | OFlags::NOCTTY | OFlags::CLOEXEC;
        let Some(fd) = none_if_missing(beneath(&self.fd, name, flags))? else {
            return Ok(None);
        };
        let stat = rustix::fs::fstat(&fd)?;
        Ok(self.is_own(&stat).then(|| (File::from(fd), stat)))
    }

    /// Removes a file of the session; false when there is none.
    pub(super) fn remove(&self, name: &str) -> io::Result<bool> {
        let stat = rustix::fs::statat(&self.fd, name, AtFlags::SYMLINK_NOFOLLOW);
        let Some(stat) = none_if_missing(stat)? else {
            return Ok(false);
        };
        if !self.is_own(&stat) {
            return Ok(false);
        }
        let removed = rustix::fs::unlinkat(&self.fd, name, AtFlags::empty());
        Ok(none_if_missing(removed)?.is_some())
    }

    /// Whether a directory has this name, which a file cannot take from it.
    pub(super) fn has_directory(&self, name: &str) -> io::Result<bool> {
        let stat = rustix::fs::statat(&self.fd, name, AtFlags::SYMLINK_NOFOLLOW);
        let stat = none_if_missing(stat)?;
        Ok(stat.is_some_and(|stat| FileType::from_raw_mode(stat.st_mode) == FileType::Directory))
    }

    /// Brings a file in under a name. What had the name before, were it a link, is gone.
    pub(super) fn bring_in(&self, from: &Path, name: &str) -> io::Result<()> {
        Ok(rustix::fs::renameat(CWD, from, &self.fd, name)?)
    }

    fn is_own(&self, stat: &Stat) -> bool {
        is_regular(stat) && stat.st_uid == self.user.as_raw()
    }
}

fn is_regular(stat: &Stat) -> bool {
    FileType::from_raw_mode(stat.st_mode) == FileType::RegularFile
}

/// Opens a name beneath a directory and follows no link on the way.
pub(crate) fn beneath(dir: impl AsFd, name: &str, flags: OFlags) -> rustix::io::Result<OwnedFd> {
    let resolve = ResolveFlags::BENEATH | ResolveFlags::NO_SYMLINKS | ResolveFlags::NO_MAGICLINKS;
    let mut looks = 0;
    loop {
        looks += 1;
        match rustix::fs::openat2(&dir, name, flags, Mode::empty(), resolve) {
            Err(Errno::AGAIN | Errno::INTR) if looks < LOOKS => {}
            settled => return settled,
        }
    }
}

/// A name that leads nowhere, or to what cannot be opened as a file, is that of no file.
fn none_if_missing<T>(looked: rustix::io::Result<T>) -> io::Result<Option<T>> {
    match looked {
        Ok(found) => Ok(Some(found)),
        Err(Errno::NOENT | Errno::LOOP | Errno::XDEV | Errno::NOTDIR | Errno::NXIO) => Ok(None),
        Err(error) => Err(error.into()),
    }
}

#[cfg(test)]
mod tests {
    use std::io::Read;
    use std::os::unix::fs::symlink;

    use rustix::fs::{Dev, mknodat};

    use super::*;

    fn session() -> (tempfile::TempDir, WorkDir) {
        let dir = tempfile::tempdir().unwrap();
        std::fs::create_dir(dir.path().join(WORK)).unwrap();
        let work = WorkDir::open(dir.path()).unwrap();
        (dir, work)
    }

    #[test]
    fn a_plain_file_is_listed_read_and_removed() {
        let (dir, work) = session();
        for name in ["b", "a", "ünï", ".hidden"] {
            std::fs::write(dir.path().join(WORK).join(name), name).unwrap();
        }
        std::fs::create_dir(dir.path().join("work/folder")).unwrap();
        assert_eq!(work.names(99).unwrap().unwrap(), ["a", "b", "ünï"]);
        assert!(work.names(6).unwrap().is_none());
        let mut text = String::new();
        let (mut file, _stat) = work.open_file("ünï").unwrap().unwrap();
        file.read_to_string(&mut text).unwrap();
        assert_eq!(text, "ünï");
        assert!(work.open_file(".hidden").unwrap().is_some());
        assert!(work.remove("a").unwrap());
        assert!(!work.remove("a").unwrap());
        assert!(!work.remove("folder").unwrap());
        assert!(work.has_directory("folder").unwrap());
    }

    #[test]
    fn links_pipes_and_folders_are_no_files() {
        let (dir, work) = session();
        let path = dir.path().join(WORK);
        std::fs::write(dir.path().join("outside"), "secret").unwrap();
        std::fs::write(path.join("inside"), "").unwrap();
        symlink("/etc/passwd", path.join("far")).unwrap();
        symlink("../outside", path.join("up")).unwrap();
        symlink("inside", path.join("near")).unwrap();
        symlink("/proc/self/fd/0", path.join("magic")).unwrap();
        std::fs::create_dir(path.join("folder")).unwrap();
        let pipe = Mode::RUSR | Mode::WUSR;
        mknodat(&work.fd, "pipe", FileType::Fifo, pipe, Dev::default()).unwrap();
        let _socket = std::os::unix::net::UnixListener::bind(path.join("socket")).unwrap();
        for name in [
            "far",
            "up",
            "near",
            "magic",
            "folder",
            "pipe",
            "socket",
            "../outside",
        ] {
            assert!(work.open_file(name).unwrap().is_none(), "{name}");
        }
        for name in ["far", "up", "near", "magic", "folder", "pipe", "socket"] {
            assert!(!work.remove(name).unwrap(), "{name}");
        }
        assert_eq!(work.names(99).unwrap().unwrap(), ["inside"]);
    }

    #[test]
    fn a_working_directory_that_is_a_link_is_none() {
        let dir = tempfile::tempdir().unwrap();
        symlink("/etc", dir.path().join(WORK)).unwrap();
        assert!(WorkDir::open(dir.path()).is_err());
    }

    #[test]
    fn what_comes_in_takes_the_place_of_a_link_and_not_of_its_target() {
        let (dir, work) = session();
        let (outside, arrived) = (dir.path().join("outside"), dir.path().join("arrived"));
        std::fs::write(&outside, "old").unwrap();
        std::fs::write(&arrived, "new").unwrap();
        symlink("../outside", dir.path().join("work/name")).unwrap();
        work.bring_in(&arrived, "name").unwrap();
        assert_eq!(std::fs::read_to_string(outside).unwrap(), "old");
        let name = dir.path().join("work/name");
        assert!(name.symlink_metadata().unwrap().is_file());
        assert_eq!(std::fs::read_to_string(name).unwrap(), "new");
    }
}
