//! What handlers take from a request, each with an Error body of its own when it is not there.

mod body;
mod disposition;
mod prefer;
mod raw;
mod upload;

use std::str::FromStr;

use axum::extract::{FromRequestParts, Path, Query};
use axum::http::request::Parts;
use serde::de::DeserializeOwned;
use sha2::{Digest, Sha256};
use warren_common::telemetry::TraceContext;

pub use body::{Body, OptionalBody, SmallBody};
pub use prefer::Prefer;
pub use raw::ObjectBody;
pub use upload::{FilePart, Receive, Upload};

use crate::app::Shared;
use crate::error::ApiError;

/// The longest `Idempotency-Key`.
const LONGEST_KEY: usize = 255;

/// The one id in the path.
pub struct Id<T>(pub T);

impl<T: FromStr + Send> FromRequestParts<Shared> for Id<T> {
    type Rejection = ApiError;

    async fn from_request_parts(parts: &mut Parts, app: &Shared) -> Result<Self, ApiError> {
        let Path(text) = Path::<String>::from_request_parts(parts, app)
            .await
            .map_err(|rejection| ApiError::BadRequest(rejection.body_text()))?;
        id_in_path(&text).map(Self)
    }
}

/// An id that the path names.
pub fn id_in_path<T: FromStr>(text: &str) -> Result<T, ApiError> {
    let wrong = |_error| ApiError::BadRequest(format!("{text:?} in the path is no UUID"));
    text.parse().map_err(wrong)
}

/// The query, as fields that are all optional.
pub struct Params<T>(pub T);

impl<T: DeserializeOwned> FromRequestParts<Shared> for Params<T> {
    type Rejection = ApiError;

    async fn from_request_parts(parts: &mut Parts, app: &Shared) -> Result<Self, ApiError> {
        let Query(value) = Query::<T>::from_request_parts(parts, app)
            .await
            .map_err(|rejection| ApiError::BadRequest(rejection.body_text()))?;
        Ok(Self(value))
    }
}

/// The trace of the request, as it travels on with a job.
#[derive(Clone)]
pub struct Trace(pub String);

impl FromRequestParts<Shared> for Trace {
    type Rejection = ApiError;

    async fn from_request_parts(parts: &mut Parts, _app: &Shared) -> Result<Self, ApiError> {
        let context = parts.extensions.get::<TraceContext>().copied();
        Ok(Self(context.unwrap_or_default().to_string()))
    }
}

/// The `Idempotency-Key` header and a hash over method and path; the body is added when it is known.
#[derive(Clone, Default)]
pub struct Key {
    text: Option<String>,
    hash: Sha256,
}

impl Key {
    /// The caller sent one.
    pub fn is_some(&self) -> bool {
        self.text.is_some()
    }

    /// Adds what comes before the body, or a part of one that is never in memory as a whole.
    pub fn add(&mut self, bytes: &[u8]) {
        if self.text.is_some() {
            self.hash.update(bytes);
        }
    }

    /// The key and the hash over method, path and body, if the caller sent one.
    pub fn over(mut self, body: &[u8]) -> Option<(String, Vec<u8>)> {
        self.hash.update(body);
        let text = self.text?;
        Some((text, self.hash.finalize().to_vec()))
    }
}

impl FromRequestParts<Shared> for Key {
    type Rejection = ApiError;

    async fn from_request_parts(parts: &mut Parts, _app: &Shared) -> Result<Self, ApiError> {
        let mut hash = Sha256::new();
        let text = match parts.headers.get("idempotency-key") {
            Some(value) => Some(checked_key(value.to_str().unwrap_or_default())?),
            None => None,
        };
        if text.is_some() {
            hash.update(format!("{} {}\n", parts.method, parts.uri.path()));
        }
        Ok(Self { text, hash })
    }
}

fn checked_key(key: &str) -> Result<String, ApiError> {
    if key.is_empty() || key.len() > LONGEST_KEY {
        let expected = format!("Idempotency-Key must be 1 to {LONGEST_KEY} bytes of ASCII");
        return Err(ApiError::BadRequest(expected));
    }
    Ok(key.to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_have_a_length() {
        assert!(checked_key("").is_err());
        assert!(checked_key(&"k".repeat(255)).is_ok());
        assert!(checked_key(&"k".repeat(256)).is_err());
    }
}
