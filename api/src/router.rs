//! Every route, in one place.

use axum::Router;
use axum::http::Method;
use axum::middleware::{from_fn, from_fn_with_state};
use axum::routing::{MethodFilter, MethodRouter, on};

use crate::app::Shared;
use crate::auth::admit::{Access, admit};
use crate::auth::policy::Action;
use crate::error::ApiError;
use crate::middleware::observe;
use crate::routes::{
    batches, calls, files, health, jobs, services, sessions, snapshots, status, swagger, tokens,
    users, workspace,
};
use crate::transport;
use crate::transport::requests::{Requests, limit};

/// A route: what it is called by, what it asks of a caller, and what answers.
struct Entry {
    #[cfg_attr(
        not(test),
        expect(dead_code, reason = "the tests compare what is listed")
    )]
    method: Method,
    path: &'static str,
    access: Access,
    handler: MethodRouter<Shared>,
}

/// What is answered. `swagger.json` describes exactly these.
fn built() -> Vec<Entry> {
    use Access::{For, Open};
    use Action::{Call, Look, ManageUsers, Publish, ReadBatch, RunCode};
    use Method as M;
    vec![
        at(M::POST, "/login", Open, tokens::login::login),
        at(M::POST, "/login/refreshToken", Open, tokens::renew::renew),
        at(
            M::DELETE,
            "/login/refreshToken",
            Open,
            tokens::revoke::by_query,
        ),
        at(
            M::DELETE,
            "/login/refreshToken/{*token}",
            Open,
            tokens::revoke::by_path,
        ),
        at(M::GET, "/.well-known/jwks.json", Open, tokens::keys::keys),
        at(M::POST, "/sessions", For(RunCode), sessions::open::open),
        at(M::GET, "/sessions", For(Look), sessions::list::list),
        at(
            M::DELETE,
            "/sessions/{id}",
            For(Look),
            sessions::close::close,
        ),
        at(
            M::DELETE,
            "/sessions/{id}/force",
            For(Look),
            sessions::force::force,
        ),
        at(
            M::POST,
            "/sessions/{id}/execute",
            For(RunCode),
            sessions::execute::execute,
        ),
        at(
            M::POST,
            "/sessions/{id}/cancel",
            For(Look),
            sessions::cancel::cancel,
        ),
        at(
            M::GET,
            "/sessions/{id}/console-output",
            For(Look),
            sessions::console_output::console_output,
        ),
        at(
            M::GET,
            "/sessions/{id}/history",
            For(Look),
            sessions::history::history,
        ),
        at(
            M::POST,
            "/sessions/{id}/files",
            For(RunCode),
            files::upload::upload,
        ),
        at(M::GET, "/sessions/{id}/files", For(Look), files::list::list),
        at(
            M::GET,
            "/sessions/{id}/files/{file}",
            For(Look),
            files::read::read,
        ),
        at(
            M::DELETE,
            "/sessions/{id}/files/{file}",
            For(Look),
            files::delete::delete,
        ),
        at(
            M::GET,
            "/sessions/{id}/workspace",
            For(Look),
            workspace::list::list,
        ),
        at(
            M::GET,
            "/sessions/{id}/workspace/{object}",
            For(Look),
            workspace::read::read,
        ),
        at(
            M::POST,
            "/sessions/{id}/workspace/{object}",
            For(RunCode),
            workspace::upload::upload,
        ),
        at(
            M::DELETE,
            "/sessions/{id}/workspace/{object}",
            For(Look),
            workspace::delete::delete,
        ),
        at(
            M::POST,
            "/sessions/{id}/snapshot",
            For(RunCode),
            snapshots::create::create,
        ),
        at(
            M::POST,
            "/sessions/{id}/loadsnapshot/{snapshot}",
            For(RunCode),
            snapshots::load::load,
        ),
        at(M::GET, "/snapshots", For(Look), snapshots::list::list),
        at(M::GET, "/snapshots/{id}", For(Look), snapshots::read::read),
        at(
            M::DELETE,
            "/snapshots/{id}",
            For(Look),
            snapshots::delete::delete,
        ),
        at(M::GET, "/services", For(Call), services::list::all),
        at(
            M::GET,
            "/services/{name}",
            For(Call),
            services::list::of_name,
        ),
        at(
            M::POST,
            "/services/{name}",
            For(Publish),
            services::publish::publish,
        ),
        at(
            M::GET,
            "/services/{name}/{version}",
            For(Call),
            services::list::one,
        ),
        at(
            M::POST,
            "/services/{name}/{version}",
            For(Publish),
            services::publish::publish,
        ),
        at(
            M::PATCH,
            "/services/{name}/{version}",
            For(Publish),
            services::publish::patch,
        ),
        at(
            M::DELETE,
            "/services/{name}/{version}",
            For(Publish),
            services::delete::delete,
        ),
        at(
            M::POST,
            "/api/{name}/{version}",
            For(Call),
            calls::call::call,
        ),
        at(
            M::GET,
            "/api/{name}/{version}/swagger.json",
            For(Call),
            calls::swagger::swagger,
        ),
        at(
            M::POST,
            "/api/{name}/{version}/batch",
            For(Call),
            batches::start::start,
        ),
        at(
            M::GET,
            "/api/{name}/{version}/batch",
            For(Call),
            batches::list::list,
        ),
        at(
            M::GET,
            "/api/{name}/{version}/batch/{execution}",
            For(ReadBatch),
            batches::read::read,
        ),
        at(
            M::DELETE,
            "/api/{name}/{version}/batch/{execution}",
            For(ReadBatch),
            batches::delete::delete,
        ),
        at(
            M::GET,
            "/api/{name}/{version}/batch/{execution}/{index}/files",
            For(ReadBatch),
            batches::files::list,
        ),
        at(
            M::GET,
            "/api/{name}/{version}/batch/{execution}/{index}/files/{file}",
            For(ReadBatch),
            batches::files::read,
        ),
        at(M::GET, "/jobs", For(Look), jobs::list::list),
        at(M::GET, "/jobs/{id}", For(Look), jobs::read::read),
        at(
            M::GET,
            "/jobs/{id}/content",
            For(Look),
            jobs::content::content,
        ),
        at(M::DELETE, "/jobs/{id}", For(Look), jobs::cancel::cancel),
        at(
            M::GET,
            "/jobs/{id}/console",
            For(Look),
            jobs::console::console,
        ),
        at(M::GET, "/jobs/{id}/events", For(Look), jobs::events::events),
        at(M::GET, "/users", For(ManageUsers), users::list::all),
        at(M::POST, "/users", For(ManageUsers), users::add::add),
        at(M::GET, "/users/{name}", For(ManageUsers), users::list::one),
        at(
            M::PATCH,
            "/users/{name}",
            For(ManageUsers),
            users::change::change,
        ),
        at(
            M::DELETE,
            "/users/{name}",
            For(ManageUsers),
            users::delete::delete,
        ),
        at(M::GET, "/status", For(Call), status::status),
        at(M::GET, "/health/live", Open, health::live::live),
        at(M::GET, "/health/ready", Open, health::ready::ready),
        at(M::GET, "/swagger.json", For(Call), swagger::swagger),
    ]
}

