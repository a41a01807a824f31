//! The task that owns one session and its one R process: a mailbox, no locks.

use std::time::Duration;

use tokio::sync::{OwnedSemaphorePermit, mpsc};
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;
use tracing::Instrument;
use warren_common::id::SessionId;
use warren_common::model::{JobKind, JobState, SessionState};
use warren_common::store::jobs::Claimed;
use warren_common::store::sessions;
use warren_common::telemetry::metrics;

use super::aside::Letter;
use super::run::{RunEnd, run};
use crate::context::Context;
use crate::conversation::{DRAINED, Mail};
use crate::host::Child;
use crate::lease::Standing;

/// How long a killed process may take to go.
const KILL_LIMIT: Duration = Duration::from_secs(5);

/// One session.
pub(super) struct Actor {
    pub(super) id: SessionId,
    pub(super) child: Child,
    pub(super) mail: mpsc::Receiver<Mail>,
    pub(super) context: Context,
    /// The place in this worker that the session takes.
    pub(super) permit: OwnedSemaphorePermit,
    /// The task beside this one.
    pub(super) aside: AsideTask,
}

/// How a session's task begins.
pub enum Begin {
    /// The session is open.
    Open {
        /// Jobs were submitted to it already.
        more: bool,
    },
    /// Its opening was claimed, and it is open when its snapshot is in.
    With(Box<Claimed>),
}

impl Begin {
    /// Whether jobs may be claimed at once.
    pub(super) fn more(&self) -> bool {
        matches!(self, Self::Open { more: true })
    }
}

/// The task that does what needs no R.
pub(super) struct AsideTask {
    pub(super) over: CancellationToken,
    pub(super) letters: mpsc::Sender<Letter>,
    pub(super) task: JoinHandle<()>,
}

impl AsideTask {
    /// Ends it; what it did not finish is the session's to say.
    async fn end(mut self) {
        self.over.cancel();
        self.finished().await;
    }

    /// Waits until it has ended: for the session, or because the worker is drained and all that it had is done.
    async fn finished(&mut self) {
        if !self.task.is_finished()
            && let Err(error) = (&mut self.task).await
        {
            tracing::error!(error = %error, "A task beside a session failed");
        }
    }
}

/// Why a session ends.
enum End {
    Closed,
    Lost(String),
    /// Its row says so already.
    Written,
    /// The lease is lost, or the worker could not write: whoever took over has judged already.
    Silently,
}

impl Actor {
    /// Lives until the session ends.
    pub(super) async fn live(mut self, begin: Begin) {
        let open = match begin {
            Begin::Open { more } => Ok(more),
            Begin::With(opening) => self.open_with(*opening).await,
        };
        let end = match open {
            Ok(more) => self.serve(more).await,
            Err(end) => end,
        };
        let end = self.last_files(end).await;
        let (state, reason) = match end {
            End::Closed => (
                SessionState::Closed,
                "it was closed by its owner".to_owned(),
            ),
            End::Lost(reason) => (SessionState::Lost, reason),
            End::Written | End::Silently => (SessionState::Lost, String::new()),
        };
        self.child.kill();
        self.aside.end().await;
        if !reason.is_empty() {
            let (id, reason) = (self.id, reason.as_str());
            self.context
                .writes
                .insist(|db, me| async move { sessions::end(&db, me, id, state, reason).await })
                .await;
        }
        if tokio::time::timeout(KILL_LIMIT, self.child.gone())
            .await
            .is_err()
        {
            tracing::error!(
                "The R process {} of {} does not die",
                self.child.pid,
                self.id
            );
            self.child.kill_process();
        }
        drop(self.permit);
    }

    /// While the worker is being stopped, files on their way get the same time as a run.
    async fn last_files(&mut self, end: End) -> End {
        let lost = matches!(end, End::Lost(_)) && !self.child.is_gone();
        if !lost || !self.context.stop.soft.is_cancelled() {
            return end;
        }
        loop {
            tokio::select! {
                () = self.aside.finished() => return end,
                letter = self.mail.recv() => match letter {
                    Some(Mail::Close { .. }) => return End::Closed,
                    Some(_other) => {}
                    None => return end,
                },
            }
        }
    }

