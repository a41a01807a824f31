//! The router: every route of the table behind its door, and what is around all of them.

mod table;

use axum::Router;
use axum::middleware::{from_fn, from_fn_with_state};
use axum::routing::MethodRouter;

use self::table::{Entry, built, later};
use crate::app::Shared;
use crate::audit;
use crate::auth::admit::{Access, admit};
use crate::error::ApiError;
use crate::middleware::observe;
use crate::transport;
use crate::transport::requests::{Requests, limit};

/// The router with everything around it.
pub fn build(app: Shared) -> Router {
    let config = app.config.clone();
    let requests = Requests::new(config.transport.max_requests as usize);
    let entries = built().into_iter().chain(later());
    let router = entries
        .fold(Router::new(), |router, entry| {
            router.route(entry.path, guarded(entry, &app))
        })
        .fallback(async || ApiError::NotFound("there is nothing at this path".to_owned()))
        .method_not_allowed_fallback(async || ApiError::MethodNotAllowed)
        .layer(from_fn_with_state(requests, limit))
        .layer(from_fn(observe))
        .with_state(app);
    transport::around(router, &config)
}

/// What answers at a route, behind its door, and with a record of what is refused there.
fn guarded(entry: Entry, app: &Shared) -> MethodRouter<Shared> {
    let Entry {
        access,
        noted,
        handler,
        ..
    } = entry;
    // In an open path there may be a token.
    let (handler, in_path) = match access {
        Access::Open => (handler, false),
        Access::For(action) => {
            let door = from_fn_with_state((Shared::clone(app), action), admit);
            (handler.route_layer(door), true)
        }
    };
    let record = from_fn_with_state((Shared::clone(app), noted, in_path), audit::around);
    handler.route_layer(record)
}
