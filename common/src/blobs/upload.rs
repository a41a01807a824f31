//! Bytes into the store.

use std::time::Duration;

use aws_sdk_s3::error::ProvideErrorMetadata;
use aws_sdk_s3::primitives::ByteStream;
use aws_sdk_s3::types::{ChecksumAlgorithm, CompletedMultipartUpload, CompletedPart};
use tokio::task::JoinSet;
use tokio_util::bytes::{Bytes, BytesMut};

use super::{BlobError, BlobKey, Blobs, attempts_of};

/// Bytes of one part. S3 takes ten thousand of them, so a blob may have 80 GiB.
const PART: usize = 8 * 1024 * 1024;
/// Parts in memory: those on their way and the one that fills.
const PARTS_AT_ONCE: usize = 2;
/// How long one attempt to send a part may take: enough for 2 Mbit/s.
const PART_LIMIT: Duration = Duration::from_secs(40);
/// How long the store may take to put the parts together; some copy them.
const COMPLETE_LIMIT: Duration = Duration::from_secs(180);

/// How long removing what was not finished is tried.
const UNDO_LIMIT: Duration = Duration::from_secs(30);

/// A blob that is being written. Until [`Upload::finish`] says so there is none; dropped before that, it leaves nothing.
///
/// Each part carries its checksum, which the store verifies. The bytes themselves are not signed: over TLS that would be
/// work done twice, and without TLS whoever can change them can read them as well.
pub struct Upload {
    blobs: Blobs,
    key: BlobKey,
    limit: u64,
    size: u64,
    filling: BytesMut,
    parts: Option<Parts>,
    /// What the store may hold of it must go again if this is dropped now.
    unfinished: bool,
}

/// A multipart upload that the store knows of.
struct Parts {
    upload_id: String,
    sent: i32,
    under_way: JoinSet<Result<CompletedPart, BlobError>>,
    done: Vec<CompletedPart>,
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
            parts: None,
            unfinished: false,
        }
    }
}

impl Upload {
    /// Takes the next piece. Waits while the store is behind by more than a part; after an error the blob is lost.
    pub async fn write(&mut self, mut piece: Bytes) -> Result<(), BlobError> {
        self.size += piece.len() as u64;
        if self.size > self.limit {
            return Err(BlobError::TooLarge { limit: self.limit });
        }
        while !piece.is_empty() {
            let room = PART - self.filling.len();
            let taken = piece.split_to(room.min(piece.len()));
            if self.filling.is_empty() {
                self.make_room().await?;
            }
            self.filling.extend_from_slice(&taken);
            if self.filling.len() == PART {
                let part = std::mem::take(&mut self.filling).freeze();
                self.send_part(part).await?;
            }
        }
        Ok(())
    }

    /// Makes the blob of everything written, and says how many bytes it is.
    pub async fn finish(mut self) -> Result<u64, BlobError> {
        let rest = std::mem::take(&mut self.filling).freeze();
        self.unfinished = true;
        if self.parts.is_none() {
            self.put_whole(rest).await?;
        } else {
            if !rest.is_empty() {
                self.send_part(rest).await?;
            }
            self.complete().await?;
        }
        self.unfinished = false;
        Ok(self.size)
    }

    /// Waits until there is memory for another part.
    async fn make_room(&mut self) -> Result<(), BlobError> {
        if let Some(parts) = &mut self.parts {
            while parts.under_way.len() >= PARTS_AT_ONCE {
                parts.one_done().await?;
            }
        }
        // Whole at once when it is not the first: a part that grows is copied each time.
        let capacity = if self.parts.is_some() { PART } else { 0 };
        self.filling.reserve(capacity);
        Ok(())
    }

    async fn send_part(&mut self, part: Bytes) -> Result<(), BlobError> {
        let mut parts = match self.parts.take() {
            Some(parts) => parts,
            None => self.begin_parts().await?,
        };
        parts.sent += 1;
        let sending = send(
            self.blobs.clone(),
            self.key,
            parts.upload_id.clone(),
            parts.sent,
            part,
        );
        parts.under_way.spawn(sending);
        self.parts = Some(parts);
        self.unfinished = true;
        Ok(())
    }

