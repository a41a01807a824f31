//! The record of a request.

use std::convert::Infallible;

use axum::extract::{FromRequestParts, Request, State};
use axum::http::request::Parts;
use axum::http::{Extensions, StatusCode, Uri};
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};
use tracing::Instrument;
use warren_common::id::PrincipalId;
use warren_common::model::{AuditEvent, AuditOutcome, Role};
use warren_common::store::audit::Record;
use warren_common::store::principals::News;
use warren_common::telemetry::TraceContext;

use super::Audit;
use crate::app::Shared;
use crate::auth::Caller;
use crate::error::ApiError;
use crate::transport::client::ClientAddress;
use crate::transport::requests::Place;

/// The longest text of a record, in characters.
const LONGEST: usize = 512;

/// What is noted of requests to a route.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Noted {
    /// Only that one was refused for want of a token or of a role.
    Refusals,
    /// Every one.
    As(AuditEvent),
}

/// Whose request it was: an extension of an answer, for routes that find that out by themselves.
#[derive(Debug, Clone)]
pub struct Who {
    /// Which principal; none of somebody who has never been let in.
    pub id: Option<PrincipalId>,
    /// Its name.
    pub name: String,
}

impl From<&Caller> for Who {
    fn from(caller: &Caller) -> Self {
        Self {
            id: Some(caller.id),
            name: caller.name.clone(),
        }
    }
}

/// Where a request comes from, and what it is called by.
#[derive(Debug, Clone, Copy)]
pub struct Origin {
    address: Option<ClientAddress>,
    trace: Option<TraceContext>,
}

impl Origin {
    /// That of the request with these extensions.
    pub fn of(extensions: &Extensions) -> Self {
        Self {
            address: extensions.get().copied(),
            trace: extensions.get().copied(),
        }
    }

    fn record(self, event: AuditEvent, outcome: AuditOutcome) -> Record {
        Record {
            address: self.address.map(|ClientAddress(address)| address),
            request_id: self.trace.map(TraceContext::request_id),
            ..Record::new(event, outcome)
        }
    }
}

impl<S: Sync> FromRequestParts<S> for Origin {
    type Rejection = Infallible;

    async fn from_request_parts(parts: &mut Parts, _state: &S) -> Result<Self, Infallible> {
        Ok(Self::of(&parts.extensions))
    }
}

/// What is found out on the way about whoever a request is from, also when it comes to be refused.
pub struct Notes<'a> {
    audit: &'a Audit,
    origin: Origin,
    /// Who that is.
    pub who: Option<Who>,
}

impl<'a> Notes<'a> {
    /// Of a request from there; nothing is known yet.
    pub fn new(audit: &'a Audit, origin: Origin) -> Self {
        Self {
            audit,
            origin,
            who: None,
        }
    }

    /// Records, at once and apart, what `by` changed on the way: a directory, a provider or Warren itself. It has happened, whether anybody
    /// waits for the answer or not.
    pub fn aside(&self, event: AuditEvent, by: &str, target: &str) {
        self.audit.record(Record {
            name: Some(shortened(&format!("({by})"))),
            target: Some(shortened(target)),
            ..self.origin.record(event, AuditOutcome::Done)
        });
    }

    /// The same of what groups changed of somebody, if they did.
    pub fn of_groups(&self, news: Option<News>, source: &str, subject: &str, role: Role) {
        let role = role.word();
        match news {
            Some(News::Added) => {
                self.aside(AuditEvent::AddUser, source, &format!("{subject} as {role}"));
            }
            Some(News::Role) => {
                let what = format!("{subject}: role {role}");
                self.aside(AuditEvent::ChangeUser, source, &what);
            }
            None => {}
        }
    }

    /// The answer, for the record of the request to say who it was from.
    pub fn attach(self, mut response: Response) -> Response {
        if let Some(who) = self.who {
            response.extensions_mut().insert(who);
        }
        response
    }
}

/// What it was about, where the path does not say: an extension of an answer.
#[derive(Debug, Clone)]
pub struct Target(pub String);

/// Records requests. `in_path` says whether what a request is about is in its path; on routes that are open there may be a token.
pub async fn around(
    State((app, noted, in_path)): State<(Shared, Noted, bool)>,
    request: Request,
    next: Next,
) -> Response {
    let origin = Origin::of(request.extensions());
    let uri = in_path.then(|| request.uri().clone());
    let Noted::As(event) = noted else {
        let response = next.run(request).await;
        if matches!(
            response.status(),
            StatusCode::UNAUTHORIZED | StatusCode::FORBIDDEN
        ) {
            let refusal = answered(&response, AuditEvent::Refusal, origin, uri.as_ref());
            app.audit.record(refusal);
        }
        return response;
    };
    // It goes on to its end also when the caller goes away: nobody gets past the record by not waiting for the answer.
    let place = request.extensions().get::<Place>().cloned();
    let task = async move {
        let response = next.run(request).await;
        app.audit
            .record(answered(&response, event, origin, uri.as_ref()));
        drop(place);
        response
    };
    match tokio::spawn(task.in_current_span()).await {
        Ok(response) => response,
        Err(ended) => match ended.try_into_panic() {
            Ok(panic) => std::panic::resume_unwind(panic),
            Err(_stopped) => ApiError::unavailable("this node is stopping").into_response(),
        },
    }
}

/// The record of a request that was answered so.
fn answered(response: &Response, event: AuditEvent, origin: Origin, uri: Option<&Uri>) -> Record {
    let status = response.status();
    let who = response.extensions().get::<Who>();
    let told = response.extensions().get::<Target>();
    let target = match (told, uri) {
        (Some(Target(target)), _) => Some(shortened(target)),
        (None, Some(uri)) => Some(shortened(uri.path())),
        (None, None) => None,
    };
    Record {
        status: Some(status.as_u16()),
        principal: who.and_then(|who| who.id),
        name: who.map(|who| shortened(&who.name)),
        target,
        ..origin.record(event, outcome(status))
    }
}

fn outcome(status: StatusCode) -> AuditOutcome {
    match status {
        StatusCode::ACCEPTED => AuditOutcome::Accepted,
        StatusCode::UNAUTHORIZED | StatusCode::FORBIDDEN | StatusCode::TOO_MANY_REQUESTS => {
            AuditOutcome::Refused
        }
        status if status.is_success() => AuditOutcome::Done,
        _ => AuditOutcome::Failed,
    }
}

fn shortened(text: &str) -> String {
    text.chars()
        .filter(|letter| !letter.is_control())
        .take(LONGEST)
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn statuses_are_outcomes() {
        for (status, expected) in [
            (200, AuditOutcome::Done),
            (201, AuditOutcome::Done),
            (202, AuditOutcome::Accepted),
            (401, AuditOutcome::Refused),
            (403, AuditOutcome::Refused),
            (429, AuditOutcome::Refused),
            (404, AuditOutcome::Failed),
            (503, AuditOutcome::Failed),
        ] {
            assert_eq!(outcome(StatusCode::from_u16(status).unwrap()), expected);
        }
    }

    #[test]
    fn texts_are_short_and_one_line() {
        assert_eq!(shortened("a\r\nb\u{0}"), "ab");
        assert_eq!(shortened(&"ä".repeat(600)).chars().count(), LONGEST);
    }
}