/// Known from the contract, for a later release: 501 for whoever may have them then.
const LATER: &[(Method, &str, &str)] = &[
    (Method::GET, "/services/{name}/{version}/pool", POOLS),
    (Method::POST, "/services/{name}/{version}/pool", POOLS),
    (Method::DELETE, "/services/{name}/{version}/pool", POOLS),
    (Method::POST, "/realtime-services/{name}", REALTIME),
    (
        Method::POST,
        "/realtime-services/{name}/{version}",
        REALTIME,
    ),
    (
        Method::PATCH,
        "/realtime-services/{name}/{version}",
        REALTIME,
    ),
    (Method::GET, "/computenodes", COMPUTE_NODES),
    (Method::POST, "/computenodes", COMPUTE_NODES),
    (Method::PUT, "/computenodes", COMPUTE_NODES),
    (Method::DELETE, "/computenodes", COMPUTE_NODES),
];

const POOLS: &str = "pools of services";
const REALTIME: &str = "realtime services";
const COMPUTE_NODES: &str = "compute-node routes";

/// The router with everything around it.
pub fn build(app: Shared) -> Router {
    let config = app.config.clone();
    let requests = Requests::new(config.transport.max_requests as usize);
    let later = LATER.iter().map(|(method, path, what)| {
        let refuse = || async { Err::<(), _>(ApiError::NotBuilt(what)) };
        let action = if *what == REALTIME {
            Action::Publish
        } else {
            Action::ManageFleet
        };
        at(method.clone(), path, Access::For(action), refuse)
    });
    let router = built()
        .into_iter()
        .chain(later)
        .fold(Router::new(), |router, entry| {
            router.route(entry.path, guarded(entry.access, entry.handler, &app))
        })
        .fallback(async || ApiError::NotFound("there is nothing at this path".to_owned()))
        .method_not_allowed_fallback(async || ApiError::MethodNotAllowed)
        .layer(from_fn_with_state(requests, limit))
        .layer(from_fn(observe))
        .with_state(app);
    transport::around(router, &config)
}

