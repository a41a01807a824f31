//! What travels: a tagged enum of ids, with the version in the name of the variant.

use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;

use crate::id::{JobId, SessionId};
use crate::model::JobState;

/// A message. Adding a variant is safe; changing one is not: write `…V2` beside `…V1` and read both for one release.
#[derive(Debug, Serialize, Deserialize)]
#[serde(tag = "kind", content = "args")]
pub enum Notice {
    /// A session wants a worker.
    #[serde(rename = "open_session_v1")]
    OpenSessionV1 {
        /// The job that opens it.
        job: JobId,
    },
    /// A session that you hold has work.
    #[serde(rename = "session_work_v1")]
    SessionWorkV1 {
        /// Which.
        session: SessionId,
    },
    /// A session that you hold has work that needs no R.
    #[serde(rename = "aside_work_v1")]
    AsideWorkV1 {
        /// Which.
        session: SessionId,
    },
    /// A job that you may be running is to be cancelled.
    #[serde(rename = "cancel_v1")]
    CancelV1 {
        /// Its session.
        session: SessionId,
        /// Which job: another one is not touched.
        job: JobId,
    },
    /// A session that you hold is to be closed.
    #[serde(rename = "close_v1")]
    CloseV1 {
        /// Which.
        session: SessionId,
        /// Do not wait for R.
        force: bool,
    },
    /// A job that you may be waiting for is final.
    #[serde(rename = "finished_v1")]
    FinishedV1 {
        /// Which.
        job: JobId,
        /// What it left, when that is small; else read the row.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        left: Option<Box<Finished>>,
    },
}

/// What a job left, small enough to travel.
#[derive(Debug, Serialize, Deserialize)]
pub struct Finished {
    /// How it ended.
    pub state: JobState,
    /// The stored result.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub result: Option<Box<RawValue>>,
    /// All of the console text.
    #[serde(default)]
    pub console: String,
    /// Why, where the result does not say.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reason: Option<String>,
}

impl Notice {
    /// As it travels.
    pub(super) fn encode(&self) -> Vec<u8> {
        serde_json::to_vec(self).unwrap_or_default()
    }

    /// As it arrived; `None` for bytes that no version of this code writes.
    pub(super) fn decode(bytes: &[u8]) -> Option<Self> {
        serde_json::from_slice(bytes).ok()
    }

    /// The name of the variant, for logs and metrics.
    pub const fn name(&self) -> &'static str {
        match self {
            Self::OpenSessionV1 { .. } => "open_session_v1",
            Self::SessionWorkV1 { .. } => "session_work_v1",
            Self::AsideWorkV1 { .. } => "aside_work_v1",
            Self::CancelV1 { .. } => "cancel_v1",
            Self::CloseV1 { .. } => "close_v1",
            Self::FinishedV1 { .. } => "finished_v1",
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const ID: &str = "0190b0c0-0000-7000-8000-000000000001";

    fn golden() -> [(Notice, String); 6] {
        let session: SessionId = ID.parse().unwrap();
        let job: JobId = ID.parse().unwrap();
        let left = Finished {
            state: JobState::Succeeded,
            result: Some(RawValue::from_string("{\"a\":1.50}".to_owned()).unwrap()),
            console: "[1] 2\n".to_owned(),
            reason: None,
        };
        [
            (
                Notice::OpenSessionV1 { job },
                format!(r#"{{"kind":"open_session_v1","args":{{"job":"{ID}"}}}}"#),
            ),
            (
                Notice::SessionWorkV1 { session },
                format!(r#"{{"kind":"session_work_v1","args":{{"session":"{ID}"}}}}"#),
            ),
            (
                Notice::AsideWorkV1 { session },
                format!(r#"{{"kind":"aside_work_v1","args":{{"session":"{ID}"}}}}"#),
            ),
            (
                Notice::CancelV1 { session, job },
                format!(r#"{{"kind":"cancel_v1","args":{{"session":"{ID}","job":"{ID}"}}}}"#),
            ),
            (
                Notice::CloseV1 {
                    session,
                    force: true,
                },
                format!(r#"{{"kind":"close_v1","args":{{"session":"{ID}","force":true}}}}"#),
            ),
            (
                Notice::FinishedV1 {
                    job,
                    left: Some(Box::new(left)),
                },
                format!(
                    r#"{{"kind":"finished_v1","args":{{"job":"{ID}","left":{{"state":"succeeded","result":{{"a":1.50}},"console":"[1] 2\n"}}}}}}"#
                ),
            ),
        ]
    }

    #[test]
    fn the_bytes_on_the_wire_stay_as_they_are() {
        for (notice, bytes) in golden() {
            assert_eq!(String::from_utf8(notice.encode()).unwrap(), bytes);
            let read = Notice::decode(bytes.as_bytes()).unwrap();
            assert_eq!(String::from_utf8(read.encode()).unwrap(), bytes);
        }
    }

    #[test]
    fn bytes_of_nobody_are_told_apart() {
        assert!(Notice::decode(b"\xff").is_none());
        assert!(Notice::decode(br#"{"kind":"open_session_v9","args":{}}"#).is_none());
    }
}
