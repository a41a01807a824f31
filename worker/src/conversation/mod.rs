//! The conversation with R about one job: the question, the bytes that move beside it, and whoever wants it to stop.

mod chunks;
mod console;
mod ending;
mod mail;
mod moving;
mod text;

use std::os::fd::OwnedFd;
use std::path::Path;
use std::pin::{Pin, pin};
use std::time::Duration;

use futures::FutureExt;
use futures::future::{Fuse, FusedFuture};
use serde::de::DeserializeOwned;
use tokio::net::unix::OwnedWriteHalf;
use tokio::sync::mpsc;
use tokio::time::{Instant, sleep_until};
use warren_common::store::jobs::Claimed;
use warren_rhost::session::{Ask, Done, Ending, FromChild, ToChild, Workspace};

pub(crate) use ending::{DRAINED, Left, Verdict};
pub use mail::Mail;
pub(crate) use moving::{FromR, IntoR, Moved};

use self::chunks::Chunks;
use self::ending::Wish;
use crate::context::Context;
use crate::host::{Child, ChildError, ChildExit, Sending};

/// R is asked again this often until it unwinds: it ignores a signal that comes while it starts a command.
const ASK_AGAIN: Duration = Duration::from_millis(300);
/// How long the process and its descendants may take to die when killed.
const KILL_LIMIT: Duration = Duration::from_secs(5);

/// How far it went with a process that did not unwind.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Force {
    None,
    /// Its parent was asked to kill it with everything that descends from it.
    Whole,
    /// That took too long: the process alone was killed, at least.
    Alone,
}

/// How a part of the conversation ended.
enum Outcome {
    /// R answered.
    Done(Done),
    /// What moved is where it belongs, or came to nothing.
    Moved,
    /// Somebody wants the job to stop, and R has no part in what is under way.
    GivenUp,
    Gone(ChildExit),
    /// The child broke the rules of the conversation.
    Nonsense(String),
    /// It was killed and is there still.
    Undead,
}

/// What is waited for.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Until {
    Answered,
    Moved,
}

/// A job, the R process that does it, and what has become of it so far.
pub(crate) struct Conversation<'a> {
    pub(crate) context: &'a Context,
    /// None when it is about no job.
    claimed: Option<&'a Claimed>,
    child: &'a mut Child,
    mail: &'a mut mpsc::Receiver<Mail>,
    chunks: Chunks<'a>,
    /// How long the job may take, in seconds.
    limit: u64,
    wish: Option<Wish>,
    force: Force,
    /// When the next measure is due: the time-out, then the end of the grace period, then that of dying.
    deadline: Instant,
    /// When R is asked to unwind once more.
    ask_again: Option<Instant>,
}

impl<'a> Conversation<'a> {
    /// About a job that was claimed just now: its time runs.
    pub(crate) fn new(
        context: &'a Context,
        child: &'a mut Child,
        mail: &'a mut mpsc::Receiver<Mail>,
        claimed: &'a Claimed,
    ) -> Self {
        let chunks = Chunks::new(context, claimed);
        Self::with(context, child, mail, Some(claimed), chunks)
    }

    fn with(
        context: &'a Context,
        child: &'a mut Child,
        mail: &'a mut mpsc::Receiver<Mail>,
        claimed: Option<&'a Claimed>,
        chunks: Chunks<'a>,
    ) -> Self {
        let limit = context.config.execute_timeout;
        Self {
            context,
            claimed,
            child,
            mail,
            chunks,
            limit,
            wish: None,
            force: Force::None,
            deadline: Instant::now() + Duration::from_secs(limit),
            ask_again: None,
        }
    }

    /// About no job: nobody follows what R prints.
    pub(crate) fn of_no_job(
        context: &'a Context,
        child: &'a mut Child,
        mail: &'a mut mpsc::Receiver<Mail>,
    ) -> Self {
        let chunks = Chunks::of_no_job(context);
        Self::with(context, child, mail, None, chunks)
    }

    /// The job has a limit of its own.
    pub(crate) fn limit_to(&mut self, seconds: u32) {
        self.limit = u64::from(seconds);
        self.deadline = Instant::now() + Duration::from_secs(self.limit);
    }

    /// What it is about, for the log.
    fn subject(&self) -> String {
        match self.claimed {
            Some(claimed) => claimed.job.to_string(),
            None => "what is no job".to_owned(),
        }
    }

    /// The directory that is the session's own.
    pub(crate) fn dir(&self) -> &Path {
        self.child.dir()
    }

    /// Runs code. How it ended is the verdict, whatever it is.
    pub(crate) async fn run(&mut self, message: &ToChild, names: &[String]) -> Verdict {
        let mut nothing = pin!(Fuse::<std::future::Ready<()>>::terminated());
        let outcome = self.send(message, None, nothing.as_mut()).await;
        // What background processes wrote since the last run belongs to this one.
        match self.judged(outcome).await {
            Ok(done) => {
                let longest = self.context.config.result_max_bytes;
                Verdict::of_run(done, names, self.wish, self.limit, longest)
            }
            Err(verdict) => verdict,
        }
    }

