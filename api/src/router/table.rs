//! Every route, in one place: what it is called by, what it asks of a caller, what is recorded of it, and what answers.

use axum::handler::Handler;
use axum::http::Method;
use axum::routing::{MethodFilter, MethodRouter, on};
use warren_common::model::AuditEvent;

use crate::app::Shared;
use crate::audit::Noted;
use crate::auth::admit::Access;
use crate::auth::policy::Action;
use crate::error::ApiError;
use crate::routes::{
    batches, calls, files, health, jobs, services, sessions, snapshots, status, swagger, tokens,
    users, workspace,
};

/// A route.
pub(super) struct Entry {
    #[cfg_attr(
        not(test),
        expect(dead_code, reason = "the tests compare what is listed")
    )]
    pub(super) method: Method,
    pub(super) path: &'static str,
    pub(super) access: Access,
    pub(super) noted: Noted,
    pub(super) handler: MethodRouter<Shared>,
}

impl Entry {
    fn new<H, T>(method: Method, path: &'static str, access: Access, handler: H) -> Self
    where
        H: Handler<T, Shared>,
        T: 'static,
    {
        let filter = MethodFilter::try_from(method.clone()).unwrap_or(MethodFilter::GET);
        Self {
            method,
            path,
            access,
            noted: Noted::Refusals,
            handler: on(filter, handler),
        }
    }

    /// The same, with a record of every request.
    fn noted(self, event: AuditEvent) -> Self {
        Self {
            noted: Noted::As(event),
            ..self
        }
    }
}

/// What is answered. `swagger.json` describes exactly these.
#[rustfmt::skip] // A line for each.
pub(super) fn built() -> Vec<Entry> {
    use Access::{For, Open};
    use Action::{Call, Look, ManageUsers, Publish, ReadBatch, RunCode};
    use AuditEvent as Event;
    vec![
        post("/login", Open, tokens::login::login).noted(Event::SignIn),
        post("/login/refreshToken", Open, tokens::renew::renew),
        delete("/login/refreshToken", Open, tokens::revoke::by_query).noted(Event::SignOut),
        delete("/login/refreshToken/{*token}", Open, tokens::revoke::by_path).noted(Event::SignOut),
        get("/.well-known/jwks.json", Open, tokens::keys::keys),
        post("/sessions", For(RunCode), sessions::open::open).noted(Event::OpenSession),
        get("/sessions", For(Look), sessions::list::list),
        delete("/sessions/{id}", For(Look), sessions::close::close).noted(Event::CloseSession),
        delete("/sessions/{id}/force", For(Look), sessions::force::force).noted(Event::CloseSession),
        post("/sessions/{id}/execute", For(RunCode), sessions::execute::execute),
        post("/sessions/{id}/cancel", For(Look), sessions::cancel::cancel),
        get("/sessions/{id}/console-output", For(Look), sessions::console_output::console_output),
        get("/sessions/{id}/history", For(Look), sessions::history::history),
        post("/sessions/{id}/files", For(RunCode), files::upload::upload),
        get("/sessions/{id}/files", For(Look), files::list::list),
        get("/sessions/{id}/files/{file}", For(Look), files::read::read),
        delete("/sessions/{id}/files/{file}", For(Look), files::delete::delete).noted(Event::DeleteFile),
        get("/sessions/{id}/workspace", For(Look), workspace::list::list),
        get("/sessions/{id}/workspace/{object}", For(Look), workspace::read::read),
        post("/sessions/{id}/workspace/{object}", For(RunCode), workspace::upload::upload),
        delete("/sessions/{id}/workspace/{object}", For(Look), workspace::delete::delete).noted(Event::DeleteObject),
        post("/sessions/{id}/snapshot", For(RunCode), snapshots::create::create),
        post("/sessions/{id}/loadsnapshot/{snapshot}", For(RunCode), snapshots::load::load),
        get("/snapshots", For(Look), snapshots::list::list),
        get("/snapshots/{id}", For(Look), snapshots::read::read),
        delete("/snapshots/{id}", For(Look), snapshots::delete::delete).noted(Event::DeleteSnapshot),
        get("/services", For(Call), services::list::all),
        get("/services/{name}", For(Call), services::list::of_name),
        post("/services/{name}", For(Publish), services::publish::publish).noted(Event::Publish),
        get("/services/{name}/{version}", For(Call), services::list::one),
        post("/services/{name}/{version}", For(Publish), services::publish::publish).noted(Event::Publish),
        patch("/services/{name}/{version}", For(Publish), services::publish::patch).noted(Event::ChangeService),
        delete("/services/{name}/{version}", For(Publish), services::delete::delete).noted(Event::DeleteService),
        post("/api/{name}/{version}", For(Call), calls::call::call),
        get("/api/{name}/{version}/swagger.json", For(Call), calls::swagger::swagger),
        post("/api/{name}/{version}/batch", For(Call), batches::start::start),
        get("/api/{name}/{version}/batch", For(Call), batches::list::list),
        get("/api/{name}/{version}/batch/{execution}", For(ReadBatch), batches::read::read),
        delete("/api/{name}/{version}/batch/{execution}", For(ReadBatch), batches::delete::delete).noted(Event::DeleteBatch),
        get("/api/{name}/{version}/batch/{execution}/{index}/files", For(ReadBatch), batches::files::list),
        get("/api/{name}/{version}/batch/{execution}/{index}/files/{file}", For(ReadBatch), batches::files::read),
        get("/jobs", For(Look), jobs::list::list),
        get("/jobs/{id}", For(Look), jobs::read::read),
        get("/jobs/{id}/content", For(Look), jobs::content::content),
        delete("/jobs/{id}", For(Look), jobs::cancel::cancel),
        get("/jobs/{id}/console", For(Look), jobs::console::console),
        get("/jobs/{id}/events", For(Look), jobs::events::events),
        get("/users", For(ManageUsers), users::list::all),
        post("/users", For(ManageUsers), users::add::add).noted(Event::AddUser),
        get("/users/{name}", For(ManageUsers), users::list::one),
        patch("/users/{name}", For(ManageUsers), users::change::change).noted(Event::ChangeUser),
        delete("/users/{name}", For(ManageUsers), users::delete::delete).noted(Event::DeleteUser),
        get("/status", For(Call), status::status),
        get("/health/live", Open, health::live::live),
        get("/health/ready", Open, health::ready::ready),
        get("/swagger.json", For(Call), swagger::swagger),
    ]
}

/// Known from the contract, for a later release: 501 for whoever may have them then.
#[rustfmt::skip]
pub(super) fn later() -> Vec<Entry> {
    use Access::For;
    use Action::{ManageFleet, Publish};
    const POOLS: &str = "pools of services";
    const REALTIME: &str = "realtime services";
    const COMPUTE_NODES: &str = "compute-node routes";
    vec![
        get("/services/{name}/{version}/pool", For(ManageFleet), not_built(POOLS)),
        post("/services/{name}/{version}/pool", For(ManageFleet), not_built(POOLS)),
        delete("/services/{name}/{version}/pool", For(ManageFleet), not_built(POOLS)),
        post("/realtime-services/{name}", For(Publish), not_built(REALTIME)),
        post("/realtime-services/{name}/{version}", For(Publish), not_built(REALTIME)),
        patch("/realtime-services/{name}/{version}", For(Publish), not_built(REALTIME)),
        get("/computenodes", For(ManageFleet), not_built(COMPUTE_NODES)),
        post("/computenodes", For(ManageFleet), not_built(COMPUTE_NODES)),
        put("/computenodes", For(ManageFleet), not_built(COMPUTE_NODES)),
        delete("/computenodes", For(ManageFleet), not_built(COMPUTE_NODES)),
    ]
}

fn not_built(
    what: &'static str,
) -> impl Fn() -> std::future::Ready<Result<(), ApiError>> + Clone + Send + Sync + 'static {
    move || std::future::ready(Err(ApiError::NotBuilt(what)))
}

