//! What a worker writes, grouped: claims, openings, completions. Each waits as long as Postgres is away and the lease
//! is not lost. Whoever waits for a completed job is told once its row is written.

mod calls;
mod ending;

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use warren_common::group::{Group, Stopped};
use warren_common::id::{JobId, SessionId};
use warren_common::model::{JobKind, JobState, WorkerIdentity};
use warren_common::queue::Broker;
use warren_common::store::jobs::{self, Claimed, Completed, Completion};
use warren_common::store::sessions::{self, Opened, OpeningEnd};
use warren_common::store::{Db, DbError};
use warren_common::telemetry::chain;

pub use ending::Ending;

use self::ending::Events;
use crate::lease::{LeaseWatch, Standing};

/// The largest group.
const LARGEST: usize = 128;
/// A completion of more bytes than this shares a statement with no other.
const LARGE_BYTES: usize = 1024 * 1024;
/// The first pause after a failure; it doubles.
const FIRST_PAUSE: Duration = Duration::from_millis(20);
/// The longest pause.
const LONGEST_PAUSE: Duration = Duration::from_secs(1);

/// The writes of one worker.
#[derive(Clone)]
pub struct Writes {
    claims: Group<SessionId, Option<Claimed>>,
    calls: Group<JobId, Option<Claimed>>,
    items: Group<Ending, bool>,
    openings: Group<JobId, Option<Opened>>,
    completions: Group<Ending, Option<Completed>>,
    writer: Arc<Writer>,
}

