//! Texts that mean something to a database, a shell, a template or a directory: they are texts like others.

use reqwest::Method;
use serde_json::{Value, json};
use tempfile::TempDir;
use warren_tests::House;
use warren_tests::client::{Answer, Client, Session};
use warren_tests::services::service;

/// `place` is a path at which there is nothing.
fn texts(place: &str) -> Vec<String> {
    let mut texts: Vec<String> = TEXTS.iter().map(|text| (*text).to_owned()).collect();
    texts.push(format!("$(touch {place}) `touch {place}`"));
    texts
}

const TEXTS: &[&str] = &[
    "'; DROP TABLE jobs; --",
    "\" OR \"1\"=\"1",
    "1); DELETE FROM principals; --",
    "\\'; SELECT pg_sleep(60); --",
    "$1 || $2 {0} %s %n",
    "*)(uid=*))(|(uid=*",
    "${jndi:ldap://127.0.0.1/a}",
    "<script>alert(1)</script>",
    "\u{202e}\u{feff}\u{0}",
];

/// As part of a path or a query.
fn encoded(text: &str) -> String {
    text.bytes().fold(String::new(), |encoded, byte| {
        format!("{encoded}%{byte:02X}")
    })
}

fn is_no_fault(what: &str, text: &str, answer: &Answer) {
    let status = answer.status.as_u16();
    assert!(status < 500, "{what} {text:?}: {status} {}", answer.body);
}

/// Every text that a body may carry.
async fn bodies(client: &Client, text: &str) {
    let parameter = json!([{"name": text, "type": text}]);
    for (path, body) in [
        ("/login", json!({"username": text, "password": text})),
        ("/login/refreshToken", json!({"refreshToken": text})),
        ("/sessions", json!({"name": text, "snapshotId": text})),
        ("/sessions", json!({"runtimeType": text})),
        ("/users", json!({"name": text, "password": "short"})),
        (
            "/users",
            json!({"name": "x", "password": text, "role": text}),
        ),
        ("/services/x/v1", json!({"code": "1", "snapshotId": text})),
        ("/services/x/v1", json!({ "code": text })),
        ("/services/x/v1", json!({"code": "1", "initCode": text})),
        (
            "/services/x/v1",
            json!({"code": "1", "outputParameterDefinitions": parameter}),
        ),
        (
            "/services/x/v1",
            json!({"code": "1", "exampleInputs": {text: text}}),
        ),
        (
            "/services/x/v1",
            json!({"code": "1", "inputParameterDefinitions": parameter}),
        ),
        (
            "/services/x/v1",
            json!({"code": "1", "outputFileNames": [text]}),
        ),
        ("/services/x/v1", json!({"code": "1", "runtimeType": text})),
        ("/api/plain/v1", json!({text: text})),
        ("/api/plain/v1/batch", json!([{text: text}])),
    ] {
        is_no_fault(path, text, &client.post(path, &body).await);
    }
    let described = json!({"description": text, "operationId": text});
    for (path, change) in [
        ("/services/plain/v1", described),
        ("/users/nobody", json!({"role": text, "password": text})),
    ] {
        let answer = client.patch(path, &change).await;
        is_no_fault(path, text, &answer);
        if answer.status == 200 {
            let kept = client.get(path).await.expect(200);
            let kept = kept.as_array().map_or(&kept, |services| &services[0]);
            assert_eq!(kept["description"], json!(text));
        }
    }
}

/// Every text that a path, a query or a header may carry.
async fn places(client: &Client, session: &str, text: &str) {
    let hostile = encoded(text);
    for (method, path) in [
        (Method::GET, format!("/sessions/{hostile}/history")),
        (
            Method::GET,
            format!("/sessions/{session}/history?details={hostile}"),
        ),
        (Method::GET, format!("/sessions/{session}/files/{hostile}")),
        (
            Method::DELETE,
            format!("/sessions/{session}/files/{hostile}"),
        ),
        (
            Method::GET,
            format!("/sessions/{session}/workspace/{hostile}"),
        ),
        (
            Method::DELETE,
            format!("/sessions/{session}/workspace/{hostile}"),
        ),
        (
            Method::POST,
            format!("/sessions/{session}/loadsnapshot/{hostile}"),
        ),
        (Method::GET, format!("/snapshots/{hostile}")),
        (Method::GET, format!("/services/{hostile}")),
        (Method::DELETE, format!("/services/{hostile}/{hostile}")),
        (
            Method::GET,
            format!("/api/{hostile}/{hostile}/swagger.json"),
        ),
        (Method::GET, format!("/api/plain/v1/batch/{hostile}")),
        (
            Method::GET,
            format!("/jobs?state={hostile}&session={hostile}&kind={hostile}"),
        ),
        (Method::GET, format!("/jobs/{hostile}")),
        (Method::GET, format!("/users/{hostile}")),
        (Method::DELETE, format!("/users/{hostile}")),
        (Method::DELETE, format!("/login/refreshToken/{hostile}")),
        (
            Method::DELETE,
            format!("/login/refreshToken?refreshToken={hostile}"),
        ),
    ] {
        let answer = client.send(client.request(method.clone(), &path)).await;
        is_no_fault(&format!("{method} {path}"), text, &answer);
    }
    for header in [
        "Prefer",
        "Idempotency-Key",
        "traceparent",
        "X-Forwarded-For",
        "Range",
    ] {
        // What a header cannot carry, no client sends.
        if let Ok(value) = reqwest::header::HeaderValue::from_str(text) {
            let request = client
                .request(Method::GET, "/services")
                .header(header, value);
            is_no_fault(header, text, &client.send(request).await);
        }
    }
}

