//! Sessions that nobody uses: what counts as use, and closing the others.

use std::time::Duration;

use uuid::Uuid;

use super::{Db, DbError};
use crate::id::{SessionId, WorkerId};

/// Notes that these sessions are used now. Those whose row somebody holds are being used or ended at this moment.
pub async fn touch(db: &Db, sessions: &[SessionId]) -> Result<(), DbError> {
    const SQL: &str = "-- idle::touch
        WITH used AS (
            SELECT id FROM sessions WHERE id = ANY ($1) AND state = 'open'
             ORDER BY id FOR NO KEY UPDATE SKIP LOCKED
        )
        UPDATE sessions s SET last_activity_at = now() FROM used u WHERE s.id = u.id";
    let used: Vec<Uuid> = sessions.iter().map(|session| session.uuid()).collect();
    db.conn()
        .await?
        .execute("idle::touch", SQL, &[&used])
        .await
        .map(drop)
}

/// Asks open sessions to close that have been idle for `idle` and longer, at most `limit` of them; their workers are told by the
/// caller.
///
/// A session is idle when nothing is queued or runs in it, its owner's last call is that long ago, and so is the end of its last
/// run. Jobs of its line run in the order of `seq`, so the last one that began is the last one that ended. A job that is
/// accepted at this moment has changed the session's row before, and the row is looked at again once it is locked.
pub async fn close(
    db: &Db,
    idle: Duration,
    limit: i64,
) -> Result<Vec<(SessionId, WorkerId)>, DbError> {
    const SQL: &str = "-- idle::close
        WITH idle AS (
            SELECT s.id, round(extract(epoch FROM now() - since.at)) AS seconds
              FROM sessions s
             CROSS JOIN LATERAL (
                SELECT greatest(s.last_activity_at,
                                (SELECT l.finished_at FROM jobs l
                                  WHERE l.session_id = s.id AND l.lane = 'ordered' AND l.started_at IS NOT NULL
                                  ORDER BY l.seq DESC LIMIT 1)) AS at
             ) since
             WHERE s.state = 'open' AND s.last_activity_at < now() - $1 * interval '1 second'
               AND since.at < now() - $1 * interval '1 second'
               AND NOT EXISTS (SELECT FROM jobs q WHERE q.session_id = s.id AND q.state = 'queued')
               AND NOT EXISTS (SELECT FROM jobs r
                                WHERE r.worker_id = s.worker_id AND r.state = 'running' AND r.attempt > 0
                                  AND r.session_id = s.id)
             ORDER BY s.id LIMIT $2 FOR NO KEY UPDATE OF s SKIP LOCKED
        )
        UPDATE sessions s
           SET state = 'closing', last_activity_at = now(),
               state_reason = 'it was idle for ' || i.seconds || ' s'
          FROM idle i WHERE s.id = i.id
        RETURNING s.id, s.worker_id";
    let rows = db
        .conn()
        .await?
        .query("idle::close", SQL, &[&idle.as_secs_f64(), &limit])
        .await?;
    Ok(rows
        .iter()
        .map(|row| {
            (
                SessionId::from_uuid(row.get("id")),
                WorkerId::from_uuid(row.get("worker_id")),
            )
        })
        .collect())
}
