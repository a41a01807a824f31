//! Answers of bytes, as RFC 9110 has them: whole or a range, with a tag and a name.

use std::convert::Infallible;
use std::fmt::Write;

use axum::body::Body;
use axum::extract::FromRequestParts;
use axum::http::request::Parts;
use axum::http::{HeaderMap, HeaderName, HeaderValue, Method, StatusCode, header};
use axum::response::{IntoResponse, Response};
use warren_common::blobs::{BlobKey, Blobs};
use warren_common::model::{ByteRange, Content, Got, GotFile, Wanted};
use warren_common::paced::{STALL_LIMIT, paced};
use warren_common::telemetry::chain;

use crate::app::{App, Shared};
use crate::error::ApiError;
use crate::offers::FetchError;

/// What a request wants of a file, by its method and headers.
pub struct Conditions(pub Wanted);

impl FromRequestParts<Shared> for Conditions {
    type Rejection = Infallible;

    async fn from_request_parts(parts: &mut Parts, _app: &Shared) -> Result<Self, Infallible> {
        Ok(Self(wanted(&parts.method, &parts.headers)))
    }
}

fn wanted(method: &Method, headers: &HeaderMap) -> Wanted {
    let text = |name: HeaderName| headers.get(name).and_then(|value| value.to_str().ok());
    let tags = headers.get_all(header::IF_NONE_MATCH).iter();
    let tags = tags.filter_map(|value| value.to_str().ok());
    let tags = tags.flat_map(|text| text.split(','));
    Wanted {
        head: method == Method::HEAD,
        range: text(header::RANGE).and_then(byte_range),
        if_range: text(header::IF_RANGE).map(|tag| tag.trim().to_owned()),
        if_none_match: tags
            .map(|tag| tag.trim().to_owned())
            .filter(|tag| !tag.is_empty())
            .collect(),
    }
}

/// One range of bytes. What is malformed, or several at once, is as if it were not there: the RFC leaves that to the server.
fn byte_range(text: &str) -> Option<ByteRange> {
    let (unit, range) = text.split_once('=')?;
    let (first, last) = range.trim().split_once('-')?;
    if !unit.trim().eq_ignore_ascii_case("bytes") {
        return None;
    }
    // Numbers have digits only; `parse` would take a sign.
    let number = |text: &str| {
        let digits = !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
        digits.then(|| text.parse::<u64>().unwrap_or(u64::MAX))
    };
    match (first, last) {
        ("", last) => number(last).map(|length| ByteRange::Suffix { length }),
        (first, "") => number(first).map(|first| ByteRange::From { first, last: None }),
        (first, last) => {
            let (first, last) = (number(first)?, number(last)?);
            (first <= last).then_some(ByteRange::From {
                first,
                last: Some(last),
            })
        }
    }
}

/// What a `get_file` brought, as its caller reads it; none if its worker held the bytes ready and does not any more.
pub(super) async fn got_file(app: &App, file: GotFile) -> Result<Option<Response>, ApiError> {
    let GotFile {
        name,
        size,
        etag,
        got,
    } = file;
    let (first, length, body) = match got {
        Got::OutOfRange => return Err(ApiError::OutOfRange(size)),
        Got::NotModified => {
            let mut response = StatusCode::NOT_MODIFIED.into_response();
            tag(&mut response, &etag);
            return Ok(Some(response));
        }
        Got::Head => (None, size, Body::empty()),
        Got::Whole { content } => {
            let (length, body) = body(&app.blobs, content).await?;
            (None, length, body)
        }
        Got::Range { first, content } => {
            let (length, body) = body(&app.blobs, content).await?;
            (Some(first), length, body)
        }
        Got::Offered {
            first,
            length,
            offer,
        } => match app.offers.fetch(offer, length).await {
            Ok(fetching) => (
                first,
                length,
                Body::from_stream(paced(fetching, STALL_LIMIT)),
            ),
            Err(FetchError::NoPlace) => return Ok(None),
            Err(error) => {
                tracing::warn!("A file goes through the object store: {}", chain(&error));
                return Ok(None);
            }
        },
    };
    let mut response = body.into_response();
    if let Some(first) = first {
        *response.status_mut() = StatusCode::PARTIAL_CONTENT;
        let last = (first + length).saturating_sub(1);
        let range = format!("bytes {first}-{last}/{size}");
        set(&mut response, header::CONTENT_RANGE, &range);
    }
    describe(&mut response, Some(length), Some(&name));
    tag(&mut response, &etag);
    Ok(Some(response))
}

/// Bytes that are given out under a name.
pub(super) async fn bytes(
    blobs: &Blobs,
    content: Content,
    name: &str,
) -> Result<Response, ApiError> {
    let (length, body) = body(blobs, content).await?;
    let mut response = body.into_response();
    describe(&mut response, Some(length), Some(name));
    Ok(response)
}

/// A blob that never changes.
pub(super) struct Stored {
    /// Where it is.
    pub(super) key: BlobKey,
    /// Its bytes.
    pub(super) size: u64,
    /// Its entity tag, with its quotes.
    pub(super) etag: String,
    /// What a file of it is called.
    pub(super) name: String,
    /// Its media type.
    pub(super) kind: &'static str,
}

