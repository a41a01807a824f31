//! Writing a zip.

use std::fs::File;
use std::io::{Cursor, Read, Seek, Write};

use warren_common::model::RefusalKind;
use zip::CompressionMethod;
use zip::ZipWriter;
use zip::write::SimpleFileOptions;

use super::{DEEPEST, IMAGE, Limit, MOST_ENTRIES, PIECE, too_many};
use crate::files::FilesError;
use crate::tree::{Entry, Tree, permissions};

/// Level of Deflate: the fastest.
const LEVEL: i64 = 1;

/// Writes a zip of the workspace, as R gives it, and of everything in the working directory that is a file or a directory of the
/// session. Links, pipes and the like are left out.
pub(crate) fn pack(
    to: File,
    image: &mut impl Read,
    work: &Tree,
    limit: Limit,
) -> Result<File, FilesError> {
    let mut packing = Packing {
        zip: ZipWriter::new(to),
        limit,
        entries: 0,
        buffer: vec![0; PIECE],
    };
    packing.file(IMAGE, 0o600, image)?;
    packing.directory("", work, 0)?;
    Ok(packing.zip.finish()?)
}

struct Packing<W: Write + Seek> {
    zip: ZipWriter<W>,
    limit: Limit,
    entries: usize,
    buffer: Vec<u8>,
}

impl<W: Write + Seek> Packing<W> {
    /// Everything in a directory; `path` is its own, with a slash at the end unless it is the outermost.
    fn directory(&mut self, path: &str, tree: &Tree, depth: usize) -> Result<(), FilesError> {
        if depth == DEEPEST {
            let message = format!("{path:?} lies too deep in the working directory");
            return Err(FilesError::refused(RefusalKind::Invalid, message));
        }
        for name in tree.names()? {
            let name = name.map_err(|name| {
                let message = format!("the name of the file \"{path}{name}\" is not UTF-8");
                FilesError::refused(RefusalKind::Invalid, message)
            })?;
            if depth == 0 && name == IMAGE {
                continue;
            }
            match tree.entry(&name)? {
                Some(Entry::File(mut file, stat)) => {
                    let name = format!("{path}{name}");
                    self.file(&name, permissions(stat.st_mode), &mut file)?;
                }
                Some(Entry::Directory(below)) => {
                    let name = format!("{path}{name}/");
                    self.count()?;
                    self.zip.add_directory(name.as_str(), options(false))?;
                    self.directory(&name, &below, depth + 1)?;
                }
                None => {}
            }
        }
        Ok(())
    }

    fn file(&mut self, name: &str, mode: u32, from: &mut impl Read) -> Result<(), FilesError> {
        self.count()?;
        let mut buffer = std::mem::take(&mut self.buffer);
        let mut filled = fill(from, &mut buffer)?;
        let options = options(is_worth_compressing(&buffer[..filled])?).unix_permissions(mode);
        self.zip.start_file(name, options)?;
        while filled > 0 {
            self.limit.take(filled as u64)?;
            self.zip.write_all(&buffer[..filled])?;
            filled = fill(from, &mut buffer)?;
        }
        self.buffer = buffer;
        Ok(())
    }

    fn count(&mut self) -> Result<(), FilesError> {
        self.entries += 1;
        if self.entries > MOST_ENTRIES {
            return Err(too_many());
        }
        Ok(())
    }
}

/// How an entry is written: with 64 bits for its size, because what is read may grow.
fn options(compress: bool) -> SimpleFileOptions {
    let options = SimpleFileOptions::default().large_file(true);
    if compress {
        options
            .compression_method(CompressionMethod::Deflated)
            .compression_level(Some(LEVEL))
    } else {
        options.compression_method(CompressionMethod::Stored)
    }
}

/// Whether the beginning of a file becomes less than half of itself. Where it does not, compressing the rest costs more time than
/// it saves on the way to the store and back.
fn is_worth_compressing(beginning: &[u8]) -> Result<bool, FilesError> {
    let mut zip = ZipWriter::new(Cursor::new(Vec::new()));
    zip.start_file("beginning", options(true))?;
    zip.write_all(beginning)?;
    let compressed = zip.finish()?.into_inner();
    Ok(compressed.len() < beginning.len() / 2)
}

