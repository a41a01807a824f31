//! One run: the conversation with R from the claimed job to its completion.

use std::time::Duration;

use tokio::net::unix::OwnedWriteHalf;
use tokio::sync::mpsc;
use tokio::time::{Instant, sleep_until};
use warren_common::model::ExecuteRequest;
use warren_common::store::jobs::{Claimed, Completion};
use warren_rhost::session::{Done, FromChild, Input, Output, Run, ToChild};

use super::actor::{Context, Mail};
use super::chunks::Chunks;
use super::ending::Verdict;
use crate::host::{Child, ChildError, ChildExit, Sending};
use crate::writes::Ending;

/// R is asked again this often until it unwinds: it ignores a signal that comes while it starts a command.
const ASK_AGAIN: Duration = Duration::from_millis(300);
/// How long the process and its descendants may take to die when killed.
const KILL_LIMIT: Duration = Duration::from_secs(5);

/// What a run left.
pub(super) struct RunEnd {
    pub(super) ending: Ending,
    /// The process is gone, and why.
    pub(super) gone: Option<String>,
    /// The session is to be closed.
    pub(super) close: bool,
}

/// Why R was asked to unwind.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Wish {
    Cancel,
    TimeOut,
    Close,
    /// The worker stops and will not wait.
    Stop,
}

/// How far it went with a process that did not unwind.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Force {
    None,
    /// Its parent was asked to kill it with everything that descends from it.
    Whole,
    /// That took too long: the process alone was killed, at least.
    Alone,
}

/// How the conversation ended.
enum Outcome {
    Done(Done),
    Gone(ChildExit),
    /// The child broke the rules of the conversation.
    Nonsense(String),
    /// It was killed and is there still.
    Undead,
}

/// Runs a claimed job in `child`.
pub(super) async fn run(
    context: &Context,
    child: &mut Child,
    mail: &mut mpsc::Receiver<Mail>,
    claimed: &Claimed,
) -> RunEnd {
    let mut running = Running {
        context,
        child,
        claimed,
        chunks: Chunks::new(context, claimed),
        limit: context.config.execute_timeout,
        wish: None,
        force: Force::None,
        deadline: None,
        ask_again: None,
    };
    let verdict = running.verdict(mail).await;
    running.complete(verdict).await
}

struct Running<'a> {
    context: &'a Context,
    child: &'a mut Child,
    claimed: &'a Claimed,
    chunks: Chunks<'a>,
    /// How long the run may take, in seconds.
    limit: u64,
    wish: Option<Wish>,
    force: Force,
    /// When the next measure is due: the time-out, then the end of the grace period, then that of dying.
    deadline: Option<Instant>,
    /// When R is asked to unwind once more.
    ask_again: Option<Instant>,
}

