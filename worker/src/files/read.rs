//! Giving a file out.

use std::fs::File;
use std::hash::{DefaultHasher, Hash, Hasher};
use std::io;
use std::ops::Range;
use std::os::unix::fs::FileExt;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use rustix::fs::Stat;
use tokio_util::bytes::{Bytes, BytesMut};
use warren_common::blobs::Gather;
use warren_common::model::{Content, GetFileRequest, Got, GotFile, RefusalKind, Wanted};

use super::{Files, FilesError, blocking, refused};

/// Bytes that are read at once.
const PIECE: u64 = 1024 * 1024;
/// Kernels before 6.13 count a file's times in ticks of up to 10 ms: two writes within one look the same.
const TICK: Duration = Duration::from_millis(20);

/// What of an open file is wanted; reads no more than that.
pub(super) async fn got(
    files: &Files,
    request: GetFileRequest,
    opened: (File, Stat),
) -> Result<GotFile, FilesError> {
    let GetFileRequest {
        name,
        wanted,
        offer,
    } = request;
    let stat = &opened.1;
    let size = u64::try_from(stat.st_size).unwrap_or(0);
    let etag = etag(stat);
    let got = match choose(&wanted, size, &etag) {
        Choice::Nothing(got) => got,
        Choice::Whole => bring(files, opened, None, 0..size, offer).await?,
        Choice::Range(range) => bring(files, opened, Some(range.start), range, offer).await?,
    };
    Ok(GotFile {
        name,
        size,
        etag,
        got,
    })
}

/// Bytes of a file: held ready if the request allows it and there is a place, else stored. What fits into the row of the job is
/// there with the answer.
async fn bring(
    files: &Files,
    (mut file, stat): (File, Stat),
    first: Option<u64>,
    range: Range<u64>,
    offer: bool,
) -> Result<Got, FilesError> {
    let length = range.end - range.start;
    if offer && length > Content::MAX_IN_ROW as u64 {
        match files.shared.offers.hold(file, &stat, range.clone()) {
            Ok(offer) => {
                return Ok(Got::Offered {
                    first,
                    length,
                    offer,
                });
            }
            Err(back) => file = back,
        }
    }
    let content = content(files, file, range).await?;
    Ok(match first {
        None => Got::Whole { content },
        Some(first) => Got::Range { first, content },
    })
}

/// Which bytes are to be read.
#[derive(Debug, PartialEq, Eq)]
enum Choice {
    Nothing(Got),
    Whole,
    Range(Range<u64>),
}

/// Judges conditions and range in the order of RFC 9110, section 13.2.2.
fn choose(wanted: &Wanted, size: u64, etag: &str) -> Choice {
    let bare = |tag: &str| tag.trim_start_matches("W/").to_owned();
    let known = |tag: &String| tag == "*" || bare(tag) == bare(etag);
    if wanted.if_none_match.iter().any(known) {
        return Choice::Nothing(Got::NotModified);
    }
    if wanted.head {
        return Choice::Nothing(Got::Head);
    }
    // Only a strong tag says that not a byte has changed.
    let unchanged = |tag: &String| tag == etag && !tag.starts_with("W/");
    match wanted.range {
        Some(range) if wanted.if_range.as_ref().is_none_or(unchanged) => range
            .within(size)
            .map_or(Choice::Nothing(Got::OutOfRange), Choice::Range),
        _ => Choice::Whole,
    }
}

/// A tag that changes with every write: which file, how long, and when it was last changed. It is weak while another write could
/// leave all of that as it is.
fn etag(stat: &Stat) -> String {
    let mut hasher = DefaultHasher::new();
    (stat.st_ino, stat.st_size).hash(&mut hasher);
    (stat.st_mtime, stat.st_mtime_nsec).hash(&mut hasher);
    (stat.st_ctime, stat.st_ctime_nsec).hash(&mut hasher);
    let changed = u64::try_from(stat.st_ctime)
        .ok()
        .zip(u32::try_from(stat.st_ctime_nsec).ok())
        .map(|(seconds, nanos)| UNIX_EPOCH + Duration::new(seconds, nanos));
    // A time to come, after the clock was set back, may come again as well.
    let settled = changed
        .and_then(|changed| SystemTime::now().duration_since(changed).ok())
        .is_some_and(|age| age >= TICK);
    let weak = if settled { "" } else { "W/" };
    format!("{weak}\"{:016x}\"", hasher.finish())
}

