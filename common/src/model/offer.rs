//! Bytes that a worker holds ready for the API node that answers with them, past the object store.

use std::fmt;

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde::{Deserialize, Serialize};

/// Where the bytes of a job can be fetched, once and soon: `GET http://{at}/` with the token as bearer.
///
/// Whoever asked for them is on the line while the job runs, so that nobody needs them later. They are sent as they are read:
/// the first of a large file is there at once, and none of it goes into the store and out again.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Offer {
    /// Host and port of the worker.
    pub at: String,
    /// What opens it.
    pub token: OfferToken,
}

/// What opens an offer; it is never printed.
#[derive(Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct OfferToken(String);

impl OfferToken {
    /// A new one: 256 random bits, so that it can be looked up as it is.
    #[expect(
        clippy::new_without_default,
        reason = "a default token would be a surprise"
    )]
    pub fn new() -> Self {
        Self(URL_SAFE_NO_PAD.encode(rand::random::<[u8; 32]>()))
    }

    /// What somebody claims to be one.
    pub fn claimed(text: &str) -> Self {
        Self(text.to_owned())
    }

    /// The text itself, for the one request that needs it.
    pub fn reveal(&self) -> &str {
        &self.0
    }
}

impl fmt::Debug for OfferToken {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("[secret]")
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::{GetFileRequest, Got, GotFile};

    #[test]
    fn a_token_is_new_each_time_and_never_printed() {
        let offer = Offer {
            at: "worker:9466".to_owned(),
            token: OfferToken::new(),
        };
        assert_ne!(offer.token, OfferToken::new());
        assert_eq!(offer.token.reveal().len(), 43);
        assert!(!format!("{offer:?}").contains(offer.token.reveal()));
    }

    #[test]
    fn the_stored_form_stays_as_it_is() {
        let file = GotFile {
            name: "a".to_owned(),
            size: 9,
            etag: "\"1\"".to_owned(),
            got: Got::Offered {
                first: Some(2),
                length: 3,
                offer: Offer {
                    at: "w:1".to_owned(),
                    token: OfferToken::claimed("t"),
                },
            },
        };
        let json = r#"{"name":"a","size":9,"etag":"\"1\"","got":"offered","first":2,"length":3,"offer":{"at":"w:1","token":"t"}}"#;
        assert_eq!(serde_json::to_string(&file).unwrap(), json);
        assert_eq!(serde_json::from_str::<GotFile>(json).unwrap(), file);
    }

    #[test]
    fn a_request_that_allows_no_offer_is_that_of_versions_without_offers() {
        let json = r#"{"name":"a","wanted":{"head":false}}"#;
        let request: GetFileRequest = serde_json::from_str(json).unwrap();
        assert!(!request.offer);
        assert_eq!(serde_json::to_string(&request).unwrap(), json);
    }
}
