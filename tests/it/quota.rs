//! How many sessions a user may have.

use std::collections::BTreeSet;

use reqwest::{Method, StatusCode};
use serde_json::json;
use warren_tests::{Builder, wait};

#[tokio::test]
async fn twenty_calls_at_once_at_two_nodes_open_exactly_as_many_sessions_as_a_user_may_have() {
    const QUOTA: usize = 5;
    let mut house = Builder::new().apis(0).build().await;
    let limit = QUOTA.to_string();
    for _node in 0..2 {
        house
            .add_api_via(
                house.database.server,
                &[("WARREN_SESSIONS_PER_USER", &limit)],
            )
            .await;
    }
    let ada = house.user("ada").await;
    // Every call has a key, which a refusal must not use up.
    let call = |nth: usize| {
        let client = ada.at(house.apis[nth % 2].addr);
        let request = client.request(Method::POST, "/sessions");
        let request = request.header("Idempotency-Key", format!("call {nth}"));
        let request = request.json(&json!({}));
        async move { client.send(request).await }
    };
    let answers = futures::future::join_all((0..20).map(&call)).await;
    let (mut opened, mut refused) = (BTreeSet::new(), Vec::new());
    for (nth, answer) in answers.into_iter().enumerate() {
        if answer.status == StatusCode::CREATED {
            opened.insert(answer.body["sessionId"].as_str().unwrap().to_owned());
        } else {
            let told = answer.error(403);
            assert!(told.contains("5 sessions"), "{told}");
            assert!(told.contains("WARREN_SESSIONS_PER_USER"), "{told}");
            refused.push(nth);
        }
    }
    assert_eq!(opened.len(), QUOTA);
    let live = "SELECT count(*) FROM sessions WHERE state IN ('opening', 'open', 'closing')";
    assert_eq!(house.sql_value(live).await, limit);
    // Nobody else is held up by it.
    house.user("ben").await.open_session().await;
    // A place that is free again can be taken, with a key that came with a refusal.
    let closed = opened.pop_first().unwrap();
    ada.delete(&format!("/sessions/{closed}")).await.expect(200);
    wait::until("the session is closed", async || {
        let state = format!("SELECT state FROM sessions WHERE id = '{closed}'");
        (house.sql_value(&state).await == "closed").then_some(())
    })
    .await;
    call(refused[0]).await.expect(201);
    call(refused[1]).await.error(403);
}
