//! `GET /jobs/{id}/events`

use std::collections::VecDeque;
use std::convert::Infallible;
use std::time::Duration;

use axum::extract::State;
use axum::http::{HeaderMap, HeaderName, HeaderValue, StatusCode};
use axum::response::sse::{Event, KeepAlive, Sse};
use axum::response::{IntoResponse, Response};
use serde::{Deserialize, Serialize};
use tokio::time::Instant;
use warren_common::id::JobId;
use warren_common::model::{CancelOutcome, JobState};
use warren_common::store::console::Page;

use super::console::{page, text};
use crate::app::Shared;
use crate::auth::Caller;
use crate::error::ApiError;
use crate::extract::{Id, Params};
use crate::streams::Place;
use crate::watch::{Mark, Stage};

/// Bytes of text in one event, but for a chunk that is longer. What a reader has not taken yet is held, so this is small.
const LONGEST_EVENT: i64 = 64 * 1024;
/// A comment is sent when nothing else was for so long, so that nobody in between takes the connection for dead.
const HEARTBEAT: Duration = Duration::from_secs(15);
/// How long a reader that was cut off is to wait before it connects again.
const RETRY: Duration = Duration::from_secs(1);

const LAST_EVENT_ID: HeaderName = HeaderName::from_static("last-event-id");
/// Tells a proxy of the nginx kind to pass on what it gets.
const X_ACCEL_BUFFERING: HeaderName = HeaderName::from_static("x-accel-buffering");

/// Where to begin, for readers that cannot set the header.
#[derive(Deserialize)]
pub struct Query {
    #[serde(rename = "lastEventId")]
    last_event_id: Option<String>,
}

/// Console text and states of a job, as they come, until it has ended.
pub async fn events(
    State(app): State<Shared>,
    caller: Caller,
    Id(job): Id<JobId>,
    Params(query): Params<Query>,
    headers: HeaderMap,
) -> Result<Response, ApiError> {
    let seen = seen(&headers, &query)?;
    let page = page(&app, &caller, job, seen.cursor, LONGEST_EVENT).await?;
    if seen.stage == Stage::END && page.is_last() {
        // A browser that got the last event connects again all the same; this tells it to stop.
        return Ok(StatusCode::NO_CONTENT.into_response());
    }
    let mut reader = Reader {
        _place: app.streams.take(caller.id)?,
        until: Instant::now() + app.config.streams.longest,
        app,
        caller,
        job,
        seen,
        more: false,
        ready: VecDeque::from([Event::default().retry(RETRY)]),
    };
    reader.take(page);
    let events = futures::stream::unfold(reader, async |mut reader| {
        let event = reader.next().await?;
        Some((Ok::<_, Infallible>(event), reader))
    });
    let stream = Sse::new(events).keep_alive(KeepAlive::new().interval(HEARTBEAT));
    let no = HeaderValue::from_static("no");
    Ok(([(X_ACCEL_BUFFERING, no)], stream).into_response())
}

/// What the reader says it has seen. A browser that connects again keeps the query of the first time, so the header wins.
fn seen(headers: &HeaderMap, query: &Query) -> Result<Mark, ApiError> {
    let header = headers.get(LAST_EVENT_ID);
    let text = match header {
        Some(value) => value.to_str().unwrap_or_default(),
        None => query.last_event_id.as_deref().unwrap_or_default(),
    };
    if text.is_empty() {
        return Ok(Mark::START);
    }
    let wrong = |_| {
        let expected = "Last-Event-ID must be the id of an event of this stream";
        ApiError::BadRequest(expected.to_owned())
    };
    text.parse().map_err(wrong)
}

/// Somebody who reads a job. It is asked for the next event when the connection has room for one, and asks Postgres for the next
/// text only then; so a slow reader holds one page here, and what the connection itself buffers.
struct Reader {
    app: Shared,
    caller: Caller,
    job: JobId,
    /// What the events so far have told.
    seen: Mark,
    /// Text follows that is stored already.
    more: bool,
    /// Events of the last page that were not asked for yet.
    ready: VecDeque<Event>,
    /// When the stream ends, whatever the job does.
    until: Instant,
    _place: Place,
}

impl Reader {
    /// The next event; none when the stream is over, and then the reader connects again if the job is not.
    async fn next(&mut self) -> Option<Event> {
        loop {
            if let Some(event) = self.ready.pop_front() {
                return Some(event);
            }
            if self.seen.stage == Stage::END {
                return None;
            }
            if !self.more {
                self.news().await?;
            }
            if self.app.leaving.is_cancelled() || Instant::now() >= self.until {
                return None;
            }
            let page = page(
                &self.app,
                &self.caller,
                self.job,
                self.seen.cursor,
                LONGEST_EVENT,
            );
            match page.await {
                Ok(page) => self.take(page),
                Err(error) => {
                    tracing::debug!(error = %error, "An event stream of {} ends early", self.job);
                    return None;
                }
            }
        }
    }

