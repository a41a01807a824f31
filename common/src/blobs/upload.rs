//! Bytes into the store.

use std::sync::Arc;
use std::time::Duration;

use aws_sdk_s3::error::ProvideErrorMetadata;
use aws_sdk_s3::primitives::ByteStream;
use aws_sdk_s3::types::{ChecksumAlgorithm, CompletedMultipartUpload, CompletedPart};
use tokio::sync::OwnedSemaphorePermit;
use tokio::task::JoinSet;
use tokio_util::bytes::{Bytes, BytesMut};

use super::{BlobError, BlobKey, Blobs, PLACE_LIMIT, SEGMENT, attempts_of};

/// Bytes of a part of a blob that is one object. S3 takes ten thousand parts, so a snapshot may have 80 GiB.
const PART: usize = 8 * 1024 * 1024;
/// Bytes in memory: of the pieces on their way and the one that fills.
const MEMORY: usize = 2 * PART;
/// Pieces on their way. A store takes several at a time faster than one after another.
const AT_ONCE: usize = 4;
/// How long one attempt to send a piece may take: enough for 2 Mbit/s.
const PIECE_LIMIT: Duration = Duration::from_secs(40);
/// How long the store may take to put the parts together; some copy them.
const COMPLETE_LIMIT: Duration = Duration::from_secs(180);
/// How long removing what was not finished is tried.
const UNDO_LIMIT: Duration = Duration::from_secs(30);

/// A blob that is being written. Until [`Upload::finish`] says so there is none; dropped before that, it leaves nothing.
///
/// A transfer becomes an object for each 2 MiB; whatever else becomes one object, of a multipart upload if it is large.
/// Each piece carries its checksum, which the store verifies. The bytes themselves are not signed: over TLS that would be
/// work done twice, and without TLS whoever can change them can read them as well.
pub struct Upload {
    blobs: Blobs,
    key: BlobKey,
    limit: u64,
    size: u64,
    filling: BytesMut,
    /// Leave to hold pieces in memory.
    place: Option<OwnedSemaphorePermit>,
    sent: u32,
    under_way: JoinSet<Result<CompletedPart, BlobError>>,
    /// The multipart upload that the store knows of.
    multipart: Option<String>,
    parts: Vec<CompletedPart>,
    /// What the store may hold of it must go again if this is dropped now.
    unfinished: bool,
}

impl Blobs {
    /// Begins a blob of at most `limit` bytes under a key that was never used. Nothing is sent yet.
    pub fn upload(&self, key: BlobKey, limit: u64) -> Upload {
        Upload {
            blobs: self.clone(),
            key,
            limit,
            size: 0,
            filling: BytesMut::new(),
            place: None,
            sent: 0,
            under_way: JoinSet::new(),
            multipart: None,
            parts: Vec::new(),
            unfinished: false,
        }
    }
}

impl Upload {
    /// Takes the next bytes. Waits while the store is behind by more than a piece; after an error the blob is lost.
    pub async fn write(&mut self, mut bytes: Bytes) -> Result<(), BlobError> {
        self.size += bytes.len() as u64;
        if self.size > self.limit {
            return Err(BlobError::TooLarge { limit: self.limit });
        }
        let piece_size = self.piece_size();
        while !bytes.is_empty() {
            let room = piece_size - self.filling.len();
            let taken = bytes.split_to(room.min(bytes.len()));
            if self.filling.is_empty() {
                self.make_room().await?;
            }
            self.filling.extend_from_slice(&taken);
            if self.filling.len() == piece_size {
                self.send().await?;
            }
        }
        Ok(())
    }

    /// Makes the blob of everything written, and says how many bytes it is.
    pub async fn finish(mut self) -> Result<u64, BlobError> {
        if self.sent == 0 {
            // All of it fits into one object, also when there is nothing of it.
            let bytes = self.take_filling();
            self.unfinished = true;
            let only = put(self.blobs.clone(), self.key, 0, bytes);
            self.under_way.spawn(only);
        } else if !self.filling.is_empty() {
            self.send().await?;
        }
        while !self.under_way.is_empty() {
            self.one_done().await?;
        }
        self.complete().await?;
        self.unfinished = false;
        Ok(self.size)
    }

    fn piece_size(&self) -> usize {
        match self.key {
            BlobKey::Transfer(_) => SEGMENT,
            BlobKey::Snapshot(_) | BlobKey::Service(_) => PART,
        }
    }

    fn take_filling(&mut self) -> Bytes {
        std::mem::take(&mut self.filling).freeze()
    }

    /// Waits until there is memory for another piece.
    async fn make_room(&mut self) -> Result<(), BlobError> {
        if self.place.is_none() {
            let uploads = Arc::clone(&self.blobs.uploads);
            let place = tokio::time::timeout(PLACE_LIMIT, uploads.acquire_owned()).await;
            let place = place.map_err(|elapsed| self.blobs.away(elapsed))?;
            self.place = place.ok();
        }
        let at_once = AT_ONCE.min(MEMORY / self.piece_size());
        while self.under_way.len() >= at_once {
            self.one_done().await?;
        }
        // Whole at once when it is not the first: a buffer that grows is copied each time.
        if self.sent > 0 {
            self.filling.reserve(self.piece_size());
        }
        Ok(())
    }

