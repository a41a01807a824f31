//! What a worker writes, grouped: claims, openings, completions. Each waits as long as Postgres is away and the lease
//! is not lost.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use warren_common::group::{Group, Stopped};
use warren_common::id::{JobId, SessionId};
use warren_common::model::{JobState, WorkerIdentity};
use warren_common::store::jobs::{self, Claimed, Completed, Completion};
use warren_common::store::sessions::{self, Opened};
use warren_common::store::{Db, DbError};
use warren_common::telemetry::chain;

use crate::lease::{LeaseWatch, Standing};

/// The largest group.
const LARGEST: usize = 128;
/// The first pause after a failure; it doubles.
const FIRST_PAUSE: Duration = Duration::from_millis(20);
/// The longest pause.
const LONGEST_PAUSE: Duration = Duration::from_secs(1);

/// The writes of one worker.
#[derive(Clone)]
pub struct Writes {
    claims: Group<SessionId, Option<Claimed>>,
    openings: Group<JobId, Option<Opened>>,
    completions: Group<Completion, Option<Completed>>,
    writer: Arc<Writer>,
}

struct Writer {
    me: WorkerIdentity,
    db: Db,
    relaxed: Db,
    lease: LeaseWatch,
}

/// Why a write was given up.
enum Refused {
    /// The lease is lost.
    Stopped,
    /// Postgres will never take it.
    ByPostgres,
}

impl Writes {
    /// Starts the runners. `relaxed` commits without waiting for the disk; it serves claims alone.
    pub fn start(me: WorkerIdentity, db: Db, relaxed: Db, lease: LeaseWatch) -> Self {
        let writer = Arc::new(Writer {
            me,
            db,
            relaxed,
            lease,
        });
        let (claiming, opening, completing) = (
            Arc::clone(&writer),
            Arc::clone(&writer),
            Arc::clone(&writer),
        );
        Self {
            claims: Group::start(LARGEST, move |group| Arc::clone(&claiming).claim(group)),
            openings: Group::start(LARGEST, move |group| Arc::clone(&opening).open(group)),
            completions: Group::start(LARGEST, move |group| {
                Arc::clone(&completing).complete(group)
            }),
            writer,
        }
    }

    /// The next job of a session, if one waits. Nothing of the session may be running or unwritten.
    pub async fn claim(&self, session: SessionId) -> Result<Option<Claimed>, Stopped> {
        self.claims.submit(session).await
    }

    /// Opens the session that a job asks for; `None` when another worker did.
    pub async fn open(&self, job: JobId) -> Result<Option<Opened>, Stopped> {
        self.openings.submit(job).await
    }

    /// Writes how a job ended; `None` when it was not this worker's any more.
    pub async fn complete(&self, completion: Completion) -> Result<Option<Completed>, Stopped> {
        self.completions.submit(completion).await
    }

    /// Runs a write of another kind until Postgres takes it or refuses it, or the lease is lost.
    pub async fn insist<T, R>(&self, mut write: impl FnMut(Db, WorkerIdentity) -> R) -> Option<T>
    where
        R: Future<Output = Result<T, DbError>>,
    {
        let mut pause = FIRST_PAUSE;
        loop {
            match write(self.writer.db.clone(), self.writer.me).await {
                Ok(value) => return Some(value),
                Err(error) => self.writer.wait_or_give_up(&error, &mut pause).await?,
            }
        }
    }
}

impl Writer {
    async fn claim(self: Arc<Self>, group: Vec<SessionId>) -> Vec<Option<Claimed>> {
        let mut pause = FIRST_PAUSE;
        let mut doubt = false;
        let mut found: HashMap<SessionId, Claimed> = HashMap::new();
        loop {
            // A claim whose answer was lost may stand: nothing of these sessions runs here, so what runs there is it.
            let again = if doubt {
                jobs::running_here(&self.db, self.me, &group).await
            } else {
                Ok(Vec::new())
            };
            let fresh = match again {
                Ok(again) => {
                    found.extend(again.into_iter().map(|claimed| (claimed.session, claimed)));
                    jobs::claim(&self.relaxed, self.me, &group).await
                }
                Err(error) => Err(error),
            };
            match fresh {
                Ok(fresh) => {
                    found.extend(fresh.into_iter().map(|claimed| (claimed.session, claimed)));
                    return group.iter().map(|session| found.remove(session)).collect();
                }
                Err(error) => {
                    doubt |= error.is_interrupted();
                    if self.wait_or_give_up(&error, &mut pause).await.is_none() {
                        return Vec::new();
                    }
                }
            }
        }
    }