fn at<H, T>(method: Method, path: &'static str, access: Access, handler: H) -> Entry
where
    H: axum::handler::Handler<T, Shared>,
    T: 'static,
{
    let filter = MethodFilter::try_from(method.clone()).unwrap_or(MethodFilter::GET);
    Entry {
        method,
        path,
        access,
        handler: on(filter, handler),
    }
}

/// A handler behind its door.
fn guarded(access: Access, handler: MethodRouter<Shared>, app: &Shared) -> MethodRouter<Shared> {
    match access {
        Access::Open => handler,
        Access::For(action) => {
            let door = from_fn_with_state((Shared::clone(app), action), admit);
            handler.route_layer(door)
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::BTreeSet;

    fn names<'a>(entries: impl Iterator<Item = (&'a Method, &'a str)>) -> BTreeSet<String> {
        entries
            .map(|(method, path)| format!("{method} {path}"))
            .collect()
    }

    #[test]
    fn swagger_describes_what_is_built_and_nothing_else() {
        let document: serde_json::Value = serde_json::from_str(swagger::DOCUMENT).unwrap();
        let mut described = BTreeSet::new();
        for (path, operations) in document["paths"].as_object().unwrap() {
            for method in operations.as_object().unwrap().keys() {
                described.insert(format!("{} {path}", method.to_uppercase()));
            }
        }
        let built = built();
        let built = names(built.iter().map(|entry| (&entry.method, entry.path)));
        // What takes the rest of a path is a parameter like any other there.
        let built: BTreeSet<String> = built.iter().map(|name| name.replace("{*", "{")).collect();
        assert_eq!(described, built);
    }

    #[test]
    fn no_route_is_listed_twice() {
        let built = built();
        let listed = built.len() + LATER.len();
        let all = names(
            built
                .iter()
                .map(|entry| (&entry.method, entry.path))
                .chain(LATER.iter().map(|(method, path, _what)| (method, *path))),
        );
        assert_eq!(all.len(), listed);
    }

    #[test]
    fn every_route_of_the_original_is_listed() {
        // The 9.0.1 document names its parameters in its own way.
        let plain = |path: &str| {
            let parts = path
                .split('/')
                .map(|part| if part.starts_with('{') { "{}" } else { part });
            parts.collect::<Vec<_>>().join("/")
        };
        let listed: BTreeSet<String> = built()
            .iter()
            .map(|entry| format!("{} {}", entry.method, plain(entry.path)))
            .chain(
                LATER
                    .iter()
                    .map(|(method, path, _what)| format!("{method} {}", plain(path))),
            )
            .collect();
        for original in ORIGINAL {
            assert!(listed.contains(*original), "{original}");
        }
    }

    const ORIGINAL: &[&str] = &[
        "POST /login",
        "POST /login/refreshToken",
        "DELETE /login/refreshToken",
        "GET /services",
        "GET /services/{}",
        "POST /services/{}",
        "GET /services/{}/{}",
        "POST /services/{}/{}",
        "PATCH /services/{}/{}",
        "DELETE /services/{}/{}",
        "GET /api/{}/{}/swagger.json",
        "POST /sessions",
        "GET /sessions",
        "DELETE /sessions/{}",
        "DELETE /sessions/{}/force",
        "GET /sessions/{}/console-output",
        "GET /sessions/{}/history",
        "POST /sessions/{}/files",
        "GET /sessions/{}/files",
        "GET /sessions/{}/files/{}",
        "DELETE /sessions/{}/files/{}",
        "GET /sessions/{}/workspace",
        "POST /sessions/{}/workspace/{}",
        "GET /sessions/{}/workspace/{}",
        "DELETE /sessions/{}/workspace/{}",
        "POST /sessions/{}/execute",
        "POST /sessions/{}/snapshot",
        "POST /sessions/{}/loadsnapshot/{}",
        "POST /sessions/{}/cancel",
        "GET /snapshots",
        "GET /snapshots/{}",
        "DELETE /snapshots/{}",
        "GET /status",
    ];
}
