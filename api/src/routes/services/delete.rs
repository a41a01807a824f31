//! `DELETE /services/{name}/{version}`

use axum::Json;
use axum::extract::State;
use warren_common::store::services::{self, Removed};

use super::place::Place;
use crate::app::Shared;
use crate::auth::Caller;
use crate::error::ApiError;
use crate::submit::not_yours;

/// Deletes a version. Calls that were accepted before are answered.
pub async fn delete(
    State(app): State<Shared>,
    caller: Caller,
    place: Place,
) -> Result<Json<&'static str>, ApiError> {
    match services::remove(&app.db, caller.publisher(), &place.name, place.version()?).await? {
        Removed::Yes => Ok(Json("the service is deleted")),
        Removed::NotYours => Err(not_yours(&place.name)),
        Removed::Unknown => Err(place.unknown()),
    }
}
