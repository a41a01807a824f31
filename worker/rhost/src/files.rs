//! Which top-level files of the working directory a run made or changed.

use std::collections::BTreeMap;
use std::collections::hash_map::DefaultHasher;
use std::hash::{Hash, Hasher};
use std::mem::MaybeUninit;
use std::path::Path;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use rustix::fs::{AtFlags, FileType, Mode, OFlags, RawDir, Stat};

/// Kernels before 6.13 count a file's times in ticks of up to 10 ms: two writes within one look the same.
const TICK: Duration = Duration::from_millis(20);

/// Longer files are not read to tell two writes within one tick apart.
const MAX_READ_BYTES: u64 = 1 << 20;

/// Bytes of names that are told of one run: a run can make more files than anybody could hold a list of.
const MAX_NAMES_BYTES: usize = 4 << 20;

/// What a run did to the directory.
#[derive(Debug, Default, PartialEq, Eq)]
pub(crate) struct Changes {
    /// Sorted.
    pub(crate) names: Vec<String>,
    /// Files whose names found no room.
    pub(crate) unnamed: usize,
}

/// The files of a directory at one moment.
#[derive(Debug, Default)]
pub(crate) struct Files(BTreeMap<String, File>);

#[derive(Debug, Clone)]
struct File {
    stamp: Stamp,
    /// A digest of the content, where another write might leave the stamp as it is.
    content: Option<u64>,
}

/// Differs when a file was written or replaced. The change time also moves when user code sets the others back.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Stamp {
    inode: u64,
    bytes: u64,
    changed: (i64, i64),
    modified: (i64, i64),
}

impl Files {
    /// Regular files, without dot-files. A directory that cannot be read holds none.
    pub(crate) fn scan(directory: &Path) -> Self {
        let mut files = BTreeMap::new();
        // On the stack, because an iterator of the standard library's takes 32 KiB of the heap.
        let mut space = [const { MaybeUninit::uninit() }; 2048];
        let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
        let Ok(opened) = rustix::fs::open(directory, flags, Mode::empty()) else {
            return Self(files);
        };
        let mut entries = RawDir::new(&opened, &mut space);
        while let Some(Ok(entry)) = entries.next() {
            let kind = entry.file_type();
            let Ok(name) = entry.file_name().to_str() else {
                continue;
            };
            if name.starts_with('.') || !matches!(kind, FileType::RegularFile | FileType::Unknown) {
                continue;
            }
            // Of the link itself: what it points at is not the session's file.
            if let Ok(data) = rustix::fs::statat(&opened, name, AtFlags::SYMLINK_NOFOLLOW)
                && FileType::from_raw_mode(data.st_mode) == FileType::RegularFile
            {
                let stamp = Stamp::of(&data);
                let content = is_fresh(&stamp)
                    .then(|| digest(&directory.join(name), &stamp))
                    .flatten();
                files.insert(name.to_owned(), File { stamp, content });
            }
        }
        Self(files)
    }

    /// Which files are new or different in the same directory now.
    pub(crate) fn changed(&self, directory: &Path) -> Changes {
        self.compared(&Self::scan(directory), directory)
    }

    fn compared(&self, later: &Self, directory: &Path) -> Changes {
        let differs = |name: &str, after: &File| {
            let Some(before) = self.0.get(name) else {
                return true;
            };
            before.stamp != after.stamp
                || (before.content.is_some()
                    && before.content != digest(&directory.join(name), &after.stamp))
        };
        let mut changes = Changes::default();
        let mut room = MAX_NAMES_BYTES;
        for (name, _) in later.0.iter().filter(|(name, file)| differs(name, file)) {
            if let Some(left) = room.checked_sub(name.len())
                && changes.unnamed == 0
            {
                room = left;
                changes.names.push(name.clone());
            } else {
                changes.unnamed += 1;
            }
        }
        changes
    }
}

impl Stamp {
    fn of(data: &Stat) -> Self {
        let nanos = |nanos| i64::try_from(nanos).unwrap_or_default();
        Self {
            inode: data.st_ino,
            bytes: u64::try_from(data.st_size).unwrap_or_default(),
            changed: (data.st_ctime, nanos(data.st_ctime_nsec)),
            modified: (data.st_mtime, nanos(data.st_mtime_nsec)),
        }
    }
}

fn is_fresh(stamp: &Stamp) -> bool {
    let (Ok(seconds), Ok(nanos)) = (
        u64::try_from(stamp.changed.0),
        u32::try_from(stamp.changed.1),
    ) else {
        return false;
    };
    let changed = UNIX_EPOCH + Duration::new(seconds, nanos);
    // A time to come, after the clock was set back, may come again as well.
    SystemTime::now()
        .duration_since(changed)
        .map_or(true, |age| age < TICK)
}

fn digest(path: &Path, stamp: &Stamp) -> Option<u64> {
    if stamp.bytes > MAX_READ_BYTES {
        return None;
    }
    let mut hasher = DefaultHasher::new();
    std::fs::read(path).ok()?.hash(&mut hasher);
    Some(hasher.finish())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn new_and_rewritten_files_are_told_and_hidden_ones_are_not() {
        let directory = tempfile::tempdir().unwrap();
        let write =
            |name: &str, text: &str| std::fs::write(directory.path().join(name), text).unwrap();
        write("kept", "1");
        write("rewritten", "1");
        let before = Files::scan(directory.path());
        write("rewritten", "22");
        write("new", "");
        write(".hidden", "");
        std::fs::create_dir(directory.path().join("folder")).unwrap();
        assert_eq!(before.changed(directory.path()).names, ["new", "rewritten"]);
    }

    #[test]
    fn names_that_find_no_room_are_counted() {
        let directory = tempfile::tempdir().unwrap();
        let file = File {
            stamp: Stamp {
                inode: 0,
                bytes: 0,
                changed: (0, 0),
                modified: (0, 0),
            },
            content: None,
        };
        let stem = "n".repeat(250);
        let fitting = MAX_NAMES_BYTES / 255;
        let name = |number: usize| format!("{stem}{number:05}");
        let after = Files(
            (0..fitting + 3)
                .map(|number| (name(number), file.clone()))
                .collect(),
        );
        let changes = Files::default().compared(&after, directory.path());
        assert_eq!((changes.names.len(), changes.unnamed), (fitting, 3));
        assert_eq!(changes.names.last(), Some(&name(fitting - 1)));
    }

    #[test]
    fn a_file_that_was_just_written_is_told_by_its_content() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("file");
        std::fs::write(&path, "1").unwrap();
        let before = Files::scan(directory.path());
        assert_eq!(before.changed(directory.path()), Changes::default());
        // What a kernel with coarse times shows after a second write.
        std::fs::write(&path, "2").unwrap();
        let mut coarse = before;
        let now = Files::scan(directory.path());
        for (name, file) in &mut coarse.0 {
            file.stamp = now.0[name].stamp;
        }
        assert_eq!(coarse.changed(directory.path()).names, ["file"]);
    }
}
