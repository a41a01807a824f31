//! Jobs of a session that need no R: done beside the session's task, while R is busy or not.

use std::collections::HashMap;
use std::panic::AssertUnwindSafe;
use std::path::PathBuf;
use std::time::Duration;

use futures::FutureExt;
use tokio::sync::mpsc;
use tokio::task::JoinSet;
use tokio::time::{Instant, sleep_until};
use tokio_util::sync::CancellationToken;
use tracing::Instrument;
use warren_common::id::{JobId, SessionId, TransferId};
use warren_common::model::{CancelOutcome, JobKind, JobState};
use warren_common::store::jobs::{Claimed, Completion};
use warren_common::telemetry::metrics;

use crate::context::Context;
use crate::conversation::DRAINED;
use crate::files::{self, Files, FilesError};
use crate::lease::Standing;
use crate::writes::Ending;

/// Jobs of one session that move no bytes of files, at one moment.
const BRIEF: usize = 16;
/// Those that do.
const TRANSFERS: usize = 4;
/// How long a claim whose answer was lost may take to commit, with a margin.
const DOUBT: Duration = Duration::from_secs(40);
/// How often such a claim is looked for meanwhile.
const LOOK_AGAIN: Duration = Duration::from_secs(1);

/// What this task is told.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Letter {
    /// Jobs wait.
    Work,
    /// Cancel this job, if it is one of those that run.
    Cancel(JobId),
}

/// The task of one session.
pub(super) struct Aside {
    id: SessionId,
    dir: PathBuf,
    context: Context,
    letters: mpsc::Receiver<Letter>,
    /// The session ends: whoever ended it says so of every job that is not done.
    over: CancellationToken,
    running: HashMap<JobId, Running>,
    tasks: JoinSet<JobId>,
    /// More may wait than there was room for at the last claim.
    crowded: bool,
    /// Until when a claim may turn up whose answer was lost.
    doubt: Option<Instant>,
}

struct Running {
    cancel: CancellationToken,
    is_brief: bool,
}

/// Nothing can be claimed any more.
struct Ended;

impl Aside {
    pub(super) fn new(
        id: SessionId,
        dir: PathBuf,
        context: Context,
        letters: mpsc::Receiver<Letter>,
        over: CancellationToken,
    ) -> Self {
        Self {
            id,
            dir,
            context,
            letters,
            over,
            running: HashMap::new(),
            tasks: JoinSet::new(),
            crowded: false,
            doubt: None,
        }
    }

    /// Lives until the session is over, or until this worker is drained and nothing runs or waits any more.
    pub(super) async fn live(mut self, more: bool) {
        let mut work = more;
        let mut draining = false;
        let stop = self.context.stop.clone();
        while !self.over.is_cancelled() {
            if !draining && stop.soft.is_cancelled() {
                draining = true;
                // What waits may still end within the grace period.
                work = true;
            }
            if work && !stop.hard.is_cancelled() {
                work = false;
                if self.claim().await.is_err() {
                    break;
                }
                continue;
            }
            if draining && self.tasks.is_empty() {
                break;
            }
            tokio::select! {
                () = self.over.cancelled() => {}
                () = stop.soft.cancelled(), if !draining => {}
                letter = self.letters.recv() => match letter {
                    Some(Letter::Work) => work = true,
                    Some(Letter::Cancel(job)) => {
                        if let Some(running) = self.running.get(&job) {
                            running.cancel.cancel();
                        }
                    }
                    None => break,
                },
                Some(done) = self.tasks.join_next(), if !self.tasks.is_empty() => {
                    if let Ok(job) = done {
                        self.running.remove(&job);
                    }
                    work = self.crowded;
                }
                () = doubt(self.doubt) => work = true,
            }
        }
        self.tasks.shutdown().await;
    }

    /// Claims what there is room for, once the lease allows it, and begins it.
    async fn claim(&mut self) -> Result<(), Ended> {
        let mut lease = self.context.lease.clone();
        match lease
            .wait_for(|standing| *standing != Standing::Doubtful)
            .await
        {
            Ok(standing) if *standing == Standing::Valid => {}
            _ => return Err(Ended),
        }
        let brief = self.running.values().filter(|job| job.is_brief).count();
        let transfers = self.running.len() - brief;
        let (brief, transfers) = (
            BRIEF.saturating_sub(brief),
            TRANSFERS.saturating_sub(transfers),
        );
        self.doubt = self.doubt.filter(|end| *end > Instant::now());
        let (found, doubt) = self
            .context
            .writes
            .claim_aside(self.id, brief, transfers, self.doubt.is_some())
            .await
            .ok_or(Ended)?;
        if doubt {
            self.doubt = Some(Instant::now() + DOUBT);
        }
        let fresh: Vec<Claimed> = found
            .into_iter()
            .filter(|claimed| !self.running.contains_key(&claimed.job))
            .collect();
        let found_brief = fresh.iter().filter(|claimed| is_brief(claimed)).count();
        self.crowded = found_brief >= brief || fresh.len() - found_brief >= transfers;
        for claimed in fresh {
            self.begin(claimed);
        }
        Ok(())
    }

