//! Closing sessions, and ending them in other ways.

use super::super::{Conn, Db, DbError, storable};
use super::{Session, find};
use crate::id::{PrincipalId, SessionId, WorkerId};
use crate::model::{SessionState, WorkerIdentity};

/// What asking to close a session found.
#[derive(Debug)]
pub enum Closing {
    /// It is closing now, or closed while it was being opened; this worker has to be told.
    AskedOf(WorkerId),
    /// No worker held it: it is closed.
    AtOnce,
    /// It had ended, or was closing already.
    Over(Session),
    /// There is no such session of this owner.
    Unknown,
}

/// Asks to close a session: its waiting jobs end cancelled, the worker is told by the caller.
pub async fn close(db: &Db, owner: PrincipalId, id: SessionId) -> Result<Closing, DbError> {
    const SQL: &str = "-- sessions::close
        WITH asked AS (
            UPDATE sessions
               SET state = CASE WHEN state = 'open' THEN 'closing' ELSE 'closed' END,
                   ended_at = CASE WHEN state = 'open' THEN NULL ELSE now() END,
                   state_reason = 'it was closed by its owner', last_activity_at = now()
             WHERE id = $1 AND owner_id = $2 AND state IN ('opening', 'open')
            RETURNING id, state, worker_id
        ), cancelled AS (
            UPDATE jobs j SET state = 'cancelled', finished_at = now(), reason = 'its session was closed'
              FROM asked a WHERE j.session_id = a.id AND j.state = 'queued'
        )
        SELECT state, worker_id FROM asked";
    let mut tries = 0;
    let rows = loop {
        // An opening that commits at this moment takes the same two locks the other way round.
        match db
            .conn()
            .await?
            .query("sessions::close", SQL, &[&id.uuid(), &owner.uuid()])
            .await
        {
            Err(error) if error.may_retry() && tries < 3 => tries += 1,
            settled => break settled?,
        }
    };
    match rows.first() {
        // One that is being opened from a snapshot is closed, but its worker need not go on.
        Some(row) => match row.get::<_, Option<uuid::Uuid>>("worker_id") {
            Some(worker) => Ok(Closing::AskedOf(WorkerId::from_uuid(worker))),
            None => Ok(Closing::AtOnce),
        },
        None => Ok(find(db, owner, id)
            .await?
            .map_or(Closing::Unknown, Closing::Over)),
    }
}

/// Ends a session that this worker holds, with everything that still waits or runs in it; false when it is not its any more.
///
/// A session that was closing ends closed whatever `state` says.
pub async fn end(
    db: &Db,
    me: WorkerIdentity,
    id: SessionId,
    state: SessionState,
    reason: &str,
) -> Result<bool, DbError> {
    end_on(&mut db.conn().await?, me, id, state, reason).await
}

/// Ends a session as lost, unless a job waits its turn in it; true when it has ended or is not this worker's any more.
///
/// The row is locked before the look, so that no job is accepted in between.
pub async fn end_unless_work_waits(
    db: &Db,
    me: WorkerIdentity,
    id: SessionId,
    reason: &str,
) -> Result<bool, DbError> {
    const LOCK: &str = "-- sessions::lock
        SELECT id FROM sessions WHERE id = $3 AND worker_id = $1 AND epoch = $2 FOR NO KEY UPDATE";
    const WAITS: &str = "-- sessions::work_waits
        SELECT id FROM jobs WHERE session_id = $1 AND state = 'queued' AND lane = 'ordered' LIMIT 1";
    let mut tx = db
        .conn()
        .await?
        .begin("sessions::end_unless_work_waits")
        .await?;
    let params: &[&(dyn tokio_postgres::types::ToSql + Sync)] =
        &[&me.id.uuid(), &me.epoch, &id.uuid()];
    tx.query("sessions::lock", LOCK, params).await?;
    let waits = tx
        .query("sessions::work_waits", WAITS, &[&id.uuid()])
        .await?;
    if !waits.is_empty() {
        tx.roll_back("sessions::end_unless_work_waits").await?;
        return Ok(false);
    }
    end_on(&mut tx, me, id, SessionState::Lost, reason).await?;
    tx.commit("sessions::end_unless_work_waits").await?;
    Ok(true)
}

async fn end_on(
    conn: &mut Conn,
    me: WorkerIdentity,
    id: SessionId,
    state: SessionState,
    reason: &str,
) -> Result<bool, DbError> {
    const SQL: &str = "-- sessions::end
        WITH ended AS (
            UPDATE sessions s
               SET state = CASE WHEN s.state = 'closing' THEN 'closed' ELSE $4 END,
                   state_reason = CASE WHEN s.state = 'closing' THEN s.state_reason ELSE $5 END,
                   ended_at = now()
              FROM workers w
             WHERE s.id = $3 AND s.worker_id = $1 AND s.epoch = $2 AND s.state IN ('open', 'closing')
               AND w.id = $1 AND w.epoch = $2 AND w.state IN ('alive', 'draining')
            RETURNING s.id, s.state
        ), waiting_jobs AS (
            UPDATE jobs j
               SET state = CASE WHEN e.state = 'closed' THEN 'cancelled' ELSE 'lost' END,
                   reason = CASE WHEN e.state = 'closed' THEN 'its session was closed' ELSE $5 END,
                   finished_at = now()
              FROM ended e WHERE j.session_id = e.id AND j.state = 'queued'
        ), running_job AS (
            UPDATE jobs j
               SET state = CASE WHEN e.state = 'closed' THEN 'cancelled' ELSE 'lost' END,
                   reason = CASE WHEN e.state = 'closed' THEN 'its session was closed' ELSE $5 END,
                   finished_at = now()
              FROM ended e WHERE j.session_id = e.id AND j.state = 'running' AND j.lane = 'ordered'
        ), running_aside AS (
            UPDATE jobs j
               SET state = CASE WHEN e.state = 'closed' THEN 'cancelled' ELSE 'lost' END,
                   reason = CASE WHEN e.state = 'closed' THEN 'its session was closed' ELSE $5 END,
                   finished_at = now()
              FROM ended e
             WHERE j.worker_id = $1 AND j.state = 'running' AND j.attempt > 0
               AND j.session_id = e.id AND j.lane = 'aside'
        )
        SELECT id FROM ended";
    let reason = storable(reason);
    let params: &[&(dyn tokio_postgres::types::ToSql + Sync)] =
        &[&me.id.uuid(), &me.epoch, &id.uuid(), &state.word(), &reason];
    Ok(!conn.query("sessions::end", SQL, params).await?.is_empty())
}
