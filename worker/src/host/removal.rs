//! Removing what user code left.

use std::ffi::CStr;
use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::path::Path;

use rustix::fs::{
    AtFlags, CWD, Dir, Mode, OFlags, chmodat, fchmod, openat, renameat, rmdir, unlinkat,
};
use rustix::io::Errno;
use uuid::Uuid;

/// Removes a directory with everything in it, however deep it goes and whatever its modes forbid, and follows no link.
///
/// The standard library holds a descriptor for each level: a thousand directories in one another would use up the worker's.
/// Here what lies deeper is moved up to the root first.
pub(super) fn remove_tree(root: &Path) -> io::Result<()> {
    let mut tree = Tree {
        root: open(CWD, root)?,
        // Nobody can have taken names with it.
        prefix: Uuid::new_v4().to_string(),
        moved: 0,
    };
    while tree.take_down_level()? {}
    Ok(rmdir(root)?)
}

/// Removes such a directory in `folder` in `dir`, while user code runs that may put links and new files there. It is moved out of
/// that code's reach first, beside `dir`: so nothing grows while it is removed.
pub(super) fn remove_tree_in(dir: &Path, folder: &str, name: &str) -> io::Result<()> {
    let folder = open(open(CWD, dir)?.as_fd(), folder)?;
    let aside = dir.with_file_name(Uuid::new_v4().to_string());
    match renameat(&folder, name, CWD, &aside) {
        // A directory that changes its parent must be writable itself.
        Err(Errno::ACCESS) => {
            open(folder.as_fd(), name)?;
            renameat(&folder, name, CWD, &aside)?;
        }
        moved => moved?,
    }
    match remove_tree(&aside) {
        Err(error) if error.kind() == io::ErrorKind::NotADirectory => std::fs::remove_file(&aside),
        removed => removed,
    }
}

struct Tree {
    root: OwnedFd,
    prefix: String,
    moved: u64,
}

impl Tree {
    /// Removes what the root holds; directories below its own directories are moved up to it. False when none is left.
    fn take_down_level(&mut self) -> io::Result<bool> {
        let mut deeper = false;
        for entry in Dir::read_from(&self.root)? {
            let entry = entry?;
            let name = entry.file_name();
            if is_dots(name) || remove(self.root.as_fd(), name)? {
                continue;
            }
            deeper = true;
            let directory = open(self.root.as_fd(), name)?;
            self.empty(directory.as_fd())?;
            unlinkat(&self.root, name, AtFlags::REMOVEDIR)?;
        }
        Ok(deeper)
    }

    fn empty(&mut self, directory: BorrowedFd<'_>) -> io::Result<()> {
        for entry in Dir::read_from(directory)? {
            let entry = entry?;
            let name = entry.file_name();
            if !is_dots(name) && !remove(directory, name)? {
                self.move_up(directory, name)?;
            }
        }
        Ok(())
    }

    fn move_up(&mut self, from: BorrowedFd<'_>, name: &CStr) -> io::Result<()> {
        let to = format!("{}-{}", self.prefix, self.moved);
        self.moved += 1;
        match renameat(from, name, &self.root, &to) {
            // A directory that changes its parent must be writable itself.
            Err(Errno::ACCESS) => {
                chmodat(from, name, Mode::RWXU, AtFlags::empty())?;
                Ok(renameat(from, name, &self.root, &to)?)
            }
            // The directory of a call, which is removed by itself.
            Err(Errno::NOENT) => Ok(()),
            moved => Ok(moved?),
        }
    }
}

fn is_dots(name: &CStr) -> bool {
    matches!(name.to_bytes(), b"." | b"..")
}

/// Opens a directory, and opens it up to its owner.
fn open<P: rustix::path::Arg + Copy>(at: BorrowedFd<'_>, name: P) -> io::Result<OwnedFd> {
    let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    let directory = match openat(at, name, flags, Mode::empty()) {
        Err(Errno::ACCESS) => {
            chmodat(at, name, Mode::RWXU, AtFlags::empty())?;
            openat(at, name, flags, Mode::empty())?
        }
        opened => opened?,
    };
    // Root may lack the right to it, and does not need it.
    let _ = fchmod(&directory, Mode::RWXU);
    Ok(directory)
}