macro_rules! methods {
    ($($name:ident $method:ident),+) => {$(
        fn $name<H, T>(path: &'static str, access: Access, handler: H) -> Entry
        where
            H: Handler<T, Shared>,
            T: 'static,
        {
            Entry::new(Method::$method, path, access, handler)
        }
    )+};
}
methods!(get GET, post POST, put PUT, patch PATCH, delete DELETE);

#[cfg(test)]
mod tests {
    use super::*;
    use crate::routes::swagger;
    use std::collections::BTreeSet;

    fn names(entries: &[Entry]) -> BTreeSet<String> {
        let names = entries.iter();
        names
            .map(|entry| format!("{} {}", entry.method, entry.path))
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
        let built = names(&built());
        // What takes the rest of a path is a parameter like any other there.
        let built: BTreeSet<String> = built.iter().map(|name| name.replace("{*", "{")).collect();
        assert_eq!(described, built);
    }

    #[test]
    fn no_route_is_listed_twice() {
        let all: Vec<Entry> = built().into_iter().chain(later()).collect();
        assert_eq!(names(&all).len(), all.len());
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
            .chain(&later())
            .map(|entry| format!("{} {}", entry.method, plain(entry.path)))
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

    /// Whoever adds a route that needs no token says so here.
    #[test]
    fn few_routes_are_open() {
        let open: Vec<Entry> = built()
            .into_iter()
            .filter(|entry| entry.access == Access::Open)
            .collect();
        let expected = [
            "DELETE /login/refreshToken",
            "DELETE /login/refreshToken/{*token}",
            "GET /.well-known/jwks.json",
            "GET /health/live",
            "GET /health/ready",
            "POST /login",
            "POST /login/refreshToken",
        ];
        assert!(names(&open).iter().eq(expected));
    }

    /// Whatever makes, changes or removes something that outlives a session is recorded.
    #[test]
    fn what_changes_things_is_recorded() {
        for entry in built() {
            let lasts = ["/services", "/snapshots", "/users"]
                .iter()
                .any(|kind| entry.path.starts_with(kind));
            if lasts && entry.method != Method::GET {
                assert_ne!(
                    entry.noted,
                    Noted::Refusals,
                    "{} {}",
                    entry.method,
                    entry.path
                );
            }
        }
    }
}