    fn begin(&mut self, claimed: Claimed) {
        let cancel = CancellationToken::new();
        if claimed.cancel_requested {
            cancel.cancel();
        }
        let running = Running {
            cancel: cancel.clone(),
            is_brief: is_brief(&claimed),
        };
        self.running.insert(claimed.job, running);
        let span = tracing::info_span!(
            "worker.files",
            session.id = %self.id,
            job.id = %claimed.job,
            job.attempt = claimed.attempt,
            traceparent = claimed.traceparent.as_deref().unwrap_or_default()
        );
        let (context, dir) = (self.context.clone(), self.dir.clone());
        let work = async move {
            let job = claimed.job;
            work_on(&context, dir, claimed, cancel).await;
            job
        };
        self.tasks.spawn(work.instrument(span));
    }
}

fn is_brief(claimed: &Claimed) -> bool {
    matches!(
        claimed.kind,
        Ok(JobKind::ListFiles | JobKind::DeleteFile) | Err(_)
    )
}

/// Waits until it is time to look for a claim whose answer was lost.
async fn doubt(until: Option<Instant>) {
    match until {
        Some(until) => sleep_until(until.min(Instant::now() + LOOK_AGAIN)).await,
        None => std::future::pending().await,
    }
}

/// Does a job and writes how it ended.
async fn work_on(context: &Context, dir: PathBuf, claimed: Claimed, cancel: CancellationToken) {
    let files = Files::new(dir, claimed.owner, context.transfers.clone());
    if let Ok(kind) = &claimed.kind {
        metrics().claimed(*kind);
    }
    let limit = Duration::from_secs(context.config.execute_timeout);
    let done = tokio::select! {
        // What was cancelled before it began is not begun.
        biased;
        () = cancel.cancelled() => End::Cancelled,
        () = context.stop.hard.cancelled() => End::Stopped,
        done = tokio::time::timeout(limit, perform(&files, &claimed)) => match done {
            Ok(done) => End::Done(done),
            Err(_elapsed) => End::TimedOut(limit),
        },
    };
    let completion = done.completion(&claimed);
    // Before anybody can hear of it.
    if let Ok(kind) = &claimed.kind {
        metrics().ended(*kind, completion.state);
    }
    let ending = Ending {
        completion,
        console_is_whole: true,
    };
    let Ok(written) = context.writes.complete(ending).await else {
        return;
    };
    if written.is_none() {
        tracing::warn!("{} was not this worker's to complete any more", claimed.job);
    }
    if let Ok(kind) = &claimed.kind {
        discard(context, files::sent_with(*kind, &claimed.request));
    }
}

/// Removes what nobody needs any more, without anybody waiting for it; what cannot be removed now expires.
fn discard(context: &Context, sent: Vec<TransferId>) {
    let (db, blobs) = (context.db.clone(), context.transfers.blobs.clone());
    tokio::spawn(async move {
        if let Err(error) = blobs.discard(&db, &sent).await {
            tracing::debug!(error = %error, "What was sent stays in the store until it expires");
        }
    });
}

async fn perform(files: &Files, claimed: &Claimed) -> Result<Option<Vec<u8>>, FilesError> {
    match &claimed.kind {
        // A job that fails in an unforeseen way must end all the same.
        Ok(kind) => AssertUnwindSafe(files.perform(*kind, &claimed.request))
            .catch_unwind()
            .await
            .unwrap_or_else(|_panic| Err(FilesError::Failed("a fault of the worker".to_owned()))),
        Err(unknown) => Err(FilesError::Failed(format!(
            "this worker is older than the job: {unknown}"
        ))),
    }
}

/// How a job ended.
enum End {
    Done(Result<Option<Vec<u8>>, FilesError>),
    Cancelled,
    TimedOut(Duration),
    Stopped,
}

impl End {
    /// As it is written.
    fn completion(self, claimed: &Claimed) -> Completion {
        let mut completion = Completion {
            job: claimed.job,
            attempt: claimed.attempt,
            state: JobState::Failed,
            result: None,
            console_tail: Vec::new(),
            reason: None,
            cancel: None,
            snapshot: None,
        };
        match self {
            Self::Done(Ok(result)) => {
                completion.state = JobState::Succeeded;
                completion.result = result;
            }
            Self::Done(Err(FilesError::Refused(refusal))) => {
                completion.result = serde_json::to_vec(&refusal).ok();
                completion.reason = Some(refusal.message);
            }
            Self::Done(Err(FilesError::Failed(reason))) => completion.reason = Some(reason),
            Self::Cancelled => {
                completion.state = JobState::Cancelled;
                completion.reason = Some("it was cancelled".to_owned());
                completion.cancel = Some(CancelOutcome::Confirmed);
            }
            Self::TimedOut(limit) => {
                completion.state = JobState::TimedOut;
                completion.reason = Some(format!("it took longer than its {} s", limit.as_secs()));
            }
            Self::Stopped => {
                completion.state = JobState::Lost;
                completion.reason = Some(DRAINED.to_owned());
            }
        }
        completion
    }
}