    async fn open(self: Arc<Self>, group: Vec<JobId>) -> Vec<Option<Opened>> {
        let mut pause = FIRST_PAUSE;
        let mut doubt = false;
        let mut found: HashMap<JobId, Opened> = HashMap::new();
        loop {
            let again = if doubt {
                sessions::opened_here(&self.db, self.me, &group).await
            } else {
                Ok(Vec::new())
            };
            let fresh = match again {
                Ok(again) => {
                    found.extend(again.into_iter().map(|opened| (opened.job, opened)));
                    sessions::open(&self.db, self.me, Some(&group), group.len()).await
                }
                Err(error) => Err(error),
            };
            match fresh {
                Ok(fresh) => {
                    found.extend(fresh.into_iter().map(|opened| (opened.job, opened)));
                    return group.iter().map(|job| found.remove(job)).collect();
                }
                Err(error) => {
                    doubt |= error.is_interrupted();
                    if self.wait_or_give_up(&error, &mut pause).await.is_none() {
                        return Vec::new();
                    }
                }
            }
        }
    }

    async fn complete(self: Arc<Self>, group: Vec<Completion>) -> Vec<Option<Completed>> {
        match self.insist_on_completing(&group).await {
            Ok(answers) => answers,
            Err(Refused::Stopped) => Vec::new(),
            // One of them is refused; the others must not suffer for it.
            Err(Refused::ByPostgres) => {
                let mut answers = Vec::with_capacity(group.len());
                for completion in group {
                    answers.push(self.complete_alone(completion).await);
                }
                answers
            }
        }
    }

    /// Completes one job, without what it left if Postgres refuses that: a job that ran must end.
    async fn complete_alone(&self, completion: Completion) -> Option<Completed> {
        let bare = Completion {
            state: JobState::Failed,
            result: None,
            console_tail: Vec::new(),
            reason: Some("what it left could not be stored".to_owned()),
            ..completion.clone()
        };
        for attempt in [completion, bare] {
            match self
                .insist_on_completing(std::slice::from_ref(&attempt))
                .await
            {
                Ok(answers) => return answers.into_iter().next().flatten(),
                Err(Refused::Stopped) => return None,
                Err(Refused::ByPostgres) => {}
            }
        }
        None
    }

    async fn insist_on_completing(
        &self,
        group: &[Completion],
    ) -> Result<Vec<Option<Completed>>, Refused> {
        let mut pause = FIRST_PAUSE;
        let mut doubt = false;
        loop {
            match self.complete_once(group, doubt).await {
                Ok(answers) => return Ok(answers),
                Err(error) => {
                    doubt |= error.is_interrupted();
                    if self.wait_or_give_up(&error, &mut pause).await.is_none() {
                        return Err(if error.is_away() {
                            Refused::Stopped
                        } else {
                            Refused::ByPostgres
                        });
                    }
                }
            }
        }
    }

    async fn complete_once(
        &self,
        group: &[Completion],
        doubt: bool,
    ) -> Result<Vec<Option<Completed>>, DbError> {
        let done = jobs::complete(&self.db, self.me, group).await?;
        let mut answers = Vec::with_capacity(group.len());
        for completion in group {
            let answer = match done.get(&completion.job) {
                Some(completed) => Some(*completed),
                None if doubt => jobs::settled_by(&self.db, self.me, completion).await?,
                None => None,
            };
            answers.push(answer);
        }
        Ok(answers)
    }

    /// Waits before the next try; `None` when there will be none.
    async fn wait_or_give_up(&self, error: &DbError, pause: &mut Duration) -> Option<()> {
        let mut lease = self.lease.clone();
        if *lease.borrow() == Standing::Lost {
            return None;
        }
        if !error.is_away() {
            // Postgres refuses the statement itself; a later try would be refused as well.
            tracing::error!(error = %chain(error), "A write was refused");
            return None;
        }
        tracing::warn!(error = %error, "PostgreSQL is away, writing again in {pause:?}");
        let waited = *pause;
        *pause = (*pause * 2).min(LONGEST_PAUSE);
        tokio::select! {
            () = tokio::time::sleep(waited) => Some(()),
            _ = lease.wait_for(|standing| *standing == Standing::Lost) => None,
        }
    }
}
