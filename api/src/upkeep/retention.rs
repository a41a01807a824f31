//! Removing rows that are too old, a few at a time.

use std::time::Duration;

use tokio::time::MissedTickBehavior;
use warren_common::blobs::Blobs;
use warren_common::store::chores::{self, Chore};
use warren_common::store::retention::{self, Step, Walk};
use warren_common::store::{Db, DbError, batches, keys, login_failures};
use warren_common::telemetry::{chain, metrics};

use super::blobs::{remove_expired_transfers, remove_over_contents};
use crate::auth::tokens::FAMILY_LIFE;
use crate::config::RetentionConfig;

/// Batches that one statement forgets.
const BATCHES: i64 = 500;
/// Longer than records may keep their node waiting.
const ARRIVAL_LIMIT: Duration = Duration::from_secs(600);
/// The longest time between two rounds.
const LONGEST_PERIOD: Duration = Duration::from_secs(60);
/// The shortest.
const SHORTEST_PERIOD: Duration = Duration::from_millis(200);
/// Between two steps of a round, so that whoever answers callers gets at the disk too.
const PAUSE: Duration = Duration::from_millis(20);

/// Removes what is older than it is kept, for ever.
pub(crate) async fn run(db: Db, blobs: Blobs, keep: RetentionConfig) {
    let period = period(&keep);
    let mut pace = tokio::time::interval(period);
    pace.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        pace.tick().await;
        match chores::take(&db, Chore::Retention, period).await {
            Ok(true) => round(&db, &blobs, &keep).await,
            Ok(false) => {}
            Err(error) => tracing::debug!(error = %error, "A round of retention was put off"),
        }
    }
}

/// How often: a small part of the shortest time that anything is kept.
fn period(keep: &RetentionConfig) -> Duration {
    let kept = [
        keep.jobs,
        keep.calls,
        keep.console,
        keep.sessions,
        keep.batches,
        keep.workers,
        keep.tokens,
        keep.audit,
    ];
    let shortest = kept.into_iter().min().unwrap_or(LONGEST_PERIOD);
    (shortest / 10).clamp(SHORTEST_PERIOD, LONGEST_PERIOD)
}

/// Everything once, from what refers to what is referred to. What fails does not hold up the rest.
async fn round(db: &Db, blobs: &Blobs, keep: &RetentionConfig) {
    let text = keep.console();
    walk("console_chunks", |at| {
        retention::console_chunks(db, at, text)
    })
    .await;
    walk("jobs", |at| retention::jobs(db, at, keep.jobs)).await;
    walk("calls", |at| retention::calls(db, at, keep.calls())).await;
    // Only now, so that no row is written that is to go anyway.
    walk("console_tails", |at| retention::console_tails(db, at, text)).await;
    walk("sessions", |at| retention::sessions(db, at, keep.sessions)).await;
    walk("workers", |at| retention::workers(db, at, keep.workers)).await;
    walk("audit", |at| retention::audit(db, at, keep.audit)).await;
    // Not a walk: one step after the other takes what expired first.
    walk("tokens", |_at| retention::tokens(db, keep.tokens)).await;
    // No token outlives its family, so nobody has one that such a key signed.
    repeat("signing_keys", u64::MAX, || {
        keys::remove_retired(db, FAMILY_LIFE)
    })
    .await;
    repeat("login_failures", login_failures::STEP, || {
        login_failures::remove_old(db)
    })
    .await;
    match batches::abandon_stale(db, ARRIVAL_LIMIT).await {
        Ok(()) => {
            repeat("batches", BATCHES.unsigned_abs(), || {
                batches::remove_old(db, keep.batches, BATCHES)
            })
            .await;
        }
        Err(error) => put_off("batches", &error),
    }
    if let Err(error) = remove_over_contents(db, blobs, keep.jobs).await {
        let cause = chain(&error);
        tracing::warn!(cause, "Contents of services could not all be removed");
    }
    if let Err(error) = remove_expired_transfers(db, blobs).await {
        let cause = chain(&error);
        tracing::warn!(cause, "Expired transfers could not all be removed");
    }
}

/// Says what another round has to do.
fn put_off(what: &str, error: &DbError) {
    if error.is_away() {
        tracing::debug!(error = %error, "The retention of {what} was put off");
    } else {
        tracing::warn!(error = %error, "The retention of {what} was refused");
    }
}

/// Removes, statement by statement, what does not count any more; each removes `step` rows as long as there are so many.
async fn repeat<F>(what: &'static str, step: u64, removal: impl Fn() -> F)
where
    F: Future<Output = Result<u64, DbError>>,
{
    loop {
        match removal().await {
            Ok(removed) => {
                metrics().removed(what, removed);
                if removed < step {
                    return;
                }
            }
            Err(error) => return put_off(what, &error),
        }
        tokio::time::sleep(PAUSE).await;
    }
}

/// Steps along a table to its end.
async fn walk<F>(what: &'static str, step: impl Fn(Walk) -> F)
where
    F: Future<Output = Result<Step, DbError>>,
{
    let mut next = Some(Walk::default());
    while let Some(at) = next {
        match step(at).await {
            Ok(step) => {
                metrics().removed(what, step.removed);
                next = step.next;
            }
            Err(error) => return put_off(what, &error),
        }
        if next.is_some() {
            tokio::time::sleep(PAUSE).await;
        }
    }
}
