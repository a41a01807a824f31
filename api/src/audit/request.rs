//! The record of a request.

use axum::extract::{Request, State};
use axum::http::StatusCode;
use axum::middleware::Next;
use axum::response::Response;
use warren_common::id::PrincipalId;
use warren_common::model::{AuditEvent, AuditOutcome, Role};
use warren_common::store::audit::Record;
use warren_common::store::principals::News;
use warren_common::telemetry::TraceContext;

use crate::app::Shared;
use crate::auth::Caller;
use crate::transport::client::ClientAddress;

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

/// What a directory or a provider said by the way of whoever a request is from: an extension of an answer, and a record of its own.
#[derive(Debug, Clone)]
pub struct Aside {
    /// What changed.
    pub event: AuditEvent,
    /// Who said so: the source of the principal.
    pub by: String,
    /// Of whom, and what.
    pub target: String,
}

impl Aside {
    /// What groups changed of somebody, if they did.
    pub fn of(news: Option<News>, source: &str, subject: &str, role: Role) -> Option<Self> {
        let role = role.word();
        let (event, target) = match news? {
            News::Added => (AuditEvent::AddUser, format!("{subject} as {role}")),
            News::Role => (AuditEvent::ChangeUser, format!("{subject}: role {role}")),
        };
        Some(Self {
            event,
            by: source.to_owned(),
            target,
        })
    }
}

/// What is found out on the way about whoever a request is from, also when it comes to be refused.
#[derive(Debug, Default)]
pub struct Notes {
    /// Who that is.
    pub who: Option<Who>,
    /// What changed of that one.
    pub aside: Option<Aside>,
}

impl Notes {
    /// Goes into the record of a request with its answer.
    pub fn attach(self, response: &mut Response) {
        if let Some(who) = self.who {
            response.extensions_mut().insert(who);
        }
        if let Some(aside) = self.aside {
            response.extensions_mut().insert(aside);
        }
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
    let address = request.extensions().get::<ClientAddress>().copied();
    let trace = request.extensions().get::<TraceContext>().copied();
    let uri = in_path.then(|| request.uri().clone());
    let response = next.run(request).await;
    let of_request = |event, outcome| Record {
        address: address.map(|ClientAddress(address)| address),
        request_id: trace.map(TraceContext::request_id),
        ..Record::new(event, outcome)
    };
    if let Some(aside) = response.extensions().get::<Aside>() {
        app.audit.record(Record {
            name: Some(shortened(&format!("({})", aside.by))),
            target: Some(shortened(&aside.target)),
            ..of_request(aside.event, AuditOutcome::Done)
        });
    }
    let status = response.status();
    let is_refused = matches!(status, StatusCode::UNAUTHORIZED | StatusCode::FORBIDDEN);
    let event = match noted {
        Noted::As(event) => event,
        Noted::Refusals if is_refused => AuditEvent::Refusal,
        Noted::Refusals => return response,
    };
    let who = response.extensions().get::<Who>();
    let told = response.extensions().get::<Target>();
    let target = match (told, uri) {
        (Some(Target(target)), _) => Some(shortened(target)),
        (None, Some(uri)) => Some(shortened(uri.path())),
        (None, None) => None,
    };
    app.audit.record(Record {
        status: Some(status.as_u16()),
        principal: who.and_then(|who| who.id),
        name: who.map(|who| shortened(&who.name)),
        target,
        ..of_request(event, outcome(status))
    });
    response
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
