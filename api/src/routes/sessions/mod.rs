//! Sessions.

pub mod cancel;
pub mod close;
pub mod console_output;
pub mod execute;
pub mod force;
pub mod history;
pub mod list;
pub mod open;

use chrono::{TimeDelta, Utc};
use warren_common::id::SessionId;
use warren_common::model::SessionState;
use warren_common::queue::{Notice, QueueName};
use warren_common::store::sessions::{self, Closing, Session};

use crate::app::App;
use crate::auth::Caller;
use crate::error::ApiError;
use crate::submit::{no_session, notify, session_over};

/// How long a session that has ended answers 410.
const REMEMBERED: TimeDelta = TimeDelta::days(1);

/// The caller's session, if it has not ended.
pub(super) async fn session_of(
    app: &App,
    caller: &Caller,
    id: SessionId,
) -> Result<Session, ApiError> {
    let found = sessions::find(&app.db, caller.id, id).await?;
    live(found.ok_or_else(no_session)?)
}

fn live(session: Session) -> Result<Session, ApiError> {
    match session.state {
        SessionState::Opening | SessionState::Open => Ok(session),
        SessionState::Closing | SessionState::Closed | SessionState::Lost => Err(over(session)),
    }
}

/// 410 for a day, then 404.
fn over(session: Session) -> ApiError {
    let forgotten = session
        .ended_at
        .is_some_and(|at| at < Utc::now() - REMEMBERED);
    if forgotten {
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
        Closing::Over(session) => return Err(over(session)),
        Closing::Unknown => return Err(no_session()),
    };
    if let Some(worker) = worker {
        let notice = Notice::CloseV1 { session: id, force };
        notify(&app.broker, QueueName::Control(worker), notice);
    }
    Ok("the session is closing")
}
