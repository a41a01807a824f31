//! `POST /login`

use axum::Json;
use axum::extract::State;
use serde::Deserialize;
use warren_common::store::principals;

use super::AccessTokenResponse;
use crate::app::Shared;
use crate::error::ApiError;
use crate::extract::SmallBody;

const WRONG: ApiError = ApiError::Unauthorized("the user name or the password is wrong");

/// Who wants to sign in.
#[derive(Deserialize)]
pub struct Login {
    username: String,
    password: String,
}

/// Checks name and password, and begins a token family.
pub async fn login(
    State(app): State<Shared>,
    SmallBody(login): SmallBody<Login>,
) -> Result<Json<AccessTokenResponse>, ApiError> {
    let Login { username, password } = login;
    // Postgres keeps no NUL in text, so nobody has such a name.
    let user = if username.contains('\0') {
        None
    } else {
        principals::local_user(&app.db, &username).await?
    };
    let user = user.filter(|user| !user.disabled);
    let hash = user.as_ref().map(|user| user.password_hash.clone());
    let fits = app.passwords.fits(password, hash).await?;
    let Some(user) = user.filter(|_user| fits) else {
        return Err(WRONG);
    };
    // None when the user was changed while the password was checked.
    let pair = app.tokens.begin(user.id, &user.password_hash).await?;
    Ok(Json(pair.ok_or(WRONG)?.into()))
}
