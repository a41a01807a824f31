//! A file on its way into a session, where user code cannot reach it.

use std::fs::File;
use std::io;
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};

use rustix::fs::{Gid, Uid, fchown};
use warren_common::id::TransferId;

use super::WorkDir;

/// The directory of files that are not whole yet: beside those of the sessions, so that a file moves with one rename.
pub(crate) const ARRIVING: &str = "arriving";

/// A file that vanishes unless it is brought in.
pub(super) struct Arrival {
    path: PathBuf,
}

impl Arrival {
    /// An empty file for the session that lives in `dir`; it belongs to `user` and `group` already.
    pub(super) fn new(dir: &Path, user: Uid, group: Gid) -> io::Result<(Self, File)> {
        let beside = dir.parent().unwrap_or(dir).join(ARRIVING);
        let path = beside.join(TransferId::new().to_string());
        let file = File::options()
            .write(true)
            .create_new(true)
            .mode(0o644)
            .open(&path)?;
        let arrival = Self { path };
        if user != rustix::process::geteuid() {
            fchown(&file, Some(user), Some(group))?;
        }
        Ok((arrival, file))
    }

    /// Makes it a file of the session.
    pub(super) fn bring_into(self, work: &WorkDir, name: &str) -> io::Result<()> {
        // Its path is free after this, so that dropping it removes nothing.
        work.bring_in(&self.path, name)
    }
}

impl Drop for Arrival {
    fn drop(&mut self) {
        // It is gone when it was brought in.
        let _ = std::fs::remove_file(&self.path);
    }
}
