//! Every route, and what becomes of a request to it by whom.

use self::Verdict::{Hidden as H, No as N, Yes as Y};

/// What becomes of a request.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Verdict {
    /// It is done.
    Yes,
    /// 403: the role does not permit it.
    No,
    /// 404: as if there were no such thing.
    Hidden,
    /// 501: it would be, in a later release.
    Later,
}

/// What a request carries.
#[derive(Debug, Clone, Copy)]
pub(super) enum Sends {
    /// Nothing.
    Nothing,
    /// JSON, in which `{me}` is the name of the caller.
    Json(&'static str),
    /// A file in a form.
    File,
    /// An object that R serialized.
    Object,
}

/// A route. The verdicts are those of a reader, a contributor and an owner, each with what is his own and with what is somebody else's;
/// where nothing belongs to anybody, both are the same.
pub(super) struct Row {
    pub(super) route: &'static str,
    pub(super) sends: Sends,
    pub(super) verdicts: [[Verdict; 2]; 3],
}

const fn row(route: &'static str, sends: Sends, verdicts: [[Verdict; 2]; 3]) -> Row {
    Row {
        route,
        sends,
        verdicts,
    }
}

/// Routes that take no token.
pub(super) const OPEN: &[&str] = &[
    "POST /login",
    "POST /login/refreshToken",
    "DELETE /login/refreshToken",
    "DELETE /login/refreshToken/{token}",
    "GET /.well-known/jwks.json",
    "GET /health/live",
    "GET /health/ready",
];

const ANYBODY: [[Verdict; 2]; 3] = [[Y, Y], [Y, Y], [Y, Y]];
const OWN: [[Verdict; 2]; 3] = [[Y, H], [Y, H], [Y, H]];
const OWN_CODE: [[Verdict; 2]; 3] = [[N, N], [Y, H], [Y, H]];
const CODE: [[Verdict; 2]; 3] = [[N, N], [Y, Y], [Y, Y]];
const PUBLISHED: [[Verdict; 2]; 3] = [[N, N], [Y, N], [Y, Y]];
const BATCH: [[Verdict; 2]; 3] = [[Y, H], [Y, H], [Y, Y]];
const OWNERS: [[Verdict; 2]; 3] = [[N, N], [N, N], [Y, Y]];
const OWNERS_LATER: [[Verdict; 2]; 3] = [[N, N], [N, N], [Verdict::Later, Verdict::Later]];
const PUBLISHERS_LATER: [[Verdict; 2]; 3] = [
    [N, N],
    [Verdict::Later, Verdict::Later],
    [Verdict::Later, Verdict::Later],
];

const SERVICE: &str =
    r#"{"code": "z <- 1", "outputParameterDefinitions": [{"name": "z", "type": "numeric"}]}"#;

/// What only looks comes first, and what removes something last.
pub(super) const ROWS: &[Row] = &[
    row("GET /sessions", Sends::Nothing, ANYBODY),
    row(
        "GET /sessions/{session}/console-output",
        Sends::Nothing,
        OWN,
    ),
    row("GET /sessions/{session}/history", Sends::Nothing, OWN),
    row("GET /sessions/{session}/files", Sends::Nothing, OWN),
    row("GET /sessions/{session}/files/{file}", Sends::Nothing, OWN),
    row("GET /sessions/{session}/workspace", Sends::Nothing, OWN),
    row(
        "GET /sessions/{session}/workspace/{object}",
        Sends::Nothing,
        OWN,
    ),
    row("GET /snapshots", Sends::Nothing, ANYBODY),
    row("GET /snapshots/{snapshot}", Sends::Nothing, OWN),
    row("GET /services", Sends::Nothing, ANYBODY),
    row("GET /services/{service}", Sends::Nothing, ANYBODY),
    row("GET /services/{service}/{version}", Sends::Nothing, ANYBODY),
    row("POST /api/{service}/{version}", Sends::Json("{}"), ANYBODY),
    row(
        "GET /api/{service}/{version}/swagger.json",
        Sends::Nothing,
        ANYBODY,
    ),
    row(
        "POST /api/{service}/{version}/batch",
        Sends::Json("[{}]"),
        ANYBODY,
    ),
    row(
        "GET /api/{service}/{version}/batch",
        Sends::Nothing,
        ANYBODY,
    ),
    row(
        "GET /api/{service}/{version}/batch/{batch}",
        Sends::Nothing,
        BATCH,
    ),
    row(
        "GET /api/{service}/{version}/batch/{batch}/{index}/files",
        Sends::Nothing,
        BATCH,
    ),
    row(
        "GET /api/{service}/{version}/batch/{batch}/{index}/files/{file}",
        Sends::Nothing,
        BATCH,
    ),
    row("GET /jobs", Sends::Nothing, ANYBODY),
    row("GET /jobs/{job}", Sends::Nothing, OWN),
    row("GET /jobs/{job}/content", Sends::Nothing, OWN),
    row("GET /jobs/{job}/console", Sends::Nothing, OWN),
    row("GET /jobs/{job}/events", Sends::Nothing, OWN),
    row("GET /status", Sends::Nothing, ANYBODY),
    row("GET /swagger.json", Sends::Nothing, ANYBODY),
    row("GET /users", Sends::Nothing, OWNERS),
    row("GET /users/{user}", Sends::Nothing, OWNERS),
    row("POST /sessions", Sends::Json("{}"), CODE),
    row(
        "POST /sessions/{session}/execute",
        Sends::Json(r#"{"code": "1"}"#),
        OWN_CODE,
    ),
    row("POST /sessions/{session}/files", Sends::File, OWN_CODE),
    row(
        "POST /sessions/{session}/workspace/{object}",
        Sends::Object,
        OWN_CODE,
    ),
    row(
        "POST /sessions/{session}/snapshot",
        Sends::Json("{}"),
        OWN_CODE,
    ),
    row(
        "POST /sessions/{session}/loadsnapshot/{snapshot}",
        Sends::Nothing,
        OWN_CODE,
    ),
    row("POST /services/{service}", Sends::Json(SERVICE), PUBLISHED),
    row(
        "POST /services/{service}/v-of-{me}",
        Sends::Json(SERVICE),
        PUBLISHED,
    ),
    row(
        "PATCH /services/{service}/{version}",
        Sends::Json(r#"{"description": "new"}"#),
        PUBLISHED,
    ),
    row(
        "POST /users",
        Sends::Json(r#"{"name": "new of {me}", "password": "correct horse battery"}"#),
        OWNERS,
    ),
    row(
        "PATCH /users/{user}",
        Sends::Json(r#"{"role": "reader"}"#),
        OWNERS,
    ),
    row("DELETE /users/{user}", Sends::Nothing, OWNERS),
    row(
        "DELETE /sessions/{session}/files/{file}",
        Sends::Nothing,
        OWN,
    ),
    row(
        "DELETE /sessions/{session}/workspace/{object}",
        Sends::Nothing,
        OWN,
    ),
    row("DELETE /snapshots/{snapshot}", Sends::Nothing, OWN),
    row("DELETE /jobs/{job}", Sends::Nothing, OWN),
    row(
        "DELETE /api/{service}/{version}/batch/{batch}",
        Sends::Nothing,
        BATCH,
    ),
    row(
        "DELETE /services/{service}/{version}",
        Sends::Nothing,
        PUBLISHED,
    ),
    row("POST /sessions/{session}/cancel", Sends::Nothing, OWN),
    row("DELETE /sessions/{session}", Sends::Nothing, OWN),
    row(
        "DELETE /sessions/{other_session}/force",
        Sends::Nothing,
        OWN,
    ),
    row(
        "GET /services/{service}/{version}/pool",
        Sends::Nothing,
        OWNERS_LATER,
    ),
    row(
        "POST /services/{service}/{version}/pool",
        Sends::Nothing,
        OWNERS_LATER,
    ),
    row(
        "DELETE /services/{service}/{version}/pool",
        Sends::Nothing,
        OWNERS_LATER,
    ),
    row(
        "POST /realtime-services/{service}",
        Sends::Nothing,
        PUBLISHERS_LATER,
    ),
    row(
        "POST /realtime-services/{service}/{version}",
        Sends::Nothing,
        PUBLISHERS_LATER,
    ),
    row(
        "PATCH /realtime-services/{service}/{version}",
        Sends::Nothing,
        PUBLISHERS_LATER,
    ),
    row("GET /computenodes", Sends::Nothing, OWNERS_LATER),
    row("POST /computenodes", Sends::Nothing, OWNERS_LATER),
    row("PUT /computenodes", Sends::Nothing, OWNERS_LATER),
    row("DELETE /computenodes", Sends::Nothing, OWNERS_LATER),
];
