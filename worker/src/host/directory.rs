//! Directories of children: one each below a directory of this worker, which a lock marks as in use.

use std::fs::{self, File};
use std::io;
use std::os::unix::fs::{DirBuilderExt, PermissionsExt};
use std::path::{Path, PathBuf};

use rustix::fs::{FlockOperation, flock};
use warren_common::id::WorkerId;

use crate::files::ARRIVING;

const LOCK: &str = "lock";

/// The directories of one worker.
pub struct Directories {
    root: PathBuf,
    _lock: File,
}

impl Directories {
    /// Makes this worker's directory below `work_dir`, and removes those that dead workers left there.
    pub fn open(work_dir: &Path, worker: WorkerId) -> io::Result<Self> {
        if !work_dir.exists() {
            fs::create_dir_all(work_dir)?;
            let_pass(work_dir)?;
        }
        for entry in fs::read_dir(work_dir)?.flatten() {
            remove_if_abandoned(&entry.path());
        }
        let root = work_dir.join(worker.to_string());
        fs::DirBuilder::new().mode(0o700).create(&root)?;
        let_pass(&root)?;
        let lock = File::create(root.join(LOCK))?;
        flock(&lock, FlockOperation::NonBlockingLockExclusive)?;
        fs::DirBuilder::new()
            .mode(0o700)
            .create(root.join(ARRIVING))?;
        Ok(Self { root, _lock: lock })
    }

    /// Makes the directory of a child.
    pub fn make(&self, parent: usize, child: u64) -> io::Result<PathBuf> {
        let dir = self.root.join(format!("{parent}-{child}"));
        fs::DirBuilder::new().mode(0o700).create(&dir)?;
        Ok(dir)
    }
}

impl Drop for Directories {
    fn drop(&mut self) {
        if let Err(error) = fs::remove_dir_all(&self.root) {
            tracing::debug!(error = %error, "The sessions' directory could not be removed");
        }
    }
}

/// The sessions' users pass through and see no names; said apart from making it, because a umask may take that away.
fn let_pass(dir: &Path) -> io::Result<()> {
    fs::set_permissions(dir, fs::Permissions::from_mode(0o711))
}

/// Removes a directory whose worker does not hold its lock any more.
fn remove_if_abandoned(dir: &Path) {
    let Ok(lock) = File::open(dir.join(LOCK)) else {
        return;
    };
    if flock(&lock, FlockOperation::NonBlockingLockExclusive).is_ok()
        && let Err(error) = fs::remove_dir_all(dir)
    {
        tracing::warn!(error = %error, dir = %dir.display(), "A dead worker's directory could not be removed");
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_dead_worker_s_directory_goes_and_a_living_one_s_stays() {
        let base = std::env::temp_dir().join(format!("warren-directories-{}", WorkerId::new()));
        let living = Directories::open(&base, WorkerId::new()).unwrap();
        let dead = base.join(WorkerId::new().to_string());
        fs::create_dir(&dead).unwrap();
        fs::write(dead.join(LOCK), b"").unwrap();
        let other = Directories::open(&base, WorkerId::new()).unwrap();
        assert!(!dead.exists());
        assert!(living.root.exists() && other.root.exists());
        drop((living, other));
        fs::remove_dir(&base).unwrap();
    }
}
