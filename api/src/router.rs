//! Every route, in one place.

use axum::Router;
use axum::http::Method;
use axum::routing::{MethodFilter, MethodRouter, on};

use crate::app::Shared;
use crate::auth::Caller;
use crate::error::ApiError;
use crate::middleware::observe;
use crate::routes::{
    batches, calls, files, health, jobs, services, sessions, snapshots, status, swagger, tokens,
    workspace,
};
use crate::transport;
use crate::transport::requests::{Requests, limit};

type Entry = (Method, &'static str, MethodRouter<Shared>);

/// What is answered. `swagger.json` describes exactly these.
fn built() -> Vec<Entry> {
    use Method as M;
    vec![
        at(M::POST, "/login", tokens::login::login),
        at(M::POST, "/login/refreshToken", tokens::renew::renew),
        at(M::DELETE, "/login/refreshToken", tokens::revoke::by_query),
        at(
            M::DELETE,
            "/login/refreshToken/{*token}",
            tokens::revoke::by_path,
        ),
        at(M::GET, "/.well-known/jwks.json", tokens::keys::keys),
        at(M::POST, "/sessions", sessions::open::open),
        at(M::GET, "/sessions", sessions::list::list),
        at(M::DELETE, "/sessions/{id}", sessions::close::close),
        at(M::DELETE, "/sessions/{id}/force", sessions::force::force),
        at(
            M::POST,
            "/sessions/{id}/execute",
            sessions::execute::execute,
        ),
        at(M::POST, "/sessions/{id}/cancel", sessions::cancel::cancel),
        at(
            M::GET,
            "/sessions/{id}/console-output",
            sessions::console_output::console_output,
        ),
        at(M::GET, "/sessions/{id}/history", sessions::history::history),
        at(M::POST, "/sessions/{id}/files", files::upload::upload),
        at(M::GET, "/sessions/{id}/files", files::list::list),
        at(M::GET, "/sessions/{id}/files/{file}", files::read::read),
        at(
            M::DELETE,
            "/sessions/{id}/files/{file}",
            files::delete::delete,
        ),
        at(M::GET, "/sessions/{id}/workspace", workspace::list::list),
        at(
            M::GET,
            "/sessions/{id}/workspace/{object}",
            workspace::read::read,
        ),
        at(
            M::POST,
            "/sessions/{id}/workspace/{object}",
            workspace::upload::upload,
        ),
        at(
            M::DELETE,
            "/sessions/{id}/workspace/{object}",
            workspace::delete::delete,
        ),
        at(
            M::POST,
            "/sessions/{id}/snapshot",
            snapshots::create::create,
        ),
        at(
            M::POST,
            "/sessions/{id}/loadsnapshot/{snapshot}",
            snapshots::load::load,
        ),
        at(M::GET, "/snapshots", snapshots::list::list),
        at(M::GET, "/snapshots/{id}", snapshots::read::read),
        at(M::DELETE, "/snapshots/{id}", snapshots::delete::delete),
        at(M::GET, "/services", services::list::all),
        at(M::GET, "/services/{name}", services::list::of_name),
        at(M::POST, "/services/{name}", services::publish::publish),
        at(M::GET, "/services/{name}/{version}", services::list::one),
        at(
            M::POST,
            "/services/{name}/{version}",
            services::publish::publish,
        ),
        at(
            M::PATCH,
            "/services/{name}/{version}",
            services::publish::patch,
        ),
        at(
            M::DELETE,
            "/services/{name}/{version}",
            services::delete::delete,
        ),
        at(M::POST, "/api/{name}/{version}", calls::call::call),
        at(
            M::GET,
            "/api/{name}/{version}/swagger.json",
            calls::swagger::swagger,
        ),
        at(
            M::POST,
            "/api/{name}/{version}/batch",
            batches::start::start,
        ),
        at(M::GET, "/api/{name}/{version}/batch", batches::list::list),
        at(
            M::GET,
            "/api/{name}/{version}/batch/{execution}",
            batches::read::read,
        ),
        at(
            M::DELETE,
            "/api/{name}/{version}/batch/{execution}",
            batches::delete::delete,
        ),
        at(
            M::GET,
            "/api/{name}/{version}/batch/{execution}/{index}/files",
            batches::files::list,
        ),
        at(
            M::GET,
            "/api/{name}/{version}/batch/{execution}/{index}/files/{file}",
            batches::files::read,
        ),
        at(M::GET, "/jobs", jobs::list::list),
        at(M::GET, "/jobs/{id}", jobs::read::read),
        at(M::GET, "/jobs/{id}/content", jobs::content::content),
        at(M::DELETE, "/jobs/{id}", jobs::cancel::cancel),
        at(M::GET, "/jobs/{id}/console", jobs::console::console),
        at(M::GET, "/jobs/{id}/events", jobs::events::events),
        at(M::GET, "/status", status::status),
        at(M::GET, "/health/live", health::live::live),
        at(M::GET, "/health/ready", health::ready::ready),
        at(M::GET, "/swagger.json", swagger::swagger),
    ]
}

/// Known from the contract, for a later release: 501, after the token was checked.
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
        let refuse = |_caller: Caller| async { Err::<(), _>(ApiError::NotBuilt(what)) };
        at(method.clone(), path, refuse)
    });
    let router = built()
        .into_iter()
        .chain(later)
        .fold(Router::new(), |router, (_method, path, handler)| {
            router.route(path, handler)
        })
        .fallback(async || ApiError::NotFound("there is nothing at this path".to_owned()))
        .method_not_allowed_fallback(async || ApiError::MethodNotAllowed)
        .layer(axum::middleware::from_fn_with_state(requests, limit))
        .layer(axum::middleware::from_fn(observe))
        .with_state(app);
    transport::around(router, &config)
}

fn at<H, T>(method: Method, path: &'static str, handler: H) -> Entry
where
    H: axum::handler::Handler<T, Shared>,
    T: 'static,
{
    let filter = MethodFilter::try_from(method.clone()).unwrap_or(MethodFilter::GET);
    (method, path, on(filter, handler))
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
        let built = names(built.iter().map(|(method, path, _handler)| (method, *path)));
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
                .map(|(method, path, _handler)| (method, *path))
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
            .map(|(method, path, _handler)| format!("{method} {}", plain(path)))
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
