//! Bytes out of the store.

use std::collections::VecDeque;
use std::ops::Range;
use std::sync::Arc;

use aws_sdk_s3::primitives::ByteStream;
use aws_sdk_s3::types::ChecksumMode;
use tokio::sync::OwnedSemaphorePermit;
use tokio_util::bytes::Bytes;
use tokio_util::task::AbortOnDropHandle;

use super::{BlobError, BlobKey, Blobs, PLACE_LIMIT, SEGMENT, SILENCE_LIMIT, is_missing};
use crate::id::TransferId;
use crate::model::Content;
use crate::paced::Pieces;

/// Segments that are fetched ahead.
const AHEAD: usize = 4;

/// Bytes that can be read once, in pieces.
pub struct Download {
    size: u64,
    source: Source,
}

enum Source {
    /// They were in a row.
    Here(Bytes),
    /// They are one object.
    Object(Object),
    /// They are several.
    Segments(Box<Segments>),
}

/// An object, or a range of it, on its way.
struct Object {
    blobs: Blobs,
    key: BlobKey,
    body: ByteStream,
    size: u64,
    left: u64,
    over: bool,
}

/// A transfer, of which some segments are fetched at the same moment: stores send one stream slower than several.
struct Segments {
    blobs: Blobs,
    key: BlobKey,
    /// Those that nobody fetches yet.
    rest: VecDeque<Segment>,
    fetching: VecDeque<AbortOnDropHandle<Result<VecDeque<Bytes>, BlobError>>>,
    /// What is there already.
    here: VecDeque<Bytes>,
    /// Leave to hold segments in memory.
    _place: Option<OwnedSemaphorePermit>,
}

/// What is wanted of one object of a transfer.
struct Segment {
    nth: u32,
    /// None for all of it.
    range: Option<Range<u64>>,
    size: u64,
}

impl Blobs {
    /// Begins to read a blob that is one object, or a range of its bytes, which must lie within it and hold at least one.
    /// Whether they are what was stored, the zip that they are has to tell. A transfer is read by [`Blobs::open`], which knows
    /// how many objects it is, and checks each that is read whole against the checksum that the store has of it.
    pub async fn download(
        &self,
        key: BlobKey,
        range: Option<Range<u64>>,
    ) -> Result<Download, BlobError> {
        let object = self.object(key, 0, range).await?;
        Ok(Download {
            size: object.size,
            source: Source::Object(object),
        })
    }

    /// Begins to read what a job was given or left, or a range of it, which must lie within it and hold at least one byte.
    pub async fn open(
        &self,
        content: Content,
        range: Option<Range<u64>>,
    ) -> Result<Download, BlobError> {
        let range = range.unwrap_or(0..content.size());
        let size = range.end - range.start;
        let source = match content {
            Content::Transfer { id, size } => {
                Source::Segments(Box::new(self.segments(id, size, range).await?))
            }
            Content::Row { bytes } => {
                // Of bytes in memory every index is a usize.
                #[expect(
                    clippy::cast_possible_truncation,
                    reason = "the range lies within bytes in memory"
                )]
                let range = range.start as usize..range.end as usize;
                Source::Here(Bytes::from(bytes).slice(range))
            }
        };
        Ok(Download { size, source })
    }

    async fn object(
        &self,
        key: BlobKey,
        nth: u32,
        range: Option<Range<u64>>,
    ) -> Result<Object, BlobError> {
        let mut request = self.client.get_object().bucket(&self.bucket);
        request = match (&range, key) {
            (Some(range), _) => request.range(format!("bytes={}-{}", range.start, range.end - 1)),
            // What was stored in one piece has a checksum of its own.
            (None, BlobKey::Transfer(_)) => request.checksum_mode(ChecksumMode::Enabled),
            // What came in parts has one of the parts' checksums, which not every store marks as such: Garage does not, and
            // what is whole would look damaged. Both are zips, with checksums of all that is in them.
            (None, BlobKey::Snapshot(_) | BlobKey::Service(_)) => request,
        };
        let object = match request.key(key.object(nth)).send().await {
            Ok(object) => object,
            Err(error) if is_missing(&error) => return Err(BlobError::NotFound { key }),
            Err(error) => return Err(self.away(error)),
        };
        let size = object
            .content_length
            .and_then(|length| u64::try_from(length).ok())
            .filter(|size| range.as_ref().is_none_or(|r| r.end - r.start == *size))
            .ok_or_else(|| damaged(key, "its size is not what was expected"))?;
        Ok(Object {
            blobs: self.clone(),
            key,
            body: object.body,
            size,
            left: size,
            over: false,
        })
    }

    /// Begins with the first of them, so that a store that is away is known before anything is answered.
    async fn segments(
        &self,
        id: TransferId,
        size: u64,
        range: Range<u64>,
    ) -> Result<Segments, BlobError> {
        let places = Arc::clone(&self.downloads);
        let place = tokio::time::timeout(PLACE_LIMIT, places.acquire_owned()).await;
        let place = place.map_err(|elapsed| self.away(elapsed))?;
        let mut segments = Segments {
            blobs: self.clone(),
            key: BlobKey::Transfer(id),
            rest: cut(size, &range),
            fetching: VecDeque::new(),
            here: VecDeque::new(),
            _place: place.ok(),
        };
        segments.fetch_next().await?;
        Ok(segments)
    }
}

