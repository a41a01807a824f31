//! Jobs that ended here, and telling those who wait for them.

use std::collections::HashMap;

use warren_common::id::ApiId;
use warren_common::queue::{Broker, Finished, Notice, QueueName};
use warren_common::store::jobs::{Completed, Completion};

/// Results up to this size travel with the completion event.
const SMALL_RESULT_BYTES: usize = 64 * 1024;
/// A job that ended here.
#[derive(Debug)]
pub struct Ending {
    /// What is to be written.
    pub completion: Completion,
    /// All of the console text is in it.
    pub console_is_whole: bool,
}

impl Ending {
    /// How much the job left.
    pub(super) fn bytes(&self) -> usize {
        let result = self.completion.result.as_ref().map_or(0, Vec::len);
        self.completion.console_tail.len() + result
    }

    /// What the job left, if it is small enough to travel.
    fn small(self) -> Option<Box<Finished>> {
        if !self.console_is_whole || self.bytes() > SMALL_RESULT_BYTES {
            return None;
        }
        let completion = self.completion;
        let result = match completion.result {
            Some(bytes) => Some(serde_json::from_slice(&bytes).ok()?),
            None => None,
        };
        Some(Box::new(Finished {
            state: completion.state,
            result,
            console: String::from_utf8(completion.console_tail).ok()?,
            reason: completion.reason,
        }))
    }
}

/// Completion events, by the node that waits for them.
#[derive(Default)]
pub(super) struct Events(HashMap<ApiId, Vec<Notice>>);

impl Events {
    /// One more, if the job was this worker's to complete.
    pub(super) fn add(&mut self, ending: Ending, answer: Option<Completed>) {
        if let Some(completed) = answer {
            let job = ending.completion.job;
            let left = ending.small();
            let notices = self.0.entry(completed.api).or_default();
            notices.push(Notice::FinishedV1 { job, left });
        }
    }

    /// Tells the nodes. Nobody waits for this: the rows are what counts.
    pub(super) fn send(self, broker: &Broker) {
        for (api, notices) in self.0 {
            let broker = broker.clone();
            tokio::spawn(async move {
                let queue = QueueName::Api(api);
                if let Err(error) = broker.publish_together(queue, notices).await {
                    tracing::debug!(error = %error, "{api} was not told of jobs that ended");
                }
            });
        }
    }
}
