//! Which top-level files of the working directory a run made or changed.

use std::collections::BTreeMap;
use std::os::unix::fs::MetadataExt;
use std::path::Path;

/// The files of a directory at one moment.
#[derive(Debug, Default, PartialEq, Eq)]
pub(crate) struct Files(BTreeMap<String, Stamp>);

/// Differs when a file was written or replaced. The change time also moves when user code sets the others back.
#[derive(Debug, PartialEq, Eq)]
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
        for entry in std::fs::read_dir(directory).into_iter().flatten().flatten() {
            let Ok(name) = entry.file_name().into_string() else {
                continue;
            };
            if name.starts_with('.') {
                continue;
            }
            // Of the link itself: what it points at is not the session's file.
            if let Ok(data) = entry.metadata()
                && data.is_file()
            {
                let stamp = Stamp {
                    inode: data.ino(),
                    bytes: data.size(),
                    changed: (data.ctime(), data.ctime_nsec()),
                    modified: (data.mtime(), data.mtime_nsec()),
                };
                files.insert(name, stamp);
            }
        }
        Self(files)
    }

    /// Names that are new or different in `later`, sorted.
    pub(crate) fn changed(&self, later: &Self) -> Vec<String> {
        later
            .0
            .iter()
            .filter(|(name, stamp)| self.0.get(*name) != Some(stamp))
            .map(|(name, _)| name.clone())
            .collect()
    }
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
        assert_eq!(
            before.changed(&Files::scan(directory.path())),
            ["new", "rewritten"]
        );
    }
}