    async fn begin_parts(&self) -> Result<Parts, BlobError> {
        let request = self.blobs.client.create_multipart_upload();
        let begun = request
            .bucket(&self.blobs.bucket)
            .key(self.key.to_string())
            .checksum_algorithm(ChecksumAlgorithm::Crc32)
            .send()
            .await
            .map_err(|error| self.blobs.away(error))?;
        let upload_id = begun.upload_id.unwrap_or_default();
        Ok(Parts {
            upload_id,
            sent: 0,
            under_way: JoinSet::new(),
            done: Vec::new(),
        })
    }

    async fn put_whole(&self, bytes: Bytes) -> Result<(), BlobError> {
        let request = self.blobs.client.put_object();
        let sent = request
            .bucket(&self.blobs.bucket)
            .key(self.key.to_string())
            .checksum_algorithm(ChecksumAlgorithm::Crc32)
            .body(ByteStream::from(bytes))
            .customize()
            .disable_payload_signing()
            .config_override(aws_sdk_s3::Config::builder().timeout_config(attempts_of(PART_LIMIT)))
            .send()
            .await;
        sent.map(drop).map_err(|error| self.blobs.away(error))
    }

    async fn complete(&mut self) -> Result<(), BlobError> {
        let Some(parts) = &mut self.parts else {
            return Ok(());
        };
        while !parts.under_way.is_empty() {
            parts.one_done().await?;
        }
        let mut done = parts.done.clone();
        done.sort_unstable_by_key(|part| part.part_number);
        let whole = CompletedMultipartUpload::builder()
            .set_parts(Some(done))
            .build();
        let request = self.blobs.client.complete_multipart_upload();
        let completed = request
            .bucket(&self.blobs.bucket)
            .key(self.key.to_string())
            .upload_id(&parts.upload_id)
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

impl Parts {
    /// Waits for one of the parts under way.
    async fn one_done(&mut self) -> Result<(), BlobError> {
        match self.under_way.join_next().await {
            Some(Ok(part)) => {
                self.done.push(part?);
                Ok(())
            }
            Some(Err(panic)) => std::panic::resume_unwind(panic.into_panic()),
            None => Ok(()),
        }
    }
}

async fn send(
    blobs: Blobs,
    key: BlobKey,
    upload_id: String,
    number: i32,
    part: Bytes,
) -> Result<CompletedPart, BlobError> {
    let sent = blobs
        .client
        .upload_part()
        .bucket(&blobs.bucket)
        .key(key.to_string())
        .upload_id(upload_id)
        .part_number(number)
        .checksum_algorithm(ChecksumAlgorithm::Crc32)
        .body(ByteStream::from(part))
        .customize()
        .disable_payload_signing()
        .config_override(aws_sdk_s3::Config::builder().timeout_config(attempts_of(PART_LIMIT)))
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
        let (blobs, key, parts) = (self.blobs.clone(), self.key, self.parts.take());
        runtime.spawn(async move {
            match tokio::time::timeout(UNDO_LIMIT, blobs.undo(key, parts)).await {
                Ok(Ok(())) => {}
                Ok(Err(error)) => {
                    tracing::warn!(%key, "An unfinished upload stays in the store: {error}")
                }
                Err(_elapsed) => tracing::warn!(%key, "An unfinished upload stays in the store"),
            }
        });
    }
}

impl Blobs {
    /// Makes the store forget an upload that will not be finished, and the blob, should it be complete after all.
    async fn undo(&self, key: BlobKey, parts: Option<Parts>) -> Result<(), BlobError> {
        if let Some(mut parts) = parts {
            // A part that arrives after the abort would stay.
            parts.under_way.shutdown().await;
            let request = self.client.abort_multipart_upload().bucket(&self.bucket);
            let aborted = request
                .key(key.to_string())
                .upload_id(parts.upload_id)
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
