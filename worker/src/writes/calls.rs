//! Claims of calls, and completions of items of batches.

use std::collections::HashMap;
use std::sync::Arc;

use warren_common::id::JobId;
use warren_common::queue::{Notice, QueueName};
use warren_common::store::batches;
use warren_common::store::jobs::{self, Claimed, Completion};
use warren_common::telemetry::chain;

use super::{Ending, FIRST_PAUSE, Refused, Writer, without_what_it_left};

impl Writer {
    /// Nobody waits for an item, so nobody is told; the next ones are for whoever has room.
    pub(super) async fn complete_items(self: Arc<Self>, group: Vec<Ending>) -> Vec<bool> {
        let completions: Vec<Completion> =
            group.into_iter().map(|ending| ending.completion).collect();
        match self.insist_on_items(&completions).await {
            Ok(done) => done,
            Err(Refused::Stopped) => Vec::new(),
            // One of them is refused; the others must not suffer for it.
            Err(Refused::ByPostgres) => {
                let mut done = Vec::with_capacity(completions.len());
                for completion in &completions {
                    let alone = std::slice::from_ref(completion);
                    let bare = without_what_it_left(completion);
                    let written = match self.insist_on_items(alone).await {
                        Err(Refused::ByPostgres) => {
                            self.insist_on_items(std::slice::from_ref(&bare)).await
                        }
                        written => written,
                    };
                    done.extend(written.unwrap_or_else(|_refused| vec![false]));
                }
                done
            }
        }
    }

    async fn insist_on_items(&self, group: &[Completion]) -> Result<Vec<bool>, Refused> {
        let mut pause = FIRST_PAUSE;
        loop {
            match batches::complete_items(&self.db, self.me, group).await {
                Ok((done, released)) => {
                    self.tell_of_items(released);
                    let is_done = |completion: &Completion| done.contains(&completion.job);
                    return Ok(group.iter().map(is_done).collect());
                }
                Err(error) if !error.is_away() => {
                    tracing::error!(error = %chain(&error), "A completion was refused");
                    return Err(Refused::ByPostgres);
                }
                Err(error) => {
                    self.wait(&error, &mut pause)
                        .await
                        .ok_or(Refused::Stopped)?;
                }
            }
        }
    }

    fn tell_of_items(&self, released: Vec<JobId>) {
        for job in released {
            let broker = self.broker.clone();
            tokio::spawn(async move {
                // The sweeper repeats what gets lost.
                let _ = broker
                    .publish(QueueName::Batch, &Notice::CallV1 { job })
                    .await;
            });
        }
    }

    pub(super) async fn claim_calls(self: Arc<Self>, group: Vec<JobId>) -> Vec<Option<Claimed>> {
        let mut pause = FIRST_PAUSE;
        loop {
            match jobs::claim_calls(&self.db, self.me, &group).await {
                Ok(found) => {
                    let mut found: HashMap<JobId, Claimed> = found
                        .into_iter()
                        .map(|claimed| (claimed.job, claimed))
                        .collect();
                    return group.iter().map(|job| found.remove(job)).collect();
                }
                Err(error) => {
                    if self.wait(&error, &mut pause).await.is_none() {
                        return Vec::new();
                    }
                }
            }
        }
    }
}
