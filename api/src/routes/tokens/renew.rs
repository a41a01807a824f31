//! `POST /login/refreshToken`

use axum::Json;
use axum::extract::State;
use serde::Deserialize;

use super::{AccessTokenResponse, SignsInHere, directory};
use crate::app::Shared;
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
    SmallBody(renewal): SmallBody<Renewal>,
) -> Result<Json<AccessTokenResponse>, ApiError> {
    if let Some(directory) = &app.directory {
        directory::look_again(&app, directory, &renewal.refresh_token).await?;
    }
    let pair = app.tokens.renew(&renewal.refresh_token).await?;
    Ok(Json(pair.into()))
}
