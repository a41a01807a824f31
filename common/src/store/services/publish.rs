//! Publishing: a version is reserved when it is asked for, and can be called when all of it is in place.

use tokio_postgres::types::ToSql;
use uuid::Uuid;

use super::super::jobs::{Completed, Completion, complete_on};
use super::super::{Conn, Db, DbError};
use super::name::{Name, Publisher, lock_name, make_name};
use super::read::{Content, read_content};
use super::remove::free;
use crate::id::{ApiId, ContentId, JobId, PrincipalId, SnapshotId, VersionId};
use crate::model::{Definition, JobState, WorkerIdentity};

/// A publication that is asked for.
#[derive(Debug)]
pub struct NewPublication {
    /// The job.
    pub job: JobId,
    /// Who asks.
    pub publisher: Publisher,
    /// Under which name.
    pub name: String,
    /// Which version.
    pub version: String,
    /// The id of the version if it is new; none when one that exists is to be changed.
    pub fresh: Option<VersionId>,
    /// What is to become of it.
    pub content: ContentId,
    /// The snapshot whose content is copied.
    pub snapshot: Option<SnapshotId>,
    /// Trace context of the request.
    pub traceparent: String,
}

/// What became of it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Reserved {
    /// It is stored, with its job; for this version.
    Yes(VersionId),
    /// The name belongs to somebody else.
    NotYours,
    /// The owner has published this version, or is publishing it.
    Exists,
    /// There is no such version to be changed.
    Unknown,
    /// The owner has no such snapshot.
    NoSnapshot,
}

/// Reserves name and version and stores the job, in the transaction of the caller, who ends it; when the answer is not
/// [`Reserved::Yes`] by rolling back. `request` makes the job's request for a version.
///
/// The snapshot's row is locked until then, so it is deleted before this, or after there is a row that keeps its blob.
pub async fn reserve(
    tx: &mut Conn,
    api: ApiId,
    new: &NewPublication,
    request: impl Fn(VersionId) -> Vec<u8>,
) -> Result<Reserved, DbError> {
    let name = match new.fresh {
        Some(_) => make_name(tx, &new.name, new.publisher).await?,
        None => lock_name(tx, &new.name, new.publisher).await?,
    };
    match name {
        Name::Mine => {}
        Name::NotYours => return Ok(Reserved::NotYours),
        Name::Unknown => return Ok(Reserved::Unknown),
    }
    let version = match (find_version(tx, new).await?, new.fresh) {
        (None, None) => return Ok(Reserved::Unknown),
        (Some(_), Some(_)) => return Ok(Reserved::Exists),
        (Some(found), None) => found,
        (None, Some(fresh)) => {
            insert_version(tx, new, fresh).await?;
            fresh
        }
    };
    if let Some(snapshot) = new.snapshot
        && !lock_snapshot(tx, new.publisher.id, snapshot).await?
    {
        return Ok(Reserved::NoSnapshot);
    }
    insert_content(tx, new, version).await?;
    insert_job(tx, api, new, &request(version)).await?;
    Ok(Reserved::Yes(version))
}

async fn find_version(tx: &mut Conn, new: &NewPublication) -> Result<Option<VersionId>, DbError> {
    const SQL: &str = "-- services::find_version
        SELECT id FROM service_versions WHERE name = $1 AND version = $2";
    let rows = tx
        .query("services::find_version", SQL, &[&new.name, &new.version])
        .await?;
    Ok(rows.first().map(|row| VersionId::from_uuid(row.get("id"))))
}

async fn insert_version(
    tx: &mut Conn,
    new: &NewPublication,
    version: VersionId,
) -> Result<(), DbError> {
    const SQL: &str = "-- services::insert_version
        INSERT INTO service_versions (id, name, version, published_by) VALUES ($1, $2, $3, $4)";
    let publisher = new.publisher.id.uuid();
    let params: &[&(dyn ToSql + Sync)] = &[&version.uuid(), &new.name, &new.version, &publisher];
    tx.execute("services::insert_version", SQL, params)
        .await
        .map(drop)
}

