//! What a sweeper mends: owners that vanished, jobs that stay silent, rows that are too old.
//!
//! Every statement is correct however many sweepers run it; the advisory lock of a pass only saves work.

use tokio_postgres::Row;
use uuid::Uuid;

use super::{Conn, Db, DbError, services};
use crate::id::{ApiId, JobId, SessionId, WorkerId};
use crate::model::{JobKind, Lane};

/// One pass holds this, so that the nodes of a fleet do not all do the same work at once.
const LOCK: i64 = 0x53_57_45_45_50;

/// What one pass found.
#[derive(Debug, Default)]
pub struct Swept {
    /// Workers that were declared dead.
    pub dead: Vec<WorkerId>,
    /// Jobs that became final, and the nodes that may wait for them.
    pub ended: Vec<(JobId, ApiId)>,
    /// Jobs to be noticed again.
    pub silent: Vec<Silent>,
    /// Sessions that have been closing for a while, and who holds them.
    pub closing: Vec<(SessionId, WorkerId)>,
    /// Running jobs that were to be cancelled a while ago, their sessions if they have some, and who runs them.
    pub cancels: Vec<(JobId, Option<SessionId>, WorkerId)>,
}

/// A queued job of which nobody has heard for a while.
#[derive(Debug)]
pub struct Silent {
    /// Which.
    pub job: JobId,
    /// Who has to hear of it.
    pub whose: Whose,
}

/// Who takes a queued job.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Whose {
    /// Any worker with room for a session.
    AnyForSession,
    /// Any worker with room for a call.
    AnyForCall,
    /// Any worker with room for an item of a batch.
    AnyForItem,
    /// The worker that holds the session, in this lane.
    Holder(SessionId, WorkerId, Lane),
}

/// One pass. Workers are declared dead only if `may_declare_dead`: the caller has reached Postgres without a gap for one
/// whole lease. `None` when another node is sweeping.
pub async fn pass(
    db: &Db,
    may_declare_dead: bool,
    silent_limit: i64,
) -> Result<Option<Swept>, DbError> {
    let mut tx = db.conn().await?.begin("sweep::pass").await?;
    tx.batch(
        "sweep::limits",
        "SET LOCAL statement_timeout = '5s'; SET LOCAL lock_timeout = '1s'",
    )
    .await?;
    let rows = tx
        .query(
            "sweep::lock",
            "-- sweep::lock\nSELECT pg_try_advisory_xact_lock($1) AS mine",
            &[&LOCK],
        )
        .await?;
    if !rows.iter().any(|row| row.get::<_, bool>("mine")) {
        tx.roll_back("sweep::pass").await?;
        return Ok(None);
    }
    let dead = if may_declare_dead {
        declare_dead(&mut tx).await?
    } else {
        Vec::new()
    };
    let mut ended = end_of_vanished_owners(&mut tx).await?;
    ended.extend(end_of_over_sessions(&mut tx).await?);
    let silent = silent(&mut tx, silent_limit).await?;
    let closing = unheard_closes(&mut tx).await?;
    let cancels = unheard_cancels(&mut tx).await?;
    forget_old_keys(&mut tx).await?;
    services::free_unpublished(&mut tx).await?;
    tx.commit("sweep::pass").await?;
    Ok(Some(Swept {
        dead,
        ended,
        silent,
        closing,
        cancels,
    }))
}

async fn declare_dead(tx: &mut Conn) -> Result<Vec<WorkerId>, DbError> {
    const SQL: &str = "-- sweep::declare_dead
        UPDATE workers SET state = 'dead', ended_at = now(), sessions = 0
         WHERE state IN ('alive', 'draining') AND lease_expires_at < now()
        RETURNING id";
    let rows = tx.query("sweep::declare_dead", SQL, &[]).await?;
    Ok(rows
        .iter()
        .map(|row| WorkerId::from_uuid(row.get("id")))
        .collect())
}