    /// Brings in the snapshot that the session begins with, and then opens it; tells whether jobs wait. What goes wrong is said
    /// in the same statement that ends the opening and the session.
    async fn open_with(&mut self, opening: Claimed) -> Result<bool, End> {
        metrics().claimed(JobKind::OpenSession);
        let span = tracing::info_span!(
            "worker.open_with",
            session.id = %self.id,
            job.id = %opening.job,
            job.attempt = opening.attempt,
            traceparent = opening.traceparent.as_deref().unwrap_or_default()
        );
        let end = run(&self.context, &mut self.child, &mut self.mail, &opening)
            .instrument(span)
            .await;
        let written = self.context.writes.complete_opening(end.ending).await;
        let Some(Some(opened)) = written else {
            return Err(End::Silently);
        };
        metrics().ended(JobKind::OpenSession, opened.state);
        if opened.state == JobState::Queued {
            // Another worker tries.
            return Err(End::Silently);
        }
        if opened.state != JobState::Succeeded {
            return Err(End::Silently);
        }
        if opened.more {
            let _ = self.aside.letters.try_send(Letter::Work);
        }
        Ok(opened.more)
    }

    async fn serve(&mut self, more: bool) -> End {
        let mut work = more;
        loop {
            if work {
                match self.next_job().await {
                    Ok(Some(claimed)) => match self.work_on(claimed).await {
                        Ok(more) => work = more,
                        Err(end) => return end,
                    },
                    Ok(None) => work = false,
                    Err(end) => return end,
                }
                continue;
            }
            let (stop, aside) = (&self.context.stop, &mut self.aside);
            let drained = async {
                stop.soft.cancelled().await;
                aside.finished().await;
            };
            tokio::select! {
                letter = self.mail.recv() => match letter {
                    Some(Mail::Work) => work = true,
                    Some(Mail::Aside | Mail::Cancel(_)) => {}
                    Some(Mail::Close { .. }) => return End::Closed,
                    None => return End::Silently,
                },
                exit = self.child.gone() => return End::Lost(format!("{exit}")),
                () = drained => match self.end_unless_work_waits().await {
                    Some(end) => return end,
                    None => work = true,
                },
            }
        }
    }

    /// Ends the session for a drain, unless a job waits in it: that one may still end within the grace period.
    async fn end_unless_work_waits(&self) -> Option<End> {
        let id = self.id;
        let ended = self
            .context
            .writes
            .insist(
                |db, me| async move { sessions::end_unless_work_waits(&db, me, id, DRAINED).await },
            )
            .await;
        match ended {
            Some(true) => Some(End::Written),
            Some(false) => None,
            None => Some(End::Silently),
        }
    }

    /// The next job, once the lease allows one.
    async fn next_job(&mut self) -> Result<Option<Claimed>, End> {
        let mut lease = self.context.lease.clone();
        // While Postgres is away nothing new begins; the session lives on.
        match lease
            .wait_for(|standing| *standing != Standing::Doubtful)
            .await
        {
            Ok(standing) if *standing == Standing::Valid => {}
            _ => return Err(End::Silently),
        }
        if self.context.stop.hard.is_cancelled() {
            return Err(End::Lost(DRAINED.to_owned()));
        }
        self.context
            .writes
            .claim(self.id)
            .await
            .map_err(|_stopped| End::Silently)
    }

    /// Runs a job and writes how it ended; tells whether more wait.
    async fn work_on(&mut self, claimed: Claimed) -> Result<bool, End> {
        if let Ok(kind) = &claimed.kind {
            metrics().claimed(*kind);
        }
        let span = tracing::info_span!(
            "worker.execute",
            session.id = %self.id,
            job.id = %claimed.job,
            job.attempt = claimed.attempt,
            traceparent = claimed.traceparent.as_deref().unwrap_or_default()
        );
        let end = run(&self.context, &mut self.child, &mut self.mail, &claimed)
            .instrument(span)
            .await;
        let RunEnd {
            ending,
            gone,
            close,
        } = end;
        // Before anybody can hear of it.
        if let Ok(kind) = &claimed.kind {
            metrics().ended(*kind, ending.completion.state);
        }
        let written = self
            .context
            .writes
            .complete(ending)
            .await
            .map_err(|_stopped| End::Silently)?;
        if written.is_none() {
            tracing::warn!("{} was not this worker's to complete any more", claimed.job);
        }
        match (gone, close) {
            (_, true) => Err(End::Closed),
            (Some(how), false) => Err(End::Lost(how)),
            (None, false) => Ok(written.is_none_or(|completed| completed.more)),
        }
    }
}
