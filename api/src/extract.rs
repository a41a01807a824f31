//! What handlers take from a request, each with an Error body of its own when it is not there.

use std::str::FromStr;
use std::time::Duration;

use axum::body::Bytes;
use axum::extract::{FromRequest, FromRequestParts, Path, Query, Request};
use axum::http::request::Parts;
use axum::http::{HeaderMap, header};
use serde::de::DeserializeOwned;
use sha2::{Digest, Sha256};
use warren_common::telemetry::TraceContext;

use crate::app::Shared;
use crate::error::ApiError;

/// How long a body may take to arrive.
const BODY_WAIT: Duration = Duration::from_secs(300);
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
        let wrong = |_error| ApiError::BadRequest(format!("{text:?} in the path is no UUID"));
        text.parse().map(Self).map_err(wrong)
    }
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
pub struct Trace(pub String);

impl FromRequestParts<Shared> for Trace {
    type Rejection = ApiError;

    async fn from_request_parts(parts: &mut Parts, _app: &Shared) -> Result<Self, ApiError> {
        let context = parts.extensions.get::<TraceContext>().copied();
        Ok(Self(context.unwrap_or_default().to_string()))
    }
}

/// The `Idempotency-Key` header and a hash over method and path; the body is added when it is known.
pub struct Key {
    text: Option<String>,
    hash: Sha256,
}

impl Key {
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

/// What the `Prefer` headers of RFC 7240 ask of a job-making call.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq)]
pub struct Prefer {
    respond_async: bool,
    wait: Option<Duration>,
}

impl Prefer {
    /// How long to wait before answering 202; `None` is until the job ends.
    pub fn limit(self) -> Option<Duration> {
        match (self.wait, self.respond_async) {
            (Some(wait), _) => Some(wait),
            (None, true) => Some(Duration::ZERO),
            (None, false) => None,
        }
    }

    /// What of it was done, for `Preference-Applied`.
    pub fn applied(self) -> String {
        let wait = self.wait.map(|wait| format!("wait={}", wait.as_secs()));
        let parts = [self.respond_async.then(|| "respond-async".to_owned()), wait];
        parts.into_iter().flatten().collect::<Vec<_>>().join(", ")
    }

    /// Reads them; preferences that are unknown or malformed are ignored, as the RFC wants.
    fn read(headers: &HeaderMap) -> Self {
        let mut prefer = Self::default();
        let values = headers.get_all("prefer").iter();
        let texts = values.filter_map(|value| value.to_str().ok());
        for preference in texts.flat_map(|text| text.split(',')) {
            let bare = preference.split(';').next().unwrap_or_default();
            let (name, value) = bare.split_once('=').unwrap_or((bare, ""));
            let value = value.trim().trim_matches('"');
            match name.trim().to_ascii_lowercase().as_str() {
                "respond-async" => prefer.respond_async = true,
                // The first of two wins.
                "wait" if prefer.wait.is_none() => {
                    prefer.wait = value
                        .parse::<u32>()
                        .ok()
                        .map(|seconds| Duration::from_secs(seconds.into()));
                }
                _ => {}
            }
        }
        prefer
    }
}

impl FromRequestParts<Shared> for Prefer {
    type Rejection = ApiError;

    async fn from_request_parts(parts: &mut Parts, _app: &Shared) -> Result<Self, ApiError> {
        Ok(Self::read(&parts.headers))
    }
}

/// A JSON body, with its bytes.
pub struct Body<T> {
    /// What it says.
    pub value: T,
    /// As it came.
    pub bytes: Bytes,
}

impl<T: DeserializeOwned> FromRequest<Shared> for Body<T> {
    type Rejection = ApiError;

    async fn from_request(request: Request, app: &Shared) -> Result<Self, ApiError> {
        let bytes = read(request, app.config.body_limit).await?;
        let value = parse(&bytes)?;
        Ok(Self { value, bytes })
    }
}

/// A JSON body all of whose members are optional; an empty one is `{}`.
pub struct OptionalBody<T> {
    /// What it says.
    pub value: T,
    /// As it came.
    pub bytes: Bytes,
}

impl<T: DeserializeOwned> FromRequest<Shared> for OptionalBody<T> {
    type Rejection = ApiError;

    async fn from_request(request: Request, app: &Shared) -> Result<Self, ApiError> {
        let bytes = read(request, app.config.body_limit).await?;
        let value = if bytes.trim_ascii().is_empty() {
            parse(b"{}")?
        } else {
            parse(&bytes)?
        };
        Ok(Self { value, bytes })
    }
}

/// A JSON body of somebody who has not signed in: small.
pub struct SmallBody<T>(pub T);

impl<T: DeserializeOwned> FromRequest<Shared> for SmallBody<T> {
    type Rejection = ApiError;

