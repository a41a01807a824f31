//! Jobs as pollers see them.

use reqwest::Method;
use serde_json::{Value, json};
use warren_tests::House;

#[tokio::test]
async fn a_job_can_be_submitted_and_waited_for() {
    let house = House::build().await;
    let session = house.admin().await.open_session().await;
    let job = session
        .submit("while (!file.exists('go')) Sys.sleep(0.01); cat('done')")
        .await;
    session.client.job_is(&job, "running").await;
    // Nothing to tell yet: the answer is held for as long as asked, then says how it stands.
    let early = session
        .client
        .get(&format!("/jobs/{job}?wait=1"))
        .await
        .expect(200);
    assert_eq!(
        (&early["state"], &early["result"]),
        (&json!("running"), &Value::Null)
    );
    session
        .client
        .delete(&format!("/jobs/{job}"))
        .await
        .expect(200);
    let ended = session.client.job_end(&job).await;
    assert_eq!(
        (&ended["state"], &ended["cancel"]),
        (&json!("cancelled"), &json!("confirmed"))
    );
    assert_eq!(session.prints("cat('alive')").await, "alive");
}

#[tokio::test]
async fn prefer_wait_answers_202_when_time_is_up_and_200_before() {
    let house = House::build().await;
    let session = house.admin().await.open_session().await;
    let path = session.path("/execute");
    let request = |code: &str, seconds: &str| {
        let request = session.client.request(Method::POST, &path);
        request
            .header("Prefer", format!("wait={seconds}"))
            .json(&json!({"code": code}))
    };
    let slow = session
        .client
        .send(request("while (!file.exists('go')) Sys.sleep(0.01)", "1"))
        .await;
    let job = slow.header("Location").to_owned();
    slow.expect(202);
    session.client.delete(&job).await.expect(200);
    let quick = session
        .client
        .send(request("1 + 1", "30"))
        .await
        .expect(200);
    assert_eq!(quick["consoleOutput"], "[1] 2\n");
}

#[tokio::test]
async fn a_queued_job_that_is_cancelled_never_runs() {
    let house = House::build().await;
    let session = house.admin().await.open_session().await;
    let first = session
        .submit("ran <- FALSE; while (!file.exists('go')) Sys.sleep(0.01)")
        .await;
    session.client.job_is(&first, "running").await;
    let second = session.submit("ran <- TRUE").await;
    session
        .client
        .delete(&format!("/jobs/{second}"))
        .await
        .expect(200);
    assert_eq!(
        session
            .client
            .get(&format!("/jobs/{second}"))
            .await
            .expect(200)["state"],
        "cancelled"
    );
    session
        .client
        .delete(&format!("/jobs/{first}"))
        .await
        .expect(200);
    session.client.job_end(&first).await;
    assert_eq!(session.prints("cat(ran)").await, "FALSE");
}

#[tokio::test]
async fn jobs_are_listed_newest_first_and_page_by_page() {
    let house = House::build().await;
    let session = house.admin().await.open_session().await;
    let mut made = Vec::new();
    for call in 0..5 {
        made.push(session.submit(&format!("{call}")).await);
    }
    made.reverse();
    let mut listed = Vec::new();
    let mut next = "/jobs?kind=execute&limit=2".to_owned();
    loop {
        let page = session.client.get(&next).await;
        let link = page.header("Link").to_owned();
        for job in page.expect(200).as_array().unwrap() {
            listed.push(job["jobId"].as_str().unwrap().to_owned());
        }
        match link.split_once("; rel=\"next\"") {
            Some((target, _)) => next = target.trim_matches(['<', '>']).to_owned(),
            None => break,
        }
    }
    assert_eq!(listed, made);
    let other = session
        .client
        .get("/jobs?kind=open_session")
        .await
        .expect(200);
    assert_eq!(other.as_array().unwrap().len(), 1);
    let of_session = session
        .client
        .get(&format!("/jobs?session={}&state=succeeded", session.id))
        .await
        .expect(200);
    assert!(!of_session.as_array().unwrap().is_empty());
    assert!(
        of_session
            .as_array()
            .unwrap()
            .iter()
            .all(|job| job["sessionId"] == session.id)
    );
    session.client.get("/jobs?state=done").await.error(400);
}

#[tokio::test]
async fn the_same_idempotency_key_gives_the_same_job() {
    let house = House::build().await;
    let session = house.admin().await.open_session().await;
    session.prints("count <- 0").await;
    let path = session.path("/execute");
    let request = |key: &str, code: &str| {
        let request = session.client.request(Method::POST, &path);
        request
            .header("Idempotency-Key", key)
            .json(&json!({"code": code}))
    };
    let code = "count <- count + 1; cat(count)";
    let answers =
        futures::future::join_all((0..8).map(|_| session.client.send(request("k1", code)))).await;
    for answer in answers {
        assert_eq!(answer.expect(200)["consoleOutput"], "1");
    }
    session
        .client
        .send(request("k1", "something else"))
        .await
        .error(422);
    assert_eq!(
        session.client.send(request("k2", code)).await.expect(200)["consoleOutput"],
        "2"
    );
    session.client.send(request("", code)).await.error(400);
}

#[tokio::test]
async fn cancelling_reaches_a_command_that_r_waits_for() {
    let house = House::build().await;
    let session = house.admin().await.open_session().await;
    let job = session
        .submit("kept <- 1; invisible(file.create('here')); system('sleep 1000'); repeat Sys.sleep(0.01)")
        .await;
    house.working_dir_with("here").await;
    session
        .client
        .delete(&format!("/jobs/{job}"))
        .await
        .expect(200);
    let ended = session.client.job_end(&job).await;
    assert_eq!(ended["state"], "cancelled", "{ended}");
    assert_eq!(session.prints("cat(kept)").await, "1");
}
