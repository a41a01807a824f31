//! Directories of the calls of one service. One that a call left as it found it serves the next call.
//!
//! Making and removing three directories costs more than the rest of what a call does with files, and most calls write none.

use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use rustix::fs::{CWD, Dir, Mode, OFlags, flistxattr, fstat, openat};
use rustix::io::Errno;

use super::removal::remove_tree_in;

/// The folder of the calls' directories in that of their parent.
const CALLS: &str = "calls";
/// What the process of a call makes in its directory.
const FOLDERS: [&str; 2] = ["tmp", "work"];

/// Which directories there are, by number.
pub(super) struct CallPlaces {
    known: Arc<Known>,
    next: u64,
}

struct Known {
    /// Of the parent.
    dir: PathBuf,
    /// Places that are as good as new.
    free: Mutex<Vec<u64>>,
}

/// The directory of a call, for as long as anybody has to do with it: its process, and whoever reads what that leaves.
/// Another call may have it when all of them have let go.
pub(super) struct CallPlace {
    number: u64,
    known: Arc<Known>,
}

impl CallPlaces {
    pub(super) fn below(dir: &Path) -> Self {
        let known = Known {
            dir: dir.to_owned(),
            free: Mutex::default(),
        };
        Self {
            known: Arc::new(known),
            next: 1,
        }
    }

    /// A place that no other call has. The call's process makes what is not there yet.
    pub(super) fn lend(&mut self) -> Arc<CallPlace> {
        let free = self.known.free().pop();
        let number = free.unwrap_or_else(|| {
            self.next += 1;
            self.next - 1
        });
        let known = Arc::clone(&self.known);
        Arc::new(CallPlace { number, known })
    }
}

impl CallPlace {
    pub(super) fn number(&self) -> u64 {
        self.number
    }

    pub(super) fn path(&self) -> PathBuf {
        self.known.dir.join(CALLS).join(self.number.to_string())
    }
}

impl Drop for CallPlace {
    /// Looks at it, and removes it, without holding up whoever lets go.
    fn drop(&mut self) {
        let Ok(runtime) = tokio::runtime::Handle::try_current() else {
            // The worker ends, and removes everything.
            return;
        };
        let (place, known) = (self.number, Arc::clone(&self.known));
        drop(runtime.spawn_blocking(move || known.take_back(place)));
    }
}

impl Known {
    fn free(&self) -> MutexGuard<'_, Vec<u64>> {
        self.free.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn take_back(&self, place: u64) {
        if is_as_new(&self.dir, place).unwrap_or(false) {
            self.free().push(place);
        } else if let Err(error) = remove_tree_in(&self.dir, CALLS, &place.to_string()) {
            tracing::debug!(error = %error, "The directory of a call could not be removed");
        }
    }
}

/// Whether a place holds its folders and nothing else, and nobody has changed who may do what there. No link is followed.
fn is_as_new(dir: &Path, place: u64) -> io::Result<bool> {
    let calls = open(open(CWD, dir)?.as_fd(), CALLS)?;
    let place = open(calls.as_fd(), place.to_string())?;
    let mut found = names(&place)?;
    found.sort_unstable();
    if !is_private(&place)? || found != FOLDERS {
        return Ok(false);
    }
    for folder in FOLDERS {
        let folder = open(place.as_fd(), folder)?;
        if !is_private(&folder)? || !names(&folder)?.is_empty() {
            return Ok(false);
        }
    }
    Ok(true)
}

fn open<P: rustix::path::Arg>(at: BorrowedFd<'_>, name: P) -> io::Result<OwnedFd> {
    let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    Ok(openat(at, name, flags, Mode::empty())?)
}

fn names(directory: &OwnedFd) -> io::Result<Vec<String>> {
    let mut names = Vec::new();
    for entry in Dir::read_from(directory)? {
        let name = entry?.file_name().to_string_lossy().into_owned();
        if name != "." && name != ".." {
            names.push(name);
        }
    }
    Ok(names)
}