    async fn from_request(request: Request, _app: &Shared) -> Result<Self, ApiError> {
        parse(&read(request, 16 * 1024).await?).map(Self)
    }
}

async fn read(request: Request, limit: usize) -> Result<Bytes, ApiError> {
    check_type(request.headers())?;
    let announced = request
        .headers()
        .get(header::CONTENT_LENGTH)
        .and_then(|value| value.to_str().ok()?.parse::<u64>().ok());
    if announced.is_some_and(|length| length > u64::try_from(limit).unwrap_or(u64::MAX)) {
        return Err(ApiError::TooLarge(limit));
    }
    let arrival = axum::body::to_bytes(request.into_body(), limit);
    match tokio::time::timeout(BODY_WAIT, arrival).await {
        Ok(Ok(bytes)) => Ok(bytes),
        Ok(Err(error)) if is_limit(&error) => Err(ApiError::TooLarge(limit)),
        Ok(Err(_broken)) => Err(ApiError::BadRequest("the body did not arrive whole".into())),
        Err(_elapsed) => Err(ApiError::BodyTimeout),
    }
}

fn is_limit(error: &axum::Error) -> bool {
    let mut source = std::error::Error::source(error);
    while let Some(cause) = source {
        if cause.is::<http_body_util::LengthLimitError>() {
            return true;
        }
        source = cause.source();
    }
    false
}

/// Refuses wholly wrong types only; no type at all is taken for JSON.
fn check_type(headers: &HeaderMap) -> Result<(), ApiError> {
    let Some(value) = headers.get(header::CONTENT_TYPE) else {
        return Ok(());
    };
    let text = value.to_str().unwrap_or("something unreadable");
    let essence = text.split(';').next().unwrap_or_default().trim();
    let essence = essence.to_ascii_lowercase();
    let is_json =
        matches!(essence.as_str(), "application/json" | "text/json") || essence.ends_with("+json");
    if is_json || essence.is_empty() {
        Ok(())
    } else {
        Err(ApiError::UnsupportedMediaType(text.to_owned()))
    }
}

fn parse<T: DeserializeOwned>(bytes: &[u8]) -> Result<T, ApiError> {
    let text = std::str::from_utf8(bytes).map_err(|error| {
        let place = error.valid_up_to();
        ApiError::BadRequest(format!("the body is not UTF-8: see its byte {place}"))
    })?;
    serde_json::from_str(text)
        .map_err(|error| ApiError::BadRequest(format!("the body cannot be read: {error}")))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn prefer(values: &[&'static str]) -> Prefer {
        let mut headers = HeaderMap::new();
        for value in values {
            headers.append("prefer", value.parse().unwrap());
        }
        Prefer::read(&headers)
    }

    #[test]
    fn preferences_are_read_as_the_rfc_says() {
        assert_eq!(prefer(&[]).limit(), None);
        assert_eq!(prefer(&["respond-async"]).limit(), Some(Duration::ZERO));
        assert_eq!(
            prefer(&["Wait=\"7\""]).limit(),
            Some(Duration::from_secs(7))
        );
        let both = prefer(&["respond-async; x=1, wait=3"]);
        assert_eq!(both.limit(), Some(Duration::from_secs(3)));
        assert_eq!(both.applied(), "respond-async, wait=3");
        let two = prefer(&["wait = 4", "wait=9, return=minimal"]);
        assert_eq!(two.limit(), Some(Duration::from_secs(4)));
        assert_eq!(prefer(&["wait=-1", "wait=soon"]).limit(), None);
    }

    #[test]
    fn malformed_json_says_where() {
        let problem = parse::<serde_json::Value>(b"{\n  \"code\": }").unwrap_err();
        assert!(problem.to_string().contains("line 2 column"), "{problem}");
        let problem = parse::<serde_json::Value>(b"{\"code\":\"\xff\"}").unwrap_err();
        assert!(problem.to_string().contains("byte 9"), "{problem}");
    }

    #[test]
    fn only_wholly_wrong_types_are_refused() {
        for (kind, taken) in [
            ("application/json", true),
            ("application/json; charset=utf-8", true),
            ("application/problem+JSON", true),
            ("application/x-www-form-urlencoded", false),
            ("multipart/form-data", false),
        ] {
            let mut headers = HeaderMap::new();
            headers.insert(header::CONTENT_TYPE, kind.parse().unwrap());
            assert_eq!(check_type(&headers).is_ok(), taken, "{kind}");
        }
        assert!(check_type(&HeaderMap::new()).is_ok());
    }

    #[test]
    fn keys_have_a_length() {
        assert!(checked_key("").is_err());
        assert!(checked_key(&"k".repeat(255)).is_ok());
        assert!(checked_key(&"k".repeat(256)).is_err());
    }
}
