//! The task that owns one session and its one R process: a mailbox, no locks.

use std::sync::Arc;
use std::time::Duration;

use tokio::sync::{OwnedSemaphorePermit, mpsc};
use tracing::Instrument;
use warren_common::id::{JobId, SessionId};
use warren_common::model::{SessionState, WorkerIdentity};
use warren_common::queue::Broker;
use warren_common::stop::Stop;
use warren_common::store::jobs::Claimed;
use warren_common::store::{Db, sessions};
use warren_common::telemetry::metrics;

use super::run::{RunEnd, run};
use crate::config::WorkerConfig;
use crate::host::Child;
use crate::lease::{LeaseWatch, Standing};
use crate::writes::Writes;

/// How long a killed process may take to go.
const KILL_LIMIT: Duration = Duration::from_secs(5);

/// What a session's task is told.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Mail {
    /// Jobs wait.
    Work,
    /// Cancel this job, if it is the one that runs.
    Cancel(JobId),
    /// End the session.
    Close {
        /// Do not wait for R.
        force: bool,
    },
}

/// What every session of a worker shares.
#[derive(Clone)]
pub struct Context {
    /// Postgres.
    pub db: Db,
    /// Who writes.
    pub me: WorkerIdentity,
    /// Grouped writes.
    pub writes: Writes,
    /// For completion events.
    pub broker: Broker,
    /// Whether anything new may begin.
    pub lease: LeaseWatch,
    /// Settings.
    pub config: Arc<WorkerConfig>,
    /// When to end.
    pub stop: Stop,
}

/// One session.
pub(super) struct Actor {
    pub(super) id: SessionId,
    pub(super) child: Child,
    pub(super) mail: mpsc::Receiver<Mail>,
    pub(super) context: Context,
    /// The place in this worker that the session takes.
    pub(super) permit: OwnedSemaphorePermit,
}

/// Why a session ends.
enum End {
    Closed,
    Lost(String),
    /// The lease is lost, or the worker could not write: whoever took over has judged already.
    Silently,
}

impl Actor {
    /// Lives until the session ends.
    pub(super) async fn live(mut self, more: bool) {
        let end = self.serve(more).await;
        let (state, reason) = match end {
            End::Closed => (
                SessionState::Closed,
                "it was closed by its owner".to_owned(),
            ),
            End::Lost(reason) => (SessionState::Lost, reason),
            End::Silently => (SessionState::Lost, String::new()),
        };
        self.child.kill();
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
            tokio::select! {
                letter = self.mail.recv() => match letter {
                    Some(Mail::Work) => work = true,
                    Some(Mail::Cancel(_done_already)) => {}
                    Some(Mail::Close { .. }) => return End::Closed,
                    None => return End::Silently,
                },
                exit = self.child.gone() => return End::Lost(format!("{exit}")),
                () = self.context.stop.soft.cancelled() => return End::Lost("its worker was stopped".to_owned()),
            }
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
        if self.context.stop.soft.is_cancelled() {
            return Err(End::Lost("its worker was stopped".to_owned()));
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
