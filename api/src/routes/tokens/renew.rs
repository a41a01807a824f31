//! `POST /login/refreshToken`

use axum::Json;
use axum::extract::State;
use axum::response::{IntoResponse, Response};
use serde::Deserialize;

use super::{AccessTokenResponse, SignsInHere, directory};
use crate::app::{App, Shared};
use crate::audit::{Notes, Origin};
use crate::auth::tokens::Pair;
use crate::error::ApiError;
use crate::extract::SmallBody;

/// What is exchanged.
#[derive(Deserialize)]
pub struct Renewal {
    #[serde(rename = "refreshToken")]
    refresh_token: String,
}

/// Exchanges a refresh token for a new pair; the pair before stops working. Whoever comes from a directory must still be there.
pub async fn renew(
    _here: SignsInHere,
    State(app): State<Shared>,
    origin: Origin,
    SmallBody(renewal): SmallBody<Renewal>,
) -> Response {
    let mut notes = Notes::new(&app.audit, origin);
    let renewed = exchange(&app, &renewal.refresh_token, &mut notes).await;
    let tokens = renewed.map(|pair| Json(AccessTokenResponse::from(pair)));
    notes.attach(tokens.into_response())
}

async fn exchange(app: &App, refresh: &str, notes: &mut Notes<'_>) -> Result<Pair, ApiError> {
    if let Some(directory) = &app.directory {
        directory::look_again(app, directory, refresh, notes).await?;
    }
    app.tokens.renew(refresh, notes).await
}
