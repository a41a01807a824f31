//! Files of a session's working directory.

pub mod delete;
pub mod list;
mod name;
pub mod read;
pub mod upload;

use axum::extract::{FromRequestParts, Path};
use axum::http::request::Parts;

pub(super) use name::checked;

use crate::app::Shared;
use crate::error::ApiError;

/// A file that the path names: `/sessions/{id}/files/{file}`.
pub struct FileName(String);

impl FromRequestParts<Shared> for FileName {
    type Rejection = ApiError;

    async fn from_request_parts(parts: &mut Parts, app: &Shared) -> Result<Self, ApiError> {
        // Decoded once.
        let Path((_session, name)) = Path::<(String, String)>::from_request_parts(parts, app)
            .await
            .map_err(|rejection| ApiError::BadRequest(rejection.body_text()))?;
        Ok(Self(name::checked(&name)?.to_owned()))
    }
}
