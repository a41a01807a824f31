//! Table `chores`: work that is done now and then, by one node for all.

use std::time::Duration;

use super::{Db, DbError};

/// What is done now and then.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Chore {
    /// Closing sessions that nobody uses.
    Idle,
    /// Removing rows that are too old.
    Retention,
    /// Removing blobs that no row names.
    Blobs,
}

impl Chore {
    const fn name(self) -> &'static str {
        match self {
            Self::Idle => "idle",
            Self::Retention => "retention",
            Self::Blobs => "blobs",
        }
    }
}

/// True when a chore is due and now the caller's to do: nobody else takes it within `period`.
///
/// Nothing is held while it is done, so one that takes longer than `period` may be done by two at once. All of them stand that.
pub async fn take(db: &Db, chore: Chore, period: Duration) -> Result<bool, DbError> {
    const SQL: &str = "-- chores::take
        UPDATE chores SET due_at = now() + $2 * interval '1 second' WHERE name = $1 AND due_at <= now()";
    let taken = db
        .conn()
        .await?
        .execute("chores::take", SQL, &[&chore.name(), &period.as_secs_f64()])
        .await?;
    Ok(taken == 1)
}
