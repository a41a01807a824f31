//! Batches: one service called for many records.

pub mod delete;
pub mod files;
pub mod list;
pub mod read;
pub mod start;

use axum::extract::{FromRequestParts, Path};
use axum::http::request::Parts;
use serde::Deserialize;
use warren_common::id::BatchId;
use warren_common::store::batches::{self, Batch};

use super::services::Place;
use crate::app::{App, Shared};
use crate::auth::Caller;
use crate::error::ApiError;

/// A batch as a path names it, and perhaps a record of it and a file.
pub struct Execution {
    place: Place,
    id: BatchId,
    index: i32,
    file: String,
}

#[derive(Deserialize)]
struct Named {
    execution: String,
    index: Option<String>,
    file: Option<String>,
}

impl FromRequestParts<Shared> for Execution {
    type Rejection = ApiError;

    async fn from_request_parts(parts: &mut Parts, app: &Shared) -> Result<Self, ApiError> {
        let place = Place::from_request_parts(parts, app).await?;
        let Path(named) = Path::<Named>::from_request_parts(parts, app)
            .await
            .map_err(|rejection| ApiError::BadRequest(rejection.body_text()))?;
        let index = named.index.as_deref().unwrap_or("0");
        Ok(Self {
            place,
            // Whatever is no id names no batch.
            id: named.execution.parse().map_err(|_error| no_batch())?,
            index: index.parse().map_err(|_error| {
                ApiError::BadRequest(format!(
                    "{index:?} in the path is no number of a record; they count from 0"
                ))
            })?,
            file: named.file.unwrap_or_default(),
        })
    }
}

impl Execution {
    /// The service and its version.
    fn of(&self) -> Result<(&str, &str), ApiError> {
        Ok((&self.place.name, self.place.version()?))
    }

    async fn find(&self, app: &App, caller: &Caller) -> Result<Batch, ApiError> {
        let found = batches::find(&app.db, caller.sees_batches_of(), self.of()?, self.id).await?;
        found.ok_or_else(no_batch)
    }
}

fn no_batch() -> ApiError {
    ApiError::NotFound("you have no such batch execution of this service".to_owned())
}
