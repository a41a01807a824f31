//! Bytes on their way between a caller and a session.

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use serde::{Deserialize, Serialize};

use crate::id::TransferId;

/// Bytes of a job: in its row while they are few, else in the object store.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "in", rename_all = "snake_case")]
pub enum Content {
    /// Here.
    Row {
        /// The bytes.
        #[serde(with = "as_base64")]
        bytes: Vec<u8>,
    },
    /// In the object store.
    Transfer {
        /// Under which key.
        id: TransferId,
        /// How many bytes.
        size: u64,
    },
}

impl Content {
    /// The most that travels in a row, in bytes.
    pub const MAX_IN_ROW: usize = 64 * 1024;

    /// How many bytes it is.
    pub fn size(&self) -> u64 {
        match self {
            Self::Row { bytes } => bytes.len() as u64,
            Self::Transfer { size, .. } => *size,
        }
    }
}

/// Bytes as text of JSON.
mod as_base64 {
    use serde::{Deserializer, Serializer, de::Error};

    use super::{Deserialize, Engine, STANDARD};

    pub(super) fn serialize<S: Serializer>(bytes: &[u8], to: S) -> Result<S::Ok, S::Error> {
        to.serialize_str(&STANDARD.encode(bytes))
    }

    pub(super) fn deserialize<'a, D: Deserializer<'a>>(from: D) -> Result<Vec<u8>, D::Error> {
        let text = String::deserialize(from)?;
        // Without the error's text, which may repeat a byte of the caller's.
        STANDARD
            .decode(text)
            .map_err(|_error| D::Error::custom("bytes that are no base64"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_stored_form_stays_as_it_is() {
        let id: TransferId = "0190b0c0-0000-7000-8000-000000000001".parse().unwrap();
        for (content, json) in [
            (
                Content::Row {
                    bytes: vec![0, 0xff],
                },
                r#"{"in":"row","bytes":"AP8="}"#.to_owned(),
            ),
            (
                Content::Transfer { id, size: 70_000 },
                format!(r#"{{"in":"transfer","id":"{id}","size":70000}}"#),
            ),
        ] {
            assert_eq!(serde_json::to_string(&content).unwrap(), json);
            assert_eq!(serde_json::from_str::<Content>(&json).unwrap(), content);
        }
        assert!(serde_json::from_str::<Content>(r#"{"in":"row","bytes":"?"}"#).is_err());
    }
}
