//! Waiting for jobs to come further: one set a node of those that somebody reads, looked at in one grouped query.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::sync::{Notify, watch};
use tokio::time::Instant;
use warren_common::id::JobId;
use warren_common::store::Db;
use warren_common::store::console::{self, Head};

use super::Mark;

/// Between two looks at the jobs that somebody waits for. A worker writes text that is 75 ms old; a reader is promised it within
/// 150 ms of its being printed, which leaves this much and nearly as much again for the statements.
const EVERY: Duration = Duration::from_millis(40);
/// Jobs asked for in one query.
const LARGEST: usize = 500;
/// The pause after a query that failed.
const PAUSE: Duration = Duration::from_millis(200);

/// How far the jobs have come that somebody on this node waits for.
#[derive(Clone, Default)]
pub struct Progress {
    inner: Arc<Inner>,
}

#[derive(Default)]
struct Inner {
    /// Each lives as long as somebody waits.
    jobs: Mutex<HashMap<JobId, watch::Sender<Option<Head>>>>,
    wake: Notify,
}

impl Progress {
    /// Waits until a job has come further than `mark`.
    ///
    /// The job is looked at only while somebody waits here: a reader that is busy with what it has costs nothing.
    pub async fn beyond(&self, job: JobId, mark: Mark) {
        let mut waiting = self.join(job);
        let news = |head: &Option<Head>| head.as_ref().is_some_and(|head| mark.is_behind(head));
        // The sender outlives this receiver.
        let _ = waiting.head.wait_for(news).await;
    }

    fn join(&self, job: JobId) -> Waiting {
        let mut jobs = self.inner.lock();
        let head = jobs
            .entry(job)
            .or_insert_with(|| watch::Sender::new(None))
            .subscribe();
        self.inner.wake.notify_one();
        Waiting {
            inner: Arc::clone(&self.inner),
            job,
            head,
        }
    }

    /// Looks at what somebody waits for, for ever.
    pub async fn poll(self, db: Db) {
        loop {
            let next = Instant::now() + EVERY;
            let watched: Vec<JobId> = self.inner.lock().keys().copied().collect();
            if watched.is_empty() {
                self.inner.wake.notified().await;
                continue;
            }
            for group in watched.chunks(LARGEST) {
                match console::heads(&db, group).await {
                    Ok(heads) => self.inner.tell(heads),
                    Err(error) => {
                        tracing::debug!(error = %error, "The jobs that are read could not be looked at");
                        tokio::time::sleep(PAUSE).await;
                    }
                }
            }
            tokio::time::sleep_until(next).await;
        }
    }
}

impl Inner {
    fn lock(&self) -> MutexGuard<'_, HashMap<JobId, watch::Sender<Option<Head>>>> {
        self.jobs.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn tell(&self, heads: Vec<Head>) {
        let jobs = self.lock();
        for head in heads {
            if let Some(waiting) = jobs.get(&head.job) {
                waiting.send_if_modified(|known| known.replace(head) != Some(head));
            }
        }
    }
}

/// Somebody who waits. Dropping it stops waiting.
struct Waiting {
    inner: Arc<Inner>,
    job: JobId,
    head: watch::Receiver<Option<Head>>,
}

impl Drop for Waiting {
    fn drop(&mut self) {
        let mut jobs = self.inner.lock();
        // This receiver is the last one.
        if jobs
            .get(&self.job)
            .is_some_and(|sender| sender.receiver_count() <= 1)
        {
            jobs.remove(&self.job);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use futures::FutureExt;
    use warren_common::model::JobState;

    fn head(job: JobId, chunks: i32) -> Head {
        Head {
            job,
            state: JobState::Running,
            attempt: 1,
            chunks,
        }
    }

    #[tokio::test]
    async fn who_waits_hears_of_news_and_of_nothing_else() {
        let progress = Progress::default();
        let job = JobId::new();
        let mut waiting = Box::pin(progress.beyond(job, Mark::of_text(2)));
        assert!(waiting.as_mut().now_or_never().is_none());
        progress
            .inner
            .tell(vec![head(job, 2), head(JobId::new(), 9)]);
        assert!(waiting.as_mut().now_or_never().is_none());
        progress.inner.tell(vec![head(job, 3)]);
        waiting.await;
    }

    #[tokio::test]
    async fn a_job_is_looked_at_as_long_as_somebody_waits_for_it() {
        let progress = Progress::default();
        let job = JobId::new();
        let mut one = Box::pin(progress.beyond(job, Mark::of_text(0)));
        let mut two = Box::pin(progress.beyond(job, Mark::of_text(0)));
        assert!(one.as_mut().now_or_never().is_none());
        assert!(two.as_mut().now_or_never().is_none());
        drop(one);
        assert_eq!(progress.inner.lock().len(), 1);
        drop(two);
        assert!(progress.inner.lock().is_empty());
    }
}