struct Writer {
    me: WorkerIdentity,
    broker: Broker,
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
    pub fn start(
        me: WorkerIdentity,
        broker: Broker,
        db: Db,
        relaxed: Db,
        lease: LeaseWatch,
    ) -> Self {
        let writer = Arc::new(Writer {
            me,
            broker,
            db,
            relaxed,
            lease,
        });
        let (claiming, calling) = (Arc::clone(&writer), Arc::clone(&writer));
        let (opening, completing) = (Arc::clone(&writer), Arc::clone(&writer));
        let ending = Arc::clone(&writer);
        Self {
            claims: Group::start(LARGEST, move |group| Arc::clone(&claiming).claim(group)),
            calls: Group::start(LARGEST, move |group| {
                Arc::clone(&calling).claim_calls(group)
            }),
            items: Group::start(LARGEST, move |group| {
                Arc::clone(&ending).complete_items(group)
            }),
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

    /// Jobs of a session that need no R, and whether one may turn up later because an answer was lost. In `doubt` those are
    /// among them that the database says run here, which the caller may know already. `None` when the lease is lost.
    pub async fn claim_aside(
        &self,
        session: SessionId,
        brief: usize,
        transfers: usize,
        mut doubt: bool,
    ) -> Option<(Vec<Claimed>, bool)> {
        let writer = &self.writer;
        let mut pause = FIRST_PAUSE;
        let mut interrupted = false;
        loop {
            match writer
                .claim_aside_once(session, brief, transfers, doubt)
                .await
            {
                Ok(found) => return Some((found, interrupted)),
                Err(error) => {
                    interrupted |= error.is_interrupted();
                    doubt |= interrupted;
                    writer.wait(&error, &mut pause).await?;
                }
            }
        }
    }

    /// A call or a publication that a notice told of; `None` when another worker has it.
    pub async fn claim_call(&self, job: JobId) -> Result<Option<Claimed>, Stopped> {
        self.calls.submit(job).await
    }

    /// Jobs of these kinds that wait. `None` when the lease is lost. A claim whose answer was lost is found by whoever looks at what
    /// runs here.
    pub async fn claim_waiting_calls(
        &self,
        kinds: &[JobKind],
        most: usize,
    ) -> Option<Vec<Claimed>> {
        self.insist(
            |db, me| async move { jobs::claim_waiting_calls(&db, me, kinds, limit(most)).await },
        )
        .await
    }

    /// Writes how an item of a batch ended, and lets the next of the batch begin; false when it was not this worker's any more.
    pub async fn complete_item(&self, ending: Ending) -> Result<bool, Stopped> {
        if ending.bytes() > LARGE_BYTES {
            let done = Arc::clone(&self.writer).complete_items(vec![ending]).await;
            return done.first().copied().ok_or(Stopped);
        }
        self.items.submit(ending).await
    }

    /// Tells the node that waits of a job that was completed by a statement of its own.
    pub fn tell(&self, ending: Ending, completed: Completed) {
        let mut events = Events::default();
        events.add(ending, Some(completed));
        events.send(&self.writer.broker);
    }

    /// Opens the session that a job asks for; `None` when another worker did.
    pub async fn open(&self, job: JobId) -> Result<Option<Opened>, Stopped> {
        self.openings.submit(job).await
    }

    /// Claims the opening of a session that begins with a snapshot. `None` when the lease is lost.
    pub async fn claim_opening(&self, job: JobId) -> Option<Option<Claimed>> {
        self.insist(|db, me| async move { jobs::claim_opening(&db, me, job).await })
            .await
    }

    /// Writes how such an opening ended, and tells the node that waits. `None` when the lease is lost.
    pub async fn complete_opening(&self, ending: Ending) -> Option<Option<OpeningEnd>> {
        let completion = &ending.completion;
        let written = self
            .insist(|db, me| async move {
                if let Some(end) = sessions::complete_opening(&db, me, completion).await? {
                    return Ok(Some(end));
                }
                // The answer of the try before may have been lost.
                let opened = sessions::opened_here(&db, me, &[completion.job])
                    .await?
                    .pop();
                Ok(opened.map(|opened| OpeningEnd {
                    state: JobState::Succeeded,
                    api: opened.api,
                    more: opened.more,
                }))
            })
            .await?;
        // One that is tried again has not ended.
        if let Some(end) = &written
            && end.state != JobState::Queued
        {
            let completion = Completion {
                state: end.state,
                ..ending.completion
            };
            let (api, more) = (end.api, end.more);
            let mut events = Events::default();
            events.add(
                Ending {
                    completion,
                    ..ending
                },
                Some(Completed { api, more }),
            );
            events.send(&self.writer.broker);
        }
        Some(written)
    }

    /// Writes how a job ended and tells the node that waits; `None` when it was not this worker's any more.
    ///
    /// A large one goes alone: together they could be more than one statement can carry. So does the creation of a snapshot.
    pub async fn complete(&self, ending: Ending) -> Result<Option<Completed>, Stopped> {
        if ending.bytes() > LARGE_BYTES || ending.completion.snapshot.is_some() {
            let mut events = Events::default();
            let written = self.writer.complete_alone(ending, &mut events).await;
            events.send(&self.writer.broker);
            return Ok(written);
        }
        self.completions.submit(ending).await
    }

    /// Runs a write of another kind until Postgres takes it; `None` when the lease is lost before.
    pub async fn insist<T, R>(&self, mut write: impl FnMut(Db, WorkerIdentity) -> R) -> Option<T>
    where
        R: Future<Output = Result<T, DbError>>,
    {
        let mut pause = FIRST_PAUSE;
        loop {
            match write(self.writer.db.clone(), self.writer.me).await {
                Ok(value) => return Some(value),
                Err(error) => self.writer.wait(&error, &mut pause).await?,
            }
        }
    }
}

impl Writer {
    async fn claim(self: Arc<Self>, group: Vec<SessionId>) -> Vec<Option<Claimed>> {
        let mut pause = FIRST_PAUSE;
        let mut found: HashMap<SessionId, Claimed> = HashMap::new();
        loop {
            match self.claim_once(&group, &mut found).await {
                Ok(()) => return group.iter().map(|session| found.remove(session)).collect(),
                Err(error) => {
                    if self.wait(&error, &mut pause).await.is_none() {
                        return Vec::new();
                    }
                }
            }
        }
    }

    /// Claims, and asks again for sessions where nothing was found: nothing of these sessions runs here, so what the
    /// database says runs here is a claim whose answer was lost; and a head that was cancelled at the moment of the claim
    /// leaves the next one to be taken.
    async fn claim_once(
        &self,
        group: &[SessionId],
        found: &mut HashMap<SessionId, Claimed>,
    ) -> Result<(), DbError> {
        let mut keep = |claimed: Vec<Claimed>| {
            found.extend(
                claimed
                    .into_iter()
                    .filter_map(|claimed| Some((claimed.session?, claimed))),
            );
            group
                .iter()
                .copied()
                .filter(|session| !found.contains_key(session))
                .collect::<Vec<_>>()
        };
        let missing = keep(jobs::claim(&self.relaxed, self.me, group).await?);
        if missing.is_empty() {
            return Ok(());
        }
        let missing = keep(jobs::running_here(&self.db, self.me, &missing).await?);
        if !missing.is_empty() {
            keep(jobs::claim(&self.relaxed, self.me, &missing).await?);
        }
        Ok(())
    }

    async fn claim_aside_once(
        &self,
        session: SessionId,
        brief: usize,
        transfers: usize,
        doubt: bool,
    ) -> Result<Vec<Claimed>, DbError> {
        let mut found = if doubt {
            jobs::aside_running_here(&self.db, self.me, session).await?
        } else {
            Vec::new()
        };
        if brief + transfers > 0 {
            let (brief, transfers) = (limit(brief), limit(transfers));
            found.extend(jobs::claim_aside(&self.db, self.me, session, brief, transfers).await?);
        }
        Ok(found)
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
                    sessions::open(&self.db, self.me, &group).await
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
                    if self.wait(&error, &mut pause).await.is_none() {
                        return Vec::new();
                    }
                }
            }
        }
    }

    async fn complete(self: Arc<Self>, group: Vec<Ending>) -> Vec<Option<Completed>> {
        let mut events = Events::default();
        let (completions, whole): (Vec<_>, Vec<_>) = group
            .into_iter()
            .map(|ending| (ending.completion, ending.console_is_whole))
            .unzip();
        let answered = self.insist_on_completing(&completions).await;
        let endings = completions
            .into_iter()
            .zip(whole)
            .map(|(completion, console_is_whole)| Ending {
                completion,
                console_is_whole,
            });
        let answers = match answered {
            Ok(answers) => {
                for (ending, answer) in endings.zip(&answers) {
                    events.add(ending, *answer);
                }
                answers
            }
            Err(Refused::Stopped) => Vec::new(),
            // One of them is refused; the others must not suffer for it.
            Err(Refused::ByPostgres) => {
                let mut answers = Vec::with_capacity(endings.len());
                for ending in endings {
                    answers.push(self.complete_alone(ending, &mut events).await);
                }
                answers
            }
        };
        events.send(&self.broker);
        answers
    }

    /// Completes one job, without what it left if Postgres refuses that: a job that ran must end.
    async fn complete_alone(&self, ending: Ending, events: &mut Events) -> Option<Completed> {
        let first = self
            .insist_on_completing(std::slice::from_ref(&ending.completion))
            .await;
        let (written, answers) = match first {
            Ok(answers) => (ending, answers),
            Err(Refused::Stopped) => return None,
            Err(Refused::ByPostgres) => {
                let bare = without_what_it_left(&ending.completion);
                let answers = self.insist(std::slice::from_ref(&bare)).await?;
                let written = Ending {
                    completion: bare,
                    ..ending
                };
                (written, answers)
            }
        };
        let answer = answers.into_iter().next().flatten();
        events.add(written, answer);
        answer
    }

    /// Tries until Postgres takes the group or refuses what it holds.
    async fn insist_on_completing(
        &self,
        group: &[Completion],
    ) -> Result<Vec<Option<Completed>>, Refused> {
        let mut pause = FIRST_PAUSE;
        let mut doubt = false;
        loop {
            match self.complete_once(group, doubt).await {
                Ok(answers) => return Ok(answers),
                Err(error) if !error.is_away() => {
                    tracing::error!(error = %chain(&error), "A completion was refused");
                    return Err(Refused::ByPostgres);
                }
                Err(error) => {
                    doubt |= error.is_interrupted();
                    self.wait(&error, &mut pause)
                        .await
                        .ok_or(Refused::Stopped)?;
                }
            }
        }
    }

    /// Tries until Postgres takes the group, whatever it says.
    async fn insist(&self, group: &[Completion]) -> Option<Vec<Option<Completed>>> {
        let mut pause = FIRST_PAUSE;
        loop {
            match self.complete_once(group, true).await {
                Ok(answers) => return Some(answers),
                Err(error) => self.wait(&error, &mut pause).await?,
            }
        }
    }

    async fn complete_once(
        &self,
        group: &[Completion],
        doubt: bool,
    ) -> Result<Vec<Option<Completed>>, DbError> {
        let done = match group {
            // Alone, because a second row is made in the same commit.
            [
                completion @ Completion {
                    snapshot: Some(snapshot),
                    ..
                },
            ] => jobs::complete_with_snapshot(&self.db, self.me, completion, snapshot).await?,
            group => jobs::complete(&self.db, self.me, group).await?,
        };
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

    /// Waits before the next try. Only a lost lease ends trying (`None`): whoever took over judges then; as long as this
    /// worker may write, giving up would leave a row that nobody else may touch.
    async fn wait(&self, error: &DbError, pause: &mut Duration) -> Option<()> {
        let mut lease = self.lease.clone();
        if *lease.borrow() == Standing::Lost {
            return None;
        }
        if error.is_away() {
            tracing::warn!(error = %error, "PostgreSQL is away, writing again in {pause:?}");
        } else {
            tracing::error!(error = %chain(error), "A write was refused, trying again in {LONGEST_PAUSE:?}");
            *pause = LONGEST_PAUSE;
        }
        let waited = *pause;
        *pause = (*pause * 2).min(LONGEST_PAUSE);
        tokio::select! {
            () = tokio::time::sleep(waited) => Some(()),
            _ = lease.wait_for(|standing| *standing == Standing::Lost) => None,
        }
    }
}

/// For a job of which Postgres refuses what it left: it ran, so it must end.
fn without_what_it_left(completion: &Completion) -> Completion {
    Completion {
        state: JobState::Failed,
        result: None,
        console_tail: Vec::new(),
        reason: Some("what it left could not be stored".to_owned()),
        snapshot: None,
        ..completion.clone()
    }
}

fn limit(rows: usize) -> i64 {
    i64::try_from(rows).unwrap_or(i64::MAX)
}
