//! A directory of a session, in which every name may be a trap.
//!
//! User code owns it and may put anything there: links that lead out, pipes that nobody writes to, hard links to files of
//! somebody else. What is opened here is opened beneath the directory without following any link, and counts only if it is a
//! directory or a regular file of the session's user.

use std::fs::File;
use std::io;
use std::os::fd::OwnedFd;
use std::path::Path;

use rustix::fs::{AtFlags, CWD, Dir, FileType, Gid, Mode, OFlags, RawMode, Stat, Uid};
use rustix::io::Errno;

use crate::files::beneath;

/// The working directory of a session, within its own.
pub(crate) const WORK: &str = "work";
/// Its temporary directory.
pub(crate) const TMP: &str = "tmp";

const DIRECTORY: OFlags = OFlags::RDONLY
    .union(OFlags::DIRECTORY)
    .union(OFlags::CLOEXEC);

/// An open directory of a session.
pub(crate) struct Tree {
    fd: OwnedFd,
    user: Uid,
    group: Gid,
}

/// What is in a directory.
pub(crate) enum Entry {
    Directory(Tree),
    File(File, Stat),
}

impl Tree {
    /// A directory of the session that lives in `session`, which stands in one of the worker's, so its own name is no trap.
    pub(crate) fn open(session: &Path, name: &str) -> io::Result<Self> {
        let outer = rustix::fs::openat(CWD, session, DIRECTORY | OFlags::NOFOLLOW, Mode::empty())?;
        let owner = rustix::fs::fstat(&outer)?;
        Ok(Self {
            fd: beneath(&outer, name, DIRECTORY)?,
            user: Uid::from_raw(owner.st_uid),
            group: Gid::from_raw(owner.st_gid),
        })
    }

    /// The names in it, in no order; those that are not UTF-8 are told apart.
    pub(crate) fn names(&self) -> io::Result<Vec<Result<String, String>>> {
        let mut names = Vec::new();
        for entry in Dir::read_from(&self.fd)? {
            let entry = entry?;
            let name = entry.file_name().to_str();
            match name {
                Ok("." | "..") => {}
                Ok(name) => names.push(Ok(name.to_owned())),
                Err(_) => names.push(Err(entry.file_name().to_string_lossy().into_owned())),
            }
        }
        Ok(names)
    }

    /// What a name leads to; none when that is no directory and no regular file, or not the session's.
    pub(crate) fn entry(&self, name: &str) -> io::Result<Option<Entry>> {
        // Without waiting: to open a pipe is to wait for somebody who writes to it.
        let flags = OFlags::RDONLY | OFlags::NONBLOCK | OFlags::NOCTTY | OFlags::CLOEXEC;
        let fd = match beneath(&self.fd, name, flags) {
            Err(Errno::NOENT | Errno::LOOP | Errno::XDEV | Errno::NOTDIR | Errno::NXIO) => {
                return Ok(None);
            }
            opened => opened?,
        };
        let stat = rustix::fs::fstat(&fd)?;
        if stat.st_uid != self.user.as_raw() {
            return Ok(None);
        }
        Ok(match FileType::from_raw_mode(stat.st_mode) {
            FileType::Directory => Some(Entry::Directory(self.with(fd))),
            FileType::RegularFile => Some(Entry::File(File::from(fd), stat)),
            _ => None,
        })
    }

    /// Makes a file the session's own.
    pub(crate) fn give(&self, file: &File) -> io::Result<()> {
        if self.user != rustix::process::geteuid() {
            rustix::fs::fchown(file, Some(self.user), Some(self.group))?;
        }
        Ok(())
    }

    /// A directory below this one. It is made if there is none.
    pub(crate) fn directory(&self, name: &str) -> io::Result<Self> {
        match rustix::fs::mkdirat(&self.fd, name, Mode::RWXU) {
            Ok(()) => {
                let made = beneath(&self.fd, name, DIRECTORY)?;
                if self.user != rustix::process::geteuid() {
                    rustix::fs::fchown(&made, Some(self.user), Some(self.group))?;
                }
                Ok(self.with(made))
            }
            Err(Errno::EXIST) => Ok(self.with(beneath(&self.fd, name, DIRECTORY)?)),
            Err(error) => Err(error.into()),
        }
    }

    /// Brings a file in under a name. What had the name before, were it a link, is gone.
    pub(crate) fn bring_in(&self, from: &Path, name: &str) -> io::Result<()> {
        Ok(rustix::fs::renameat(CWD, from, &self.fd, name)?)
    }

    /// Removes a file or a link.
    pub(crate) fn remove(&self, name: &str) -> io::Result<()> {
        Ok(rustix::fs::unlinkat(&self.fd, name, AtFlags::empty())?)
    }

    fn with(&self, fd: OwnedFd) -> Self {
        let (user, group) = (self.user, self.group);
        Self { fd, user, group }
    }
}

/// The permission bits that travel with a file: never more than its user may do.
pub(crate) fn permissions(mode: RawMode) -> u32 {
    (mode & 0o755) | 0o600
}