/// Reads until the buffer is full or nothing is left.
fn fill(from: &mut impl Read, buffer: &mut [u8]) -> std::io::Result<usize> {
    let mut filled = 0;
    while filled < buffer.len() {
        match from.read(&mut buffer[filled..]) {
            Ok(0) => break,
            Ok(read) => filled += read,
            Err(error) if error.kind() == std::io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
    Ok(filled)
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::os::unix::fs::symlink;
    use std::path::Path;
    use std::process::Command;

    use super::*;
    use crate::tree::WORK;

    fn packed(session: &Path, image: &[u8]) -> Result<File, FilesError> {
        let to = tempfile::tempfile().unwrap();
        let work = Tree::open(session, WORK).unwrap();
        pack(to, &mut &image[..], &work, Limit { bytes: 1 << 20 })
    }

    #[test]
    fn a_zip_holds_what_the_working_directory_holds_and_no_links() {
        let dir = tempfile::tempdir().unwrap();
        let work = dir.path().join(WORK);
        fs::create_dir_all(work.join(".library/p")).unwrap();
        fs::create_dir(work.join("empty")).unwrap();
        fs::write(work.join(".library/p/data"), "of p").unwrap();
        fs::write(work.join("größe 1"), vec![0; 600_000]).unwrap();
        fs::write(work.join(IMAGE), "another").unwrap();
        fs::write(dir.path().join("outside"), "secret").unwrap();
        symlink("../outside", work.join("up")).unwrap();
        symlink("/etc", work.join("far")).unwrap();
        let _socket = std::os::unix::net::UnixListener::bind(work.join("socket")).unwrap();
        let mut zip = packed(dir.path(), b"the image").unwrap();

        let file = dir.path().join("s.zip");
        zip.rewind().unwrap();
        std::io::copy(&mut zip, &mut File::create(&file).unwrap()).unwrap();
        let to = dir.path().join("to");
        let mut unzip = Command::new("unzip");
        unzip.arg("-q").arg(&file).arg("-d").arg(&to);
        let done = unzip.output().unwrap();
        assert!(done.status.success(), "{done:?}");
        assert_eq!(fs::read(to.join(IMAGE)).unwrap(), b"the image");
        assert_eq!(fs::read(to.join(".library/p/data")).unwrap(), b"of p");
        assert_eq!(fs::read(to.join("größe 1")).unwrap(), vec![0; 600_000]);
        assert!(to.join("empty").is_dir());
        assert_eq!(fs::read_dir(&to).unwrap().count(), 4);
        assert!(fs::metadata(&file).unwrap().len() < 10_000);
    }

    #[test]
    fn too_much_is_refused() {
        let dir = tempfile::tempdir().unwrap();
        let work = dir.path().join(WORK);
        fs::create_dir(&work).unwrap();
        let too_much = |packed: Result<File, FilesError>| matches!(packed, Err(FilesError::Refused(refusal)) if refusal.refusal == RefusalKind::TooLarge);
        assert!(too_much(packed(dir.path(), &vec![0; (1 << 20) + 1])));
        fs::write(work.join("a"), vec![0; 1 << 20]).unwrap();
        assert!(too_much(packed(dir.path(), b"x")));
        fs::write(work.join("a"), vec![0; (1 << 20) - 1]).unwrap();
        assert!(packed(dir.path(), b"x").is_ok());
    }

    #[test]
    fn noise_is_stored_and_what_repeats_is_compressed() {
        let noise: Vec<u8> = (0_u64..50_000)
            .flat_map(|at| {
                at.wrapping_mul(0x9e37_79b9_7f4a_7c15)
                    .rotate_left(17)
                    .to_le_bytes()
            })
            .collect();
        assert!(!is_worth_compressing(&noise).unwrap());
        assert!(is_worth_compressing(&vec![7; 50_000]).unwrap());
        assert!(!is_worth_compressing(b"").unwrap());
    }
}
