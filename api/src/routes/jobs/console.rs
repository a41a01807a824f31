//! `GET /jobs/{id}/console`

use axum::Json;
use axum::extract::State;
use serde::{Deserialize, Serialize};
use warren_common::id::JobId;
use warren_common::store::console::{self, Page};
use warren_common::telemetry::metrics;

use super::{no_job, wait};
use crate::app::{App, Shared};
use crate::auth::Caller;
use crate::error::ApiError;
use crate::extract::{Id, Params};
use crate::watch::Mark;

/// Bytes of text in one answer.
const LONGEST_PAGE: i64 = 1024 * 1024;

/// From where on, and how long to wait for something.
#[derive(Deserialize)]
pub struct Query {
    after: Option<String>,
    wait: Option<String>,
}

/// What a job printed behind a cursor.
#[derive(Serialize)]
pub struct ConsolePage {
    /// The cursor to pass next.
    seq: i32,
    text: String,
    /// Nothing will follow.
    r#final: bool,
}

/// What came after a cursor; with `wait` once there is something, or the job has ended, or the time is over.
pub async fn console(
    State(app): State<Shared>,
    caller: Caller,
    Id(job): Id<JobId>,
    Params(query): Params<Query>,
) -> Result<Json<ConsolePage>, ApiError> {
    let after = after(query.after.as_deref())?;
    let wait = wait(query.wait.as_deref())?;
    let mut page = page(&app, &caller, job, after, LONGEST_PAGE).await?;
    if page.text.is_empty() && !page.is_last() && !wait.is_zero() {
        tokio::select! {
            () = app.progress.beyond(job, Mark::of_text(page.next)) => {}
            () = tokio::time::sleep(wait) => {}
            // There is nothing to tell yet; the caller asks again, and another node answers.
            () = app.leaving.cancelled() => {}
        }
        page = self::page(&app, &caller, job, after, LONGEST_PAGE).await?;
    }
    Ok(Json(ConsolePage {
        seq: page.next,
        r#final: page.is_last(),
        text: text(page.text),
    }))
}

/// A page of a job of the caller's, which is a use of its session. Whoever waits for the next one waits for a job that has not ended,
/// and a session with such a job is not idle.
pub(super) async fn page(
    app: &App,
    caller: &Caller,
    job: JobId,
    after: i32,
    limit: i64,
) -> Result<Page, ApiError> {
    metrics().console_page();
    let page = console::page(&app.db, caller.id, job, after, limit).await?;
    let page = page.ok_or_else(no_job)?;
    if let Some(session) = page.session {
        app.activity.note(session);
    }
    Ok(page)
}

/// What workers store is text; what is not becomes marks.
pub(super) fn text(bytes: Vec<u8>) -> String {
    String::from_utf8(bytes)
        .unwrap_or_else(|error| String::from_utf8_lossy(error.as_bytes()).into_owned())
}

fn after(text: Option<&str>) -> Result<i32, ApiError> {
    match text.map(str::parse) {
        None => Ok(0),
        Some(Ok(after)) if after >= 0 => Ok(after),
        Some(_) => Err(ApiError::BadRequest(
            "after must be a seq that an earlier answer named, or 0".to_owned(),
        )),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_cursor_is_a_number_from_zero_on() {
        assert_eq!(after(None).unwrap(), 0);
        assert_eq!(after(Some("17")).unwrap(), 17);
        for wrong in ["-1", "", "1.5", "99999999999"] {
            assert!(matches!(after(Some(wrong)), Err(ApiError::BadRequest(_))));
        }
    }
}
