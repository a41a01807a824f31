//! Which pages of other origins may read answers.

use std::str::FromStr;
use std::time::Duration;

use axum::http::{HeaderName, HeaderValue, Method, Uri, header};
use tower_http::cors::{AllowOrigin, Any, CorsLayer};

/// How long a browser may keep the answer to a preflight; the most that any keeps it for.
const KEPT: Duration = Duration::from_secs(24 * 3600);

const METHODS: [Method; 6] = [
    Method::GET,
    Method::HEAD,
    Method::POST,
    Method::PUT,
    Method::PATCH,
    Method::DELETE,
];

/// What clients send.
const REQUEST_HEADERS: [HeaderName; 9] = [
    header::AUTHORIZATION,
    header::CONTENT_TYPE,
    header::IF_NONE_MATCH,
    header::IF_RANGE,
    header::RANGE,
    HeaderName::from_static("idempotency-key"),
    HeaderName::from_static("last-event-id"),
    HeaderName::from_static("prefer"),
    HeaderName::from_static("traceparent"),
];

/// What clients read, beyond what every page may.
const ANSWER_HEADERS: [HeaderName; 11] = [
    header::ACCEPT_RANGES,
    header::ALLOW,
    header::CONTENT_DISPOSITION,
    header::CONTENT_RANGE,
    header::ETAG,
    header::LINK,
    header::LOCATION,
    header::RETRY_AFTER,
    header::WWW_AUTHENTICATE,
    HeaderName::from_static("preference-applied"),
    HeaderName::from_static("x-request-id"),
];

/// Origins whose pages may read answers.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub enum CorsOrigins {
    /// None but the API's own.
    #[default]
    Off,
    /// Every one.
    Any,
    /// These.
    Listed(Vec<HeaderValue>),
}

impl CorsOrigins {
    /// What answers preflights and tells browsers so; none when no origin is listed.
    ///
    /// Without credentials: tokens are sent by pages themselves, and no browser adds one.
    pub fn layer(&self) -> Option<CorsLayer> {
        let origins = match self {
            Self::Off => return None,
            Self::Any => AllowOrigin::from(Any),
            Self::Listed(origins) => AllowOrigin::list(origins.clone()),
        };
        let layer = CorsLayer::new()
            .allow_origin(origins)
            .allow_methods(METHODS)
            .allow_headers(REQUEST_HEADERS)
            .expose_headers(ANSWER_HEADERS)
            .max_age(KEPT);
        Some(layer)
    }
}

impl FromStr for CorsOrigins {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let entries = text.split(',').map(str::trim);
        let entries = entries.filter(|entry| !entry.is_empty());
        let entries = entries.collect::<Vec<_>>();
        match entries[..] {
            [] => Ok(Self::Off),
            ["*"] => Ok(Self::Any),
            _ => entries
                .into_iter()
                .map(origin)
                .collect::<Result<_, _>>()
                .map(Self::Listed),
        }
    }
}

/// An origin, in the very form that browsers send it in: anything else would never be met.
fn origin(text: &str) -> Result<HeaderValue, String> {
    let wrong = || {
        format!(
            "{text:?} is no origin such as https://app.example.com (lower case, nothing behind host or port, no port that is the scheme's own)"
        )
    };
    let uri = text.parse::<Uri>().map_err(|_error| wrong())?;
    let scheme = uri.scheme_str().ok_or_else(wrong)?;
    let usual = match scheme {
        "http" => 80,
        "https" => 443,
        _ => return Err(wrong()),
    };
    let host = uri.host().unwrap_or_default();
    let port = uri
        .port_u16()
        .map_or(String::new(), |port| format!(":{port}"));
    let whole = format!("{scheme}://{}{port}", host.to_ascii_lowercase());
    // A star stands for nothing inside of a name.
    if text != whole || text.contains('*') || uri.port_u16() == Some(usual) {
        return Err(wrong());
    }
    HeaderValue::from_str(text).map_err(|_error| wrong())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn origins_are_listed_exactly_or_not_at_all() {
        let listed = |text: &str| text.parse::<CorsOrigins>().unwrap();
        assert_eq!(listed(""), CorsOrigins::Off);
        assert_eq!(listed(" , "), CorsOrigins::Off);
        assert_eq!(listed("*"), CorsOrigins::Any);
        let two = ["https://app.example.com", "http://[::1]:8080"];
        let expected = two.map(HeaderValue::from_static).to_vec();
        assert_eq!(listed(&two.join(", ")), CorsOrigins::Listed(expected));
    }

    #[test]
    fn what_no_browser_sends_is_refused() {
        for wrong in [
            "app.example.com",
            "https://app.example.com/",
            "https://app.example.com/path",
            "https://App.example.com",
            "https://app.example.com:443",
            "https://user@app.example.com",
            "ftp://app.example.com",
            "https://*.example.com",
            "null",
            "https://",
            "https://a.example.com,*",
        ] {
            let problem = wrong.parse::<CorsOrigins>().unwrap_err();
            assert!(problem.contains("is no origin"), "{problem}");
        }
    }
}
