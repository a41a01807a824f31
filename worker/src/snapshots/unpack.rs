//! Reading a zip, which may be anything.

use std::collections::HashSet;
use std::fs::{File, Permissions};
use std::io::{Read, Write};
use std::os::unix::fs::PermissionsExt;

use zip::ZipArchive;

use super::name::parts;
use super::{IMAGE, Limit, MOST_ENTRIES, PIECE, of_entry, too_many, unusable};
use crate::disk::Scratch;
use crate::files::FilesError;
use crate::tree::{Tree, permissions};

/// No stream of Deflate is denser than 1,032 to one.
const DENSEST: u64 = 1_100;

/// Where an entry goes.
struct Place {
    /// Its name within the working directory.
    name: String,
    /// Its file in the scratch directory; none for a directory.
    file: Option<String>,
}

/// A zip whose files lie in a scratch directory, each whole and with the right checksum. The workspace is still in it.
pub(crate) struct Unpacked {
    archive: ZipArchive<File>,
    image: usize,
    places: Vec<Place>,
}

/// Looks at all of a zip and unpacks its files. Nothing of it has reached the session when this is done.
pub(crate) fn unpack(
    zip: File,
    scratch: &Scratch,
    work: &Tree,
    mut limit: Limit,
) -> Result<Unpacked, FilesError> {
    let mut archive = ZipArchive::new(zip)?;
    let image = check(&mut archive, limit)?;
    let mut places = Vec::new();
    for at in 0..archive.len() {
        let mut entry = archive.by_index(at)?;
        let name = text(entry.name_raw())?.to_owned();
        if at == image {
            limit.take(entry.size())?;
        } else if entry.is_dir() {
            places.push(Place { name, file: None });
        } else {
            let file = at.to_string();
            let mut to = scratch.create(&file)?;
            let mode = permissions(entry.unix_mode().unwrap_or(0o644));
            let size = entry.size();
            copy(&mut entry, &mut to, size, &mut limit)?;
            to.set_permissions(Permissions::from_mode(mode))?;
            work.give(&to)?;
            places.push(Place {
                name,
                file: Some(file),
            });
        }
    }
    Ok(Unpacked {
        archive,
        image,
        places,
    })
}

/// Refuses by what the zip says of itself; gives the place of the workspace in it.
fn check(archive: &mut ZipArchive<File>, mut limit: Limit) -> Result<usize, FilesError> {
    if archive.len() > MOST_ENTRIES {
        return Err(too_many());
    }
    if archive.has_duplicate_names() {
        return Err(unusable("two of its entries have one name"));
    }
    if archive.has_overlapping_entries()? {
        return Err(unusable("its entries lie over each other"));
    }
    let mut image = None;
    let mut names = HashSet::new();
    for at in 0..archive.len() {
        let entry = archive.by_index_raw(at)?;
        let name = text(entry.name_raw())?;
        parts(name).map_err(|problem| unusable(format!("the name {name:?} {problem}")))?;
        let is_link = entry.is_symlink() || !(entry.is_file() || entry.is_dir());
        if is_link || is_special(entry.unix_mode()) {
            return Err(unusable(format!("{name:?} is no file and no directory")));
        }
        if entry.encrypted() {
            return Err(unusable(format!("{name:?} is encrypted")));
        }
        if !names.insert(name.trim_end_matches('/').to_owned()) {
            return Err(unusable(format!("{name:?} is in it twice")));
        }
        if entry.size() / DENSEST > entry.compressed_size() {
            return Err(unusable(format!("{name:?} claims to be too dense")));
        }
        limit.take(entry.size())?;
        if name == IMAGE {
            image = Some(at);
        }
    }
    image.ok_or_else(|| unusable("it holds no workspace"))
}

/// Whether a mode is that of something that is neither a file nor a directory.
fn is_special(mode: Option<u32>) -> bool {
    const KIND: u32 = 0o170_000;
    !matches!(mode.unwrap_or(0) & KIND, 0 | 0o040_000 | 0o100_000)
}