async fn lock_snapshot(
    tx: &mut Conn,
    owner: PrincipalId,
    snapshot: SnapshotId,
) -> Result<bool, DbError> {
    const SQL: &str = "-- services::lock_snapshot
        SELECT id FROM snapshots WHERE id = $1 AND owner_id = $2 FOR KEY SHARE";
    let rows = tx
        .query(
            "services::lock_snapshot",
            SQL,
            &[&snapshot.uuid(), &owner.uuid()],
        )
        .await?;
    Ok(!rows.is_empty())
}

async fn insert_content(
    tx: &mut Conn,
    new: &NewPublication,
    version: VersionId,
) -> Result<(), DbError> {
    const SQL: &str = "-- services::insert_content
        INSERT INTO service_contents (id, version_id, job_id, snapshot_id) VALUES ($1, $2, $3, $4)";
    let params: &[&(dyn ToSql + Sync)] = &[
        &new.content.uuid(),
        &version.uuid(),
        &new.job.uuid(),
        &new.snapshot.map(SnapshotId::uuid),
    ];
    tx.execute("services::insert_content", SQL, params)
        .await
        .map(drop)
}

async fn insert_job(
    tx: &mut Conn,
    api: ApiId,
    new: &NewPublication,
    request: &[u8],
) -> Result<(), DbError> {
    const SQL: &str = "-- services::insert_job
        INSERT INTO jobs (id, kind, state, owner_id, api_id, request, traceparent)
        VALUES ($1, 'publish', 'queued', $2, $3, $4, $5)";
    let params: &[&(dyn ToSql + Sync)] = &[
        &new.job.uuid(),
        &new.publisher.id.uuid(),
        &api.uuid(),
        &request,
        &new.traceparent,
    ];
    tx.execute("services::insert_job", SQL, params)
        .await
        .map(drop)
}

/// What a publication begins with.
#[derive(Debug)]
pub enum Publication {
    /// The version is new.
    New,
    /// It is to be changed: it consists of this.
    Of(ContentId, Box<Content>),
    /// It was deleted, or its first publication came to nothing.
    Gone,
}

/// What a version consists of when its publication begins, which may be the `fresh` one that makes it. Publications of one version are claimed one after another, so
/// nothing but its deletion comes between.
pub async fn publication(db: &Db, version: VersionId, fresh: bool) -> Result<Publication, DbError> {
    const SQL: &str = "-- services::publication
        SELECT v.content_id, c.definition, c.pinned_id
          FROM service_versions v LEFT JOIN service_contents c ON c.id = v.content_id
         WHERE v.id = $1";
    let mut conn = db.conn().await?;
    let rows = conn
        .query("services::publication", SQL, &[&version.uuid()])
        .await?;
    let Some(row) = rows.first() else {
        return Ok(Publication::Gone);
    };
    match row.get::<_, Option<Uuid>>("content_id") {
        Some(base) => Ok(Publication::Of(
            ContentId::from_uuid(base),
            Box::new(read_content(row)?),
        )),
        None if fresh => Ok(Publication::New),
        None => Ok(Publication::Gone),
    }
}

/// What a publication that succeeded made.
#[derive(Debug, Clone)]
pub struct Pinned {
    /// The content that it is built on, if the version had one.
    pub base: Option<ContentId>,
    /// What it consists of now.
    pub definition: Definition,
    /// Names the copy of the snapshot, if there is one.
    pub copy: Option<ContentId>,
}

/// How a publication ended.
#[derive(Debug, Clone, Copy)]
pub struct Published {
    /// As what the job ended: also `failed`, when the version was deleted meanwhile.
    pub state: JobState,
    /// What the database said of the job.
    pub completed: Completed,
    /// The next publication of the version, which may be claimed now.
    pub next: Option<JobId>,
}