    /// Asks something of the workspace that moves no bytes.
    pub(crate) async fn ask(&mut self, ask: Ask) -> Result<Done, Verdict> {
        let mut nothing = pin!(Fuse::<std::future::Ready<()>>::terminated());
        let outcome = self.send(&question(ask), None, nothing.as_mut()).await;
        let done = self.judged(outcome).await?;
        self.succeeded(done)
    }

    /// Asks for bytes, which `take` reads while R writes them. It succeeds when R did and every byte arrived.
    pub(crate) async fn bytes_out<T, F>(
        &mut self,
        ask: Ask,
        take: impl FnOnce(FromR) -> F,
    ) -> Result<T, Verdict>
    where
        F: Future<Output = Moved<T>>,
    {
        let (from_r, theirs, told) = FromR::new().map_err(Verdict::of_worker)?;
        let tell = |done: &Done| {
            // Who took too much, or could not go on, listens no more.
            let _ = told.send(length(done));
        };
        self.ask_beside(ask, theirs, take(from_r), tell).await
    }

    /// Gives R bytes, which `give` writes while R reads them. It succeeds when R did and so did `give`.
    pub(crate) async fn bytes_in<T, F>(
        &mut self,
        ask: Ask,
        give: impl FnOnce(IntoR) -> F,
    ) -> Result<T, Verdict>
    where
        F: Future<Output = Moved<T>>,
    {
        let (into_r, theirs) = IntoR::new().map_err(Verdict::of_worker)?;
        self.ask_beside(ask, theirs, give(into_r), |_done| {}).await
    }

    async fn ask_beside<T>(
        &mut self,
        ask: Ask,
        theirs: OwnedFd,
        moving: impl Future<Output = Moved<T>>,
        tell: impl FnOnce(&Done),
    ) -> Result<T, Verdict> {
        let mut moved = None;
        let outcome = {
            let moving = async { moved = Some(moving.await) };
            let mut moving = pin!(moving.fuse());
            match self
                .send(&question(ask), Some(theirs), moving.as_mut())
                .await
            {
                Outcome::Done(done) if done.ending == Ending::Succeeded => {
                    tell(&done);
                    self.hear(Until::Moved, None, moving.as_mut()).await
                }
                other => other,
            }
        };
        match (outcome, moved) {
            (Outcome::Moved, Some(moved)) => moved.map_err(Verdict::from),
            // Its end of the pipe is closed, and that is all that R can say.
            (Outcome::Done(_), Some(Err(failed))) if self.wish.is_none() => Err(failed.into()),
            (outcome, _) => {
                let done = self.judged(outcome).await?;
                self.succeeded(done)?;
                Err(Verdict::without_r(
                    "the R process answered twice".to_owned(),
                ))
            }
        }
    }

    /// Waits for work in which R has no part. It is dropped when somebody wants the job to stop.
    pub(crate) async fn aside<T>(
        &mut self,
        work: impl Future<Output = Moved<T>>,
    ) -> Result<T, Verdict> {
        let mut worked = None;
        let outcome = {
            let working = async { worked = Some(work.await) };
            let mut working = pin!(working.fuse());
            self.hear(Until::Moved, None, working.as_mut()).await
        };
        match (outcome, worked) {
            (Outcome::Moved, Some(worked)) => worked.map_err(Verdict::from),
            (outcome, _) => match self.judged(outcome).await {
                Ok(_done) => Err(Verdict::without_r("the R process spoke up".to_owned())),
                Err(verdict) => Err(verdict),
            },
        }
    }

    /// The end of the console text, whether that is all of it, and whether the session is to be closed.
    pub(crate) async fn finish(self) -> (Vec<u8>, bool, bool) {
        let (tail, is_whole) = self.chunks.finish().await;
        (tail, is_whole, self.wish == Some(Wish::Close))
    }

    async fn send<F: FusedFuture<Output = ()>>(
        &mut self,
        message: &ToChild,
        pipe: Option<OwnedFd>,
        beside: Pin<&mut F>,
    ) -> Outcome {
        self.child
            .reader
            .allow(self.context.config.result_max_bytes);
        match self.child.writer.begin(message, pipe) {
            Ok(sending) => self.hear(Until::Answered, sending, beside).await,
            Err(error) => {
                tracing::debug!(error = %error, "The R process of {} did not take it", self.subject());
                self.wait_for_the_end().await
            }
        }
    }