/// These bytes of the file. The next piece is read while one is on its way to the store.
async fn content(files: &Files, file: File, range: Range<u64>) -> Result<Content, FilesError> {
    let size = range.end - range.start;
    let shared = &files.shared;
    let _place = if size > Content::MAX_IN_ROW as u64 {
        Some(shared.places.acquire().await)
    } else {
        None
    };
    let mut gather = Gather::new(&shared.blobs, size);
    let mut at = range.start;
    let piece = |at: u64| at..range.end.min(at + PIECE);
    let mut reading = tokio::spawn(next_bytes(file, piece(at)));
    while at < range.end {
        let (file, bytes) = reading
            .await
            .map_err(|_panic| FilesError::Failed("a fault of the worker".to_owned()))??;
        at += bytes.len() as u64;
        reading = tokio::spawn(next_bytes(file, piece(at)));
        gather.write(bytes).await?;
    }
    Ok(gather.finish(&shared.db, files.owner).await?)
}

/// A stretch of bytes that fits into memory; as far as it goes if the file ends within it, but not nothing.
pub(super) async fn next_bytes(file: File, range: Range<u64>) -> Result<(File, Bytes), FilesError> {
    let length = usize::try_from(range.end - range.start).unwrap_or(usize::MAX);
    let (file, bytes) = blocking(move || {
        let mut bytes = BytesMut::zeroed(length);
        let read = read_at(&file, &mut bytes, range.start)?;
        bytes.truncate(read);
        Ok((file, bytes.freeze()))
    })
    .await?;
    if bytes.is_empty() && length > 0 {
        return Err(refused(
            RefusalKind::Unavailable,
            "the file became shorter while it was read".to_owned(),
        ));
    }
    Ok((file, bytes))
}

fn read_at(file: &File, bytes: &mut [u8], at: u64) -> io::Result<usize> {
    let mut read = 0;
    while read < bytes.len() {
        match file.read_at(&mut bytes[read..], at + read as u64) {
            Ok(0) => break,
            Ok(more) => read += more,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
    Ok(read)
}

#[cfg(test)]
mod tests {
    use warren_common::model::ByteRange;

    use super::*;

    const TAG: &str = "\"1\"";
    const WEAK: &str = "W/\"1\"";

    fn range(first: u64) -> Wanted {
        Wanted {
            range: Some(ByteRange::From { first, last: None }),
            ..Wanted::default()
        }
    }

    #[test]
    fn conditions_come_before_ranges() {
        let if_none_match = |tag: &str| Wanted {
            if_none_match: vec!["\"0\"".to_owned(), tag.to_owned()],
            ..range(3)
        };
        let not_modified = Choice::Nothing(Got::NotModified);
        for tag in [TAG, WEAK, "*"] {
            assert_eq!(choose(&if_none_match(tag), 10, TAG), not_modified);
            assert_eq!(choose(&if_none_match(tag), 10, WEAK), not_modified);
        }
        assert_eq!(
            choose(&if_none_match("\"2\""), 10, TAG),
            Choice::Range(3..10)
        );
        assert_eq!(
            choose(&range(10), 10, TAG),
            Choice::Nothing(Got::OutOfRange)
        );
        assert_eq!(choose(&Wanted::default(), 0, TAG), Choice::Whole);
    }

    #[test]
    fn a_range_on_a_condition_needs_the_same_strong_tag() {
        let if_range = |tag: &str| Wanted {
            if_range: Some(tag.to_owned()),
            ..range(3)
        };
        assert_eq!(choose(&if_range(TAG), 10, TAG), Choice::Range(3..10));
        assert_eq!(choose(&if_range("\"2\""), 10, TAG), Choice::Whole);
        assert_eq!(choose(&if_range(WEAK), 10, WEAK), Choice::Whole);
    }

    #[test]
    fn a_head_reads_nothing() {
        let head = Wanted {
            head: true,
            ..range(3)
        };
        assert_eq!(choose(&head, 10, TAG), Choice::Nothing(Got::Head));
    }
}
