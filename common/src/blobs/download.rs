//! Bytes out of the store.

use std::ops::Range;

use aws_sdk_s3::primitives::ByteStream;
use aws_sdk_s3::types::ChecksumMode;
use futures::Stream;
use futures::stream::try_unfold;
use tokio_util::bytes::Bytes;

use super::{BlobError, BlobKey, Blobs, SILENCE_LIMIT, is_missing};
use crate::model::Content;

/// Bytes that can be read once, in pieces.
pub struct Download {
    size: u64,
    left: u64,
    source: Source,
}

enum Source {
    /// They were in a row.
    Here(Bytes),
    /// They come from the store.
    Store {
        blobs: Blobs,
        key: BlobKey,
        body: ByteStream,
    },
}

impl Blobs {
    /// Begins to read a blob, or a range of its bytes, which must lie within it and hold at least one. A whole blob is
    /// checked against the checksum that the store has of it, if it has one.
    pub async fn download(
        &self,
        key: BlobKey,
        range: Option<Range<u64>>,
    ) -> Result<Download, BlobError> {
        let mut request = self.client.get_object().bucket(&self.bucket);
        request = match &range {
            Some(range) => request.range(format!("bytes={}-{}", range.start, range.end - 1)),
            None => request.checksum_mode(ChecksumMode::Enabled),
        };
        let blob = match request.key(key.to_string()).send().await {
            Ok(blob) => blob,
            Err(error) if is_missing(&error) => return Err(BlobError::NotFound { key }),
            Err(error) => return Err(self.away(error)),
        };
        let size = blob
            .content_length
            .and_then(|length| u64::try_from(length).ok())
            .filter(|size| range.as_ref().is_none_or(|r| r.end - r.start == *size))
            .ok_or_else(|| BlobError::Damaged {
                key,
                problem: "its size is not what was expected".to_owned(),
            })?;
        Ok(Download {
            size,
            left: size,
            source: Source::Store {
                blobs: self.clone(),
                key,
                body: blob.body,
            },
        })
    }

    /// Begins to read what a job was given or left, or a range of it, which must lie within it and hold at least one byte.
    pub async fn open(
        &self,
        content: Content,
        range: Option<Range<u64>>,
    ) -> Result<Download, BlobError> {
        match content {
            Content::Transfer { id, .. } => self.download(BlobKey::Transfer(id), range).await,
            Content::Row { bytes } => {
                let bytes = Bytes::from(bytes);
                // Of bytes in memory every index is a usize.
                #[expect(
                    clippy::cast_possible_truncation,
                    reason = "the range lies within bytes in memory"
                )]
                let here = range.map_or(bytes.clone(), |range| {
                    bytes.slice(range.start as usize..range.end as usize)
                });
                Ok(Download {
                    size: here.len() as u64,
                    left: here.len() as u64,
                    source: Source::Here(here),
                })
            }
        }
    }
}

impl Download {
    /// How many bytes there are in all.
    pub fn size(&self) -> u64 {
        self.size
    }

    /// The next piece, none at the end. Waits as long as the store goes on sending.
    pub async fn next(&mut self) -> Result<Option<Bytes>, BlobError> {
        let (blobs, key, body) = match &mut self.source {
            Source::Here(bytes) => {
                let bytes = std::mem::take(bytes);
                return Ok(Some(bytes).filter(|bytes| !bytes.is_empty()));
            }
            Source::Store { blobs, key, body } => (blobs, *key, body),
        };
        match tokio::time::timeout(SILENCE_LIMIT, body.try_next()).await {
            Ok(Ok(Some(piece))) => {
                self.left = self.left.saturating_sub(piece.len() as u64);
                Ok(Some(piece))
            }
            Ok(Ok(None)) if self.left == 0 => Ok(None),
            // All of it came, so what is wrong is the checksum.
            Ok(Err(error)) if self.left == 0 => Err(BlobError::Damaged {
                key,
                problem: error.to_string(),
            }),
            Ok(Ok(None)) => Err(BlobError::Damaged {
                key,
                problem: format!("{} of {} bytes are missing", self.left, self.size),
            }),
            Ok(Err(error)) => Err(blobs.away(error)),
            Err(elapsed) => Err(blobs.away(elapsed)),
        }
    }

    /// The pieces as a stream.
    pub fn into_stream(self) -> impl Stream<Item = Result<Bytes, BlobError>> + Send {
        try_unfold(self, |mut download| async move {
            let piece = download.next().await?;
            Ok(piece.map(|piece| (piece, download)))
        })
    }
}
