//! `GET /jobs`

use axum::Json;
use axum::extract::State;
use axum::http::{HeaderValue, header};
use axum::response::{IntoResponse, Response};
use serde::Deserialize;
use warren_common::store::jobs::{self, ListFilter};

use super::JobView;
use crate::app::Shared;
use crate::auth::Caller;
use crate::error::ApiError;
use crate::extract::Params;

/// Jobs of a page when the caller does not say.
const DEFAULT_LIMIT: usize = 50;
/// The most that a caller may say.
const LARGEST_LIMIT: usize = 200;

/// What the list is narrowed to, and where the page begins.
#[derive(Debug, Default, Deserialize)]
pub struct Query {
    state: Option<String>,
    kind: Option<String>,
    session: Option<String>,
    limit: Option<String>,
    after: Option<String>,
}

/// The caller's jobs, newest first, without their results.
pub async fn list(
    State(app): State<Shared>,
    caller: Caller,
    Params(query): Params<Query>,
) -> Result<Response, ApiError> {
    let (filter, limit) = read(&query)?;
    // One more than the page tells whether there is a next one.
    let wanted = i64::try_from(limit + 1).map_err(ApiError::internal)?;
    let mut jobs = jobs::list(&app.db, caller.id, filter, wanted).await?;
    // Only a list of one session's jobs is a use of it.
    if let (Some(session), false) = (filter.session, jobs.is_empty()) {
        app.activity.note(session);
    }
    let next = (jobs.len() > limit).then(|| {
        jobs.truncate(limit);
        jobs.last().map(|job| next_page(&query, limit, job.id))
    });
    let page: Vec<JobView> = jobs.into_iter().map(JobView::from).collect();
    let mut response = Json(page).into_response();
    if let Some(link) = next.flatten()
        && let Ok(link) = HeaderValue::from_str(&link)
    {
        response.headers_mut().insert(header::LINK, link);
    }
    Ok(response)
}

fn read(query: &Query) -> Result<(ListFilter, usize), ApiError> {
    let filter = ListFilter {
        state: field("state", query.state.as_deref())?,
        kind: field("kind", query.kind.as_deref())?,
        session: field("session", query.session.as_deref())?,
        before: field("after", query.after.as_deref())?,
    };
    let limit = field("limit", query.limit.as_deref())?.unwrap_or(DEFAULT_LIMIT);
    if (1..=LARGEST_LIMIT).contains(&limit) {
        Ok((filter, limit))
    } else {
        let expected = format!("limit must be from 1 to {LARGEST_LIMIT}");
        Err(ApiError::BadRequest(expected))
    }
}

fn field<T: std::str::FromStr>(name: &str, text: Option<&str>) -> Result<Option<T>, ApiError> {
    let wrong = |text: &str| ApiError::BadRequest(format!("{text:?} is no value for {name}"));
    text.map(|text| text.parse().map_err(|_error| wrong(text)))
        .transpose()
}

/// The cursor is the last job of the page; the other fields have been read, so they need no escaping.
fn next_page(query: &Query, limit: usize, last: warren_common::id::JobId) -> String {
    let mut target = format!("/jobs?limit={limit}");
    for (name, value) in [
        ("state", &query.state),
        ("kind", &query.kind),
        ("session", &query.session),
    ] {
        if let Some(value) = value {
            target.extend(["&", name, "=", value.as_str()]);
        }
    }
    format!("<{target}&after={last}>; rel=\"next\"")
}

#[cfg(test)]
mod tests {
    use super::*;
    use warren_common::id::JobId;

    #[test]
    fn the_next_page_keeps_the_filter() {
        let query = Query {
            state: Some("lost".to_owned()),
            ..Query::default()
        };
        let last = JobId::new();
        let link = next_page(&query, 7, last);
        let expected = format!("</jobs?limit=7&state=lost&after={last}>; rel=\"next\"");
        assert_eq!(link, expected);
    }

    #[test]
    fn what_cannot_be_read_is_named() {
        for (query, name) in [
            (
                Query {
                    state: Some("done".to_owned()),
                    ..Query::default()
                },
                "state",
            ),
            (
                Query {
                    after: Some("1".to_owned()),
                    ..Query::default()
                },
                "after",
            ),
            (
                Query {
                    limit: Some("201".to_owned()),
                    ..Query::default()
                },
                "limit",
            ),
        ] {
            let problem = read(&query).unwrap_err().to_string();
            assert!(problem.contains(name), "{problem}");
        }
        assert_eq!(read(&Query::default()).unwrap().1, DEFAULT_LIMIT);
    }
}
