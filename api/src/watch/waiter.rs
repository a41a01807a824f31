//! Somebody who waits.

use std::sync::Arc;
use std::time::Duration;

use tokio::sync::oneshot;
use warren_common::id::JobId;

use super::{Inner, Outcome};
use crate::error::ApiError;

/// Somebody who waits for a job. Dropping it stops waiting.
pub struct Waiter {
    pub(super) inner: Arc<Inner>,
    pub(super) job: JobId,
    pub(super) number: u64,
    pub(super) answer: oneshot::Receiver<Arc<Outcome>>,
}

impl Waiter {
    /// How the job ended; `None` when it has not within `limit`. Without a limit it waits until the job ends.
    pub async fn outcome(
        &mut self,
        limit: Option<Duration>,
    ) -> Result<Option<Arc<Outcome>>, ApiError> {
        let inner = Arc::clone(&self.inner);
        let elapsed = async {
            match limit {
                Some(limit) => tokio::time::sleep(limit).await,
                None => std::future::pending().await,
            }
        };
        tokio::select! {
            biased;
            answer = &mut self.answer => answer.map(Some).map_err(ApiError::internal),
            () = elapsed => Ok(None),
            () = inner.leaving.cancelled() => Err(ApiError::Leaving(self.job)),
        }
    }
}

impl Drop for Waiter {
    fn drop(&mut self) {
        let mut set = self.inner.lock();
        if let Some(entry) = set.entries.get_mut(&self.job) {
            let number = self.number;
            entry.waiters.retain(|(waiter, _sender)| *waiter != number);
            if entry.waiters.is_empty() {
                set.entries.remove(&self.job);
            }
        }
    }
}