    /// Sends what has filled.
    async fn send(&mut self) -> Result<(), BlobError> {
        self.unfinished = true;
        let bytes = self.take_filling();
        let (blobs, key, nth) = (self.blobs.clone(), self.key, self.sent);
        self.sent += 1;
        if let BlobKey::Transfer(_) = key {
            self.under_way.spawn(put(blobs, key, nth, bytes));
            return Ok(());
        }
        let upload_id = if let Some(upload_id) = &self.multipart {
            upload_id.clone()
        } else {
            let begun = self.begin_parts().await?;
            self.multipart.insert(begun).clone()
        };
        self.under_way
            .spawn(send_part(blobs, key, upload_id, nth, bytes));
        Ok(())
    }

    /// Waits for one of the pieces under way.
    async fn one_done(&mut self) -> Result<(), BlobError> {
        match self.under_way.join_next().await {
            Some(Ok(part)) => {
                self.parts.push(part?);
                Ok(())
            }
            Some(Err(panic)) => std::panic::resume_unwind(panic.into_panic()),
            None => Ok(()),
        }
    }

    async fn begin_parts(&self) -> Result<String, BlobError> {
        let request = self.blobs.client.create_multipart_upload();
        let begun = request
            .bucket(&self.blobs.bucket)
            .key(self.key.to_string())
            .checksum_algorithm(ChecksumAlgorithm::Crc32)
            .send()
            .await
            .map_err(|error| self.blobs.away(error))?;
        Ok(begun.upload_id.unwrap_or_default())
    }

    /// Makes one object of the parts; segments are whole as they are.
    async fn complete(&mut self) -> Result<(), BlobError> {
        let Some(upload_id) = &self.multipart else {
            return Ok(());
        };
        let mut parts = std::mem::take(&mut self.parts);
        parts.sort_unstable_by_key(|part| part.part_number);
        let whole = CompletedMultipartUpload::builder()
            .set_parts(Some(parts))
            .build();
        let request = self.blobs.client.complete_multipart_upload();
        let completed = request
            .bucket(&self.blobs.bucket)
            .key(self.key.to_string())
            .upload_id(upload_id)
            .multipart_upload(whole)
            .customize()
            .config_override(
                aws_sdk_s3::Config::builder().timeout_config(attempts_of(COMPLETE_LIMIT)),
            )
            .send()
            .await;
        completed.map(drop).map_err(|error| self.blobs.away(error))
    }
}

/// Sends an object of a blob.
async fn put(
    blobs: Blobs,
    key: BlobKey,
    nth: u32,
    bytes: Bytes,
) -> Result<CompletedPart, BlobError> {
    blobs
        .client
        .put_object()
        .bucket(&blobs.bucket)
        .key(key.object(nth))
        .checksum_algorithm(ChecksumAlgorithm::Crc32)
        .body(ByteStream::from(bytes))
        .customize()
        .disable_payload_signing()
        .config_override(aws_sdk_s3::Config::builder().timeout_config(attempts_of(PIECE_LIMIT)))
        .send()
        .await
        .map_err(|error| blobs.away(error))?;
    Ok(CompletedPart::builder().build())
}

/// Sends a part of a multipart upload.
async fn send_part(
    blobs: Blobs,
    key: BlobKey,
    upload_id: String,
    nth: u32,
    bytes: Bytes,
) -> Result<CompletedPart, BlobError> {
    // Parts are numbered from 1.
    let number = i32::try_from(nth + 1).unwrap_or(i32::MAX);
    let sent = blobs
        .client
        .upload_part()
        .bucket(&blobs.bucket)
        .key(key.to_string())
        .upload_id(upload_id)
        .part_number(number)
        .checksum_algorithm(ChecksumAlgorithm::Crc32)
        .body(ByteStream::from(bytes))
        .customize()
        .disable_payload_signing()
        .config_override(aws_sdk_s3::Config::builder().timeout_config(attempts_of(PIECE_LIMIT)))
        .send()
        .await
        .map_err(|error| blobs.away(error))?;
    Ok(CompletedPart::builder()
        .part_number(number)
        .set_e_tag(sent.e_tag)
        .set_checksum_crc32(sent.checksum_crc32)
        .build())
}

impl Drop for Upload {
    fn drop(&mut self) {
        if !self.unfinished {
            return;
        }
        // A process that ends here leaves it to the sweep of keys without a row, and to the store's own rule for parts.
        let Ok(runtime) = tokio::runtime::Handle::try_current() else {
            return;
        };
        let (blobs, key, upload_id) = (self.blobs.clone(), self.key, self.multipart.take());
        let mut under_way = std::mem::take(&mut self.under_way);
        // Held until the pieces are gone from memory.
        let place = self.place.take();
        runtime.spawn(async move {
            let undo = async {
                // A piece that is cut off may still arrive, after it was looked for: it is let through first.
                while under_way.join_next().await.is_some() {}
                drop(place);
                blobs.undo(key, upload_id).await
            };
            match tokio::time::timeout(UNDO_LIMIT, undo).await {
                Ok(Ok(())) => {}
                Ok(Err(error)) => {
                    tracing::warn!(%key, "An unfinished upload stays in the store: {error}");
                }
                Err(_elapsed) => {
                    tracing::warn!(%key, "An unfinished upload stays in the store");
                }
            }
        });
    }
}

impl Blobs {
    /// Makes the store forget an upload that will not be finished, and the blob, should it be complete after all.
    async fn undo(&self, key: BlobKey, upload_id: Option<String>) -> Result<(), BlobError> {
        if let Some(upload_id) = upload_id {
            let request = self.client.abort_multipart_upload().bucket(&self.bucket);
            let aborted = request
                .key(key.to_string())
                .upload_id(upload_id)
                .send()
                .await;
            match aborted {
                Ok(_gone) => {}
                Err(error) if error.code() == Some("NoSuchUpload") => {}
                Err(error) => return Err(self.away(error)),
            }
        }
        self.delete(key).await
    }
}
