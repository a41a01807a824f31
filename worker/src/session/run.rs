//! One run: from the claimed job to its completion.

use std::time::Duration;

use futures::future::BoxFuture;
use tokio::net::unix::OwnedWriteHalf;
use tokio::sync::mpsc;
use tokio::time::{Instant, sleep_until};
use warren_common::model::{CancelOutcome, ExecuteRequest, JobState, RunResult, ValuePair};
use warren_common::store::DbError;
use warren_common::store::console::{self, Chunk};
use warren_common::store::jobs::{Claimed, Completion};
use warren_rhost::session::{Done, Ending, FromChild, Input, Output, Run, ToChild};

use super::actor::{Context, Mail};
use super::console::{RunConsole, read_now};
use crate::host::{Child, ChildExit, Sending};

/// Text waits this long for company before it is written.
const CHUNK_AGE: Duration = Duration::from_millis(75);
/// The pause before a chunk is tried again.
const RETRY_PAUSE: Duration = Duration::from_millis(500);
/// R is asked again this often until it unwinds: it ignores a signal that comes while it starts a command.
const ASK_AGAIN: Duration = Duration::from_millis(300);
/// How long the process and its descendants may take to die when killed.
const KILL_LIMIT: Duration = Duration::from_secs(5);

/// What a run left.
pub(super) struct RunEnd {
    pub(super) completion: Completion,
    /// All of the console text is in the completion.
    pub(super) console_is_whole: bool,
    /// The process is gone, and why.
    pub(super) gone: Option<String>,
    /// The session is to be closed.
    pub(super) close: bool,
}

/// Why R was asked to unwind.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Wish {
    Cancel,
    TimeOut,
    Close,
    /// The worker stops and will not wait.
    Stop,
}

