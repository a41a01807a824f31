//! Reading a zip, which may be anything.

use std::collections::HashSet;
use std::fs::{File, Permissions};
use std::io::{Read, Write};
use std::os::unix::fs::PermissionsExt;

use zip::ZipArchive;

use super::name::parts;
use super::{IMAGE, Limit, MOST_ENTRIES, PIECE, of_entry, too_many, unusable};
use crate::disk::Scratch;
use crate::session::MoveError;
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
) -> Result<Unpacked, MoveError> {
    let mut archive = ZipArchive::new(zip)?;
    let image = check(&mut archive, limit)?;
    let mut places = Vec::new();
    for at in 0..archive.len() {
        let mut entry = archive.by_index(at)?;
        let name = entry.name()?.into_owned();
        if at == image {
            limit.take(entry.size())?;
        } else if entry.is_dir() {
            places.push(Place { name, file: None });
        } else {
            let file = at.to_string();
            let mut to = scratch.create(&file)?;
            let mode = permissions(entry.unix_mode().unwrap_or(0o644));
            copy(&mut entry, &mut to, &mut limit)?;
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
fn check(archive: &mut ZipArchive<File>, mut limit: Limit) -> Result<usize, MoveError> {
    if archive.len() > MOST_ENTRIES {
        return Err(too_many());
    }
    if archive.has_overlapping_entries()? {
        return Err(unusable("its entries lie over each other"));
    }
    let mut image = None;
    let mut names = HashSet::new();
    for at in 0..archive.len() {
        let entry = archive.by_index_raw(at)?;
        let name = std::str::from_utf8(entry.name_raw())
            .map_err(|_| unusable("the name of an entry is not UTF-8"))?;
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

fn copy(from: &mut impl Read, to: &mut File, limit: &mut Limit) -> Result<(), MoveError> {
    let mut buffer = vec![0; PIECE];
    loop {
        let read = from.read(&mut buffer).map_err(of_entry)?;
        if read == 0 {
            return Ok(());
        }
        // What comes out counts, whatever the entry says of itself.
        limit.take(read as u64)?;
        to.write_all(&buffer[..read])?;
    }
}

impl Unpacked {
    /// Gives the bytes of the workspace piece by piece, the last of them only when the checksum of all is right: whoever reads
    /// them sees a workspace that ends too early, and not a wrong one. Ends when `give` says so.
    pub(crate) fn image(
        &mut self,
        mut give: impl FnMut(Vec<u8>) -> bool,
    ) -> Result<(), MoveError> {
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
    pub(crate) fn bring_in(self, scratch: &Scratch, work: &Tree) -> Result<(), MoveError> {
        for Place { name, file } in &self.places {
            let in_the_way = |error: std::io::Error| {
                let message = format!("{name:?} cannot be written to the working directory: {error}");
                MoveError::refused(warren_common::model::RefusalKind::Invalid, message)
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
