//! Sessions: whose they are, and how they end.

use serde_json::json;
use warren_tests::House;

#[tokio::test]
async fn two_users_do_not_see_each_other_s_sessions() {
    let house = House::build().await;
    let (ada, ben) = (house.user("ada").await, house.user("ben").await);
    let (of_ada, of_ben) = (ada.open_session().await, ben.open_session().await);
    let listed = ada.get("/sessions").await.expect(200);
    assert_eq!(listed.as_array().unwrap().len(), 1);
    assert_eq!(listed[0]["id"], of_ada.id);
    assert_eq!(listed[0]["owner"], "ada");
    for path in ["/console-output", "/history"] {
        ben.get(&of_ada.path(path)).await.error(404);
    }
    ben.post(&of_ada.path("/execute"), &json!({"code": "1"}))
        .await
        .error(404);
    ben.delete(&of_ada.path("")).await.error(404);
    of_ada.prints("secret <- 1").await;
    let job = of_ada.submit("1").await;
    ben.get(&format!("/jobs/{job}")).await.error(404);
    ben.delete(&format!("/jobs/{job}")).await.error(404);
    assert_eq!(of_ben.prints("exists('secret')").await, "[1] FALSE\n");
    ada.get(&of_ada.path("/history")).await.expect(200);
}

#[tokio::test]
async fn a_closed_session_answers_410_with_the_reason() {
    let house = House::build().await;
    let session = house.admin().await.open_session().await;
    session.prints("1").await;
    session.close().await;
    let reason = session.gone().await;
    assert!(reason.contains("closed by its owner"), "{reason}");
    session.execute("1").await.error(410);
    session.client.delete(&session.path("")).await.error(410);
    assert_eq!(session.client.get("/sessions").await.expect(200), json!([]));
}

#[tokio::test]
async fn closing_ends_what_runs_and_what_waits() {
    let house = House::build().await;
    let session = house.admin().await.open_session().await;
    let running = session.submit("repeat Sys.sleep(0.01)").await;
    let waiting = session.submit("1").await;
    session.client.job_is(&running, "running").await;
    session.close().await;
    assert_eq!(session.client.job_end(&running).await["state"], "cancelled");
    assert_eq!(session.client.job_end(&waiting).await["state"], "cancelled");
}

/// The notice is lost: the wish is a row, and the sweeper repeats it.
#[tokio::test]
async fn a_wish_to_close_or_to_cancel_that_nobody_heard_is_repeated() {
    let house = House::build().await;
    let client = house.admin().await;
    let (closing, cancelled) = (client.open_session().await, client.open_session().await);
    let job = cancelled.submit("kept <- 1; repeat Sys.sleep(0.01)").await;
    client.job_is(&job, "running").await;
    house
        .sql(&format!(
            "UPDATE sessions SET state = 'closing' WHERE id = '{}'",
            closing.id
        ))
        .await;
    house
        .sql(&format!(
            "UPDATE jobs SET cancel_requested_at = now() WHERE id = '{job}'"
        ))
        .await;
    assert_eq!(client.job_end(&job).await["state"], "cancelled");
    assert_eq!(cancelled.prints("cat(kept)").await, "1");
    warren_tests::wait::until("the session is closed", async || {
        let state = format!("SELECT state FROM sessions WHERE id = '{}'", closing.id);
        (house.sql_value(&state).await == "closed").then_some(())
    })
    .await;
}

#[tokio::test]
async fn force_closes_a_session_whose_r_does_not_listen() {
    let house = House::build().await;
    let session = house.admin().await.open_session().await;
    let running = session
        .submit("repeat tryCatch(repeat Sys.sleep(0.01), interrupt = function(i) NULL)")
        .await;
    session.client.job_is(&running, "running").await;
    session
        .client
        .delete(&session.path("/force"))
        .await
        .expect(200);
    let ended = session.client.job_end(&running).await;
    assert_eq!(
        (&ended["state"], &ended["cancel"]),
        (&json!("cancelled"), &json!("forced"))
    );
}

#[tokio::test]
async fn a_session_whose_r_crashes_says_so_and_others_live_on() {
    let house = House::build().await;
    let client = house.admin().await;
    let (crashing, other) = (client.open_session().await, client.open_session().await);
    other.prints("kept <- 7").await;
    let answer = crashing
        .execute("tools::pskill(Sys.getpid(), 9); Sys.sleep(60)")
        .await
        .expect(200);
    assert_eq!(answer["success"], false);
    assert!(
        answer["errorMessage"]
            .as_str()
            .unwrap()
            .contains("signal 9"),
        "{answer}"
    );
    let reason = crashing.gone().await;
    assert!(reason.contains("signal 9"), "{reason}");
    assert_eq!(other.prints("cat(kept)").await, "7");
    assert_eq!(
        client.open_session().await.prints("cat('new')").await,
        "new"
    );
}

#[tokio::test]
async fn a_full_session_queue_refuses_more() {
    let mut house = warren_tests::Builder::new().apis(0).build().await;
    house
        .add_api_via(
            house.database.server,
            &[("WARREN_SESSION_QUEUE_LIMIT", "3")],
        )
        .await;
    let session = house.admin().await.open_session().await;
    let running = session
        .submit("while (!file.exists('go')) Sys.sleep(0.01)")
        .await;
    session.client.job_is(&running, "running").await;
    for _ in 0..3 {
        session.submit("1").await;
    }
    let refused = session.execute("1").await;
    assert!(!refused.header("Retry-After").is_empty());
    refused.error(429);
    session
        .client
        .delete(&format!("/jobs/{running}"))
        .await
        .expect(200);
    session.client.job_end(&running).await;
}