/// The name of an entry, whatever it says of its spelling.
fn text(name: &[u8]) -> Result<&str, FilesError> {
    std::str::from_utf8(name).map_err(|_| unusable("the name of an entry is not UTF-8"))
}

/// Copies an entry that says it has `size` bytes; no more of it reaches the disk.
fn copy(
    from: &mut impl Read,
    to: &mut File,
    size: u64,
    limit: &mut Limit,
) -> Result<(), FilesError> {
    limit.take(size)?;
    let mut left = size;
    let mut buffer = vec![0; PIECE];
    loop {
        let read = from.read(&mut buffer).map_err(of_entry)?;
        if read == 0 && left == 0 {
            return Ok(());
        }
        left = left
            .checked_sub(read as u64)
            .filter(|_left| read > 0)
            .ok_or_else(|| unusable("an entry is not as long as it says"))?;
        to.write_all(&buffer[..read])?;
    }
}

impl Unpacked {
    /// Gives the bytes of the workspace piece by piece, the last of them only when the checksum of all is right: whoever reads
    /// them sees a workspace that ends too early, and not a wrong one. Ends when `give` says so.
    pub(crate) fn image(
        &mut self,
        mut give: impl FnMut(Vec<u8>) -> bool,
    ) -> Result<(), FilesError> {
        let mut entry = self.archive.by_index(self.image)?;
        let mut left = entry.size();
        let mut held: Option<Vec<u8>> = None;
        loop {
            let mut piece = vec![0; PIECE];
            let read = entry.read(&mut piece).map_err(of_entry)?;
            left = left
                .checked_sub(read as u64)
                .ok_or_else(|| unusable("the workspace is longer than it says"))?;
            piece.truncate(read);
            if let Some(whole) = held.replace(piece)
                && !give(whole)
            {
                return Ok(());
            }
            if read == 0 {
                return Ok(());
            }
        }
    }

