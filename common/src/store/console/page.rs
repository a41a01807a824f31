//! Console text from a cursor on, with where its job stands at the same moment.

use tokio_postgres::Row;
use uuid::Uuid;

use super::super::{Conn, Db, DbError};
use super::tail;
use crate::id::{JobId, PrincipalId, SessionId};
use crate::model::{CancelOutcome, JobState};

/// Chunks of one page at most, be they ever so short.
const MOST_CHUNKS: i64 = 4096;

/// What follows a cursor, and where the job stood at that moment.
///
/// A cursor counts chunks. The text of an ended job that is in no chunk counts on behind the last one, in pieces of 64 KiB.
#[derive(Debug)]
pub struct Page {
    /// Whole characters of UTF-8.
    pub text: Vec<u8>,
    /// The cursor behind it.
    pub next: i32,
    /// More text followed already.
    pub more: bool,
    /// The session of the job.
    pub session: Option<SessionId>,
    /// Where the job stood.
    pub state: JobState,
    /// How often it was claimed.
    pub attempt: i32,
    /// Why it ended, where the result does not say.
    pub reason: Option<String>,
    /// What became of a wish to stop it.
    pub cancel: Option<CancelOutcome>,
}

impl Page {
    /// True when nothing will ever follow.
    pub const fn is_last(&self) -> bool {
        self.state.is_final() && !self.more
    }
}

/// What follows `after` in the console text of a job, if it is the owner's: at most `limit` bytes, but one chunk at least.
///
/// One statement, so that text and state belong together: when the state is final, no text is missing.
pub async fn page(
    db: &Db,
    owner: PrincipalId,
    job: JobId,
    after: i32,
    limit: i64,
) -> Result<Option<Page>, DbError> {
    const SQL: &str = "-- console::page
        SELECT j.session_id, j.state, j.attempt, j.reason, j.cancel, coalesce(total.chunks, 0) AS total,
               page.chunks, page.text, page.bytes,
               CASE WHEN j.finished_at IS NULL THEN 0 ELSE coalesce(length(j.console_tail), 0) END AS tail_bytes
          FROM jobs j
         CROSS JOIN LATERAL (SELECT max(c.seq) + 1 AS chunks FROM console_chunks c WHERE c.job_id = j.id) total
         CROSS JOIN LATERAL (
            SELECT count(*)::int4 AS chunks, coalesce(string_agg(text, ''::bytea ORDER BY seq), ''::bytea) AS text,
                   coalesce(max(bytes), 0) AS bytes
              FROM (SELECT c.seq, c.text, sum(length(c.text)) OVER (ORDER BY c.seq) AS bytes
                      FROM console_chunks c
                     WHERE c.job_id = j.id AND c.seq >= $3 ORDER BY c.seq LIMIT $5) next
             WHERE bytes <= $4 OR seq = $3
         ) page
         WHERE j.id = $1 AND j.owner_id = $2";
    let mut conn = db.conn().await?;
    let params: &[&(dyn tokio_postgres::types::ToSql + Sync)] =
        &[&job.uuid(), &owner.uuid(), &after, &limit, &MOST_CHUNKS];
    let rows = conn.query("console::page", SQL, params).await?;
    let Some(row) = rows.first() else {
        return Ok(None);
    };
    let mut page = chunks(row, after)?;
    let total: i32 = row.get("total");
    let pieces = tail::pieces(row.get::<_, i32>("tail_bytes").into());
    if page.next >= total && pieces > 0 {
        let room = limit - row.get::<_, i64>("bytes") - tail::LONGEST_MOVE;
        let wanted = (room / tail::PIECE).max(i64::from(page.next == after));
        let first = i64::from(page.next - total);
        let count = wanted.min(pieces - first).max(0);
        if count > 0 {
            let read = tail_of(&mut conn, job, first, count).await?;
            page.text.extend_from_slice(tail::cut(&read, first, count));
        }
        page.next += i32::try_from(count).unwrap_or_default();
        page.more = first + count < pieces;
    }
    Ok(Some(page))
}

fn chunks(row: &Row, after: i32) -> Result<Page, DbError> {
    let bad = |problem: crate::model::UnknownWord| DbError::bad_row("console::page", problem);
    let next = after.saturating_add(row.get("chunks"));
    Ok(Page {
        text: row.get("text"),
        next,
        more: next < row.get::<_, i32>("total"),
        session: row
            .get::<_, Option<Uuid>>("session_id")
            .map(SessionId::from_uuid),
        state: row.get::<_, &str>("state").parse().map_err(bad)?,
        attempt: row.get("attempt"),
        reason: row.get("reason"),
        cancel: row
            .get::<_, Option<&str>>("cancel")
            .map(str::parse)
            .transpose()
            .map_err(bad)?,
    })
}

/// The bytes of the text behind the last chunk that its pieces from `first` on are cut from.
async fn tail_of(conn: &mut Conn, job: JobId, first: i64, count: i64) -> Result<Vec<u8>, DbError> {
    const SQL: &str = "-- console::tail_of
        SELECT substring(console_tail FROM $2 FOR $3) AS read FROM jobs WHERE id = $1";
    let int = |value: i64| i32::try_from(value).unwrap_or(i32::MAX);
    let (from, bytes) = tail::window(first, count);
    let params: &[&(dyn tokio_postgres::types::ToSql + Sync)] =
        &[&job.uuid(), &int(from + 1), &int(bytes)];
    let rows = conn.query("console::tail_of", SQL, params).await?;
    // Retention may have removed it since.
    Ok(rows
        .first()
        .and_then(|row| row.get::<_, Option<Vec<u8>>>("read"))
        .unwrap_or_default())
}
