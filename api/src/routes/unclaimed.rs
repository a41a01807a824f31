//! Waiting for a job that any worker may take, but not for ever for one that none takes.

use std::sync::Arc;
use std::time::Duration;

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
    /// How long nobody may have begun it; none when it was stored by an earlier request, which may have been promised more.
    pub(super) patience: Option<Duration>,
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
        patience,
    } = stored;
    let Some(patience) = patience.filter(|_patience| prefer.limit().is_none()) else {
        return waiter.outcome(prefer.limit()).await;
    };
    if let Some(outcome) = waiter.outcome(Some(patience)).await? {
        return Ok(Some(outcome));
    }
    let withdrawn = jobs::withdraw(&app.db, caller.id, job).await;
    let withdrawn = withdrawn.map_err(|error| {
        tracing::debug!(error = %error, "A job could not be withdrawn");
        ApiError::InDoubt(job)
    })?;
    if withdrawn == CancelVerdict::AtOnce {
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
