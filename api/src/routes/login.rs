//! `POST /login`

use axum::Json;
use axum::extract::State;
use serde::{Deserialize, Serialize};
use warren_common::id::FamilyId;
use warren_common::store::principals::{self, Lives};

use crate::app::Shared;
use crate::auth::Caller;
use crate::auth::tokens::refresh_token;
use crate::error::ApiError;
use crate::extract::SmallBody;

const DAY: f64 = 86_400.0;
/// How long a refresh token lives, and everything that descends from one sign-in.
const LIVES: Lives = Lives {
    family_seconds: 90.0 * DAY,
    refresh_seconds: 14.0 * DAY,
};

/// Who wants to sign in.
#[derive(Deserialize)]
pub struct Login {
    username: String,
    password: String,
}

/// The tokens of a sign-in.
#[derive(Serialize)]
pub struct AccessTokenResponse {
    token_type: &'static str,
    access_token: String,
    expires_in: u64,
    /// Unix seconds; a string, as the inherited schema says.
    expires_on: String,
    refresh_token: String,
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
    let (id, hash) = user.map(|user| (user.id, user.password_hash)).unzip();
    let fits = app.passwords.fits(password, hash).await?;
    let (true, Some(id)) = (fits, id) else {
        return Err(ApiError::Unauthorized(
            "the user name or the password is wrong",
        ));
    };
    let caller = Caller { id, name: username };
    let family = FamilyId::new();
    let (refresh_token, refresh_hash) = refresh_token()?;
    principals::start_family(&app.db, family, id, &refresh_hash, LIVES).await?;
    let (access_token, expires) = app.tokens.issue(&caller, family)?;
    Ok(Json(AccessTokenResponse {
        token_type: "Bearer",
        access_token,
        expires_in: app.tokens.life().as_secs(),
        expires_on: expires.to_string(),
        refresh_token,
    }))
}
