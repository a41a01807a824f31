//! Signing in, and the service itself.

use serde_json::{Value, json};

use super::batches::{
    batch_file, batch_files, batch_status, delete_batch, list_batches, start_batch,
};
use super::{Described, answer, body, failure, reference};

/// The operations of every document. Ids are unique within one, so no service goes by these.
pub(super) const OWN_OPERATIONS: [&str; 9] = [
    "login",
    "renewToken",
    "revokeRefreshToken",
    "StartBatchExecution",
    "GetBatchExecutions",
    "GetBatchExecutionStatus",
    "CancelAndDeleteBatchExecution",
    "GetBatchExecutionFiles",
    "GetBatchExecutionFile",
];

pub(super) fn paths(service: &Described<'_>) -> Value {
    let run = format!("/api/{}/{}", service.name, service.version);
    let batch = format!("{run}/batch");
    let execution = format!("{batch}/{{executionId}}");
    let files = format!("{execution}/{{index}}/files");
    let file = format!("{files}/{{fileName}}");
    json!({
        "/login": { "post": login() },
        "/login/refreshToken": { "post": renew_token(), "delete": revoke_refresh_token() },
        (run): { "post": consume(service) },
        (batch): { "post": start_batch(service), "get": list_batches(service) },
        (execution): { "get": batch_status(service), "delete": delete_batch(service) },
        (files): { "get": batch_files(service) },
        (file): { "get": batch_file(service) },
    })
}

fn login() -> Value {
    json!({
        "operationId": "login",
        "summary": "Sign in with a name and a password",
        "parameters": [body("loginRequest", &reference("LoginRequest"))],
        "tags": ["User"],
        "responses": {
            "200": answer("The tokens of this sign-in.", &reference("AccessTokenResponse")),
            "default": failure("401: wrong name or password."),
        },
    })
}

fn renew_token() -> Value {
    json!({
        "operationId": "renewToken",
        "summary": "Trade a refresh token for new tokens",
        "parameters": [body("renewTokenRequest", &reference("RenewTokenRequest"))],
        "tags": ["User"],
        "responses": {
            "200": answer("New tokens; the old ones no longer count.", &reference("AccessTokenResponse")),
            "default": failure("401: the refresh token is unknown, spent or expired."),
        },
    })
}

fn revoke_refresh_token() -> Value {
    json!({
        "operationId": "revokeRefreshToken",
        "summary": "Make a refresh token and its access token worthless",
        "parameters": [
            { "name": "refreshToken", "in": "query", "required": true, "type": "string" },
        ],
        "tags": ["User"],
        "responses": {
            "200": answer("Done; there are no new tokens.", &reference("AccessTokenResponse")),
            "default": failure("401: the refresh token is unknown, spent or expired."),
        },
    })
}

fn consume(service: &Described<'_>) -> Value {
    json!({
        "security": [{ "Bearer": [] }],
        "tags": [service.name],
        "description": "Runs the service once and waits for its result.",
        "operationId": operation_id(service),
        "parameters": [body("WebServiceParameters", &reference("InputParameters"))],
        "responses": {
            "200": answer(
                "The run ended; whether it succeeded stands in its result.",
                &reference("WebServiceResult"),
            ),
            "400": { "description": "The inputs are not those of the service." },
            "500": { "description": "The server failed, not the service." },
            "default": failure("Anything else: no token that counts, no such service, no worker."),
        },
    })
}

fn operation_id<'a>(service: &Described<'a>) -> &'a str {
    // Generated clients write ids in the case of their language, so the case does not tell two apart.
    let own = |id: &str| {
        OWN_OPERATIONS
            .iter()
            .any(|own| own.eq_ignore_ascii_case(id))
    };
    service
        .operation_id
        .filter(|id| !id.is_empty() && !own(id))
        .unwrap_or("ConsumeWebService")
}
