//! Objects of a session's workspace.

pub mod delete;
pub mod list;
pub mod read;
pub mod upload;

use axum::extract::{FromRequestParts, Path};
use axum::http::request::Parts;

use crate::app::Shared;
use crate::error::ApiError;

/// The longest name of an object in R, in bytes.
const LONGEST_NAME: usize = 10_000;

/// An object that the path names: `/sessions/{id}/workspace/{object}`.
pub struct ObjectName(String);

impl FromRequestParts<Shared> for ObjectName {
    type Rejection = ApiError;

    async fn from_request_parts(parts: &mut Parts, app: &Shared) -> Result<Self, ApiError> {
        // Decoded once.
        let Path((_session, name)) = Path::<(String, String)>::from_request_parts(parts, app)
            .await
            .map_err(|rejection| ApiError::BadRequest(rejection.body_text()))?;
        check(&name)?;
        Ok(Self(name))
    }
}

/// In R an object may be called anything else.
fn check(name: &str) -> Result<(), ApiError> {
    let problem = if name.is_empty() {
        "is empty".to_owned()
    } else if name.len() > LONGEST_NAME {
        format!("is longer than {LONGEST_NAME} bytes")
    } else if name.contains('\0') {
        "has a NUL character in it".to_owned()
    } else {
        return Ok(());
    };
    Err(ApiError::BadRequest(format!(
        "the name of the object {problem}"
    )))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_that_r_cannot_have_are_refused() {
        for good in ["x", ".x", "a b", "a/b", "..", "\u{7f}", &"n".repeat(10_000)] {
            assert!(check(good).is_ok(), "{good:?}");
        }
        for bad in ["", "a\0", &"n".repeat(10_001)] {
            assert!(check(bad).is_err(), "{bad:?}");
        }
    }
}
