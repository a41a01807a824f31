//! Table `workers`: registration, leases, fences.

use std::time::Duration;

use super::{Db, DbError};
use crate::id::WorkerId;
use crate::model::{Weakness, WorkerIdentity};

/// What a worker says of itself.
#[derive(Debug, Clone)]
pub struct Registration {
    /// Host name and process id, for people.
    pub name: String,
    /// Sessions it can hold.
    pub session_slots: i32,
    /// Version of its R.
    pub r_version: String,
    /// What its sandbox lacks.
    pub weaknesses: Vec<Weakness>,
    /// Length of its lease.
    pub lease: Duration,
}

/// Registers a worker and gives it an epoch.
pub async fn register(
    db: &Db,
    id: WorkerId,
    about: &Registration,
) -> Result<WorkerIdentity, DbError> {
    const SQL: &str = "-- workers::register
        INSERT INTO workers (id, name, state, session_slots, r_version, weaknesses, lease_expires_at)
        VALUES ($1, $2, 'alive', $3, $4, $5, now() + $6 * interval '1 second')
        RETURNING epoch";
    let lease = about.lease.as_secs_f64();
    let weaknesses = serde_json::to_string(&about.weaknesses)
        .map_err(|error| DbError::bad_row("workers::register", error.to_string()))?;
    let rows = db
        .conn()
        .await?
        .query(
            "workers::register",
            SQL,
            &[
                &id.uuid(),
                &about.name,
                &about.session_slots,
                &about.r_version,
                &weaknesses,
                &lease,
            ],
        )
        .await?;
    let row = rows
        .first()
        .ok_or_else(|| DbError::bad_row("workers::register", "no epoch came back"))?;
    Ok(WorkerIdentity {
        id,
        epoch: row.get("epoch"),
    })
}

/// Renews the lease; false when the epoch is no longer valid, and then never will be again.
pub async fn renew(
    db: &Db,
    me: WorkerIdentity,
    lease: Duration,
    draining: bool,
    sessions: i32,
) -> Result<bool, DbError> {
    const SQL: &str = "-- workers::renew
        UPDATE workers
           SET lease_expires_at = now() + $3 * interval '1 second', sessions = $5,
               state = CASE WHEN $4 THEN 'draining' ELSE state END
         WHERE id = $1 AND epoch = $2 AND state IN ('alive', 'draining')";
    let params: &[&(dyn tokio_postgres::types::ToSql + Sync)] = &[
        &me.id.uuid(),
        &me.epoch,
        &lease.as_secs_f64(),
        &draining,
        &sessions,
    ];
    let touched = db
        .conn()
        .await?
        .execute("workers::renew", SQL, params)
        .await?;
    Ok(touched == 1)
}

/// Leaves: what it still held is for the sweeper to judge.
pub async fn leave(db: &Db, me: WorkerIdentity) -> Result<(), DbError> {
    const SQL: &str = "-- workers::leave
        UPDATE workers SET state = 'left', ended_at = now(), sessions = 0
         WHERE id = $1 AND epoch = $2 AND state IN ('alive', 'draining')";
    db.conn()
        .await?
        .execute("workers::leave", SQL, &[&me.id.uuid(), &me.epoch])
        .await
        .map(drop)
}

/// A worker as `/status` shows it.
#[derive(Debug)]
pub struct LivingWorker {
    /// Which.
    pub id: WorkerId,
    /// Host name and process id.
    pub name: String,
    /// Takes no more work.
    pub draining: bool,
    /// Its lease is past.
    pub overdue: bool,
    /// Sessions it can hold.
    pub session_slots: i32,
    /// Sessions it held at its last heartbeat.
    pub sessions: i32,
    /// Version of its R.
    pub r_version: String,
    /// What its sandbox lacks.
    pub weaknesses: Vec<Weakness>,
}

/// Workers that were not declared dead and did not leave, oldest first.
pub async fn living(db: &Db) -> Result<Vec<LivingWorker>, DbError> {
    const SQL: &str = "-- workers::living
        SELECT id, name, state = 'draining' AS draining, lease_expires_at < now() AS overdue,
               session_slots, sessions, r_version, weaknesses
          FROM workers WHERE state IN ('alive', 'draining') ORDER BY epoch";
    let rows = db.conn().await?.query("workers::living", SQL, &[]).await?;
    let worker = |row: &tokio_postgres::Row| LivingWorker {
        id: WorkerId::from_uuid(row.get("id")),
        name: row.get("name"),
        draining: row.get("draining"),
        overdue: row.get("overdue"),
        session_slots: row.get("session_slots"),
        sessions: row.get("sessions"),
        r_version: row.get("r_version"),
        // What a later version may write differently is not worth failing for.
        weaknesses: serde_json::from_str(row.get("weaknesses")).unwrap_or_default(),
    };
    Ok(rows.iter().map(worker).collect())
}