/// Completes a publication: with `pinned` the version consists of the new content from this commit on, without it the content is
/// forgotten, and with it what was only reserved. `None` when the job was not this worker's any more.
pub async fn complete(
    db: &Db,
    me: WorkerIdentity,
    (version, content): (VersionId, ContentId),
    completion: &Completion,
    pinned: Option<&Pinned>,
) -> Result<Option<Published>, DbError> {
    let mut tx = db.conn().await?.begin("services::complete").await?;
    let found = lock_version(&mut tx, version).await?;
    let pinned = pinned.filter(|pinned| {
        found
            .as_ref()
            .is_some_and(|(_, current)| *current == pinned.base)
    });
    let deleted = completion.state == JobState::Succeeded && pinned.is_none();
    let ended = if deleted {
        Completion {
            state: JobState::Failed,
            result: None,
            reason: Some("the version was deleted while it was being published".to_owned()),
            ..completion.clone()
        }
    } else {
        completion.clone()
    };
    let done = complete_on(&mut tx, me, std::slice::from_ref(&ended)).await?;
    let Some(completed) = done.get(&ended.job).copied() else {
        tx.roll_back("services::complete").await?;
        return Ok(None);
    };
    if let Some(pinned) = pinned {
        pin(&mut tx, version, content, pinned).await?;
    } else {
        let names: Vec<String> = found.map(|(name, _)| name).into_iter().collect();
        free(&mut tx, &[content], &names).await?;
    }
    let next = next_publication(&mut tx, version, ended.job).await?;
    tx.commit("services::complete").await?;
    Ok(Some(Published {
        state: ended.state,
        completed,
        next,
    }))
}

/// Locks the name of a version and gives it, with the current content.
async fn lock_version(
    tx: &mut Conn,
    version: VersionId,
) -> Result<Option<(String, Option<ContentId>)>, DbError> {
    const LOCK: &str = "-- services::lock_version
        SELECT s.name FROM services s JOIN service_versions v ON v.name = s.name WHERE v.id = $1 FOR UPDATE OF s";
    // Only under the lock: what the first statement read may have been older than the wait.
    const READ: &str = "-- services::locked_version
        SELECT name, content_id FROM service_versions WHERE id = $1";
    tx.query("services::lock_version", LOCK, &[&version.uuid()])
        .await?;
    let rows = tx
        .query("services::locked_version", READ, &[&version.uuid()])
        .await?;
    Ok(rows.first().map(|row| {
        let content: Option<Uuid> = row.get("content_id");
        (row.get("name"), content.map(ContentId::from_uuid))
    }))
}

async fn pin(
    tx: &mut Conn,
    version: VersionId,
    content: ContentId,
    pinned: &Pinned,
) -> Result<(), DbError> {
    const SQL: &str = "-- services::pin
        WITH made AS (
            UPDATE service_contents SET definition = $3, pinned_id = $4, pinned_at = now() WHERE id = $2
        ), over AS (
            UPDATE service_contents SET over_at = now() WHERE id = $5
        )
        UPDATE service_versions SET content_id = $2 WHERE id = $1";
    let definition = serde_json::to_vec(&pinned.definition)
        .map_err(|error| DbError::bad_row("services::pin", error))?;
    let params: &[&(dyn ToSql + Sync)] = &[
        &version.uuid(),
        &content.uuid(),
        &definition,
        &pinned.copy.map(ContentId::uuid),
        &pinned.base.map(ContentId::uuid),
    ];
    tx.execute("services::pin", SQL, params).await.map(drop)
}

async fn next_publication(
    tx: &mut Conn,
    version: VersionId,
    but: JobId,
) -> Result<Option<JobId>, DbError> {
    const SQL: &str = "-- services::next_publication
        SELECT j.id FROM service_contents c JOIN jobs j ON j.id = c.job_id
         WHERE c.version_id = $1 AND c.pinned_at IS NULL AND j.finished_at IS NULL AND j.id <> $2
         ORDER BY j.id LIMIT 1";
    let rows = tx
        .query(
            "services::next_publication",
            SQL,
            &[&version.uuid(), &but.uuid()],
        )
        .await?;
    Ok(rows.first().map(|row| JobId::from_uuid(row.get("id"))))
}
