//! Removing rows that are too old, a few at a time.

use std::time::Duration;

use tokio::time::MissedTickBehavior;
use warren_common::store::chores::{self, Chore};
use warren_common::store::retention::{self, Step, Walk};
use warren_common::store::{Db, DbError};
use warren_common::telemetry::{chain, metrics};

use crate::config::RetentionConfig;

/// The longest time between two rounds.
const LONGEST_PERIOD: Duration = Duration::from_secs(60);
/// The shortest.
const SHORTEST_PERIOD: Duration = Duration::from_millis(200);
/// Between two steps of a round, so that whoever answers callers gets at the disk too.
const PAUSE: Duration = Duration::from_millis(20);

/// Removes what is older than it is kept, for ever.
pub(crate) async fn run(db: Db, keep: RetentionConfig) {
    let period = period(&keep);
    let mut pace = tokio::time::interval(period);
    pace.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        pace.tick().await;
        let done = async {
            if chores::take(&db, Chore::Retention, period).await? {
                round(&db, &keep).await?;
            }
            Ok::<_, DbError>(())
        };
        if let Err(error) = done.await {
            if error.is_away() {
                tracing::debug!(error = %error, "A round of retention failed");
            } else {
                tracing::warn!(cause = chain(&error), "A round of retention was refused");
            }
        }
    }
}

/// How often: a small part of the shortest time that anything is kept.
fn period(keep: &RetentionConfig) -> Duration {
    let kept = [
        keep.jobs,
        keep.console,
        keep.sessions,
        keep.workers,
        keep.tokens,
    ];
    let shortest = kept.into_iter().min().unwrap_or(LONGEST_PERIOD);
    (shortest / 10).clamp(SHORTEST_PERIOD, LONGEST_PERIOD)
}

/// Everything once, from what refers to what is referred to.
async fn round(db: &Db, keep: &RetentionConfig) -> Result<(), DbError> {
    let text = keep.console();
    walk("console_chunks", async |at| {
        retention::console_chunks(db, at, text).await
    })
    .await?;
    if text < keep.jobs {
        walk("console_tails", async |at| {
            retention::console_tails(db, at, text).await
        })
        .await?;
    }
    walk("jobs", async |at| retention::jobs(db, at, keep.jobs).await).await?;
    walk("sessions", async |at| {
        retention::sessions(db, at, keep.sessions).await
    })
    .await?;
    walk("workers", async |at| {
        retention::workers(db, at, keep.workers).await
    })
    .await?;
    loop {
        let (removed, more) = retention::tokens(db, keep.tokens).await?;
        metrics().removed("tokens", removed);
        if !more {
            return Ok(());
        }
        tokio::time::sleep(PAUSE).await;
    }
}

/// Steps along a table to its end.
async fn walk(
    what: &'static str,
    mut step: impl AsyncFnMut(Walk) -> Result<Step, DbError>,
) -> Result<(), DbError> {
    let mut next = Some(Walk::default());
    while let Some(at) = next {
        let step = step(at).await?;
        metrics().removed(what, step.removed);
        next = step.next;
        if next.is_some() {
            tokio::time::sleep(PAUSE).await;
        }
    }
    Ok(())
}
