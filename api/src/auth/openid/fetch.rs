//! What a provider publishes: its discovery document and its keys. Small answers, in time, from the place that was asked.

use std::time::Duration;

use reqwest::header::{CACHE_CONTROL, HeaderMap};
use reqwest::redirect::Policy;
use reqwest::{Certificate, StatusCode, Url};
use serde::Deserialize;
use serde::de::DeserializeOwned;

use super::key_set::{KeyDocument, KeySet};
use crate::config::{OpenIdConfig, is_https_or_loopback};

/// How long connecting may take.
const CONNECT_LIMIT: Duration = Duration::from_secs(3);
/// How long one answer may take, from the first byte sent to the last received.
const ANSWER_LIMIT: Duration = Duration::from_secs(5);
/// Bytes that an answer may have.
const LARGEST: usize = 256 * 1024;
/// Bounds of how long keys are kept before they are read again, whatever the provider says.
const KEPT_AT_LEAST: Duration = Duration::from_mins(5);
const KEPT_AT_MOST: Duration = Duration::from_hours(24);
/// The same where it says nothing.
const KEPT: Duration = Duration::from_hours(1);

/// Why the keys of a provider could not be read.
#[derive(Debug, thiserror::Error)]
pub(super) enum FetchError {
    /// Nothing came, or not in time.
    #[error("{url} does not answer")]
    Http {
        /// What was asked for.
        url: String,
        /// What went wrong.
        #[source]
        source: reqwest::Error,
    },
    /// Something else than the document came.
    #[error("{url} answers {status}; it must be 200, and redirects are not followed")]
    Status {
        /// What was asked for.
        url: String,
        /// What came.
        status: StatusCode,
    },
    /// More came than such a document has.
    #[error("{url} answers with more than {LARGEST} bytes")]
    Large {
        /// What was asked for.
        url: String,
    },
    /// The document is none.
    #[error("{url} answers with something else than expected")]
    Document {
        /// What was asked for.
        url: String,
        /// What is wrong.
        #[source]
        source: serde_json::Error,
    },
    /// Another provider answers, or the setting has a slash too many.
    #[error(
        "the provider calls itself {named:?}, not {expected:?}; WARREN_OPENID_ISSUER must be exactly what it calls itself"
    )]
    Issuer {
        /// The setting.
        expected: String,
        /// What the discovery document says.
        named: String,
    },
    /// Keys that anybody on the way could change.
    #[error("the provider's keys are at {0:?}, which is no https URL")]
    KeysInTheOpen(String),
}

/// The provider cannot be asked at all.
#[derive(Debug, thiserror::Error)]
pub enum ClientError {
    /// The file of further authorities cannot be read.
    #[error("WARREN_OPENID_CA: the file {path} cannot be read")]
    ReadCa {
        /// Which.
        path: String,
        /// What the system said.
        #[source]
        source: std::io::Error,
    },
    /// There are no certificates in it.
    #[error("WARREN_OPENID_CA: the file {path} must hold certificates in PEM")]
    BadCa {
        /// Which.
        path: String,
        /// What is wrong with it; nothing when it holds none.
        #[source]
        source: Option<reqwest::Error>,
    },
    /// TLS cannot be set up.
    #[error(
        "no HTTPS client can be made for the OpenID provider; the package ca-certificates may be missing"
    )]
    Client(#[source] reqwest::Error),
}

/// Reads from a provider.
pub(super) struct Fetcher {
    http: reqwest::Client,
    issuer: String,
}

/// What of a discovery document is needed (OpenID Connect Discovery 1.0, section 3).
#[derive(Deserialize)]
struct Discovery {
    issuer: String,
    jwks_uri: String,
}

impl Fetcher {
    /// For the provider of this name.
    pub(super) fn new(issuer: &str, config: &OpenIdConfig) -> Result<Self, ClientError> {
        let mut builder = reqwest::Client::builder()
            .connect_timeout(CONNECT_LIMIT)
            .timeout(ANSWER_LIMIT)
            .redirect(Policy::none())
            .user_agent("warren");
        if let Some(path) = &config.ca {
            builder = builder.tls_certs_merge(authorities(path)?);
        }
        Ok(Self {
            http: builder.build().map_err(ClientError::Client)?,
            issuer: issuer.to_owned(),
        })
    }

