//! Files of a session's working directory.

pub mod delete;
pub mod list;
mod name;
pub mod read;
pub mod upload;

use axum::extract::{FromRequestParts, Path};
use axum::http::request::Parts;
use warren_common::id::SessionId;

use crate::app::Shared;
use crate::error::ApiError;

/// A file that the path names: `/sessions/{id}/files/{file}`.
pub struct SessionFile {
    session: SessionId,
    name: String,
}

impl FromRequestParts<Shared> for SessionFile {
    type Rejection = ApiError;

    async fn from_request_parts(parts: &mut Parts, app: &Shared) -> Result<Self, ApiError> {
        // Each is decoded once.
        let Path((session, name)) = Path::<(String, String)>::from_request_parts(parts, app)
            .await
            .map_err(|rejection| ApiError::BadRequest(rejection.body_text()))?;
        let wrong = |_error| ApiError::BadRequest(format!("{session:?} in the path is no UUID"));
        Ok(Self {
            session: session.parse().map_err(wrong)?,
            name: name::checked(&name)?.to_owned(),
        })
    }
}