/// Sessions and running jobs whose worker is not alive, whenever it died: sessions and their jobs are lost, opening a
/// session, calls and publications are tried again up to three times.
async fn end_of_vanished_owners(tx: &mut Conn) -> Result<Vec<(JobId, ApiId)>, DbError> {
    const SESSIONS: &str = "-- sweep::lost_sessions
        UPDATE sessions s
           SET state = CASE WHEN s.state = 'closing' THEN 'closed' ELSE 'lost' END, ended_at = now(),
               state_reason = CASE WHEN s.state = 'closing' THEN s.state_reason ELSE 'its worker was lost' END
         WHERE s.state IN ('open', 'closing')
           AND NOT EXISTS (SELECT FROM workers w WHERE w.id = s.worker_id AND w.state IN ('alive', 'draining'))";
    const JOBS: &str = "-- sweep::lost_jobs
        WITH lost AS (
            UPDATE jobs j
               SET state = CASE WHEN NOT again.ok THEN 'lost'
                                WHEN j.cancel_requested_at IS NOT NULL AND j.kind <> 'open_session' THEN 'cancelled'
                                ELSE 'queued' END,
                   finished_at = CASE WHEN again.ok AND (j.cancel_requested_at IS NULL OR j.kind = 'open_session')
                                      THEN NULL ELSE now() END,
                   reason = 'its worker was lost while it ran',
                   noticed_at = now() - interval '1 hour'
              FROM (SELECT id, kind IN ('open_session', 'call', 'publish', 'batch_item') AND attempt < 3 AS ok FROM jobs
                     WHERE state = 'running' AND attempt > 0) again
             WHERE j.id = again.id AND j.state = 'running' AND j.attempt > 0
               AND NOT EXISTS (SELECT FROM workers w WHERE w.id = j.worker_id AND w.epoch = j.epoch
                                  AND w.state IN ('alive', 'draining'))
            RETURNING j.id, j.api_id, j.kind, j.session_id, j.batch_id, j.finished_at IS NOT NULL AS final
        ), batch AS (
            UPDATE batches b SET recount = true FROM lost l WHERE b.id = l.batch_id AND l.final
        ), unopened AS (
            UPDATE sessions s SET state = 'closed', ended_at = now(), state_reason = 'it could not be opened: its worker was lost'
              FROM lost l
             WHERE s.id = l.session_id AND l.kind = 'open_session' AND l.final AND s.state = 'opening'
        )
        SELECT id, api_id, final FROM lost";
    tx.execute("sweep::lost_sessions", SESSIONS, &[]).await?;
    let rows = tx.query("sweep::lost_jobs", JOBS, &[]).await?;
    Ok(rows
        .iter()
        .filter(|row| row.get("final"))
        .map(ended)
        .collect())
}

/// Queued jobs of sessions that have ended. Running ones as well after a while: a claim whose answer was lost may commit when
/// its session has ended already.
async fn end_of_over_sessions(tx: &mut Conn) -> Result<Vec<(JobId, ApiId)>, DbError> {
    const RUNNING: &str = "-- sweep::stranded_jobs
        UPDATE jobs j
           SET state = CASE WHEN s.state = 'closed' THEN 'cancelled' ELSE 'lost' END, finished_at = now(),
               reason = CASE WHEN s.state = 'closed' THEN 'its session was closed' ELSE s.state_reason END
          FROM sessions s
         WHERE s.id = j.session_id AND j.state = 'running' AND j.attempt > 0
           AND s.state IN ('closed', 'lost') AND s.ended_at < now() - interval '30 seconds'
        RETURNING j.id, j.api_id";
    const SQL: &str = "-- sweep::orphaned_jobs
        UPDATE jobs j
           SET state = CASE WHEN s.state = 'closed' THEN 'cancelled' ELSE 'lost' END, finished_at = now(),
               reason = CASE WHEN s.state = 'closed' THEN 'its session was closed' ELSE s.state_reason END
          FROM sessions s
         WHERE s.id = j.session_id AND j.state = 'queued' AND j.notices > 0 AND s.state IN ('closed', 'lost')
        RETURNING j.id, j.api_id";
    let queued = tx.query("sweep::orphaned_jobs", SQL, &[]).await?;
    let running = tx.query("sweep::stranded_jobs", RUNNING, &[]).await?;
    Ok(queued.iter().chain(&running).map(ended).collect())
}

fn ended(row: &Row) -> (JobId, ApiId) {
    (
        JobId::from_uuid(row.get("id")),
        ApiId::from_uuid(row.get("api_id")),
    )
}

