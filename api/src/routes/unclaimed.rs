//! Waiting for a job that any worker may take, but not for ever for one that none takes.

use std::sync::Arc;

use warren_common::id::JobId;
use warren_common::store::jobs::{self, CancelVerdict, IdempotencyKey};

use crate::app::App;
use crate::auth::Caller;
use crate::error::ApiError;
use crate::extract::Prefer;
use crate::watch::{Outcome, Waiter};

/// A job that was stored, and the wait for its end.
pub(super) struct Stored<'a> {
    /// Which.
    pub(super) job: JobId,
    /// The wait.
    pub(super) waiter: Waiter,
    /// The key that it was stored with.
    pub(super) key: Option<&'a IdempotencyKey>,
}

/// Waits as long as the caller prefers; `None` when it prefers not to wait so long. One without a preference waits until the job
/// has ended, however long it runs; but a job that no worker has begun after a while is cancelled, and the caller told to try again.
pub(super) async fn end_of(
    app: &App,
    caller: &Caller,
    prefer: Prefer,
    stored: Stored<'_>,
) -> Result<Option<Arc<Outcome>>, ApiError> {
    let Stored {
        job,
        mut waiter,
        key,
    } = stored;
    if prefer.limit().is_some() {
        return waiter.outcome(prefer.limit()).await;
    }
    let patience = app.config.open_wait;
    if let Some(outcome) = waiter.outcome(Some(patience)).await? {
        return Ok(Some(outcome));
    }
    if jobs::withdraw(&app.db, caller.id, job).await? == CancelVerdict::AtOnce {
        if let Some(key) = key {
            // The caller is told to try again, so its key must not name this job for a day.
            jobs::forget(&app.db, key, job).await?;
        }
        return Err(ApiError::unavailable(format!(
            "no worker had room for it within {} s",
            patience.as_secs_f64()
        )));
    }
    // It runs, or has ended this very moment.
    app.watch.look_at(job);
    waiter.outcome(None).await
}
