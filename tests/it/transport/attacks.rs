//! Bytes that no client would send.

use std::fmt::Write;

use serde_json::{Value, json};
use warren_tests::{Client, House};

use super::{exchange, head, house, status};

/// A request without a body, as it stands.
fn request(client: &Client, method: &str, path: &str, headers: &str) -> Vec<u8> {
    let token = client.token();
    format!("{method} {path} HTTP/1.1\r\nHost: warren\r\nAuthorization: Bearer {token}\r\nConnection: close\r\n{headers}\r\n")
        .into_bytes()
}

/// The body of an answer that must be an Error body of this status.
fn assert_error(answer: &str, path: &str) {
    let (_head, body) = answer.split_once("\r\n\r\n").unwrap_or_default();
    let body = serde_json::from_str::<Value>(body);
    let body = body.unwrap_or_else(|_error| panic!("no Error body for {path}: {answer}"));
    assert_eq!(body["code"], status(answer), "{path}");
    assert!(body["exceptionType"].is_string(), "{path}: {body}");
}

#[tokio::test]
async fn headers_that_are_too_large_or_too_many_are_refused_and_the_node_goes_on() {
    let house = house(&[]).await;
    let node = house.apis[0].addr;
    let client = house.admin().await;
    let before = warren_tests::processes::resident_kib(house.apis[0].process.pid());
    let huge = format!("X-Huge: {}\r\n", "x".repeat(10 * 1024 * 1024));
    let answer = exchange(node, &request(&client, "GET", "/sessions", &huge)).await;
    // The answer gets lost when the connection is closed on what is still being said.
    assert!(matches!(status(&answer), 0 | 431), "{answer}");
    let grown = warren_tests::processes::peak_kib(house.apis[0].process.pid()) - before;
    assert!(grown < 8 * 1024, "the node grew by {grown} KiB");
    let large = format!("X-Large: {}\r\n", "x".repeat(70 * 1024));
    let long_path = format!("/{}", "x".repeat(70 * 1024));
    let mut many = String::new();
    for number in 0..200 {
        write!(many, "X-{number}: x\r\n").unwrap();
    }
    for (path, headers) in [
        ("/sessions", &large),
        (&long_path, &String::new()),
        ("/sessions", &many),
    ] {
        let answer = exchange(node, &request(&client, "GET", path, headers)).await;
        assert!(matches!(status(&answer), 0 | 414 | 431), "{answer}");
    }
    let fits = format!("X-Fits: {}\r\n", "x".repeat(32 * 1024));
    let answer = exchange(node, &request(&client, "GET", "/sessions", &fits)).await;
    assert_eq!(status(&answer), 200, "{answer}");
}