/// Queued jobs that could be claimed, were noticed 2 s ago or more (doubling to 60 s), and are still queued. Of a session
/// only the head of what takes turns, and only while none of it runs.
async fn silent(tx: &mut Conn, limit: i64) -> Result<Vec<Silent>, DbError> {
    const SQL: &str = "-- sweep::silent
        WITH due AS (
            SELECT j.id FROM jobs j LEFT JOIN sessions s ON s.id = j.session_id
             WHERE j.state = 'queued' AND j.notices > 0 AND j.noticed_at < now() - interval '2 seconds'
               AND j.noticed_at < now() - least(60, 2 ^ least(j.notices, 6)) * interval '1 second'
               AND (j.kind IN ('open_session', 'call', 'publish', 'batch_item')
                    OR s.state = 'open' AND j.lane = 'aside'
                    OR s.state = 'open'
                       AND NOT EXISTS (SELECT FROM jobs r
                                        WHERE r.session_id = j.session_id AND r.state = 'running'
                                          AND r.lane = 'ordered')
                       AND j.seq = (SELECT min(q.seq) FROM jobs q
                                     WHERE q.session_id = j.session_id AND q.state = 'queued'
                                       AND q.lane = 'ordered'))
             ORDER BY j.noticed_at LIMIT $1 FOR UPDATE OF j SKIP LOCKED
        )
        UPDATE jobs j SET noticed_at = now(), notices = j.notices + 1
          FROM due d WHERE j.id = d.id
        RETURNING j.id, j.kind, j.lane IS NOT DISTINCT FROM 'aside' AS aside, j.session_id,
                  (SELECT s.worker_id FROM sessions s WHERE s.id = j.session_id) AS worker_id";
    let rows = tx.query("sweep::silent", SQL, &[&limit]).await?;
    let silent = |row: &Row| {
        let session: Option<Uuid> = row.get("session_id");
        let worker: Option<Uuid> = row.get("worker_id");
        let whose = match row.get::<_, &str>("kind").parse() {
            Ok(JobKind::OpenSession) => Whose::AnyForSession,
            Ok(JobKind::Call | JobKind::Publish) => Whose::AnyForCall,
            Ok(JobKind::BatchItem) => Whose::AnyForItem,
            _ => Whose::Holder(
                SessionId::from_uuid(session?),
                WorkerId::from_uuid(worker?),
                if row.get("aside") {
                    Lane::Aside
                } else {
                    Lane::Ordered
                },
            ),
        };
        let job = JobId::from_uuid(row.get("id"));
        Some(Silent { job, whose })
    };
    Ok(rows.iter().filter_map(silent).collect())
}

/// Wishes to close that nobody has obeyed for two seconds; a hundred a pass.
async fn unheard_closes(tx: &mut Conn) -> Result<Vec<(SessionId, WorkerId)>, DbError> {
    const SQL: &str = "-- sweep::unheard_closes
        SELECT id, worker_id FROM sessions
         WHERE state = 'closing' AND last_activity_at < now() - interval '2 seconds' AND worker_id IS NOT NULL
         LIMIT 100";
    let rows = tx.query("sweep::unheard_closes", SQL, &[]).await?;
    let close = |row: &Row| {
        (
            SessionId::from_uuid(row.get("id")),
            WorkerId::from_uuid(row.get("worker_id")),
        )
    };
    Ok(rows.iter().map(close).collect())
}

/// Wishes to cancel that nobody has obeyed for two seconds; a hundred a pass. R that does not listen is among them, and
/// hearing it again does it no harm.
async fn unheard_cancels(
    tx: &mut Conn,
) -> Result<Vec<(JobId, Option<SessionId>, WorkerId)>, DbError> {
    const SQL: &str = "-- sweep::unheard_cancels
        SELECT id, session_id, worker_id FROM jobs
         WHERE state = 'running' AND attempt > 0
           AND cancel_requested_at < now() - interval '2 seconds'
         LIMIT 100";
    let rows = tx.query("sweep::unheard_cancels", SQL, &[]).await?;
    let cancel = |row: &Row| {
        let session: Option<Uuid> = row.get("session_id");
        (
            JobId::from_uuid(row.get("id")),
            session.map(SessionId::from_uuid),
            WorkerId::from_uuid(row.get("worker_id")),
        )
    };
    Ok(rows.iter().map(cancel).collect())
}

/// Idempotency keys are free again after 24 hours; a thousand a pass, so that no pass is long.
async fn forget_old_keys(tx: &mut Conn) -> Result<(), DbError> {
    const SQL: &str = "-- sweep::forget_old_keys
        DELETE FROM idempotency_keys WHERE (owner_id, key) IN (
            SELECT owner_id, key FROM idempotency_keys
             WHERE created_at < now() - interval '24 hours' ORDER BY created_at LIMIT 1000)";
    tx.execute("sweep::forget_old_keys", SQL, &[])
        .await
        .map(drop)
}