impl Running<'_> {
    async fn verdict(&mut self, mail: &mut mpsc::Receiver<Mail>) -> Verdict {
        let request: ExecuteRequest = match serde_json::from_slice(&self.claimed.request) {
            Ok(request) => request,
            Err(error) => {
                // The API wrote these bytes; a version that cannot read them must not lose the session over them.
                // Serde's own text repeats values, and they are the user's.
                let (line, column) = (error.line(), error.column());
                tracing::error!(
                    "The request of {} cannot be read (line {line}, column {column})",
                    self.claimed.job
                );
                return Verdict::without_r("this worker cannot read the request".to_owned());
            }
        };
        if let Err(unknown) = &self.claimed.kind {
            return Verdict::without_r(format!("this worker is older than the job: {unknown}"));
        }
        if self.claimed.cancel_requested {
            return Verdict::cancelled_before_it_began();
        }
        if let Some(seconds) = request.timeout_seconds {
            self.limit = u64::from(seconds);
        }
        self.deadline = Some(Instant::now() + Duration::from_secs(self.limit));
        let names = request.outputs.clone();
        let message = message(request, self.context.config.result_max_bytes);
        // What background processes wrote since the last run belongs to this one.
        let outcome = self.talk(&message, mail).await;
        self.judge(outcome, &names).await
    }

    async fn talk(&mut self, message: &ToChild, mail: &mut mpsc::Receiver<Mail>) -> Outcome {
        let mut sending = match self.child.writer.begin(message) {
            Ok(sending) => sending,
            Err(error) => {
                tracing::debug!(error = %error, "The R process of {} did not take the run", self.claimed.session);
                return self.wait_for_the_end().await;
            }
        };
        let mut console_open = true;
        loop {
            let (deadline, ask_again) = (self.deadline, self.ask_again);
            tokio::select! {
                // What is rare comes first, so that a flood on the console holds nothing up.
                biased;
                frame = self.child.reader.next() => match frame {
                    Ok(FromChild::Done(done)) => return Outcome::Done(done),
                    Ok(FromChild::Ready) => return Outcome::Nonsense("it introduced itself twice".to_owned()),
                    Err(ChildError::Nonsense(error)) => return Outcome::Nonsense(error.to_string()),
                    Err(ChildError::Gone(_)) => return self.wait_for_the_end().await,
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
                () = at(deadline) => {
                    if self.force == Force::Alone {
                        return Outcome::Undead;
                    }
                    self.time_is_up();
                }
                () = at(ask_again), if ask_again.is_some() => {
                    self.child.interrupt();
                    self.ask_again = Some(Instant::now() + ASK_AGAIN);
                }
                () = self.chunks.write() => {}
                ready = self.child.console.readable(), if console_open => {
                    console_open = ready.is_ok() && self.chunks.read(&self.child.console);
                }
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
        if self.force != Force::None {
            // It is being killed already; only what for may change.
            if wish == Wish::Close {
                self.wish = Some(wish);
            }
        } else if self.wish.is_none() || wish == Wish::Close {
            self.wish = Some(wish);
            self.deadline = Some(Instant::now() + grace);
            self.ask_again = Some(Instant::now() + ASK_AGAIN);
            self.child.interrupt();
        }
    }

    fn time_is_up(&mut self) {
        if self.wish.is_none() {
            tracing::info!("{} ran longer than its {} s", self.claimed.job, self.limit);
            self.ask_to_unwind(Wish::TimeOut, self.context.config.interrupt_grace);
        } else if self.force == Force::None {
            self.kill();
        } else {
            self.force = Force::Alone;
            self.deadline = Some(Instant::now() + KILL_LIMIT);
            self.child.kill_process();
        }
    }

    fn kill(&mut self) {
        self.force = Force::Whole;
        self.ask_again = None;
        self.deadline = Some(Instant::now() + KILL_LIMIT / 2);
        self.child.kill();
    }

    async fn wait_for_the_end(&mut self) -> Outcome {
        match tokio::time::timeout(KILL_LIMIT, self.child.gone()).await {
            Ok(exit) => Outcome::Gone(exit),
            Err(_elapsed) => Outcome::Nonsense("it closed its socket and lives on".to_owned()),
        }
    }

    async fn judge(&mut self, outcome: Outcome, names: &[String]) -> Verdict {
        self.chunks.read(&self.child.console);
        match outcome {
            Outcome::Done(done) => {
                let longest = self.context.config.result_max_bytes;
                Verdict::of_run(done, names, self.wish, self.limit, longest)
            }
            Outcome::Gone(exit) => {
                let forced = self.force != Force::None;
                Verdict::of_process(&exit, self.wish, forced, self.limit)
            }
            Outcome::Nonsense(what) => {
                self.child.kill();
                let _ = tokio::time::timeout(KILL_LIMIT, self.child.gone()).await;
                Verdict::of_misconduct(&format!(
                    "the R process did not keep to the protocol ({what})"
                ))
            }
            Outcome::Undead => Verdict::of_misconduct("the R process was killed and does not die"),
        }
    }

    async fn complete(self, verdict: Verdict) -> RunEnd {
        let Verdict {
            state,
            result,
            reason,
            cancel,
            gone,
        } = verdict;
        let (console_tail, console_is_whole) = self.chunks.finish().await;
        let completion = Completion {
            job: self.claimed.job,
            attempt: self.claimed.attempt,
            state,
            result: result.and_then(|result| serde_json::to_vec(&result).ok()),
            console_tail,
            reason,
            cancel,
        };
        let ending = Ending {
            completion,
            console_is_whole,
        };
        RunEnd {
            ending,
            gone,
            close: self.wish == Some(Wish::Close),
        }
    }
}

fn message(request: ExecuteRequest, max_output_bytes: u64) -> ToChild {
    let inputs = request.inputs.into_iter().map(|input| Input {
        name: input.name,
        r#type: None,
        value: input.value,
    });
    let outputs = request
        .outputs
        .into_iter()
        .map(|name| Output { name, r#type: None });
    ToChild::Run(Run {
        run: 0,
        code: request.code,
        inputs: inputs.collect(),
        outputs: outputs.collect(),
        max_output_bytes,
    })
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
