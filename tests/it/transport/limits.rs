//! How much a node takes on, and from whom.

use std::net::SocketAddr;
use std::time::Duration;

use reqwest::Method;
use serde_json::json;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use warren_tests::{Client, House, wait};

use super::{house, status, until_closed};

#[tokio::test]
async fn what_finds_no_place_for_a_connection_waits_for_one() {
    const ASK: &[u8] = b"GET /health/live HTTP/1.1\r\nHost: warren\r\nConnection: close\r\n\r\n";
    let house = house(&[("WARREN_MAX_CONNECTIONS", "2")]).await;
    let node = house.apis[0].addr;
    let held = [alive(node).await, alive(node).await];
    // The system lets another one in, and nobody reads what it says.
    let mut third = TcpStream::connect(node).await.unwrap();
    third.write_all(ASK).await.unwrap();
    let early = tokio::time::timeout(Duration::from_millis(300), third.readable()).await;
    assert!(early.is_err(), "the third connection was answered");
    drop(held);
    assert_eq!(status(&until_closed(&mut third).await), 200);
}

/// A connection that has been answered on, and is open.
async fn alive(node: SocketAddr) -> TcpStream {
    let mut stream = TcpStream::connect(node).await.unwrap();
    let ask = b"GET /health/live HTTP/1.1\r\nHost: warren\r\n\r\n";
    stream.write_all(ask).await.unwrap();
    let mut begin = [0; 12];
    stream.read_exact(&mut begin).await.unwrap();
    assert_eq!(&begin, b"HTTP/1.1 200");
    stream
}

#[tokio::test]
async fn what_is_beyond_the_requests_under_way_is_refused_at_once_but_probes_are_answered() {
    let mut house = House::build().await;
    let limit = [("WARREN_MAX_REQUESTS", "1")];
    house.add_api_via(house.database.server, &limit).await;
    let one = house.admin_at(1).await;
    let session = one.open_session().await;
    let running = session
        .submit("cat('here'); invisible(file.create('here')); while (!file.exists('go')) Sys.sleep(0.01)")
        .await;
    let go = house.working_dir_with("here").await.join("go");
    // Who follows a job has its answer already, and takes no place.
    let mut stream = one.events(&running, None).await;
    let waiter = one.clone();
    let path = format!("/jobs/{running}?wait=60");
    // The question that waits for a refusal may have the place at first.
    let waiting = tokio::spawn(async move {
        loop {
            let answer = waiter.get(&path).await;
            if answer.status != 503 {
                return answer;
            }
        }
    });
    let refused = wait::until("a request is refused", async || {
        let answer = one.get("/sessions").await;
        (answer.status != 200).then_some(answer)
    })
    .await;
    assert_eq!(refused.header("Retry-After"), "1");
    assert!(!refused.header("X-Request-Id").is_empty());
    let message = refused.error(503);
    assert!(message.contains("under way"), "{message}");
    one.get("/health/live").await.expect(200);
    one.get("/health/ready").await.expect(200);
    std::fs::write(go, "").unwrap();
    assert_eq!(waiting.await.unwrap().expect(200)["state"], "succeeded");
    let mut gathered = warren_tests::events::Gathered::default();
    gathered.take_all(&mut stream).await;
    assert_eq!(gathered.text, "here");
    one.get("/sessions").await.expect(200);
}

#[tokio::test]
async fn a_connection_that_says_too_little_is_closed() {
    let house = house(&[("WARREN_HEADER_READ_SECONDS", "0.3")]).await;
    let node = house.apis[0].addr;
    let mut idle = alive(node).await;
    let mut slow = TcpStream::connect(node).await.unwrap();
    slow.write_all(b"GET /health/live HTTP/1.1\r\nHost: wa")
        .await
        .unwrap();
    let mut silent = TcpStream::connect(node).await.unwrap();
    for stream in [&mut idle, &mut slow, &mut silent] {
        let closed = tokio::time::timeout(wait::LIMIT, until_closed(stream)).await;
        closed.expect("the node closes the connection");
    }
}

/// Tries a wrong password, as whoever a proxy says; true when that was not looked at.
async fn is_refused(client: &Client, forwarded_for: &str) -> bool {
    let request = client
        .request(Method::POST, "/login")
        .header("X-Forwarded-For", forwarded_for)
        .json(&json!({"username": "admin", "password": "wrong"}));
    client.send(request).await.status == 429
}

/// Failures of the name `admin`, each of those who failed counted for itself.
async fn origins_that_failed(house: &House) -> String {
    house.sql_value("SELECT count(*) FROM login_failures").await
}

#[tokio::test]
async fn behind_a_trusted_proxy_each_client_counts_for_itself() {
    let mut house = house(&[("WARREN_TRUSTED_PROXIES", "127.0.0.1, 10.0.0.0/8")]).await;
    house.add_api_via(house.database.server, &[]).await;
    let [behind, direct] = [0, 1].map(|node| Client::anonymous(house.apis[node].addr));
    for forwarded in [
        "198.51.100.1",
        "198.51.100.2, 10.1.1.1",
        "203.0.113.77, 198.51.100.2",
    ] {
        assert!(!is_refused(&behind, forwarded).await);
    }
    assert_eq!(origins_that_failed(&house).await, "2");
    // Nobody is trusted here: whatever they write, it is one peer.
    for forwarded in ["198.51.100.3", "198.51.100.4", "10.0.0.1"] {
        assert!(!is_refused(&direct, forwarded).await);
    }
    assert_eq!(origins_that_failed(&house).await, "3");
}