    /// Waits until the job has come further; none when it is time to end.
    async fn news(&self) -> Option<()> {
        tokio::select! {
            () = self.app.progress.beyond(self.job, self.seen) => Some(()),
            () = tokio::time::sleep_until(self.until) => None,
            () = self.app.leaving.cancelled() => None,
        }
    }

    /// Makes events of what a page has beyond what was seen.
    fn take(&mut self, page: Page) {
        self.more = page.more;
        for (id, what) in told(&mut self.seen, page) {
            let event = Event::default().id(id.to_string());
            let event = match what {
                What::State(state) => event.event("state").json_data(state),
                What::Console(console) => event.event("console").json_data(console),
            };
            match event {
                Ok(event) => self.ready.push_back(event),
                Err(error) => tracing::error!(error = %error, "An event cannot be written"),
            }
        }
    }
}

/// What an event says.
#[derive(Debug)]
enum What {
    State(StateEvent),
    Console(ConsoleEvent),
}

/// The job stands somewhere else now.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
struct StateEvent {
    state: JobState,
    attempt: i32,
    #[serde(skip_serializing_if = "Option::is_none")]
    reason: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    cancel: Option<CancelOutcome>,
}

/// The job has printed this.
#[derive(Debug, Serialize)]
struct ConsoleEvent {
    text: String,
}

/// What a page tells that was not seen: that the job moved on, its text, and at last, when no text is missing any more, that it
/// has ended.
fn told(seen: &mut Mark, page: Page) -> Vec<(Mark, What)> {
    let stage = Stage::of(page.state, page.attempt);
    let has_ended = stage == Stage::END;
    let mut move_on = (stage > seen.stage && !(has_ended && page.more)).then_some(StateEvent {
        state: page.state,
        attempt: page.attempt,
        reason: page.reason,
        cancel: page.cancel,
    });
    let mut told = Vec::new();
    if !has_ended && let Some(state) = move_on.take() {
        seen.stage = stage;
        told.push((*seen, What::State(state)));
    }
    seen.cursor = page.next;
    if !page.text.is_empty() {
        let text = text(page.text);
        told.push((*seen, What::Console(ConsoleEvent { text })));
    }
    if let Some(state) = move_on {
        seen.stage = stage;
        told.push((*seen, What::State(state)));
    }
    told
}

#[cfg(test)]
mod tests {
    use super::*;

    fn page(state: JobState, text: &str, next: i32, more: bool) -> Page {
        Page {
            text: text.as_bytes().to_vec(),
            next,
            more,
            session: None,
            state,
            attempt: i32::from(state != JobState::Queued),
            reason: None,
            cancel: None,
        }
    }

    /// Ids and what they stand for, in short.
    fn short(seen: &mut Mark, page: Page) -> Vec<String> {
        let told = told(seen, page).into_iter();
        told.map(|(id, what)| match what {
            What::State(state) => format!("{id} {}", state.state.word()),
            What::Console(console) => format!("{id} {:?}", console.text),
        })
        .collect()
    }

    #[test]
    fn a_job_is_told_from_its_place_in_the_line_to_its_end() {
        let mut seen = Mark::START;
        let mut told = Vec::new();
        for page in [
            page(JobState::Queued, "", 0, false),
            page(JobState::Running, "a", 1, false),
            page(JobState::Running, "b", 2, true),
            page(JobState::Succeeded, "c", 3, true),
            page(JobState::Succeeded, "d", 4, false),
        ] {
            told.extend(short(&mut seen, page));
        }
        let expected = [
            "0-2 queued",
            "0-3 running",
            "1-3 \"a\"",
            "2-3 \"b\"",
            "3-3 \"c\"",
            "4-3 \"d\"",
            "4-end succeeded",
        ];
        assert_eq!(told, expected);
    }

    #[test]
    fn whoever_comes_back_with_an_id_gets_what_follows_it_and_nothing_twice() {
        let mut seen: Mark = "1-3".parse().unwrap();
        let again = page(JobState::Running, "b", 2, false);
        assert_eq!(short(&mut seen, again), ["2-3 \"b\""]);
        assert!(short(&mut seen, page(JobState::Running, "", 2, false)).is_empty());
        let end = page(JobState::Lost, "", 2, false);
        assert_eq!(short(&mut seen, end), ["2-end lost"]);
        assert!(short(&mut seen, page(JobState::Lost, "", 2, false)).is_empty());
    }

    #[test]
    fn the_header_wins_over_the_query_and_both_must_make_sense() {
        let query = |id: &str| Query {
            last_event_id: Some(id.to_owned()),
        };
        let mut headers = HeaderMap::new();
        assert_eq!(seen(&headers, &query("")).unwrap(), Mark::START);
        assert_eq!(seen(&headers, &query("7-3")).unwrap().cursor, 7);
        headers.insert(LAST_EVENT_ID, HeaderValue::from_static("9-3"));
        assert_eq!(seen(&headers, &query("7-3")).unwrap().cursor, 9);
        headers.insert(LAST_EVENT_ID, HeaderValue::from_static("nine"));
        assert!(matches!(
            seen(&headers, &query("7-3")),
            Err(ApiError::BadRequest(_))
        ));
    }
}
