//! The lease: this worker's right to write, renewed by heartbeat.
//!
//! It is measured from the moment the last successful renewal was *sent*, on the monotonic clock, so it never looks
//! longer here than in the database.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use tokio::sync::watch;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;
use warren_common::model::WorkerIdentity;
use warren_common::store::{Db, workers};
use warren_common::telemetry::metrics;

use crate::config::LeaseConfig;

/// The pause after a renewal that failed.
const RETRY_PAUSE: Duration = Duration::from_millis(200);
/// This long before its end a lease counts as doubtful.
const MARGIN: Duration = Duration::from_secs(2);

/// Whether this worker may write.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Standing {
    /// It may.
    Valid,
    /// Postgres has not answered for so long that a sweeper may think otherwise: start nothing new.
    Doubtful,
    /// It may not, and never will again.
    Lost,
}

/// Where everybody in this process looks.
pub type LeaseWatch = watch::Receiver<Standing>;

/// Waits until the lease is not valid: what runs and can be run again may be run by somebody else soon.
pub async fn doubted(mut lease: LeaseWatch) {
    let _ = lease
        .wait_for(|standing| *standing != Standing::Valid)
        .await;
}

/// What a heartbeat tells besides "alive".
#[derive(Debug, Default)]
pub struct Load {
    /// Sessions held.
    pub sessions: AtomicUsize,
}

/// Renews until the lease is lost or `stop`.
pub struct Keeper {
    /// Where.
    pub db: Db,
    /// Whose.
    pub me: WorkerIdentity,
    /// How often and how long.
    pub config: LeaseConfig,
    /// What to tell.
    pub load: Arc<Load>,
    /// Cancelled once this worker takes no more work.
    pub draining: CancellationToken,
}

impl Keeper {
    /// Starts renewing a lease that was given at `registered`.
    pub fn start(self, registered: Instant, stop: CancellationToken) -> LeaseWatch {
        let (report, standing) = watch::channel(Standing::Valid);
        tokio::spawn(async move {
            stop.run_until_cancelled(self.keep(registered, &report))
                .await
        });
        standing
    }

    async fn keep(self, registered: Instant, report: &watch::Sender<Standing>) {
        let mut renewed = registered;
        loop {
            let sent = Instant::now();
            let pause = match self.renew_while_watching(renewed, report).await {
                Some(Ok(true)) => {
                    renewed = sent;
                    report.send_replace(Standing::Valid);
                    self.config.heartbeat
                }
                Some(Ok(false)) => {
                    report.send_replace(Standing::Lost);
                    return;
                }
                Some(Err(error)) => {
                    tracing::warn!(error = %error, "The lease could not be renewed");
                    RETRY_PAUSE
                }
                None => RETRY_PAUSE,
            };
            metrics().lease_age(renewed.elapsed());
            self.judge(renewed, report);
            if renewed.elapsed() > self.config.length + self.config.partition_limit {
                tracing::error!("PostgreSQL has been away for longer than WARREN_PARTITION_LIMIT");
                report.send_replace(Standing::Lost);
                return;
            }
            tokio::time::sleep(pause).await;
        }
    }

    /// One renewal; `None` when it took so long that trying anew is better. Doubt does not wait for its answer.
    async fn renew_while_watching(
        &self,
        renewed: Instant,
        report: &watch::Sender<Standing>,
    ) -> Option<Result<bool, warren_common::store::DbError>> {
        let sessions =
            i32::try_from(self.load.sessions.load(Ordering::Relaxed)).unwrap_or(i32::MAX);
        let draining = self.draining.is_cancelled();
        let renewal = workers::renew(&self.db, self.me, self.config.length, draining, sessions);
        tokio::pin!(renewal);
        let give_up = Instant::now() + self.config.length;
        loop {
            let doubt_at = self
                .doubtful_at(renewed)
                .max(Instant::now() + Duration::from_millis(1));
            tokio::select! {
                answer = &mut renewal => return Some(answer),
                () = tokio::time::sleep_until(doubt_at.min(give_up)) => self.judge(renewed, report),
            }
            if Instant::now() >= give_up {
                return None;
            }
            if *report.borrow() == Standing::Doubtful {
                return tokio::time::timeout_at(give_up, renewal).await.ok();
            }
        }
    }

    fn doubtful_at(&self, renewed: Instant) -> Instant {
        renewed + self.config.length - MARGIN.min(self.config.length / 4)
    }

    fn judge(&self, renewed: Instant, report: &watch::Sender<Standing>) {
        let standing = if Instant::now() < self.doubtful_at(renewed) {
            Standing::Valid
        } else {
            Standing::Doubtful
        };
        if *report.borrow() != standing {
            tracing::warn!("The lease is {standing:?} now");
            report.send_replace(standing);
        }
    }
}