    /// The keys as they are now, and how long they may be kept.
    pub(super) async fn keys(&self) -> Result<(KeySet, Duration), FetchError> {
        // Asked for each time: providers move their keys, rarely.
        let place = format!(
            "{}/.well-known/openid-configuration",
            self.issuer.trim_end_matches('/')
        );
        let (discovery, _headers): (Discovery, _) = self.document(&place).await?;
        if discovery.issuer != self.issuer {
            return Err(FetchError::Issuer {
                expected: self.issuer.clone(),
                named: discovery.issuer,
            });
        }
        let keys_at = discovery.jwks_uri;
        if !Url::parse(&keys_at).is_ok_and(|url| is_https_or_loopback(&url)) {
            return Err(FetchError::KeysInTheOpen(keys_at));
        }
        let (keys, headers): (KeyDocument, _) = self.document(&keys_at).await?;
        Ok((KeySet::read(keys), kept_for(&headers)))
    }

    async fn document<T: DeserializeOwned>(
        &self,
        place: &str,
    ) -> Result<(T, HeaderMap), FetchError> {
        let url = place.to_owned();
        let failed = |source: reqwest::Error| FetchError::Http {
            url: place.to_owned(),
            source: source.without_url(),
        };
        let mut response = self.http.get(place).send().await.map_err(failed)?;
        let status = response.status();
        if status != StatusCode::OK {
            return Err(FetchError::Status { url, status });
        }
        let mut body = Vec::new();
        while let Some(bytes) = response.chunk().await.map_err(failed)? {
            if body.len() + bytes.len() > LARGEST {
                return Err(FetchError::Large { url });
            }
            body.extend_from_slice(&bytes);
        }
        let document =
            serde_json::from_slice(&body).map_err(|source| FetchError::Document { url, source })?;
        Ok((document, std::mem::take(response.headers_mut())))
    }
}

fn authorities(path: &std::path::Path) -> Result<Vec<Certificate>, ClientError> {
    let name = || path.display().to_string();
    let pem = std::fs::read(path).map_err(|source| ClientError::ReadCa {
        path: name(),
        source,
    })?;
    match Certificate::from_pem_bundle(&pem) {
        Ok(authorities) if !authorities.is_empty() => Ok(authorities),
        other => Err(ClientError::BadCa {
            path: name(),
            source: other.err(),
        }),
    }
}

/// How long an answer may be kept, by its `Cache-Control` and our bounds.
fn kept_for(headers: &HeaderMap) -> Duration {
    let directives = headers.get_all(CACHE_CONTROL).iter();
    let directives = directives
        .filter_map(|value| value.to_str().ok())
        .flat_map(|value| value.split(','))
        .map(|directive| directive.trim().to_ascii_lowercase());
    let mut kept = KEPT;
    for directive in directives {
        if directive == "no-cache" || directive == "no-store" {
            return KEPT_AT_LEAST;
        }
        let age = directive.strip_prefix("max-age=");
        if let Some(seconds) = age.and_then(|age| age.trim_matches('"').parse().ok()) {
            kept = Duration::from_secs(seconds);
        }
    }
    kept.clamp(KEPT_AT_LEAST, KEPT_AT_MOST)
}

#[cfg(test)]
mod tests {
    use super::*;
    use reqwest::header::HeaderValue;

    #[test]
    fn keys_are_kept_as_the_provider_says_within_bounds() {
        for (value, kept) in [
            (None, KEPT),
            (Some("public, max-age=7200"), Duration::from_hours(2)),
            (Some("Max-Age=\"7200\""), Duration::from_hours(2)),
            (Some("max-age=1"), KEPT_AT_LEAST),
            (Some("max-age=99999999"), KEPT_AT_MOST),
            (Some("max-age=7200, no-cache"), KEPT_AT_LEAST),
            (Some("max-age=-1"), KEPT),
        ] {
            let mut headers = HeaderMap::new();
            if let Some(value) = value {
                headers.insert(CACHE_CONTROL, HeaderValue::from_static(value));
            }
            assert_eq!(kept_for(&headers), kept, "{value:?}");
        }
    }
}
