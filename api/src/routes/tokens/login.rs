//! `POST /login`

use std::net::IpAddr;

use axum::Json;
use axum::extract::State;
use serde::Deserialize;
use warren_common::store::principals;
use warren_common::store::tokens::Proof;

use super::{AccessTokenResponse, directory};
use crate::app::{App, Shared};
use crate::auth::throttle::Attempt;
use crate::auth::tokens::Pair;
use crate::error::ApiError;
use crate::extract::SmallBody;
use crate::transport::client::ClientAddress;

pub(super) const WRONG: ApiError = ApiError::Unauthorized("the user name or the password is wrong");

/// Who wants to sign in.
#[derive(Deserialize)]
pub struct Login {
    pub(super) username: String,
    pub(super) password: String,
}

/// Checks name and password, and begins a token family. After five failures it takes longer and longer, also to be told that it is
/// right: else whoever guesses would not wait for the answer.
pub async fn login(
    State(app): State<Shared>,
    ClientAddress(address): ClientAddress,
    SmallBody(login): SmallBody<Login>,
) -> Result<Json<AccessTokenResponse>, ApiError> {
    let pair = match &app.directory {
        Some(directory) => directory::sign_in(&app, directory, &login, address).await?,
        None => sign_in(&app, login, address).await?,
    };
    Ok(Json(pair.into()))
}

/// Signs a local user in.
async fn sign_in(app: &App, login: Login, address: IpAddr) -> Result<Pair, ApiError> {
    let Login { username, password } = login;
    let attempt = Attempt::new(&username, address);
    let turn = turn(app, &attempt, || app.passwords.turn()).await?;
    // Postgres keeps no NUL in text, so nobody has such a name.
    let user = if username.contains('\0') {
        None
    } else {
        principals::local_user(&app.db, &username).await?
    };
    let user = user.filter(|user| !user.disabled);
    let hash = user.as_ref().map(|user| user.password_hash.clone());
    let (fits, turn) = turn.fits(password, hash).await?;
    let Some(user) = user.filter(|_user| fits) else {
        // Before the next password is checked: many that come at once are no way around the delay.
        attempt.failed(&app.db).await?;
        drop(turn);
        return Err(WRONG);
    };
    attempt.succeeded(&app.db).await?;
    drop(turn);
    // None when the user was changed while the password was checked.
    let pair = app
        .tokens
        .begin(user.id, Proof::Password(&user.password_hash))
        .await?;
    pair.ok_or(WRONG)
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
    let waited = tokio::time::sleep(wait);
    match app.leaving.run_until_cancelled(waited).await {
        Some(()) => Ok(take().await?),
        None => Err(ApiError::unavailable("this node is stopping")),
    }
}
