//! What travels: a tagged enum of ids, with the version in the name of the variant.

use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;

use crate::id::{JobId, SessionId};
use crate::model::{JobState, Lane};

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
    /// A service is to be called or published.
    #[serde(rename = "call_v1")]
    CallV1 {
        /// The job.
        job: JobId,
    },
    /// A call or a publication that you may be running is to be cancelled.
    #[serde(rename = "cancel_call_v1")]
    CancelCallV1 {
        /// Which.
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
    /// What the worker that holds a session is told of a job in this lane.
    pub const fn work(session: SessionId, lane: Option<Lane>) -> Self {
        match lane {
            Some(Lane::Aside) => Self::AsideWorkV1 { session },
            Some(Lane::Ordered) | None => Self::SessionWorkV1 { session },
        }
    }

    /// What the worker that runs a job is told when somebody wants it to stop.
    pub const fn cancel(session: Option<SessionId>, job: JobId) -> Self {
        match session {
            Some(session) => Self::CancelV1 { session, job },
            None => Self::CancelCallV1 { job },
        }
    }

    /// As it travels.
    pub(super) fn encode(&self) -> Vec<u8> {
        serde_json::to_vec(self).unwrap_or_default()
    }

    /// Notices for one queue as they travel together: as few messages as keep to `largest` bytes each, with the notices
    /// that are in them. One that is larger goes alone.
    pub(super) fn bundle(notices: Vec<Self>, largest: usize) -> Vec<(Vec<u8>, Vec<Self>)> {
        let mut messages: Vec<(Vec<u8>, Vec<Self>)> = Vec::with_capacity(1);
        for notice in notices {
            let bytes = notice.encode();
            match messages.last_mut() {
                Some((message, inside)) if message.len() + bytes.len() < largest => {
                    message.push(b',');
                    message.extend_from_slice(&bytes);
                    inside.push(notice);
                }
                _ => messages.push((bytes, vec![notice])),
            }
        }
        for (message, inside) in &mut messages {
            if inside.len() > 1 {
                message.insert(0, b'[');
                message.push(b']');
            }
        }
        messages
    }

    /// What arrived: one notice, or several in a JSON array; `None` for bytes that no version of this code writes.
    pub(super) fn decode(bytes: &[u8]) -> Option<Vec<Self>> {
        if bytes.first() == Some(&b'[') {
            serde_json::from_slice(bytes).ok()
        } else {
            serde_json::from_slice(bytes)
                .ok()
                .map(|notice| vec![notice])
        }
    }

    /// The name of the variant, for logs and metrics.
    pub const fn name(&self) -> &'static str {
        match self {
            Self::OpenSessionV1 { .. } => "open_session_v1",
            Self::SessionWorkV1 { .. } => "session_work_v1",
            Self::AsideWorkV1 { .. } => "aside_work_v1",
            Self::CancelV1 { .. } => "cancel_v1",
            Self::CallV1 { .. } => "call_v1",
            Self::CancelCallV1 { .. } => "cancel_call_v1",
            Self::CloseV1 { .. } => "close_v1",
            Self::FinishedV1 { .. } => "finished_v1",
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const ID: &str = "0190b0c0-0000-7000-8000-000000000001";

    fn golden() -> [(Notice, String); 8] {
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
                Notice::CallV1 { job },
                format!(r#"{{"kind":"call_v1","args":{{"job":"{ID}"}}}}"#),
            ),
            (
                Notice::CancelCallV1 { job },
                format!(r#"{{"kind":"cancel_call_v1","args":{{"job":"{ID}"}}}}"#),
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
            let read: Vec<_> = read.iter().map(Notice::encode).collect();
            assert_eq!(read, [bytes.into_bytes()]);
        }
    }

    #[test]
    fn notices_that_travel_together_are_an_array() {
        let texts = golden().map(|(_notice, bytes)| bytes);
        let together = Notice::bundle(golden().map(|(notice, _bytes)| notice).into(), 4096);
        assert_eq!(together.len(), 1);
        let (message, inside) = &together[0];
        assert_eq!(inside.len(), texts.len());
        let message = String::from_utf8(message.clone()).unwrap();
        assert_eq!(message, format!("[{}]", texts.join(",")));
        let read = Notice::decode(message.as_bytes()).unwrap();
        let read: Vec<_> = read.iter().map(Notice::encode).collect();
        assert_eq!(read, texts.map(String::into_bytes));
    }

    #[test]
    fn a_notice_alone_is_no_array_and_no_message_is_larger_than_it_may_be() {
        let notices = golden().map(|(notice, _bytes)| notice);
        let alone = Notice::bundle(notices.into(), 1);
        let alone: Vec<_> = alone.into_iter().map(|(message, _)| message).collect();
        let expected = golden().map(|(_, bytes)| bytes.into_bytes());
        assert_eq!(alone, expected);
        let notices = golden().map(|(notice, _bytes)| notice);
        let largest = 200;
        let several = Notice::bundle(notices.into(), largest);
        let count: usize = several.iter().map(|(_, inside)| inside.len()).sum();
        assert_eq!(count, golden().len());
        assert!(several.len() > 1);
        for (message, inside) in several {
            assert!(inside.len() == 1 || message.len() <= largest + 2);
            assert_eq!(Notice::decode(&message).unwrap().len(), inside.len());
        }
    }

    #[test]
    fn bytes_of_nobody_are_told_apart() {
        assert!(Notice::decode(b"\xff").is_none());
        assert!(Notice::decode(br#"{"kind":"open_session_v9","args":{}}"#).is_none());
        assert!(Notice::decode(br#"[{"kind":"open_session_v9","args":{}}]"#).is_none());
    }
}
