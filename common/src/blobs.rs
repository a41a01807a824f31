//! The S3-compatible object store. Nothing outside this module knows that it is S3.

use aws_credential_types::Credentials;
use aws_sdk_s3::Client;
use aws_sdk_s3::config::timeout::TimeoutConfig;
use aws_sdk_s3::config::{BehaviorVersion, Region};
use std::time::Duration;

use crate::config::BlobConfig;

/// How long one attempt to reach the store may take.
const ATTEMPT_LIMIT: Duration = Duration::from_secs(5);

/// The store cannot be used.
#[derive(Debug, thiserror::Error)]
#[error("the object store does not answer for bucket {bucket}")]
pub struct BlobError {
    bucket: String,
    #[source]
    source: Box<dyn std::error::Error + Send + Sync>,
}

/// One bucket.
#[derive(Clone)]
pub struct Blobs {
    client: Client,
    bucket: String,
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
        let timeouts = TimeoutConfig::builder()
            .connect_timeout(ATTEMPT_LIMIT)
            .operation_attempt_timeout(ATTEMPT_LIMIT)
            .build();
        let settings = aws_sdk_s3::Config::builder()
            .behavior_version(BehaviorVersion::latest())
            .endpoint_url(&config.endpoint)
            .region(Region::new(config.region.clone()))
            .credentials_provider(credentials)
            .force_path_style(true)
            .timeout_config(timeouts)
            .build();
        Self {
            client: Client::from_conf(settings),
            bucket: config.bucket.clone(),
        }
    }

    /// Asks whether the bucket is there.
    pub async fn check(&self) -> Result<(), BlobError> {
        match self.client.head_bucket().bucket(&self.bucket).send().await {
            Ok(_there) => Ok(()),
            Err(source) => Err(BlobError {
                bucket: self.bucket.clone(),
                source: Box::new(source),
            }),
        }
    }
}