/// Which segments of a transfer of `size` bytes a range touches, and how far.
fn cut(size: u64, range: &Range<u64>) -> VecDeque<Segment> {
    let length = SEGMENT as u64;
    let first = range.start / length;
    let segments = (first..).map(|nth| (nth, nth * length..((nth + 1) * length).min(size)));
    let touched = segments.take_while(|(_nth, all)| all.start < range.end);
    touched
        .map(|(nth, all)| {
            let wanted = all.start.max(range.start)..all.end.min(range.end);
            let size = wanted.end - wanted.start;
            Segment {
                nth: u32::try_from(nth).unwrap_or(u32::MAX),
                range: (wanted != all).then(|| wanted.start - all.start..wanted.end - all.start),
                size,
            }
        })
        .collect()
}

impl Segments {
    /// Waits for the next one, while others are on their way; false at the end.
    async fn fetch_next(&mut self) -> Result<bool, BlobError> {
        while self.fetching.len() < AHEAD
            && let Some(segment) = self.rest.pop_front()
        {
            let fetch = fetch(self.blobs.clone(), self.key, segment);
            self.fetching
                .push_back(AbortOnDropHandle::new(tokio::spawn(fetch)));
        }
        let Some(fetching) = self.fetching.pop_front() else {
            return Ok(false);
        };
        self.here = match fetching.await {
            Ok(fetched) => fetched?,
            Err(panic) => std::panic::resume_unwind(panic.into_panic()),
        };
        Ok(true)
    }
}

async fn fetch(blobs: Blobs, key: BlobKey, segment: Segment) -> Result<VecDeque<Bytes>, BlobError> {
    let mut object = blobs.object(key, segment.nth, segment.range).await?;
    if object.size != segment.size {
        return Err(damaged(key, "a segment is not as long as it was"));
    }
    let mut pieces = VecDeque::new();
    while let Some(piece) = object.next().await? {
        pieces.push_back(piece);
    }
    Ok(pieces)
}

impl Object {
    async fn next(&mut self) -> Result<Option<Bytes>, BlobError> {
        if self.over {
            return Ok(None);
        }
        match tokio::time::timeout(SILENCE_LIMIT, self.body.try_next()).await {
            Ok(Ok(Some(piece))) => {
                self.left = self.left.saturating_sub(piece.len() as u64);
                Ok(Some(piece))
            }
            Ok(Ok(None)) if self.left == 0 => {
                self.over = true;
                Ok(None)
            }
            // All of it came, so what is wrong is the checksum.
            Ok(Err(error)) if self.left == 0 => Err(damaged(self.key, &error.to_string())),
            Ok(Ok(None)) => Err(damaged(self.key, "bytes at its end are missing")),
            Ok(Err(error)) => Err(self.blobs.away(error)),
            Err(elapsed) => Err(self.blobs.away(elapsed)),
        }
    }
}

fn damaged(key: BlobKey, problem: &str) -> BlobError {
    BlobError::Damaged {
        key,
        problem: problem.to_owned(),
    }
}

impl Download {
    /// How many bytes there are in all.
    pub fn size(&self) -> u64 {
        self.size
    }

    /// The next piece, none at the end. Waits as long as the store goes on sending.
    pub async fn next(&mut self) -> Result<Option<Bytes>, BlobError> {
        match &mut self.source {
            Source::Here(bytes) => {
                let bytes = std::mem::take(bytes);
                Ok(Some(bytes).filter(|bytes| !bytes.is_empty()))
            }
            Source::Object(object) => object.next().await,
            Source::Segments(segments) => loop {
                if let Some(piece) = segments.here.pop_front() {
                    return Ok(Some(piece));
                }
                if !segments.fetch_next().await? {
                    return Ok(None);
                }
            },
        }
    }
}

impl Pieces for Download {
    type Error = BlobError;

    async fn next(&mut self) -> Result<Option<Bytes>, BlobError> {
        Self::next(self).await
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const S: u64 = SEGMENT as u64;

    fn segments(size: u64, range: Range<u64>) -> Vec<(u32, Option<Range<u64>>, u64)> {
        let cut = cut(size, &range).into_iter();
        cut.map(|segment| (segment.nth, segment.range, segment.size))
            .collect()
    }

    #[test]
    fn a_range_touches_the_segments_that_it_lies_in() {
        for (size, range, touched) in [
            (10, 0..10, vec![(0, None, 10)]),
            (S, 0..S, vec![(0, None, S)]),
            (S + 1, 0..S + 1, vec![(0, None, S), (1, None, 1)]),
            (S + 9, S + 2..S + 5, vec![(1, Some(2..5), 3)]),
            (
                3 * S,
                S - 1..2 * S + 1,
                vec![(0, Some(S - 1..S), 1), (1, None, S), (2, Some(0..1), 1)],
            ),
        ] {
            assert_eq!(
                segments(size, range.clone()),
                touched,
                "{range:?} of {size}"
            );
        }
    }
}
