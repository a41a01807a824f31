//! An attempt to sign in, wherever the password is checked.

use serde::Deserialize;

use crate::app::App;
use crate::auth::throttle::Attempt;
use crate::error::ApiError;

/// A name that nobody has is told like a password that does not fit.
pub(super) const WRONG: ApiError = ApiError::Unauthorized("the user name or the password is wrong");

/// Who wants to sign in.
#[derive(Deserialize)]
pub struct Login {
    pub(super) username: String,
    pub(super) password: String,
}

/// Waits until the password may be checked. `take`: waits for leave to check any, which is not held while nothing is checked.
pub(super) async fn turn<T, E, F>(
    app: &App,
    attempt: &Attempt,
    take: impl Fn() -> F,
) -> Result<T, ApiError>
where
    F: Future<Output = Result<T, E>>,
    ApiError: From<E>,
{
    let turn = take().await?;
    let wait = attempt.delay(&app.db).await?;
    if wait.is_zero() {
        return Ok(turn);
    }
    drop(turn);
    // The delay itself, half a minute at most: it is what slows down whoever guesses.
    let waited = tokio::time::sleep(wait);
    match app.leaving.run_until_cancelled(waited).await {
        Some(()) => Ok(take().await?),
        None => Err(ApiError::unavailable("this node is stopping")),
    }
}