/// Every text that goes into a session: what is kept comes back as it was sent.
async fn in_a_session(session: &Session, text: &str) {
    let path = |path: &str| session.path(path);
    let run = json!({
        "code": "out <- value",
        "inputParameters": [{"name": "value", "type": "character", "value": text}],
        "outputParameters": ["out"],
    });
    let ran = session.client.post(&path("/execute"), &run).await;
    is_no_fault("execute", text, &ran);
    // R keeps no NUL in text.
    if !text.contains('\0') {
        assert_eq!(
            ran.expect(200)["outputParameters"][0]["value"],
            json!([text])
        );
    }
    for names in [
        json!({"code": "1", "inputParameters": [{"name": text, "type": text, "value": 1}]}),
        json!({"code": "1", "outputParameters": [text]}),
    ] {
        is_no_fault(
            "names",
            text,
            &session.client.post(&path("/execute"), &names).await,
        );
    }
    let saved = json!({ "name": text });
    is_no_fault(
        "snapshot",
        text,
        &session.client.post(&path("/snapshot"), &saved).await,
    );
    let upload = session.client.send(session.upload(&[(text, b"x")])).await;
    is_no_fault("file", text, &upload);
    let object = path(&format!("/workspace/{}", encoded(text)));
    let request = session
        .client
        .request(Method::POST, &object)
        .body(text.to_owned());
    is_no_fault("object", text, &session.client.send(request).await);
}

#[tokio::test]
async fn hostile_texts_are_texts() {
    let house = House::build().await;
    let client = house.admin().await;
    client
        .published("plain", &service("z <- 1", &[], &[("z", "numeric")]))
        .await;
    let session = client.open_session().await;
    let count = "SELECT count(*) FROM principals";
    let principals = house.sql_value(count).await;
    let dir = TempDir::with_prefix("warren-injections-").unwrap();
    let place = dir.path().join("was-here");
    for text in &texts(&place.display().to_string()) {
        bodies(&client, text).await;
        places(&client, &session.id, text).await;
        in_a_session(&session, text).await;
    }
    // Nothing was dropped, nobody was made or removed, nothing was run.
    assert_eq!(house.sql_value(count).await, principals);
    assert_eq!(session.prints("cat('alive')").await, "alive");
    assert!(!place.exists());
    assert_eq!(
        client
            .get("/sessions")
            .await
            .expect(200)
            .as_array()
            .unwrap()
            .len(),
        1
    );
}

/// Where such a text may be kept, it comes back as it was.
#[tokio::test]
async fn hostile_texts_come_back_as_they_were() {
    let house = House::build().await;
    let client = house.admin().await;
    for text in TEXTS.iter().filter(|text| !text.contains('\0')) {
        let opened = client
            .post("/sessions", &json!({"name": text}))
            .await
            .expect(201);
        let sessions = client.get("/sessions").await.expect(200);
        let mut listed = sessions.as_array().unwrap().iter();
        let of_id = listed.find(|one| {
            one["sessionId"] == opened["sessionId"] || one["id"] == opened["sessionId"]
        });
        assert_eq!(of_id.unwrap()["name"], *text);
        let id = opened["sessionId"].as_str().unwrap();
        let echo = json!({
            "code": "y <- x; cat(x)",
            "inputParameters": [{"name": "x", "value": text}],
            "outputParameters": ["y"],
        });
        let ran = client
            .post(&format!("/sessions/{id}/execute"), &echo)
            .await
            .expect(200);
        assert_eq!(ran["outputParameters"][0]["value"][0], *text, "{ran}");
        client.delete(&format!("/sessions/{id}")).await.expect(200);
        let described = json!({"code": "z <- 1", "description": text, "operationId": null});
        let version = client.post("/services/kept", &described).await.expect(201);
        let version = version.as_str().unwrap();
        let seen: Value = client
            .get(&format!("/services/kept/{version}"))
            .await
            .expect(200);
        assert_eq!(seen[0]["description"], *text);
    }
}