#[tokio::test]
async fn tricks_with_paths_reach_nothing_else() {
    let house = House::build().await;
    let client = house.admin().await;
    let session = client.open_session().await;
    session.put_file("data.csv", b"private").await;
    let own = format!("/sessions/{}", session.id);
    let long = "x".repeat(5000);
    for path in [
        "sessions".to_owned(),
        "//sessions".to_owned(),
        "/sessions/".to_owned(),
        "/./sessions".to_owned(),
        "/jobs/../sessions".to_owned(),
        "/jobs/%2e%2e/sessions".to_owned(),
        "/%2e%2e/sessions".to_owned(),
        "/health/../sessions".to_owned(),
        "/health/%2e%2e/sessions".to_owned(),
        "/health//live".to_owned(),
        "/sessions%2f".to_owned(),
        "/sessions%00".to_owned(),
        "/sessions;x=1".to_owned(),
        "/%73essions".to_owned(),
        "/SESSIONS".to_owned(),
        "/jobs/%2e%2e".to_owned(),
        "/jobs/..".to_owned(),
        "/jobs/%ff".to_owned(),
        "/jobs/%zz".to_owned(),
        format!("/jobs/{long}"),
        "/snapshots/..%2fsessions".to_owned(),
        "/api/..%2f..%2fsessions/1".to_owned(),
        "/api/%2e%2e/%2e%2e/swagger.json".to_owned(),
        "/services/%2e%2e/sessions".to_owned(),
        format!("{own}%2fhistory"),
        format!("{own}//history"),
        format!("{own}/history/"),
        format!("{own}/history/../files"),
        format!("{own}/files/"),
        format!("{own}/files/.."),
        format!("{own}/files/%2e%2e"),
        format!("{own}/files/%2e"),
        format!("{own}/files/../files"),
        format!("{own}/files/x%2f..%2fdata.csv"),
        format!("{own}/files/.%2fdata.csv"),
        format!("{own}/files/%2fetc%2fpasswd"),
        format!("{own}/files/..%2f..%2f..%2fetc%2fpasswd"),
        format!("{own}/files/..%5cdata.csv"),
        format!("{own}/files/data.csv%00"),
        format!("{own}/files/data.csv%00.txt"),
        format!("{own}/files/%ff"),
        format!("{own}/files/data.csv/"),
        format!("{own}/files//data.csv"),
        format!("{own}/files/{long}"),
        format!("{own}/files/%252e%252e%252fdata.csv"),
    ] {
        let said = request(&client, "GET", &path, "");
        let answer = exchange(house.apis[0].addr, &said).await;
        assert!(
            matches!(status(&answer), 400 | 404 | 405),
            "{path}: {answer}"
        );
        assert_error(&answer, &path);
    }
    // What hyper takes for no request at all is answered without a body.
    for path in ["/sessions\0", "/ses sions", "\\sessions"] {
        let said = request(&client, "GET", path, "");
        let answer = exchange(house.apis[0].addr, &said).await;
        assert_eq!(status(&answer), 400, "{path:?}: {answer}");
    }
    // The whole URL in the place of the path is the path in it.
    let absolute = request(&client, "GET", "http://elsewhere/sessions", "");
    assert_eq!(status(&exchange(house.apis[0].addr, &absolute).await), 200);
}

#[tokio::test]
async fn nothing_that_is_sent_becomes_a_header_of_the_answer() {
    const EVIL: &str = "%0d%0aX-Evil:%201%0d%0a%0d%0aevil";
    let mut house = House::build().await;
    let origins = [("WARREN_CORS_ORIGINS", "https://app.example.com")];
    house.add_api_via(house.database.server, &origins).await;
    let node = house.apis[1].addr;
    let client = house.admin().await;
    let session = client.open_session().await;
    let made = session
        .prints(
            "name <- 'a\\r\\nX-Evil: 1'; assign(name, 1); invisible(file.create(name)); cat('ok')",
        )
        .await;
    assert_eq!(made, "ok");
    let named = json!({"name": "a\r\nX-Evil: 1\r\n\r\nevil"});
    let saved = client.post(&session.path("/snapshot"), &named).await;
    let saved = saved.expect(201);
    let snapshot = saved["snapshotId"].as_str().unwrap();
    let own = session.path("");
    let evil_headers = "Origin: https://app.example.com%0d%0aX-Evil: 1\r\ntraceparent: 00-%0d%0aX-Evil: 1\r\nX-Request-Id: %0d%0aX-Evil: 1\r\n\
        Prefer: wait=1%0d%0aX-Evil: 1\r\nIdempotency-Key: %0d%0aX-Evil: 1\r\nRange: bytes=0-%0d%0aX-Evil: 1\r\nIf-None-Match: \"%0d%0aX-Evil: 1\"\r\n\
        Access-Control-Request-Headers: x%0d%0aX-Evil: 1\r\n";
    for (expected, method, path) in [
        (400, "GET", format!("{own}/files/a{EVIL}")),
        (400, "GET", format!("{own}/files/a%0d%0aX-Evil:%201")),
        (200, "GET", format!("{own}/workspace/a%0d%0aX-Evil:%201")),
        (200, "GET", format!("/snapshots/{snapshot}")),
        (400, "GET", format!("/snapshots/{EVIL}")),
        (
            400,
            "GET",
            format!("/jobs?limit=1&state={EVIL}&after={EVIL}"),
        ),
        (200, "GET", "/jobs?limit=1".to_owned()),
        (400, "GET", format!("/jobs/{EVIL}/content")),
        (400, "POST", format!("/services/{EVIL}/{EVIL}")),
        (400, "POST", format!("/api/{EVIL}/{EVIL}/batch")),
        (404, "GET", format!("/{EVIL}")),
        (200, "OPTIONS", format!("/{EVIL}")),
    ] {
        let answer = exchange(node, &request(&client, method, &path, evil_headers)).await;
        assert_eq!(status(&answer), expected, "{path}: {answer}");
        for line in head(&answer) {
            assert!(!line.starts_with("x-evil"), "{path}: {answer}");
        }
        assert_eq!(answer.matches("HTTP/1.1 ").count(), 1, "{path}: {answer}");
    }
    // A line that begins with the rest of a header is no header at all.
    for folded in [
        "X-Good: 1\r\n X-Evil: 1\r\n",
        "X-Good: 1\nX-Evil 1\r\n",
        "X Evil: 1\r\n",
        "X-Evil : 1\r\n",
        "X-Good: \0\r\n",
    ] {
        let answer = exchange(node, &request(&client, "GET", "/sessions", folded)).await;
        assert_eq!(status(&answer), 400, "{folded:?}: {answer}");
    }
}