/// Its mode is the one that it was made with, and it has no attributes but the system's: an access list is one, and new files would
/// inherit it.
fn is_private(directory: &OwnedFd) -> io::Result<bool> {
    let mut listed = [0; 256];
    let listed = match flistxattr(directory, &mut listed) {
        Ok(length) => &listed[..length],
        Err(Errno::OPNOTSUPP) => &[],
        Err(Errno::RANGE) => return Ok(false),
        Err(error) => return Err(error.into()),
    };
    let mut attributes = listed
        .split(|byte| *byte == 0)
        .filter(|name| !name.is_empty());
    // Labels of the system's own, which nobody here can set.
    let is_plain = attributes.all(|name| name.starts_with(b"security."));
    Ok(is_plain && Mode::from_raw_mode(fstat(directory)?.st_mode) == Mode::RWXU)
}

#[cfg(test)]
mod tests {
    use std::fs::{self, DirBuilder, Permissions};
    use std::os::unix::fs::{DirBuilderExt, PermissionsExt, symlink};

    use super::*;

    /// As the process of a call does it.
    fn make(place: &CallPlace) -> PathBuf {
        let dir = place.path();
        for dir in [&dir, &dir.join("work"), &dir.join("tmp")] {
            DirBuilder::new().mode(0o700).create(dir).unwrap();
        }
        dir
    }

    fn is_used_again(change: impl FnOnce(&Path)) -> bool {
        let dir = tempfile::tempdir().unwrap();
        fs::create_dir(dir.path().join(CALLS)).unwrap();
        let place = CallPlaces::below(dir.path()).lend();
        change(&make(&place));
        let is_as_new = is_as_new(dir.path(), place.number()).unwrap_or(false);
        fs::set_permissions(place.path(), Permissions::from_mode(0o700)).unwrap();
        is_as_new
    }

    #[test]
    fn a_place_is_used_again_only_when_it_is_as_it_was_made() {
        assert!(is_used_again(|_| {}));
        assert!(!is_used_again(
            |place| fs::write(place.join("file"), "").unwrap()
        ));
        assert!(!is_used_again(|place| fs::write(
            place.join("work/.file"),
            ""
        )
        .unwrap()));
        assert!(!is_used_again(|place| fs::create_dir(
            place.join("tmp/folder")
        )
        .unwrap()));
        assert!(!is_used_again(|place| symlink(
            "nowhere",
            place.join("work/link")
        )
        .unwrap()));
        assert!(!is_used_again(
            |place| fs::remove_dir(place.join("tmp")).unwrap()
        ));
        for folder in [".", "work", "tmp"] {
            assert!(!is_used_again(|place| {
                fs::set_permissions(place.join(folder), Permissions::from_mode(0o500)).unwrap();
            }));
        }
        assert!(!is_used_again(|place| {
            fs::remove_dir(place.join("work")).unwrap();
            symlink("tmp", place.join("work")).unwrap();
        }));
    }

    #[test]
    fn attributes_that_new_files_would_inherit_are_seen() {
        let attribute = |name: &str| {
            is_used_again(|place| {
                let work = open(CWD, place.join("work")).unwrap();
                let flags = rustix::fs::XattrFlags::empty();
                match rustix::fs::fsetxattr(&work, name, b"1", flags) {
                    // A file system without them.
                    Err(Errno::OPNOTSUPP) => fs::write(place.join("work/file"), "").unwrap(),
                    set => set.unwrap(),
                }
            })
        };
        assert!(!attribute("user.warren"));
    }

    #[tokio::test]
    async fn a_place_is_nobody_else_s_until_everybody_has_let_go_of_it() {
        let dir = tempfile::tempdir().unwrap();
        fs::create_dir(dir.path().join(CALLS)).unwrap();
        let mut places = CallPlaces::below(dir.path());
        let (first, second) = (places.lend(), places.lend());
        assert_ne!(first.number(), second.number());
        make(&first);
        let left = make(&second);
        fs::write(left.join("work/file"), "").unwrap();
        let reader = Arc::clone(&first);
        drop((first, second));
        while left.exists() {
            tokio::task::yield_now().await;
        }
        assert!(places.known.free().is_empty());
        drop(reader);
        while places.known.free().is_empty() {
            tokio::task::yield_now().await;
        }
        let (again, new) = (places.lend(), places.lend());
        assert_eq!((again.number(), new.number()), (1, 3));
    }
}
