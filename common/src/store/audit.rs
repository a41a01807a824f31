//! Table `audit`.

use std::net::IpAddr;

use chrono::{DateTime, Utc};
use tokio_postgres::types::ToSql;
use uuid::Uuid;

use super::{Db, DbError};
use crate::id::PrincipalId;
use crate::model::{AuditEvent, AuditOutcome};

/// Who did what, from where, and what became of it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Record {
    /// Names it; UUID v7.
    pub id: Uuid,
    /// When it was answered.
    pub at: DateTime<Utc>,
    /// What it was.
    pub event: AuditEvent,
    /// What became of it.
    pub outcome: AuditOutcome,
    /// Status of the answer.
    pub status: Option<u16>,
    /// Who did it.
    pub principal: Option<PrincipalId>,
    /// The name of who did it.
    pub name: Option<String>,
    /// What it was done to.
    pub target: Option<String>,
    /// The address of the client.
    pub address: Option<IpAddr>,
    /// The request.
    pub request_id: Option<String>,
}

impl Record {
    /// Of something that happens now.
    pub fn new(event: AuditEvent, outcome: AuditOutcome) -> Self {
        Self {
            id: Uuid::now_v7(),
            at: Utc::now(),
            event,
            outcome,
            status: None,
            principal: None,
            name: None,
            target: None,
            address: None,
            request_id: None,
        }
    }
}

/// Stores records; one that is there already, since an answer got lost, is left alone.
pub async fn write(db: &Db, records: &[Record]) -> Result<(), DbError> {
    const SQL: &str = "-- audit::write
        INSERT INTO audit (id, at, event, outcome, status, principal_id, name, target, address, request_id)
        SELECT * FROM unnest($1::uuid[], $2::timestamptz[], $3::text[], $4::text[], $5::int2[], $6::uuid[], $7::text[],
                             $8::text[], $9::text[], $10::text[])
        ON CONFLICT (id) DO NOTHING";
    fn column<'a, T>(records: &'a [Record], value: impl Fn(&'a Record) -> T) -> Vec<T> {
        records.iter().map(value).collect()
    }
    let params: &[&(dyn ToSql + Sync)] = &[
        &column(records, |record| record.id),
        &column(records, |record| record.at),
        &column(records, |record| record.event.word()),
        &column(records, |record| record.outcome.word()),
        &column(records, |record| {
            record.status.and_then(|status| i16::try_from(status).ok())
        }),
        &column(records, |record| record.principal.map(PrincipalId::uuid)),
        &column(records, |record| record.name.as_deref()),
        &column(records, |record| record.target.as_deref()),
        &column(records, |record| {
            record.address.map(|address| address.to_string())
        }),
        &column(records, |record| record.request_id.as_deref()),
    ];
    let mut conn = db.conn().await?;
    conn.execute("audit::write", SQL, params).await.map(drop)
}
