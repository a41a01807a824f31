//! `POST /sessions/{id}/cancel`

use axum::Json;
use axum::extract::State;
use warren_common::id::SessionId;
use warren_common::store::jobs;

use super::session_of;
use crate::app::Shared;
use crate::auth::Caller;
use crate::error::ApiError;
use crate::extract::Id;
use crate::routes::jobs::ask_to_cancel;

/// Asks for the job whose turn it is to be cancelled: what runs, or what was accepted just now and is about to. The session
/// lives on, unless R does not unwind.
pub async fn cancel(
    State(app): State<Shared>,
    caller: Caller,
    Id(session): Id<SessionId>,
) -> Result<Json<&'static str>, ApiError> {
    let session = session_of(&app, &caller, session).await?;
    match jobs::current_of(&app.db, caller.id, session.id).await? {
        Some(job) => Ok(Json(ask_to_cancel(&app, &caller, job).await?)),
        None => Ok(Json("nothing runs in the session")),
    }
}
