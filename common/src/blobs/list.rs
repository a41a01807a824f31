//! What the store holds, for the sweep of what no row points at.

use aws_sdk_s3::primitives::DateTime;
use chrono::Utc;

use super::{BlobError, BlobKey, Blobs};

/// How many keys a page has at most.
const PAGE: i32 = 500;

/// A blob.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Listed {
    /// Its key.
    pub key: BlobKey,
    /// When it was stored.
    pub since: chrono::DateTime<Utc>,
}

/// A part of a list.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Page {
    /// Its blobs, those of several objects perhaps more than once; what is not ours is left out.
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
        let blobs = blobs.filter_map(|object| listed(&object.key?, object.last_modified?));
        Ok(Page {
            blobs: blobs.collect(),
            next: page
                .next_continuation_token
                .filter(|_| page.is_truncated == Some(true)),
        })
    }
}

impl Blobs {
    /// The keys of the objects of a blob, as many as a page holds.
    pub(super) async fn objects_of(&self, key: BlobKey) -> Result<Vec<String>, BlobError> {
        let request = self.client.list_objects_v2().bucket(&self.bucket);
        let page = request
            .max_keys(PAGE)
            .prefix(key.to_string())
            .send()
            .await
            .map_err(|error| self.away(error))?;
        let objects = page.contents.unwrap_or_default().into_iter();
        let names = objects.filter_map(|object| object.key);
        Ok(names.filter(|name| name.parse() == Ok(key)).collect())
    }
}

/// None for what is not ours.
fn listed(key: &str, since: DateTime) -> Option<Listed> {
    Some(Listed {
        key: key.parse().ok()?,
        since: chrono::DateTime::from_timestamp(since.secs(), since.subsec_nanos())?,
    })
}