/// Runs a claimed job in `child`.
pub(super) async fn run(
    context: &Context,
    child: &mut Child,
    mail: &mut mpsc::Receiver<Mail>,
    claimed: &Claimed,
) -> RunEnd {
    let console = RunConsole::new(
        claimed.job,
        claimed.attempt,
        context.config.console_max_bytes,
    );
    let mut running = Running {
        context,
        child,
        claimed,
        console,
        wish: None,
        deadline: None,
        ask_again: None,
        forced: false,
        writing: None,
        console_closed: false,
        no_chunks: false,
    };
    let request: ExecuteRequest = match serde_json::from_slice(&claimed.request) {
        Ok(request) => request,
        Err(error) => {
            // The API wrote these bytes; a version that cannot read them must not lose the session over them.
            // Serde's own text repeats values, and they are the user's.
            let (line, column) = (error.line(), error.column());
            tracing::error!(
                "The request of {} cannot be read (line {line}, column {column})",
                claimed.job
            );
            return running.end_without_r("this worker cannot read the request".to_owned());
        }
    };
    if let Err(unknown) = &claimed.kind {
        return running.end_without_r(format!("this worker is older than the job: {unknown}"));
    }
    if claimed.cancel_requested {
        return running.cancelled_before_it_began();
    }
    let limit = request
        .timeout_seconds
        .map_or(context.config.execute_timeout, u64::from);
    running.deadline = Some(Instant::now() + Duration::from_secs(limit));
    let names = request.outputs.clone();
    let message = ToChild::Run(Run {
        run: 0,
        code: request.code,
        inputs: request
            .inputs
            .into_iter()
            .map(|input| Input {
                name: input.name,
                r#type: None,
                value: input.value,
            })
            .collect(),
        outputs: request
            .outputs
            .into_iter()
            .map(|name| Output { name, r#type: None })
            .collect(),
        max_output_bytes: context.config.result_max_bytes,
    });
    // What background processes wrote since the last run belongs to this one.
    let outcome = running.talk(&message, mail, limit).await;
    running.end(outcome, &names).await
}

/// How the conversation ended.
enum Outcome {
    Done(Done),
    Gone(ChildExit),
    /// The child broke the rules of the conversation.
    Nonsense(String),
}

struct Running<'a> {
    context: &'a Context,
    child: &'a mut Child,
    claimed: &'a Claimed,
    console: RunConsole,
    wish: Option<Wish>,
    /// When the next measure is due: the time-out, then the end of the grace period.
    deadline: Option<Instant>,
    /// When R is asked to unwind once more.
    ask_again: Option<Instant>,
    forced: bool,
    writing: Option<Writing>,
    /// Nobody can write to the console any more.
    console_closed: bool,
    /// The database does not take chunks of this job: its text travels with the completion.
    no_chunks: bool,
}

/// A chunk on its way. It is written again as it is until the answer is clear, because a lost answer may have been a yes.
struct Writing {
    chunk: Chunk,
    answer: BoxFuture<'static, Result<bool, DbError>>,
}

impl Running<'_> {
    async fn talk(
        &mut self,
        message: &ToChild,
        mail: &mut mpsc::Receiver<Mail>,
        limit: u64,
    ) -> Outcome {
        let mut sending = match self.child.writer.begin(message) {
            Ok(sending) => sending,
            Err(error) => {
                tracing::debug!(error = %error, "The R process of {} did not take the run", self.claimed.session);
                return self.wait_for_the_end().await;
            }
        };
        let mut chunk_due: Option<Instant> = None;
        loop {
            if self.console.is_chunk_full() || chunk_due.is_some_and(|due| due <= Instant::now()) {
                self.start_chunk();
                chunk_due = None;
            }
            let deadline = self.deadline;
            let ask_again = self.ask_again;
            tokio::select! {
                biased;
                frame = self.child.reader.next() => match frame {
                    Ok(FromChild::Done(done)) => return Outcome::Done(done),
                    Ok(FromChild::Ready) => return Outcome::Nonsense("it introduced itself twice".to_owned()),
                    Err(crate::host::ChildError::Nonsense(error)) => return Outcome::Nonsense(error.to_string()),
                    Err(crate::host::ChildError::Gone(_)) => return self.wait_for_the_end().await,
                },
                sent = sent(&mut sending), if sending.is_some() => {
                    sending = None;
                    match sent {
                        Ok(half) => self.child.writer.put_back(half),
                        Err(_gone) => return self.wait_for_the_end().await,
                    }
                }
                Some(letter) = mail.recv() => self.hear(&letter),
                () = self.context.stop.hard.cancelled(), if self.wish.is_none() => {
                    self.ask_to_unwind(Wish::Stop, self.context.config.interrupt_grace);
                }
                () = at(deadline) => self.time_is_up(limit),
                () = at(ask_again), if ask_again.is_some() => {
                    self.child.interrupt();
                    self.ask_again = Some(Instant::now() + ASK_AGAIN);
                }
                ready = self.child.console.readable(), if !self.console_closed => {
                    if ready.is_ok() && self.read_console() && chunk_due.is_none() {
                        chunk_due = Some(Instant::now() + CHUNK_AGE);
                    }
                }
                answer = answer_of(&mut self.writing), if self.writing.is_some() => {
                    self.chunk_answered(answer);
                    chunk_due = self.console.has_pending().then_some(Instant::now());
                }
                () = at(chunk_due), if chunk_due.is_some() && self.writing.is_none() => {}
            }
        }
    }

    fn hear(&mut self, letter: &Mail) {
        let grace = self.context.config.interrupt_grace;
        match letter {
            Mail::Work => {}
            Mail::Cancel(job) if *job == self.claimed.job => {
                self.ask_to_unwind(Wish::Cancel, grace);
            }
            Mail::Cancel(_another) => {}
            Mail::Close { force: false } => {
                self.ask_to_unwind(Wish::Close, grace.min(Duration::from_secs(1)));
            }
            Mail::Close { force: true } => {
                self.wish = Some(Wish::Close);
                self.kill();
            }
        }
    }

    fn ask_to_unwind(&mut self, wish: Wish, grace: Duration) {
        if self.wish.is_none() || wish == Wish::Close {
            self.wish = Some(wish);
            self.deadline = Some(Instant::now() + grace);
            self.ask_again = Some(Instant::now() + ASK_AGAIN);
            self.child.interrupt();
        }
    }

    fn time_is_up(&mut self, limit: u64) {
        if self.wish.is_none() {
            tracing::info!("{} ran longer than its {limit} s", self.claimed.job);
            self.ask_to_unwind(Wish::TimeOut, self.context.config.interrupt_grace);
        } else if self.forced {
            // Killing through the parent took too long: the process alone, at least.
            self.child.kill_process();
            self.deadline = None;
        } else {
            self.kill();
        }
    }

    fn kill(&mut self) {
        self.forced = true;
        self.ask_again = None;
        self.deadline = Some(Instant::now() + KILL_LIMIT / 2);
        self.child.kill();
    }

    /// True when something was read.
    fn read_console(&mut self) -> bool {
        let console = &mut self.console;
        match read_now(&self.child.console, |bytes| console.take(bytes)) {
            Ok(open) => self.console_closed = !open,
            Err(error) => {
                self.console_closed = true;
                tracing::debug!(error = %error, "The console of {} cannot be read", self.claimed.session);
            }
        }
        self.console.has_pending()
    }

    fn start_chunk(&mut self) {
        if self.writing.is_none() && !self.no_chunks && self.console.has_pending() {
            let chunk = self.console.next_chunk();
            self.write(chunk, Duration::ZERO);
        }
    }

    fn write(&mut self, chunk: Chunk, pause: Duration) {
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

    fn chunk_answered(&mut self, answer: Result<bool, DbError>) {
        let Some(Writing { chunk, .. }) = self.writing.take() else {
            return;
        };
        match answer {
            Ok(true) => {}
            Err(error) if error.is_away() => {
                tracing::debug!(error = %error, "Console text of {} waits", self.claimed.job);
                self.write(chunk, RETRY_PAUSE);
            }
            Ok(false) | Err(_) => {
                self.no_chunks = true;
                self.console.put_back(chunk);
            }
        }
    }

    /// Waits until it is clear whether the last chunk is written.
    async fn settle_chunk(&mut self) {
        let Some(Writing { chunk, answer }) = self.writing.take() else {
            return;
        };
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

    async fn wait_for_the_end(&mut self) -> Outcome {
        match tokio::time::timeout(KILL_LIMIT, self.child.gone()).await {
            Ok(exit) => Outcome::Gone(exit),
            Err(_elapsed) => Outcome::Nonsense("it closed its socket and lives on".to_owned()),
        }
    }

    async fn end(mut self, outcome: Outcome, names: &[String]) -> RunEnd {
        self.read_console();
        self.settle_chunk().await;
        match outcome {
            Outcome::Done(done) => self.end_of_run(done, names),
            Outcome::Gone(exit) => self.end_of_process(exit.to_string()),
            Outcome::Nonsense(what) => {
                self.child.kill();
                let _ = tokio::time::timeout(KILL_LIMIT, self.child.gone()).await;
                self.end_of_process(format!(
                    "the R process did not keep to the protocol ({what})"
                ))
            }
        }
    }

    fn end_of_run(self, done: Done, names: &[String]) -> RunEnd {
        let (state, message, reason) = match (done.ending, self.wish) {
            (Ending::Succeeded, _) => (JobState::Succeeded, String::new(), None),
            (Ending::Interrupted, Some(Wish::Cancel)) => (
                JobState::Cancelled,
                "cancelled".to_owned(),
                Some("it was cancelled".to_owned()),
            ),
            (Ending::Interrupted, Some(Wish::TimeOut)) => {
                let message = "it ran longer than it may and was interrupted".to_owned();
                (JobState::TimedOut, message.clone(), Some(message))
            }
            (Ending::Interrupted, Some(Wish::Close)) => {
                let message = "its session was closed".to_owned();
                (JobState::Cancelled, message.clone(), Some(message))
            }
            (Ending::Interrupted, Some(Wish::Stop)) => {
                let message = "its worker was stopped".to_owned();
                (JobState::Lost, message.clone(), Some(message))
            }
            (Ending::Interrupted, None) => (JobState::Failed, "interrupted".to_owned(), None),
            (
                Ending::ParseError { message }
                | Ending::Error { message }
                | Ending::ValueError { message }
                | Ending::OutOfMemory { message },
                _,
            ) => (JobState::Failed, message, None),
        };
        let bytes: usize = done.outputs.iter().map(|value| value.get().len()).sum();
        if bytes as u64 > self.context.config.result_max_bytes {
            // The R host checks each value; this holds for their sum, and for a host that was tampered with.
            let message = format!(
                "the outputs are {bytes} bytes of JSON, more than WARREN_RESULT_MAX_BYTES allows ({})",
                self.context.config.result_max_bytes
            );
            let result = RunResult {
                success: false,
                error_message: message,
                output_parameters: Vec::new(),
                changed_files: done.changed_files,
            };
            return self.finish(JobState::Failed, Some(result), None, None, None);
        }
        let cancel = (state == JobState::Cancelled).then_some(CancelOutcome::Confirmed);
        let values = names.iter().zip(done.outputs);
        let result = RunResult {
            success: state == JobState::Succeeded,
            error_message: message,
            output_parameters: values
                .map(|(name, value)| ValuePair {
                    name: name.clone(),
                    value,
                })
                .collect(),
            changed_files: done.changed_files,
        };
        self.finish(state, Some(result), reason, cancel, None)
    }

    fn end_of_process(self, how: String) -> RunEnd {
        let forced = self.forced.then_some(CancelOutcome::Forced);
        let (state, reason, cancel) = match self.wish {
            Some(Wish::Cancel) => {
                (JobState::Cancelled, "R did not stop in time, so its process was killed".to_owned(), forced)
            }
            Some(Wish::Close) => (JobState::Cancelled, "its session was closed".to_owned(), forced),
            Some(Wish::TimeOut) => (
                JobState::TimedOut,
                "it ran longer than it may, did not stop when interrupted, and its process was killed".to_owned(),
                None,
            ),
            Some(Wish::Stop) => (JobState::Lost, "its worker was stopped".to_owned(), None),
            None => (JobState::Failed, format!("{how}; the session is gone"), None),
        };
        let result = RunResult {
            success: false,
            error_message: reason.clone(),
            output_parameters: Vec::new(),
            changed_files: Vec::new(),
        };
        self.finish(state, Some(result), Some(reason), cancel, Some(how))
    }

    fn end_without_r(self, reason: String) -> RunEnd {
        self.finish(JobState::Failed, None, Some(reason), None, None)
    }

    fn cancelled_before_it_began(self) -> RunEnd {
        let reason = Some("it was cancelled before it began".to_owned());
        self.finish(
            JobState::Cancelled,
            None,
            reason,
            Some(CancelOutcome::Confirmed),
            None,
        )
    }

    fn finish(
        self,
        state: JobState,
        result: Option<RunResult>,
        reason: Option<String>,
        cancel: Option<CancelOutcome>,
        gone: Option<String>,
    ) -> RunEnd {
        let (console_tail, console_is_whole) = self.console.finish();
        let completion = Completion {
            job: self.claimed.job,
            attempt: self.claimed.attempt,
            state,
            result: result.and_then(|result| serde_json::to_vec(&result).ok()),
            console_tail,
            reason,
            cancel,
        };
        RunEnd {
            completion,
            console_is_whole,
            gone,
            close: self.wish == Some(Wish::Close),
        }
    }
}

async fn answer_of(writing: &mut Option<Writing>) -> Result<bool, DbError> {
    match writing {
        Some(writing) => writing.answer.as_mut().await,
        None => std::future::pending().await,
    }
}

async fn sent(sending: &mut Option<Sending>) -> std::io::Result<OwnedWriteHalf> {
    match sending {
        Some(sending) => sending.as_mut().await,
        None => std::future::pending().await,
    }
}

/// Waits until a moment, or for ever.
async fn at(moment: Option<Instant>) {
    match moment {
        Some(moment) => sleep_until(moment).await,
        None => std::future::pending().await,
    }
}
