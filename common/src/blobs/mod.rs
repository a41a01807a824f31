//! The S3-compatible object store. Nothing outside this module knows that it is S3.
//!
//! Blobs stream: whatever the size, an [`Upload`] holds at most 16 MiB in memory and a [`Download`] 10. A blob is
//! never changed; it is written under a fresh key, becomes visible by the row that points at it, and is deleted after that
//! row. Every wait has a limit.
//!
//! A snapshot is one object, which other programs may read as well. A transfer is an object for each 2 MiB: nobody knows its
//! length when it begins, and putting an object together of parts costs some stores as much as storing it.

mod download;
mod gather;
mod key;
mod list;
mod upload;

use std::error::Error as StdError;
use std::sync::Arc;
use std::time::Duration;

use aws_credential_types::Credentials;
use aws_sdk_s3::Client;
use aws_sdk_s3::config::timeout::TimeoutConfig;
use aws_sdk_s3::config::{
    BehaviorVersion, Region, ResponseChecksumValidation, StalledStreamProtectionConfig,
};
use aws_sdk_s3::error::ProvideErrorMetadata;

use tokio::sync::Semaphore;

use crate::config::BlobConfig;

pub use download::Download;
pub use gather::{Gather, GatherError};
pub use key::BlobKey;
pub use list::{Listed, Page};
pub use upload::Upload;

/// How long one attempt at a small request may take, and how long connecting may.
const ATTEMPT_LIMIT: Duration = Duration::from_secs(5);
/// How long the store may be silent while bytes are on their way.
const SILENCE_LIMIT: Duration = Duration::from_secs(20);

/// Bytes of an object of a transfer, but for the last.
const SEGMENT: usize = 2 * 1024 * 1024;
/// Uploads of one process at one moment: together they hold 512 MiB of pieces at most. Others wait for a place.
const UPLOADS: usize = 32;
/// Downloads of transfers of one process at one moment: together they hold 640 MiB at most.
const DOWNLOADS: usize = 64;
/// How long one more waits.
const PLACE_LIMIT: Duration = Duration::from_secs(60);

/// What could not be done with the object store.
#[derive(Debug, Clone, thiserror::Error)]
pub enum BlobError {
    /// There is no such blob.
    #[error("the object store has no {key}")]
    NotFound {
        /// Its key.
        key: BlobKey,
    },
    /// The store cannot be reached, or refuses; what was asked may work later.
    #[error("the object store does not answer for bucket {bucket}")]
    Away {
        /// Which bucket.
        bucket: String,
        /// What the store or the connection said.
        #[source]
        source: Arc<dyn StdError + Send + Sync>,
    },
    /// More was written than the blob may hold.
    #[error("more than {limit} bytes")]
    TooLarge {
        /// How many bytes it may hold.
        limit: u64,
    },
    /// What the store gives out is not what was stored.
    #[error("the object store gives out {key} damaged: {problem}")]
    Damaged {
        /// Its key.
        key: BlobKey,
        /// What is wrong with it.
        problem: String,
    },
}

/// One bucket.
#[derive(Clone)]
pub struct Blobs {
    client: Client,
    bucket: String,
    transfers_kept: Duration,
    /// Uploads that may have parts in memory.
    uploads: Arc<Semaphore>,
    /// Downloads that may have segments in memory.
    downloads: Arc<Semaphore>,
}

impl Blobs {
    /// Prepares requests; connects when first used.
    pub fn new(config: &BlobConfig) -> Self {
        let credentials = Credentials::new(
            config.access_key.reveal(),
            config.secret_key.reveal(),
            None,
            None,
            "settings",
        );
        let settings = aws_sdk_s3::Config::builder()
            .behavior_version(BehaviorVersion::latest())
            .endpoint_url(&config.endpoint)
            .region(Region::new(config.region.clone()))
            .credentials_provider(credentials)
            .force_path_style(true)
            .timeout_config(attempts_of(ATTEMPT_LIMIT))
            // Asked for where it can be had, see `download`.
            .response_checksum_validation(ResponseChecksumValidation::WhenRequired)
            // A download watches its stream itself: only while somebody wants the next piece, so that a slow reader is no
            // stalled store.
            .stalled_stream_protection(StalledStreamProtectionConfig::disabled())
            .build();
        Self {
            client: Client::from_conf(settings),
            bucket: config.bucket.clone(),
            transfers_kept: Duration::from_secs(config.transfer_seconds.into()),
            uploads: Arc::new(Semaphore::new(UPLOADS)),
            downloads: Arc::new(Semaphore::new(DOWNLOADS)),
        }
    }

    /// Asks whether the bucket is there.
    pub async fn check(&self) -> Result<(), BlobError> {
        let asked = self.client.head_bucket().bucket(&self.bucket).send().await;
        asked.map(drop).map_err(|source| self.away(source))
    }

    /// Removes a blob. There is nothing wrong with one that is gone already.
    pub async fn delete(&self, key: BlobKey) -> Result<(), BlobError> {
        match key {
            BlobKey::Snapshot(_) | BlobKey::Service(_) => self.delete_object(key.to_string()).await,
            BlobKey::Transfer(_) => loop {
                let objects = self.objects_of(key).await?;
                if objects.is_empty() {
                    return Ok(());
                }
                for object in objects {
                    self.delete_object(object).await?;
                }
            },
        }
    }

    /// Copies a blob that is one object to another key, and says how many bytes it is. What was under that key is replaced.
    pub async fn copy(&self, from: BlobKey, to: BlobKey) -> Result<u64, BlobError> {
        let mut download = self.download(from, None).await?;
        let mut upload = self.upload(to, u64::MAX);
        while let Some(piece) = download.next().await? {
            upload.write(piece).await?;
        }
        upload.finish().await
    }

    async fn delete_object(&self, object: String) -> Result<(), BlobError> {
        let request = self.client.delete_object().bucket(&self.bucket);
        match request.key(object).send().await {
            Ok(_gone) => Ok(()),
            // S3 says nothing of a missing key, but not every store is S3.
            Err(error) if is_missing(&error) => Ok(()),
            Err(error) => Err(self.away(error)),
        }
    }

    fn away(&self, source: impl StdError + Send + Sync + 'static) -> BlobError {
        BlobError::Away {
            bucket: self.bucket.clone(),
            source: Arc::new(source),
        }
    }
}

/// The store answered that there is no such key.
fn is_missing<E>(
    error: &aws_sdk_s3::error::SdkError<E, aws_sdk_s3::config::http::HttpResponse>,
) -> bool
where
    E: ProvideErrorMetadata,
{
    error.code() == Some("NoSuchKey")
}

/// Limits for requests of which one attempt may take this long.
fn attempts_of(limit: Duration) -> TimeoutConfig {
    TimeoutConfig::builder()
        .connect_timeout(ATTEMPT_LIMIT)
        .operation_attempt_timeout(limit)
        .build()
}
