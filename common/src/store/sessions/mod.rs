//! Table `sessions`.

mod end;
mod open;

use chrono::{DateTime, Utc};
use tokio_postgres::Row;

pub use self::end::{Closing, close, end, end_unless_work_waits};
pub use self::open::{
    NewSession, Opened, OpeningEnd, Stored, complete_opening, open, opened_here, store_opening,
    waiting,
};
use super::{Db, DbError};
use crate::id::{JobId, PrincipalId, SessionId, WorkerId};
use crate::model::{SessionState, WorkerIdentity};

/// A session as its owner sees it.
#[derive(Debug)]
pub struct Session {
    /// Which.
    pub id: SessionId,
    /// The owner's label.
    pub name: Option<String>,
    /// Where it stands.
    pub state: SessionState,
    /// Why it ended.
    pub reason: Option<String>,
    /// When it ended.
    pub ended_at: Option<DateTime<Utc>>,
    /// The worker that holds it, or held it last.
    pub worker: Option<WorkerId>,
}

fn session(row: &Row) -> Result<Session, DbError> {
    let state: &str = row.get("state");
    Ok(Session {
        id: SessionId::from_uuid(row.get("id")),
        name: row.get("name"),
        state: state
            .parse()
            .map_err(|problem| DbError::bad_row("sessions", problem))?,
        reason: row.get("state_reason"),
        ended_at: row.get("ended_at"),
        worker: row
            .get::<_, Option<uuid::Uuid>>("worker_id")
            .map(WorkerId::from_uuid),
    })
}

/// The owner's sessions that are opening or open, oldest first.
pub async fn live(db: &Db, owner: PrincipalId) -> Result<Vec<Session>, DbError> {
    const SQL: &str = "-- sessions::live
        SELECT id, name, state, state_reason, ended_at, worker_id FROM sessions
         WHERE owner_id = $1 AND state IN ('opening', 'open') ORDER BY id";
    let rows = db
        .conn()
        .await?
        .query("sessions::live", SQL, &[&owner.uuid()])
        .await?;
    rows.iter().map(session).collect()
}

/// One session, if it is the owner's.
pub async fn find(db: &Db, owner: PrincipalId, id: SessionId) -> Result<Option<Session>, DbError> {
    const SQL: &str = "-- sessions::find
        SELECT id, name, state, state_reason, ended_at, worker_id FROM sessions WHERE id = $1 AND owner_id = $2";
    let rows = db
        .conn()
        .await?
        .query("sessions::find", SQL, &[&id.uuid(), &owner.uuid()])
        .await?;
    rows.first().map(session).transpose()
}

/// Something that a worker must know about a session it holds, after it could not hear for a while.
#[derive(Debug)]
pub struct Held {
    /// Which session.
    pub session: SessionId,
    /// Its owner asked to close it.
    pub closing: bool,
    /// Its running jobs for which cancelling was asked.
    pub cancels: Vec<JobId>,
    /// Jobs that take turns wait in it.
    pub more: bool,
    /// Jobs that need no R wait in it.
    pub aside: bool,
}

/// The catch-up query of a worker: every session it holds that wants something.
pub async fn held(db: &Db, me: WorkerIdentity) -> Result<Vec<Held>, DbError> {
    const SQL: &str = "-- sessions::held
        SELECT * FROM (
            SELECT s.id, s.state = 'closing' AS closing,
                   ARRAY(SELECT r.id FROM jobs r
                          WHERE r.worker_id = $1 AND r.state = 'running' AND r.attempt > 0
                            AND r.session_id = s.id AND r.cancel_requested_at IS NOT NULL) AS cancels,
                   EXISTS (SELECT FROM jobs q
                            WHERE q.session_id = s.id AND q.state = 'queued' AND q.lane = 'ordered') AS more,
                   EXISTS (SELECT FROM jobs q
                            WHERE q.session_id = s.id AND q.state = 'queued' AND q.lane = 'aside') AS aside
              FROM sessions s
             WHERE s.worker_id = $1 AND s.epoch = $2 AND s.state IN ('open', 'closing')
        ) held WHERE closing OR cancels <> '{}' OR more OR aside";
    let rows = db
        .conn()
        .await?
        .query("sessions::held", SQL, &[&me.id.uuid(), &me.epoch])
        .await?;
    let held = |row: &Row| Held {
        session: SessionId::from_uuid(row.get("id")),
        closing: row.get("closing"),
        cancels: row
            .get::<_, Vec<uuid::Uuid>>("cancels")
            .into_iter()
            .map(JobId::from_uuid)
            .collect(),
        more: row.get("more"),
        aside: row.get("aside"),
    };
    Ok(rows.iter().map(held).collect())
}
