//! Calls when something breaks: each is durable, and tried again when its worker is lost.

use std::time::Duration;

use serde_json::json;
use warren_common::queue::QueueName;
use warren_tests::raw_queues::RawQueues;
use warren_tests::services::service;
use warren_tests::{Builder, WorkerOptions, wait};

#[tokio::test]
async fn a_call_whose_worker_is_lost_is_run_by_another() {
    let mut house = Builder::new().lease(Duration::from_secs(2)).build().await;
    let client = house.admin().await;
    client
        .published(
            "slow",
            &service(
                "invisible(file.create('here')); while (!file.exists('go')) Sys.sleep(0.01); z <- 1",
                &[],
                &[("z", "integer")],
            ),
        )
        .await;
    let job = client.begin_call("slow", &json!({})).await;
    let first = house.working_dir_with("here").await;
    house.workers[0].process.kill().await;
    std::fs::remove_file(first.join("here")).unwrap();
    house.add_worker(WorkerOptions::default()).await;
    let work = house.working_dir_with("here").await;
    std::fs::write(work.join("go"), "").unwrap();
    let ended = client.job_end(&job).await;
    assert_eq!(ended["state"], "succeeded", "{ended}");
    assert_eq!(ended["attempt"], 2);
    assert_eq!(ended["result"]["outputParameters"], json!({"z": 1}));
}

#[tokio::test]
async fn a_call_that_loses_three_workers_is_an_answer_of_no_success() {
    let mut house = Builder::new().lease(Duration::from_secs(2)).build().await;
    let client = house.admin().await;
    client
        .published("endless", &service("repeat Sys.sleep(1)", &[], &[]))
        .await;
    let job = client.begin_call("endless", &json!({})).await;
    for attempt in 1..=3 {
        wait::until("the next attempt", async || {
            let seen = client.get(&format!("/jobs/{job}")).await.expect(200);
            (seen["state"] == "running" && seen["attempt"] == attempt).then_some(())
        })
        .await;
        house.workers[attempt - 1].process.kill().await;
        if attempt < 3 {
            house.add_worker(WorkerOptions::default()).await;
        }
    }
    let ended = client.job_end(&job).await;
    assert_eq!(
        (&ended["state"], &ended["attempt"]),
        (&json!("lost"), &json!(3))
    );
    assert_eq!(ended["result"]["success"], false, "{ended}");
}

#[tokio::test]
async fn a_parent_that_is_killed_is_started_again() {
    let house = Builder::new().build().await;
    let client = house.admin().await;
    let code = "z <- if (kill) tools::pskill(host, 9) else host";
    let mut suicide = service(code, &[("kill", "logical")], &[("z", "integer")]);
    suicide["initCode"] = json!("host <- Sys.getpid()");
    client.published("host", &suicide).await;
    let before = client.outputs("host", &json!({"kill": false})).await;
    let pid: u32 = before["z"].as_i64().unwrap().try_into().unwrap();
    warren_tests::processes::kill(pid);
    let after = wait::until("calls are answered again", async || {
        let answer = client
            .call("host", "v1", &json!({"kill": false}))
            .await
            .expect(200);
        (answer["success"] == true).then(|| answer["outputParameters"].clone())
    })
    .await;
    assert_ne!(before, after);
}

#[tokio::test]
async fn a_lost_notice_is_repeated() {
    let house = Builder::new().build().await;
    let client = house.admin().await;
    client
        .published("one", &service("z <- 1", &[], &[("z", "integer")]))
        .await;
    // Whatever becomes of the queue, the call is a row.
    RawQueues::open(&house).await.delete(QueueName::Calls).await;
    assert_eq!(client.outputs("one", &json!({})).await, json!({"z": 1}));
}

#[tokio::test]
async fn what_no_worker_takes_is_refused_after_a_while_and_leaves_nothing() {
    let mut house = Builder::new()
        .workers(0)
        .env("WARREN_OPEN_WAIT_SECONDS", "0.5")
        .build()
        .await;
    let client = house.admin().await;
    let one = service("z <- 1", &[], &[("z", "integer")]);
    let refused = client.publish("one", "v1", &one).await;
    assert_eq!(refused.header("retry-after"), "2");
    assert!(refused.error(503).contains("no worker had room"));
    house.add_worker(WorkerOptions::default()).await;
    // The name is free again as soon as a sweeper has seen that nothing came of it.
    wait::until("it can be published", async || {
        let again = client.publish("one", "v1", &one).await;
        (again.status.as_u16() == 201).then_some(())
    })
    .await;
    assert_eq!(client.outputs("one", &json!({})).await, json!({"z": 1}));
    house.workers[0].process.kill().await;
    let refused = client.call("one", "v1", &json!({})).await;
    assert!(refused.error(503).contains("no worker had room"));
}

#[tokio::test]
async fn a_claim_whose_answer_was_lost_is_found_and_run() {
    let house = Builder::new().build().await;
    let client = house.admin().await;
    client
        .published("one", &service("z <- 1", &[], &[("z", "integer")]))
        .await;
    client.outputs("one", &json!({})).await;
    // In the database this worker runs it, and the worker knows nothing of it.
    let job = house
        .sql_value(
            "INSERT INTO jobs (id, kind, state, owner_id, api_id, request, attempt, worker_id, epoch, started_at)
             SELECT gen_random_uuid(), kind, 'running', owner_id, api_id, request, 1, worker_id, epoch, now()
               FROM jobs WHERE kind = 'call' RETURNING id",
        )
        .await;
    let ended = client.job_end(&job).await;
    assert_eq!(
        (&ended["state"], &ended["attempt"]),
        (&json!("succeeded"), &json!(2))
    );
}
