//! Sessions for which no worker has room.

use serde_json::json;
use warren_tests::{Builder, House, WorkerOptions, wait};

fn one_slot() -> WorkerOptions {
    WorkerOptions {
        env: vec![("WARREN_SESSION_SLOTS".to_owned(), "1".to_owned())],
        ..WorkerOptions::default()
    }
}

async fn waits(house: &House, sessions: usize) {
    wait::until(&format!("{sessions} openings wait"), async || {
        let waiting = "SELECT count(*) FROM jobs WHERE kind = 'open_session' AND state = 'queued'";
        (house.sql_value(waiting).await == sessions.to_string()).then_some(())
    })
    .await;
}

#[tokio::test]
async fn a_session_waits_until_another_is_closed_or_a_new_worker_comes() {
    let mut house = Builder::new().workers(0).build().await;
    house.add_worker(one_slot()).await;
    let client = house.admin().await;
    let first = client.open_session().await;
    let opening = || {
        let client = client.clone();
        tokio::spawn(async move { client.open_session().await })
    };
    let mut waiting = vec![opening(), opening(), opening()];
    waits(&house, 3).await;
    first.close().await;
    waits(&house, 2).await;
    // A worker that starts takes what waits, without a notice: those for these sessions were sent long ago.
    house.add_worker(one_slot()).await;
    waits(&house, 1).await;
    house.add_worker(one_slot()).await;
    for session in waiting.drain(..) {
        assert_eq!(session.await.unwrap().prints("cat('here')").await, "here");
    }
}

#[tokio::test]
async fn a_session_that_waited_in_vain_is_given_up_with_503_and_leaves_nothing() {
    let mut house = Builder::new().apis(0).workers(0).build().await;
    house
        .add_api_via(
            house.database.server,
            &[("WARREN_OPEN_WAIT_SECONDS", "0.5")],
        )
        .await;
    house.add_worker(one_slot()).await;
    let client = house.admin().await;
    let first = client.open_session().await;
    let refused = client.post("/sessions", &json!({})).await;
    assert!(!refused.header("Retry-After").is_empty());
    let told = refused.error(503);
    assert!(told.contains("no worker had room"), "{told}");
    let listed = client.get("/sessions").await.expect(200);
    assert_eq!(listed.as_array().unwrap().len(), 1);
    waits(&house, 0).await;
    first.close().await;
    // The place is free again, and nothing that was given up has taken it.
    wait::until("another session opens", async || {
        let answer = client.post("/sessions", &json!({})).await;
        (answer.status == 201).then_some(())
    })
    .await;
}
