//! Snapshots as zips: `.RData`, the workspace as R writes it, and the files of the working directory.
//!
//! A zip is written and read on the worker's disk, where no session reaches it. `docs/decisions/0008-zips.md` says why it is
//! compressed as it is.

mod bring;
mod name;
mod pack;
mod unpack;

pub(crate) use bring::bring;
pub(crate) use pack::pack;
use unpack::{Unpacked, unpack};

use std::io;

use warren_common::model::RefusalKind;
use zip::result::ZipError;

use crate::files::FilesError;

/// What the workspace is called within a zip. A file of this name in the working directory is not saved.
const IMAGE: &str = ".RData";
/// Entries of a zip. Its directory is in memory while it is written or read.
const MOST_ENTRIES: usize = 100_000;
/// Directories within directories.
const DEEPEST: usize = 100;

/// Bytes that are moved at once.
const PIECE: usize = 256 * 1024;

/// How large what is saved may be.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Limit {
    /// Bytes of the workspace and of all files together, before they are compressed.
    pub(crate) bytes: u64,
}

impl Limit {
    /// Takes some of what is left, or says that there is not so much.
    fn take(&mut self, bytes: u64) -> Result<(), FilesError> {
        match self.bytes.checked_sub(bytes) {
            Some(left) => {
                self.bytes = left;
                Ok(())
            }
            None => Err(FilesError::refused(
                RefusalKind::TooLarge,
                "workspace and files are together larger than WARREN_SNAPSHOT_MAX_BYTES allows",
            )),
        }
    }
}

fn too_many() -> FilesError {
    FilesError::refused(
        RefusalKind::TooLarge,
        format!("there are more than {MOST_ENTRIES} files and directories"),
    )
}

/// A zip that cannot be used.
fn unusable(problem: impl std::fmt::Display) -> FilesError {
    FilesError::refused(
        RefusalKind::Invalid,
        format!("the snapshot cannot be used: {problem}"),
    )
}

impl From<ZipError> for FilesError {
    fn from(error: ZipError) -> Self {
        match error {
            ZipError::Io(error) => of_entry(error),
            other => unusable(other),
        }
    }
}

/// An error of reading an entry: what is wrong with the zip, not with the disk.
fn of_entry(error: io::Error) -> FilesError {
    match error.kind() {
        io::ErrorKind::InvalidData
        | io::ErrorKind::InvalidInput
        | io::ErrorKind::UnexpectedEof
        | io::ErrorKind::Other => unusable(error),
        _ => error.into(),
    }
}