    /// Brings the files into the working directory, in the place of those that have their names.
    pub(crate) fn bring_in(self, scratch: &Scratch, work: &Tree) -> Result<(), FilesError> {
        for Place { name, file } in &self.places {
            let in_the_way = |error: std::io::Error| {
                let message =
                    format!("{name:?} cannot be written to the working directory: {error}");
                FilesError::refused(warren_common::model::RefusalKind::Invalid, message)
            };
            let mut parts = parts(name).map_err(unusable)?;
            let last = if file.is_some() { parts.pop() } else { None };
            let mut below = None;
            for part in parts {
                let above = below.as_ref().unwrap_or(work);
                below = Some(above.directory(part).map_err(in_the_way)?);
            }
            if let (Some(file), Some(last)) = (file, last) {
                let above = below.as_ref().unwrap_or(work);
                above
                    .bring_in(&scratch.path(file), last)
                    .map_err(in_the_way)?;
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::io::{Cursor, Seek};
    use std::os::unix::fs::symlink;

    use tempfile::TempDir;
    use warren_common::model::RefusalKind;
    use zip::ZipWriter;
    use zip::write::SimpleFileOptions;

    use super::*;
    use crate::disk::Scratch;
    use crate::files::ARRIVING;
    use crate::tree::WORK;

    /// A zip with the workspace and these entries; names that end with a slash are directories.
    fn zip(entries: &[(&str, &[u8])]) -> Vec<u8> {
        let mut zip = ZipWriter::new(Cursor::new(Vec::new()));
        let options = SimpleFileOptions::default().unix_permissions(0o777);
        for (name, bytes) in [(IMAGE, &b"the image"[..])].iter().chain(entries) {
            if name.ends_with('/') {
                zip.add_directory(*name, options).unwrap();
            } else {
                zip.start_file(*name, options).unwrap();
                zip.write_all(bytes).unwrap();
            }
        }
        zip.finish().unwrap().into_inner()
    }

    /// The same bytes with every occurrence of a text in another's place.
    fn patched(mut zip: Vec<u8>, from: &[u8], to: &[u8]) -> Vec<u8> {
        assert_eq!(from.len(), to.len());
        let places: Vec<usize> = zip
            .windows(from.len())
            .enumerate()
            .filter(|(_, window)| *window == from)
            .map(|(at, _)| at)
            .collect();
        assert!(!places.is_empty());
        for at in places {
            zip[at..at + to.len()].copy_from_slice(to);
        }
        zip
    }

    struct House {
        dir: TempDir,
        scratch: Scratch,
        work: Tree,
    }

    impl House {
        fn new() -> Self {
            let dir = tempfile::tempdir().unwrap();
            let session = dir.path().join("session");
            fs::create_dir_all(session.join(WORK)).unwrap();
            fs::create_dir(dir.path().join(ARRIVING)).unwrap();
            Self {
                scratch: Scratch::new(&session).unwrap(),
                work: Tree::open(&session, WORK).unwrap(),
                dir,
            }
        }

        fn unpack(&self, zip: &[u8]) -> Result<Unpacked, FilesError> {
            let mut file = tempfile::tempfile().unwrap();
            file.write_all(zip).unwrap();
            file.rewind().unwrap();
            unpack(file, &self.scratch, &self.work, Limit { bytes: 1 << 20 })
        }

        fn path(&self, name: &str) -> std::path::PathBuf {
            self.dir.path().join("session").join(WORK).join(name)
        }

        fn refuses(&self, zip: &[u8]) -> String {
            match self.unpack(zip) {
                Err(FilesError::Refused(refusal)) => {
                    assert_eq!(fs::read_dir(self.path("")).unwrap().count(), 0);
                    refusal.message
                }
                Err(FilesError::Failed(problem)) => panic!("a fault of ours: {problem}"),
                Ok(_) => panic!("not refused"),
            }
        }
    }

    #[test]
    fn files_replace_what_has_their_names_and_leave_the_rest() {
        let house = House::new();
        fs::create_dir(house.path("d")).unwrap();
        for (name, text) in [("a", "old"), ("other", "kept"), ("d/kept", "kept")] {
            fs::write(house.path(name), text).unwrap();
        }
        fs::write(house.dir.path().join("outside"), "secret").unwrap();
        symlink("../../outside", house.path("link")).unwrap();
        let zip = zip(&[
            ("a", b"new"),
            ("link", b"new"),
            ("d/", b""),
            ("d/e/f", b"deep"),
            ("empty/", b""),
        ]);
        let mut unpacked = house.unpack(&zip).unwrap();
        assert_eq!(fs::read(house.path("a")).unwrap(), b"old");
        let mut image = Vec::new();
        let take = |piece: Vec<u8>| {
            image.extend_from_slice(&piece);
            true
        };
        unpacked.image(take).unwrap();
        assert_eq!(image, b"the image");
        unpacked.bring_in(&house.scratch, &house.work).unwrap();
        for (name, text) in [
            ("a", "new"),
            ("link", "new"),
            ("other", "kept"),
            ("d/kept", "kept"),
            ("d/e/f", "deep"),
        ] {
            assert_eq!(
                fs::read_to_string(house.path(name)).unwrap(),
                text,
                "{name}"
            );
        }
        assert!(house.path("empty").is_dir());
        assert!(!house.path(IMAGE).exists());
        let outside = house.dir.path().join("outside");
        assert_eq!(fs::read_to_string(outside).unwrap(), "secret");
        let mode = fs::metadata(house.path("a")).unwrap().permissions().mode();
        assert_eq!(mode & 0o777, 0o755);
    }

    #[test]
    fn a_directory_that_is_a_link_or_a_file_is_not_entered() {
        let zip = zip(&[("d/a", b"new")]);
        for plant in [true, false] {
            let house = House::new();
            let outside = house.dir.path().join("outside");
            fs::create_dir(&outside).unwrap();
            if plant {
                symlink(&outside, house.path("d")).unwrap();
            } else {
                fs::write(house.path("d"), "a file").unwrap();
            }
            let unpacked = house.unpack(&zip).unwrap();
            let refused = unpacked.bring_in(&house.scratch, &house.work);
            assert!(matches!(refused, Err(FilesError::Refused(_))));
            assert_eq!(fs::read_dir(&outside).unwrap().count(), 0);
        }
    }

    #[test]
    fn names_that_lead_out_are_refused() {
        let house = House::new();
        for (name, hostile) in [
            ("aa/b", "../b"),
            ("a/bb/c", "a/../c"),
            ("a/b", "//b"),
            ("ab", "/b"),
            ("a-b", "a\\b"),
            ("a-b", "a\0b"),
            ("a/-b", "a/./"),
        ] {
            let zip = patched(zip(&[(name, b"")]), name.as_bytes(), hostile.as_bytes());
            house.refuses(&zip);
        }
        let latin = patched(zip(&[("a-b", b"")]), b"a-b", b"a\xe9b");
        house.refuses(&latin);
    }

    #[test]
    fn links_doubles_and_zips_without_a_workspace_are_refused() {
        let house = House::new();
        let mut linked = ZipWriter::new(Cursor::new(Vec::new()));
        let options = SimpleFileOptions::default();
        linked.start_file(IMAGE, options).unwrap();
        linked.add_symlink("link", "/etc/passwd", options).unwrap();
        let linked = linked.finish().unwrap().into_inner();
        assert!(house.refuses(&linked).contains("no file"));

        let twice = patched(zip(&[("one", b""), ("two", b"")]), b"two", b"one");
        house.refuses(&twice);
        let bare = patched(zip(&[]), IMAGE.as_bytes(), b".other");
        assert!(house.refuses(&bare).contains("no workspace"));
        house.refuses(b"no zip at all");
        let whole = zip(&[("a", b"text")]);
        house.refuses(&whole[..whole.len() - 30]);
    }

    #[test]
    fn bombs_are_refused() {
        let house = House::new();
        let large = house.refuses(&zip(&[("a", &vec![0; (1 << 20) + 1])]));
        assert!(large.contains("WARREN_SNAPSHOT_MAX_BYTES"), "{large}");
        // It says that it is small, and is not: what comes out counts.
        let zip = zip(&[("a", &vec![0; 300_000])]);
        let lies = patched(zip, &300_000_u32.to_le_bytes(), &300_u32.to_le_bytes());
        house.refuses(&lies);
        let too_dense = patched(
            self::zip(&[("a", &vec![0; 300_000])]),
            &300_000_u32.to_le_bytes(),
            &900_000_u32.to_le_bytes(),
        );
        house.refuses(&too_dense);
    }

    #[test]
    fn a_workspace_with_a_wrong_checksum_never_ends() {
        let house = House::new();
        let mut stored = ZipWriter::new(Cursor::new(Vec::new()));
        let options =
            SimpleFileOptions::default().compression_method(zip::CompressionMethod::Stored);
        stored.start_file(IMAGE, options).unwrap();
        stored.write_all(&vec![7; 3 * PIECE]).unwrap();
        let mut wrong = stored.finish().unwrap().into_inner();
        let middle = wrong.len() / 2;
        wrong[middle] = 8;
        let mut unpacked = house.unpack(&wrong).unwrap();
        let mut given = 0;
        let outcome = unpacked.image(|piece| {
            given += piece.len();
            true
        });
        assert!(
            matches!(outcome, Err(FilesError::Refused(refusal)) if refusal.refusal == RefusalKind::Invalid)
        );
        assert!(given < 3 * PIECE, "{given}");
    }
}
