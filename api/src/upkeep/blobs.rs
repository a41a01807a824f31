//! Removing blobs: of transfers whose time is over, and those that no row names.

use std::collections::HashSet;
use std::time::Duration;

use chrono::{TimeDelta, Utc};
use futures::StreamExt;
use tokio::time::MissedTickBehavior;
use warren_common::blobs::{BlobError, BlobKey, Blobs, Listed};
use warren_common::store::chores::{self, Chore};
use warren_common::store::{Db, DbError, retention, services, transfers};
use warren_common::telemetry::{chain, metrics};

/// The longest time between two looks at the whole bucket.
const LONGEST_PERIOD: Duration = Duration::from_secs(3600);
/// The shortest.
const SHORTEST_PERIOD: Duration = Duration::from_millis(200);
/// Transfers that one statement forgets.
const BATCH: i64 = 200;
/// Blobs that are deleted at once.
const AT_ONCE: usize = 8;

/// Why blobs were not removed; another round does it.
#[derive(Debug, thiserror::Error)]
pub(super) enum Problem {
    #[error("the rows could not be read")]
    Rows(#[from] DbError),
    #[error("the store did not do it")]
    Store(#[from] BlobError),
}

/// Removes blobs that no row names and that are older than `keep`, for ever.
pub(crate) async fn run(db: Db, blobs: Blobs, keep: Duration) {
    let period = (keep / 24).clamp(SHORTEST_PERIOD, LONGEST_PERIOD);
    let mut pace = tokio::time::interval(period);
    pace.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        pace.tick().await;
        let done = async {
            if chores::take(&db, Chore::Blobs, period).await? {
                remove_orphans(&db, &blobs, keep).await?;
            }
            Ok::<_, Problem>(())
        };
        if let Err(error) = done.await {
            let cause = chain(&error);
            tracing::warn!(cause, "Blobs that nobody names could not all be removed");
        }
    }
}

/// Forgets transfers whose time is over and deletes their blobs. A blob that cannot be deleted now has no row any more, and is
/// found later with the others.
pub(super) async fn remove_expired_transfers(db: &Db, blobs: &Blobs) -> Result<(), Problem> {
    loop {
        let expired = transfers::remove_expired(db, BATCH).await?;
        let is_full = i64::try_from(expired.len()).is_ok_and(|removed| removed == BATCH);
        let keys = expired.into_iter().map(BlobKey::Transfer).collect();
        delete(blobs, "transfers", keys).await?;
        if !is_full {
            return Ok(());
        }
    }
}

/// Removes contents of services whose place another took longer than `keep` ago, and then copies of snapshots that none names.
pub(super) async fn remove_over_contents(
    db: &Db,
    blobs: &Blobs,
    keep: Duration,
) -> Result<(), Problem> {
    loop {
        let over = services::remove_over(db, keep, BATCH).await?;
        metrics().removed("service_contents", over.removed as u64);
        let keys = over.copies.into_iter().map(BlobKey::Service).collect();
        delete(blobs, "service_copies", keys).await?;
        if i64::try_from(over.removed).unwrap_or(i64::MAX) < BATCH {
            return Ok(());
        }
    }
}

/// Goes through the bucket page by page. A blob is stored before its row, so one without a row may have it soon: only after `keep`
/// is it nobody's.
async fn remove_orphans(db: &Db, blobs: &Blobs, keep: Duration) -> Result<(), Problem> {
    let keep = TimeDelta::from_std(keep).unwrap_or(TimeDelta::MAX);
    let mut from = None;
    loop {
        let page = blobs.list(from).await?;
        let now = Utc::now();
        // A blob of several objects comes more than once.
        let old: HashSet<BlobKey> = page
            .blobs
            .into_iter()
            .filter(|Listed { since, .. }| now - since > keep)
            .map(|blob| blob.key)
            .collect();
        let orphans = without_row(db, old).await?;
        delete(blobs, "orphans", orphans).await?;
        from = page.next;
        if from.is_none() {
            return Ok(());
        }
    }
}

async fn without_row(db: &Db, keys: HashSet<BlobKey>) -> Result<Vec<BlobKey>, DbError> {
    let (mut snapshot_ids, mut transfer_ids, mut copies) = (Vec::new(), Vec::new(), Vec::new());
    for key in &keys {
        match key {
            BlobKey::Snapshot(id) => snapshot_ids.push(*id),
            BlobKey::Transfer(id) => transfer_ids.push(*id),
            BlobKey::Service(id) => copies.push(*id),
        }
    }
    let mut known = HashSet::new();
    if !snapshot_ids.is_empty() {
        let named = retention::known_snapshots(db, &snapshot_ids).await?;
        known.extend(named.into_iter().map(BlobKey::Snapshot));
        let wanted = services::wanted_snapshots(db, &snapshot_ids).await?;
        known.extend(wanted.into_iter().map(BlobKey::Snapshot));
    }
    if !transfer_ids.is_empty() {
        let named = transfers::known(db, &transfer_ids).await?;
        known.extend(named.into_iter().map(BlobKey::Transfer));
    }
    if !copies.is_empty() {
        let named = services::known_copies(db, &copies).await?;
        known.extend(named.into_iter().map(BlobKey::Service));
    }
    Ok(keys.difference(&known).copied().collect())
}

/// Deletes all of them, also when one cannot be deleted; the last failure is told.
async fn delete(blobs: &Blobs, what: &'static str, keys: Vec<BlobKey>) -> Result<(), BlobError> {
    let mut deletions = futures::stream::iter(keys)
        .map(|key| blobs.delete(key))
        .buffer_unordered(AT_ONCE);
    let (mut deleted, mut failed) = (0, Ok(()));
    while let Some(deletion) = deletions.next().await {
        match deletion {
            Ok(()) => deleted += 1,
            Err(error) => failed = Err(error),
        }
    }
    metrics().removed(what, deleted);
    failed
}