/// Removes a file or an empty directory. False when the directory is not empty, or nobody may tell.
fn remove(at: BorrowedFd<'_>, name: &CStr) -> io::Result<bool> {
    let removed = match unlinkat(at, name, AtFlags::empty()) {
        Err(Errno::ISDIR) => unlinkat(at, name, AtFlags::REMOVEDIR),
        removed => removed,
    };
    match removed {
        Ok(()) | Err(Errno::NOENT) => Ok(true),
        Err(Errno::NOTEMPTY) => Ok(false),
        Err(error) => Err(error.into()),
    }
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::os::unix::fs::{PermissionsExt, symlink};

    use super::*;

    fn directory(name: &str) -> std::path::PathBuf {
        let path = std::env::temp_dir().join(format!("warren-{name}-{}", Uuid::new_v4()));
        fs::create_dir(&path).unwrap();
        path
    }

    #[test]
    fn a_tree_that_is_closed_and_leads_outside_goes_and_nothing_else() {
        let (tree, outside) = (directory("closed"), directory("outside"));
        fs::write(outside.join("kept"), "").unwrap();
        for part in ["a/b/c", "a/empty", "d"] {
            fs::create_dir_all(tree.join(part)).unwrap();
        }
        fs::write(tree.join("a/b/c/file"), "").unwrap();
        for link in ["a/link", "a/b/c/link", "link"] {
            symlink(&outside, tree.join(link)).unwrap();
        }
        symlink("nowhere", tree.join("a/dangling")).unwrap();
        for closed in ["a/b/c/file", "a/b/c", "a/b", "a", "d"] {
            fs::set_permissions(tree.join(closed), fs::Permissions::from_mode(0o000)).unwrap();
        }
        remove_tree(&tree).unwrap();
        assert!(!tree.exists());
        assert!(outside.join("kept").exists());
        fs::remove_dir_all(outside).unwrap();
    }

    #[test]
    fn no_link_leads_out_of_the_directory_of_a_service() {
        let root = directory("services");
        let (service, outside) = (root.join("service"), root.join("outside"));
        fs::create_dir(&service).unwrap();
        fs::create_dir_all(outside.join("1/kept")).unwrap();
        symlink(&outside, service.join("calls")).unwrap();
        assert!(remove_tree_in(&service, "calls", "1").is_err());
        fs::remove_file(service.join("calls")).unwrap();
        fs::create_dir_all(service.join("calls/2/work")).unwrap();
        symlink(outside.join("1"), service.join("calls/1")).unwrap();
        remove_tree_in(&service, "calls", "1").unwrap();
        fs::set_permissions(service.join("calls/2"), fs::Permissions::from_mode(0o000)).unwrap();
        remove_tree_in(&service, "calls", "2").unwrap();
        assert!(outside.join("1/kept").exists());
        assert_eq!(fs::read_dir(service.join("calls")).unwrap().count(), 0);
        assert_eq!(fs::read_dir(service.parent().unwrap()).unwrap().count(), 2);
        remove_tree(&root).unwrap();
    }

    #[test]
    fn a_tree_goes_however_deep_it_is_and_takes_few_descriptors() {
        const DEPTH: usize = 3_000;
        let tree = directory("deep");
        let mut at = open(CWD, &tree).unwrap();
        for _ in 0..DEPTH {
            rustix::fs::mkdirat(&at, c"d", Mode::RWXU).unwrap();
            at = open(at.as_fd(), c"d").unwrap();
        }
        drop(at);
        let limit = rustix::process::getrlimit(rustix::process::Resource::Nofile);
        let few = rustix::process::Rlimit {
            current: Some(256),
            ..limit
        };
        rustix::process::setrlimit(rustix::process::Resource::Nofile, few).unwrap();
        let removed = remove_tree(&tree);
        rustix::process::setrlimit(rustix::process::Resource::Nofile, limit).unwrap();
        removed.unwrap();
        assert!(!tree.exists());
    }
}
