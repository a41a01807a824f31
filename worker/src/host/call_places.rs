//! Directories of the calls of one service. One that a call left as it found it serves the next call.
//!
//! Making and removing three directories costs more than the rest of what a call does with files, and most calls write none.

use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use rustix::fs::{
    CWD, Dir, IFlags, Mode, OFlags, Timespec, Timestamps, UTIME_NOW, flistxattr, fstat, futimens,
    ioctl_getflags, openat,
};
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

/// Whether a place holds its folders and nothing else, and nobody has changed who may do what there. No link is followed. The times of
/// its last change are the present ones then, as those of a place that was just made.
fn is_as_new(dir: &Path, place: u64) -> io::Result<bool> {
    let calls = open(open(CWD, dir)?.as_fd(), CALLS)?;
    let place = open(calls.as_fd(), place.to_string())?;
    let flags = flags(&calls)?;
    if !is_plain(&place, flags)? || !holds_only(&place, &FOLDERS)? {
        return Ok(false);
    }
    for folder in FOLDERS {
        let folder = open(place.as_fd(), folder)?;
        if !is_plain(&folder, flags)? || !holds_only(&folder, &[])? {
            return Ok(false);
        }
        futimens(&folder, &NOW)?;
    }
    futimens(&place, &NOW)?;
    Ok(true)
}

const NOW: Timestamps = {
    let now = Timespec {
        tv_sec: 0,
        tv_nsec: UTIME_NOW,
    };
    Timestamps {
        last_access: now,
        last_modification: now,
    }
};

fn open<P: rustix::path::Arg>(at: BorrowedFd<'_>, name: P) -> io::Result<OwnedFd> {
    let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    Ok(openat(at, name, flags, Mode::empty())?)
}

/// Whether a directory holds exactly this. What is more is not read: there may be very much of it.
fn holds_only(directory: &OwnedFd, names: &[&str]) -> io::Result<bool> {
    let mut found = 0;
    for entry in Dir::read_from(directory)? {
        let entry = entry?;
        let name = entry.file_name().to_bytes();
        if name == b"." || name == b".." {
            continue;
        }
        if !names.iter().any(|known| known.as_bytes() == name) {
            return Ok(false);
        }
        found += 1;
    }
    Ok(found == names.len())
}

/// That ext4 has made an index of a directory's names, which it does by itself (`EXT4_INDEX_FL`).
const INDEXED: IFlags = IFlags::from_bits_retain(0x1000);

/// What a file system does in its own way with a directory and what is made in it; nothing on one that knows no such thing.
fn flags(directory: &OwnedFd) -> io::Result<IFlags> {
    match ioctl_getflags(directory) {
        Err(Errno::NOTTY | Errno::OPNOTSUPP | Errno::NOSYS) => Ok(IFlags::empty()),
        flags => Ok(flags?.difference(INDEXED)),
    }
}

/// Its mode is the one that it was made with, its flags are those of the directory above, and it has no attributes but the system's:
/// an access list is one, and new files would inherit it.
fn is_plain(directory: &OwnedFd, above: IFlags) -> io::Result<bool> {
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
    let mode = Mode::from_raw_mode(fstat(directory)?.st_mode);
    Ok(is_plain && mode == Mode::RWXU && flags(directory)? == above)
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

    #[test]
    fn flags_that_new_files_would_inherit_are_seen_and_times_are_those_of_now() {
        let old = std::time::UNIX_EPOCH;
        let dir = tempfile::tempdir().unwrap();
        fs::create_dir(dir.path().join(CALLS)).unwrap();
        let place = CallPlaces::below(dir.path()).lend();
        let work = make(&place).join("work");
        let times = fs::FileTimes::new().set_modified(old);
        fs::File::open(&work).unwrap().set_times(times).unwrap();
        assert!(is_as_new(dir.path(), place.number()).unwrap());
        assert_ne!(fs::metadata(&work).unwrap().modified().unwrap(), old);
        let opened = open(CWD, &work).unwrap();
        let before = flags(&opened).unwrap();
        // Not every file system has them.
        if rustix::fs::ioctl_setflags(&opened, before | IFlags::NODUMP).is_ok() {
            assert!(!is_as_new(dir.path(), place.number()).unwrap());
        }
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
        let looked = async |is_done: &dyn Fn() -> bool| {
            let wait = async {
                while !is_done() {
                    tokio::task::yield_now().await;
                }
            };
            tokio::time::timeout(std::time::Duration::from_secs(20), wait)
                .await
                .unwrap();
        };
        looked(&|| !left.exists()).await;
        assert!(places.known.free().is_empty());
        drop(reader);
        looked(&|| !places.known.free().is_empty()).await;
        let (again, new) = (places.lend(), places.lend());
        assert_eq!((again.number(), new.number()), (1, 3));
    }
}