    async fn hear<F: FusedFuture<Output = ()>>(
        &mut self,
        until: Until,
        mut sending: Option<Sending>,
        mut beside: Pin<&mut F>,
    ) -> Outcome {
        let mut console_open = true;
        loop {
            if until == Until::Moved {
                if beside.is_terminated() {
                    return Outcome::Moved;
                }
                if self.wish.is_some() {
                    return Outcome::GivenUp;
                }
            }
            let (deadline, ask_again) = (self.deadline, self.ask_again);
            tokio::select! {
                // What is rare comes first, so that a flood on the console holds nothing up.
                biased;
                frame = self.child.reader.next() => match frame {
                    Ok(FromChild::Done(done)) if until == Until::Answered => return Outcome::Done(done),
                    Ok(FromChild::Done(_)) => return Outcome::Nonsense("it answered twice".to_owned()),
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
                Some(letter) = self.mail.recv() => self.obey(&letter),
                () = self.context.stop.hard.cancelled(), if self.wish.is_none() => {
                    self.ask_to_unwind(Wish::Stop, self.context.config.interrupt_grace);
                }
                () = sleep_until(deadline) => {
                    if self.force == Force::Alone {
                        return Outcome::Undead;
                    }
                    self.time_is_up();
                }
                () = at(ask_again), if ask_again.is_some() => {
                    self.child.interrupt();
                    self.ask_again = Some(Instant::now() + ASK_AGAIN);
                }
                () = beside.as_mut(), if !beside.is_terminated() => {}
                () = self.chunks.write() => {}
                ready = self.child.console.readable(), if console_open => {
                    console_open = ready.is_ok() && self.chunks.read(&self.child.console);
                }
            }
        }
    }

    fn obey(&mut self, letter: &Mail) {
        let grace = self.context.config.interrupt_grace;
        match letter {
            Mail::Work | Mail::Aside => {}
            Mail::Cancel(job) if self.claimed.is_some_and(|claimed| claimed.job == *job) => {
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
        } else if self.wish.is_none() || (wish == Wish::Close && self.wish != Some(wish)) {
            // R that was asked already gets no more time than it was given: a wish that is not obeyed comes again and again.
            let end = Instant::now() + grace;
            self.deadline = match self.wish {
                Some(_) => self.deadline.min(end),
                None => end,
            };
            self.wish = Some(wish);
            self.ask_again = Some(Instant::now() + ASK_AGAIN);
            self.child.interrupt();
        }
    }

    fn time_is_up(&mut self) {
        if self.wish.is_none() {
            let subject = self.subject();
            tracing::info!("{subject} ran longer than its {} s", self.limit);
            self.ask_to_unwind(Wish::TimeOut, self.context.config.interrupt_grace);
        } else if self.force == Force::None {
            self.kill();
        } else {
            self.force = Force::Alone;
            self.deadline = Instant::now() + KILL_LIMIT;
            self.child.kill_process();
        }
    }

    fn kill(&mut self) {
        self.force = Force::Whole;
        self.ask_again = None;
        self.deadline = Instant::now() + KILL_LIMIT / 2;
        self.child.kill();
    }

    async fn wait_for_the_end(&mut self) -> Outcome {
        match tokio::time::timeout(KILL_LIMIT, self.child.gone()).await {
            Ok(exit) => Outcome::Gone(exit),
            Err(_elapsed) => Outcome::Nonsense("it closed its socket and lives on".to_owned()),
        }
    }

    /// R's answer, or what it comes to that there is none.
    async fn judged(&mut self, outcome: Outcome) -> Result<Done, Verdict> {
        self.chunks.read(&self.child.console);
        Err(match outcome {
            Outcome::Done(done) => return Ok(done),
            Outcome::GivenUp | Outcome::Moved => Verdict::of_unwinding(self.wish, self.limit),
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
        })
    }

    /// What R did, if it did what it was asked.
    fn succeeded(&self, done: Done) -> Result<Done, Verdict> {
        match Verdict::of_question(&done.ending, self.wish, self.limit) {
            None => Ok(done),
            Some(verdict) => Err(verdict),
        }
    }
}

/// What a job asks.
pub(crate) fn request_of<T: DeserializeOwned>(claimed: &Claimed) -> Result<T, Verdict> {
    serde_json::from_slice(&claimed.request).map_err(|error| {
        // The API wrote these bytes; a version that cannot read them must not lose the session over them.
        // Serde's own text repeats values, and they are the user's.
        let (line, column) = (error.line(), error.column());
        tracing::error!(
            "The request of {} cannot be read (line {line}, column {column})",
            claimed.job
        );
        Verdict::without_r("this worker cannot read the request".to_owned())
    })
}

/// One question at a time, so that its number says nothing.
fn question(ask: Ask) -> ToChild {
    ToChild::Workspace(Workspace { run: 0, ask })
}

/// How many bytes R says it wrote.
fn length(done: &Done) -> u64 {
    let told = done.outputs.first().map(|output| output.get().parse());
    told.and_then(Result::ok).unwrap_or(u64::MAX)
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
