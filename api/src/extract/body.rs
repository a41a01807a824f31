//! JSON bodies.

use std::time::Duration;

use axum::body::Bytes;
use axum::extract::{FromRequest, Request};
use axum::http::{HeaderMap, header};
use http_body_util::BodyExt;
use serde::de::DeserializeOwned;

use crate::app::Shared;
use crate::error::ApiError;

/// How long a body may take to arrive.
const BODY_WAIT: Duration = Duration::from_secs(300);
/// How long a refused body is read, to no purpose but that the refusal arrives.
const SEE_OFF: Duration = Duration::from_secs(5);
/// The longest body of somebody who has not signed in.
const SMALL: usize = 16 * 1024;

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
        parse(&read(request, SMALL).await?).map(Self)
    }
}

async fn read(request: Request, limit: usize) -> Result<Bytes, ApiError> {
    check_type(request.headers())?;
    let announced = request
        .headers()
        .get(header::CONTENT_LENGTH)
        .and_then(|value| value.to_str().ok()?.parse::<u64>().ok());
    // Reading would ask such a caller to begin.
    let asks_first = request.headers().contains_key(header::EXPECT);
    let mut body = request.into_body();
    if announced.is_some_and(|length| length > u64::try_from(limit).unwrap_or(u64::MAX)) {
        if !asks_first {
            see_off(body);
        }
        return Err(ApiError::TooLarge(limit));
    }
    let arrival = tokio::time::timeout(BODY_WAIT, gather(&mut body, limit)).await;
    match arrival.unwrap_or(Err(ApiError::BodyTimeout)) {
        Err(error @ ApiError::TooLarge(_)) => {
            see_off(body);
            Err(error)
        }
        gathered => gathered,
    }
}

async fn gather(body: &mut axum::body::Body, limit: usize) -> Result<Bytes, ApiError> {
    let mut gathered = Vec::new();
    while let Some(frame) = body.frame().await {
        let broken = |_error| ApiError::BadRequest("the body did not arrive whole".to_owned());
        let Ok(data) = frame.map_err(broken)?.into_data() else {
            continue;
        };
        if gathered.len() + data.len() > limit {
            return Err(ApiError::TooLarge(limit));
        }
        gathered.extend_from_slice(&data);
    }
    Ok(gathered.into())
}

/// Throws away what a refused caller is still sending, for a while: closing at once would reset the connection, and the
/// caller would never read why it was refused.
pub(super) fn see_off(mut body: axum::body::Body) {
    let discard = async move { while let Some(Ok(_frame)) = body.frame().await {} };
    tokio::spawn(tokio::time::timeout(SEE_OFF, discard));
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
}
