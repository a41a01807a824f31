//! Name and version in a path.

use axum::extract::{FromRequestParts, Path};
use axum::http::request::Parts;
use serde::Deserialize;

use crate::app::Shared;
use crate::error::ApiError;
use crate::submit::no_service;

/// The longest name or version.
const LONGEST: usize = 128;
/// Versions that would be taken for something else in a path.
const NO_VERSIONS: [&str; 3] = ["pool", "swagger.json", "batch"];

/// A version of a service, as a path names it.
#[derive(Deserialize)]
pub struct Place {
    /// The service.
    pub name: String,
    /// The version; absent where the path ends with the name.
    pub version: Option<String>,
}

impl FromRequestParts<Shared> for Place {
    type Rejection = ApiError;

    async fn from_request_parts(parts: &mut Parts, app: &Shared) -> Result<Self, ApiError> {
        let Path(place) = Path::<Self>::from_request_parts(parts, app)
            .await
            .map_err(|rejection| ApiError::BadRequest(rejection.body_text()))?;
        check("name", &place.name)?;
        if let Some(version) = &place.version {
            check("version", version)?;
            if NO_VERSIONS.contains(&version.as_str()) {
                return Err(ApiError::BadRequest(format!(
                    "{version:?} cannot be a version: it would be taken for a path of its own"
                )));
            }
        }
        Ok(place)
    }
}

impl Place {
    /// The version, on routes that have one.
    pub fn version(&self) -> Result<&str, ApiError> {
        self.version.as_deref().ok_or_else(|| self.unknown())
    }

    /// 404.
    pub fn unknown(&self) -> ApiError {
        no_service(&self.name, self.version.as_deref().unwrap_or_default())
    }
}

fn check(what: &str, text: &str) -> Result<(), ApiError> {
    let known = |letter: char| letter.is_ascii_alphanumeric() || "_.-".contains(letter);
    let fine = (1..=LONGEST).contains(&text.len())
        && text.chars().all(known)
        && !text.chars().all(|letter| letter == '.');
    if fine {
        Ok(())
    } else {
        Err(ApiError::BadRequest(format!(
            "the {what} {text:?} of a service must be 1 to {LONGEST} letters, digits, '_', '.' and '-', and not dots only"
        )))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_stay_in_their_place_in_a_path() {
        for good in [
            "add",
            "v1.0.0-rc_1",
            "0190b0c0-0000-7000-8000-000000000001",
            &"x".repeat(128),
        ] {
            assert!(check("name", good).is_ok(), "{good}");
        }
        for bad in ["", ".", "..", "a b", "a/b", "ä", "a%", &"x".repeat(129)] {
            assert!(check("name", bad).is_err(), "{bad}");
        }
    }
}
