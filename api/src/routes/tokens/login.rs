//! `POST /login`

use std::net::IpAddr;

use axum::Json;
use axum::extract::State;
use axum::response::{IntoResponse, Response};
use serde::Deserialize;
use warren_common::store::principals;
use warren_common::store::tokens::Proof;

use super::{AccessTokenResponse, SignsInHere, directory};
use crate::app::{App, Shared};
use crate::audit::{Notes, Origin, Who};
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
    _here: SignsInHere,
    State(app): State<Shared>,
    ClientAddress(address): ClientAddress,
    origin: Origin,
    SmallBody(login): SmallBody<Login>,
) -> Response {
    // A name that nobody has is not recorded: it may be a password that was typed in the wrong place.
    let mut notes = Notes::new(&app.audit, origin);
    let signed_in = match &app.directory {
        Some(directory) => directory::sign_in(&app, directory, login, address, &mut notes).await,
        None => sign_in(&app, login, address, &mut notes).await,
    };
    let tokens = signed_in.map(|pair| Json(AccessTokenResponse::from(pair)));
    notes.attach(tokens.into_response())
}

/// Signs a local user in. `notes` says whose name it is, whether the password fits or not.
async fn sign_in(
    app: &App,
    login: Login,
    address: IpAddr,
    notes: &mut Notes<'_>,
) -> Result<Pair, ApiError> {
    let Login { username, password } = login;
    let attempt = Attempt::new(&username, address);
    let turn = turn(app, &attempt, || app.passwords.turn()).await?;
    // Postgres keeps no NUL in text, so nobody has such a name.
    let user = if username.contains('\0') {
        None
    } else {
        principals::local_user(&app.db, &username).await?
    };
    notes.who = user.as_ref().map(|user| Who {
        id: Some(user.id),
        name: username,
    });
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
    let proof = Proof::Password(&user.password_hash);
    // None when the user was changed while the password was checked.
    app.tokens.begin(user.id, proof).await?.ok_or(WRONG)
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
