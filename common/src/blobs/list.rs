//! What the store holds, for the sweep of what no row points at.

use aws_sdk_s3::primitives::DateTime;
use chrono::Utc;

use super::{BlobError, BlobKey, Blobs};

/// How many keys a page has at most.
const PAGE: i32 = 500;

/// A blob, or an upload that was begun and not finished.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Listed {
    /// Its key.
    pub key: BlobKey,
    /// When it was stored, or begun.
    pub since: chrono::DateTime<Utc>,
}

/// A part of a list.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Page {
    /// Its blobs; those of keys that are not ours are left out.
    pub blobs: Vec<Listed>,
    /// Where the next page begins, if there is one.
    pub next: Option<String>,
}

impl Blobs {
    /// What is in the bucket, in the order of the keys, from the beginning or from where a page ended.
    pub async fn list(&self, from: Option<String>) -> Result<Page, BlobError> {
        let request = self.client.list_objects_v2().bucket(&self.bucket);
        let page = request
            .max_keys(PAGE)
            .set_continuation_token(from)
            .send()
            .await
            .map_err(|error| self.away(error))?;
        let blobs = page.contents.unwrap_or_default().into_iter();
        let blobs = blobs.filter_map(|object| listed(object.key?, object.last_modified?));
        Ok(Page {
            blobs: blobs.collect(),
            next: page
                .next_continuation_token
                .filter(|_| page.is_truncated == Some(true)),
        })
    }
}

/// None for what is not ours.
fn listed(key: String, since: DateTime) -> Option<Listed> {
    Some(Listed {
        key: key.parse().ok()?,
        since: chrono::DateTime::from_timestamp(since.secs(), since.subsec_nanos())?,
    })
}
