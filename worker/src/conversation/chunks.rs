//! Console text on its way to Postgres while R runs: one chunk at a time, written again until the answer is clear.

use std::time::Duration;

use futures::future::BoxFuture;
use tokio::net::unix::pipe;
use tokio::time::{Instant, sleep_until};
use warren_common::id::JobId;
use warren_common::store::DbError;
use warren_common::store::console::{self, Chunk};
use warren_common::store::jobs::Claimed;

use super::console::{RunConsole, read_now};
use crate::context::Context;

/// Text waits this long for company before it is written.
const CHUNK_AGE: Duration = Duration::from_millis(75);
/// The pause before a chunk is tried again.
const RETRY_PAUSE: Duration = Duration::from_millis(500);

/// The console of one run and its way into the table.
pub(crate) struct Chunks<'a> {
    context: &'a Context,
    job: JobId,
    console: RunConsole,
    /// When the pending text is written, however short it is.
    due: Option<Instant>,
    writing: Option<Writing>,
    /// The database does not take chunks of this job: its text travels with the completion.
    refused: bool,
}

/// A chunk on its way. It is written again as it is until the answer is clear, because a lost answer may have been a yes.
struct Writing {
    chunk: Chunk,
    answer: BoxFuture<'static, Result<bool, DbError>>,
}

impl<'a> Chunks<'a> {
    pub(crate) fn new(context: &'a Context, claimed: &Claimed) -> Self {
        Self::of(context, claimed.job, claimed.attempt)
    }

    fn of(context: &'a Context, job: JobId, attempt: i32) -> Self {
        let limit = context.config.console_max_bytes;
        Self {
            context,
            job,
            console: RunConsole::new(job, attempt, limit),
            due: None,
            writing: None,
            refused: false,
        }
    }

    /// Text that is of no job: no chunk of it is written.
    pub(crate) fn of_no_job(context: &'a Context) -> Self {
        Self {
            refused: true,
            ..Self::of(context, JobId::new(), 0)
        }
    }

    /// Reads what is in the pipe now; false when nothing can come out of it any more.
    pub(crate) fn read(&mut self, pipe: &pipe::Receiver) -> bool {
        let console = &mut self.console;
        let open = read_now(pipe, |bytes| console.take(bytes)).unwrap_or_else(|error| {
            let job = self.job;
            tracing::debug!(error = %error, "The console of {job} cannot be read");
            false
        });
        if self.console.has_pending() && self.due.is_none() {
            self.due = Some(Instant::now() + CHUNK_AGE);
        }
        open
    }

    /// Writes what is due, for ever. Cancel safe: what is on its way is kept for the next call.
    pub(crate) async fn write(&mut self) {
        loop {
            if let Some(writing) = &mut self.writing {
                let answer = writing.answer.as_mut().await;
                self.answered(answer);
            } else if self.refused || !self.console.has_pending() {
                std::future::pending::<()>().await;
            } else {
                if let Some(due) = self.due
                    && !self.console.is_chunk_full()
                {
                    sleep_until(due).await;
                }
                self.due = None;
                let chunk = self.console.next_chunk();
                self.begin(chunk, Duration::ZERO);
            }
        }
    }

    fn begin(&mut self, chunk: Chunk, pause: Duration) {
        let (db, me, sent) = (self.context.db.clone(), self.context.me, chunk.clone());
        let answer = async move {
            tokio::time::sleep(pause).await;
            console::append(&db, me, &sent).await
        };
        self.writing = Some(Writing {
            chunk,
            answer: Box::pin(answer),
        });
    }

    fn answered(&mut self, answer: Result<bool, DbError>) {
        let Some(Writing { chunk, .. }) = self.writing.take() else {
            return;
        };
        match answer {
            // What came meanwhile has waited already.
            Ok(true) => self.due = None,
            Err(error) if error.is_away() => {
                tracing::debug!(error = %error, "Console text of {} waits", self.job);
                self.begin(chunk, RETRY_PAUSE);
            }
            Ok(false) | Err(_) => {
                self.refused = true;
                self.console.put_back(chunk);
            }
        }
    }

    /// Waits until it is clear whether the last chunk is written; then the text that is in no chunk, and whether that is
    /// all of it.
    pub(crate) async fn finish(mut self) -> (Vec<u8>, bool) {
        if let Some(Writing { chunk, answer }) = self.writing.take() {
            let written = match answer.await {
                Err(error) if error.is_away() => {
                    let chunk = &chunk;
                    self.context
                        .writes
                        .insist(|db, me| async move { console::append(&db, me, chunk).await })
                        .await
                }
                clear => clear.ok(),
            };
            if written != Some(true) {
                self.console.put_back(chunk);
            }
        }
        self.console.finish()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A reader of the console is promised text within 150 ms; the rest is for the pipe and the database.
    #[test]
    fn text_waits_for_company_only_as_long_as_readers_are_promised() {
        assert!(CHUNK_AGE <= Duration::from_millis(100));
    }
}
