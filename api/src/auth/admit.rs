//! The door of every route that needs a token.

use std::time::Instant;

use axum::extract::{FromRequestParts, Request, State};
use axum::http::request::Parts;
use axum::http::{HeaderMap, header};
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};
use warren_common::telemetry::metrics;

use super::Caller;
use super::policy::{Action, Whose, permits};
use crate::app::Shared;
use crate::audit::{Notes, Origin};
use crate::error::ApiError;

/// What a route asks of whoever calls it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Access {
    /// Nothing.
    Open,
    /// A token of somebody who may do this, at least with what is his own.
    For(Action),
}

const NO_TOKEN: ApiError =
    ApiError::Unauthorized("this needs the header Authorization: Bearer <access token>");

/// Finds out who calls, and lets a request in when its caller may do what the route is for. It comes before everything else: whoever is
/// not let in learns nothing of what there is.
pub async fn admit(
    State((app, action)): State<(Shared, Action)>,
    mut request: Request,
    next: Next,
) -> Response {
    let began = Instant::now();
    let mut notes = Notes::new(&app.audit, Origin::of(request.extensions()));
    let caller = authenticate(&app, request.headers(), action, &mut notes).await;
    metrics().authenticated(began.elapsed());
    let response = match caller {
        Ok(caller) => {
            request.extensions_mut().insert(caller);
            next.run(request).await
        }
        Err(refused) => refused.into_response(),
    };
    notes.attach(response)
}

/// Who calls, if what it wants is permitted.
async fn authenticate(
    app: &Shared,
    headers: &HeaderMap,
    action: Action,
    notes: &mut Notes<'_>,
) -> Result<Caller, ApiError> {
    let token = bearer(headers).ok_or(NO_TOKEN)?;
    let caller = match &app.openid {
        Some(openid) => openid.verify(token, &app.tokens, notes).await?,
        None => app.tokens.verify(token, notes).await?,
    };
    check(&caller, action)?;
    Ok(caller)
}

/// Refuses what a caller's role does not permit.
fn check(caller: &Caller, action: Action) -> Result<(), ApiError> {
    if permits(caller.role, action, Whose::Own) {
        Ok(())
    } else {
        Err(ApiError::Forbidden(format!(
            "your role is {}, which does not let you {}",
            caller.role.word(),
            action.phrase()
        )))
    }
}

fn bearer(headers: &HeaderMap) -> Option<&str> {
    let text = headers.get(header::AUTHORIZATION)?.to_str().ok()?;
    let (scheme, token) = text.split_once(' ')?;
    scheme.eq_ignore_ascii_case("bearer").then(|| token.trim())
}

impl FromRequestParts<Shared> for Caller {
    type Rejection = ApiError;

    async fn from_request_parts(parts: &mut Parts, _app: &Shared) -> Result<Self, ApiError> {
        let caller = parts.extensions.get::<Self>().cloned();
        caller.ok_or_else(|| ApiError::internal("a route that needs a caller is open to everybody"))
    }
}
