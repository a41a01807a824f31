//! Files of the worker's own on its disk: what is on its way between the store and a session.

use std::fs::{self, File};
use std::io::{self, Write};
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

use tokio_util::bytes::Bytes;
use warren_common::id::TransferId;

use crate::files::ARRIVING;

/// A directory that no session can reach, and that goes with everything in it when this is dropped. It is on the file system
/// of the sessions' own, so that what is whole gets there with one rename.
pub(crate) struct Scratch {
    dir: PathBuf,
}

impl Scratch {
    /// For the session that lives in `session`.
    pub(crate) fn new(session: &Path) -> io::Result<Self> {
        let beside = session.parent().unwrap_or(session).join(ARRIVING);
        let dir = beside.join(TransferId::new().to_string());
        fs::DirBuilder::new().mode(0o700).create(&dir)?;
        Ok(Self { dir })
    }

    /// Where a file in it is.
    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.dir.join(name)
    }

    /// Makes a file in it, to write and to read.
    pub(crate) fn create(&self, name: &str) -> io::Result<File> {
        let mut options = File::options();
        options.read(true).write(true).create_new(true).mode(0o644);
        options.open(self.path(name))
    }
}

impl Drop for Scratch {
    fn drop(&mut self) {
        let dir = std::mem::take(&mut self.dir);
        let remove = move || {
            if let Err(error) = fs::remove_dir_all(&dir) {
                tracing::debug!(error = %error, "What was on its way could not be removed");
            }
        };
        match tokio::runtime::Handle::try_current() {
            Ok(runtime) => drop(runtime.spawn_blocking(remove)),
            Err(_no_runtime) => remove(),
        }
    }
}

/// Runs something where it may wait for a disk.
pub(crate) async fn blocking<T, E>(
    work: impl FnOnce() -> Result<T, E> + Send + 'static,
) -> Result<T, E>
where
    T: Send + 'static,
    E: From<io::Error> + Send + 'static,
{
    match tokio::task::spawn_blocking(work).await {
        Ok(done) => done,
        Err(_panic) => Err(io::Error::other("a fault of the worker").into()),
    }
}

/// Writes a piece to the end of a file, and gives the file back.
pub(crate) async fn write_all(mut file: File, piece: Bytes) -> io::Result<File> {
    blocking(move || {
        file.write_all(&piece)?;
        Ok(file)
    })
    .await
}