/// What is wanted of a blob, read from the store while it is sent.
pub(super) async fn stored(
    blobs: &Blobs,
    stored: &Stored,
    wanted: &Wanted,
) -> Result<Response, ApiError> {
    let is_known = |known: &String| *known == stored.etag || known == "*";
    let mut response = if wanted.if_none_match.iter().any(is_known) {
        StatusCode::NOT_MODIFIED.into_response()
    } else {
        let of_this = |tag: &String| *tag == stored.etag;
        let range = wanted
            .range
            .filter(|_range| wanted.if_range.as_ref().is_none_or(of_this));
        let range = match range {
            Some(range) => Some(
                range
                    .within(stored.size)
                    .ok_or(ApiError::OutOfRange(stored.size))?,
            ),
            None => None,
        };
        let (status, length) = match &range {
            Some(range) => (StatusCode::PARTIAL_CONTENT, range.end - range.start),
            None => (StatusCode::OK, stored.size),
        };
        let body = if wanted.head {
            Body::empty()
        } else {
            let download = blobs.download(stored.key, range.clone()).await?;
            Body::from_stream(paced(download, STALL_LIMIT))
        };
        let mut response = (status, body).into_response();
        describe(&mut response, Some(length), Some(&stored.name));
        set(&mut response, header::CONTENT_TYPE, stored.kind);
        if let Some(range) = range {
            let text = format!("bytes {}-{}/{}", range.start, range.end - 1, stored.size);
            set(&mut response, header::CONTENT_RANGE, &text);
        }
        response
    };
    tag(&mut response, &stored.etag);
    Ok(response)
}

/// The bytes as a body that is read from the store while it is sent.
async fn body(blobs: &Blobs, content: Content) -> Result<(u64, Body), ApiError> {
    let download = blobs.open(content, None).await?;
    let length = download.size();
    Ok((length, Body::from_stream(paced(download, STALL_LIMIT))))
}

fn describe(response: &mut Response, length: Option<u64>, name: Option<&str>) {
    if let Some(length) = length {
        set(response, header::CONTENT_LENGTH, &length.to_string());
    }
    set(response, header::CONTENT_TYPE, "application/octet-stream");
    // No browser is to take a file of somebody's session for a page.
    set(response, header::X_CONTENT_TYPE_OPTIONS, "nosniff");
    let disposition = name.map_or("attachment".to_owned(), disposition);
    set(response, header::CONTENT_DISPOSITION, &disposition);
}

fn tag(response: &mut Response, etag: &str) {
    set(response, header::ETAG, etag);
    set(response, header::ACCEPT_RANGES, "bytes");
}

fn set(response: &mut Response, name: HeaderName, value: &str) {
    if let Ok(value) = HeaderValue::from_str(value) {
        response.headers_mut().insert(name, value);
    }
}

/// `Content-Disposition` of RFC 6266: the name for clients that know ASCII only, and where that is not all, in UTF-8.
fn disposition(name: &str) -> String {
    let plain: String = name
        .chars()
        .map(|letter| match letter {
            // A percent sign is left out as well: some clients would decode it.
            '"' | '\\' | '%' => '_',
            ' '..='~' => letter,
            _ => '_',
        })
        .collect();
    if plain == name {
        return format!("attachment; filename=\"{plain}\"");
    }
    let mut encoded = String::new();
    for byte in name.bytes() {
        if byte.is_ascii_alphanumeric() || b"!#$&+-.^_`|~".contains(&byte) {
            encoded.push(char::from(byte));
        } else {
            // Writing to a string does not fail.
            let _ = write!(encoded, "%{byte:02X}");
        }
    }
    format!("attachment; filename=\"{plain}\"; filename*=UTF-8''{encoded}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_range_is_read_and_what_is_strange_is_none() {
        let from = |first, last| Some(ByteRange::From { first, last });
        for (text, range) in [
            ("bytes=0-", from(0, None)),
            ("Bytes = 2-4", from(2, Some(4))),
            ("bytes=-5", Some(ByteRange::Suffix { length: 5 })),
            ("bytes=0-99999999999999999999", from(0, Some(u64::MAX))),
            ("bytes=4-2", None),
            ("bytes=-", None),
            ("bytes=+1-2", None),
            ("bytes=0-1,3-4", None),
            ("items=0-1", None),
            ("bytes", None),
        ] {
            assert_eq!(byte_range(text), range, "{text}");
        }
    }

    #[test]
    fn conditions_are_read_from_all_their_headers() {
        let mut headers = HeaderMap::new();
        headers.append(header::IF_NONE_MATCH, "\"1\", W/\"2\"".parse().unwrap());
        headers.append(header::IF_NONE_MATCH, "*".parse().unwrap());
        headers.append(header::IF_RANGE, " \"3\"".parse().unwrap());
        let wanted = wanted(&Method::HEAD, &headers);
        assert!(wanted.head);
        assert_eq!(wanted.if_none_match, ["\"1\"", "W/\"2\"", "*"]);
        assert_eq!(wanted.if_range.as_deref(), Some("\"3\""));
    }

    #[test]
    fn a_name_of_any_letters_survives() {
        for (name, value) in [
            ("a b.csv", r#"attachment; filename="a b.csv""#),
            (
                "ünï.csv",
                r#"attachment; filename="_n_.csv"; filename*=UTF-8''%C3%BCn%C3%AF.csv"#,
            ),
            (
                "50% \"x\"\\",
                r#"attachment; filename="50_ _x__"; filename*=UTF-8''50%25%20%22x%22%5C"#,
            ),
        ] {
            assert_eq!(disposition(name), value);
        }
    }
}
