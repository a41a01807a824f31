//! `Prefer` headers.

use std::time::Duration;

use axum::extract::FromRequestParts;
use axum::http::HeaderMap;
use axum::http::request::Parts;

use crate::app::Shared;
use crate::error::ApiError;

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
}
