//! Sessions.

pub mod cancel;
pub mod close;
pub mod console_output;
pub mod execute;
pub mod force;
pub mod history;
pub mod list;
pub mod open;

use chrono::Utc;
use warren_common::id::SessionId;
use warren_common::model::SessionState;
use warren_common::queue::{Notice, QueueName};
use warren_common::store::sessions::{self, Closing, Session};

use crate::app::App;
use crate::auth::Caller;
use crate::error::ApiError;
use crate::submit::{no_session, notify, session_over};

/// The longest name of a session or snapshot, in bytes.
const LONGEST_NAME: usize = 1024;

/// The caller's session, if it has not ended; asking for it is a use of it.
pub(super) async fn session_of(
    app: &App,
    caller: &Caller,
    id: SessionId,
) -> Result<Session, ApiError> {
    let found = sessions::find(&app.db, caller.id, id).await?;
    let session = found.ok_or_else(no_session)?;
    match session.state {
        SessionState::Opening | SessionState::Open => {
            app.activity.note(id);
            Ok(session)
        }
        SessionState::Closing | SessionState::Closed | SessionState::Lost => {
            Err(over(app, session))
        }
    }
}

/// Refuses a label that cannot be stored.
pub(super) fn check_name(name: Option<&str>) -> Result<(), ApiError> {
    let bad = |text: String| Err(ApiError::BadRequest(text));
    match name {
        Some(name) if name.len() > LONGEST_NAME => {
            bad(format!("name is longer than {LONGEST_NAME} bytes"))
        }
        Some(name) if name.contains('\0') => bad("name contains a NUL character".to_owned()),
        _ => Ok(()),
    }
}

/// 410 for as long as sessions are remembered, then 404.
fn over(app: &App, session: Session) -> ApiError {
    let ended = session.ended_at.map(|at| Utc::now() - at);
    let kept = app.config.retention.sessions;
    // One that ended in the future, by another clock, has just ended.
    let is_forgotten = ended.is_some_and(|ago| ago.to_std().is_ok_and(|ago| ago > kept));
    if is_forgotten {
        no_session()
    } else {
        session_over(session.state, session.reason)
    }
}

/// Asks for a session to be closed and tells its worker.
async fn ask_to_close(
    app: &App,
    caller: &Caller,
    id: SessionId,
    force: bool,
) -> Result<&'static str, ApiError> {
    let worker = match sessions::close(&app.db, caller.id, id).await? {
        Closing::AtOnce => return Ok("the session is closed"),
        Closing::AskedOf(worker) => Some(worker),
        // Its R does not listen, so its owner insists.
        Closing::Over(session) if force && session.state == SessionState::Closing => session.worker,
        Closing::Over(session) => return Err(over(app, session)),
        Closing::Unknown => return Err(no_session()),
    };
    if let Some(worker) = worker {
        let notice = Notice::CloseV1 { session: id, force };
        notify(&app.broker, QueueName::Control(worker), notice);
    }
    Ok("the session is closing")
}