#[tokio::test]
async fn a_body_of_two_lengths_hides_no_second_request() {
    let house = house(&[]).await;
    let client = house.admin().await;
    let hidden = "GET /status HTTP/1.1\r\nHost: warren\r\nX-Hidden: 1\r\n\r\n";
    let token = client.token();
    let post = |headers: &str, body: &str| {
        format!(
            "POST /sessions HTTP/1.1\r\nHost: warren\r\nAuthorization: Bearer {token}\r\n{headers}\r\n{body}"
        )
    };
    let short = hidden.len();
    for refused in [
        post(
            &format!("Content-Length: 2\r\nContent-Length: {}\r\n", short + 2),
            &format!("{{}}{hidden}"),
        ),
        post("Content-Length: 2, 3\r\n", &format!("{{}}{hidden}")),
        post("Content-Length: +2\r\n", &format!("{{}}{hidden}")),
        post("Content-Length: -2\r\n", &format!("{{}}{hidden}")),
        post("Content-Length: 0x2\r\n", &format!("{{}}{hidden}")),
        post("Transfer-Encoding: identity\r\n", hidden),
        post(
            "Transfer-Encoding: chunked, identity\r\n",
            &format!("0\r\n\r\n{hidden}"),
        ),
        post(
            "Transfer-Encoding: xchunked\r\n",
            &format!("0\r\n\r\n{hidden}"),
        ),
        post(
            "Transfer-Encoding : chunked\r\n",
            &format!("0\r\n\r\n{hidden}"),
        ),
    ] {
        let answer = exchange(house.apis[0].addr, refused.as_bytes()).await;
        assert_eq!(status(&answer), 400, "{refused:?}: {answer}");
        assert_eq!(
            answer.matches("HTTP/1.1 ").count(),
            1,
            "{refused:?}: {answer}"
        );
    }
    // Both a length and chunks: the chunks count, and the connection closes behind the answer, as RFC 9112 has it.
    for both in [
        post(
            &format!(
                "Content-Length: {}\r\nTransfer-Encoding: chunked\r\n",
                short + 5
            ),
            &format!("0\r\n\r\n{hidden}"),
        ),
        post(
            &format!(
                "Transfer-Encoding: chunked\r\nContent-Length: {}\r\n",
                short + 5
            ),
            &format!("0\r\n\r\n{hidden}"),
        ),
    ] {
        let both = both.replace("/sessions", "/health/live");
        let answer = exchange(house.apis[0].addr, both.as_bytes()).await;
        assert_eq!(status(&answer), 405, "{answer}");
        assert_eq!(answer.matches("HTTP/1.1 ").count(), 1, "{answer}");
    }
}
