//! Workers that die, freeze or leave.

use std::time::Duration;

use serde_json::json;
use warren_tests::{Builder, House, WorkerOptions};

#[tokio::test]
async fn a_worker_killed_mid_run_loses_the_job_and_a_fresh_session_works_at_once() {
    let mut house = Builder::new().workers(2).build().await;
    let client = house.admin().await;
    let session = client.open_session().await;
    let waiting_call = {
        let session = session.clone();
        tokio::spawn(async move {
            session
                .execute(
                    "invisible(file.create('here')); while (!file.exists('go')) Sys.sleep(0.01)",
                )
                .await
        })
    };
    let dir = house.working_dir_with("here").await;
    let holder = house
        .workers
        .iter()
        .position(|worker| dir.starts_with(&worker.work_dir))
        .unwrap();
    let running = client.get("/jobs?state=running").await.expect(200)[0]["jobId"]
        .as_str()
        .unwrap()
        .to_owned();
    let waiting = session.submit("1").await;
    house.workers[holder].process.kill().await;
    // The other worker takes new sessions while nobody knows yet.
    assert_eq!(
        client.open_session().await.prints("cat('fresh')").await,
        "fresh"
    );
    let told = waiting_call.await.unwrap().error(410);
    assert!(told.contains("worker was lost"), "{told}");
    assert_eq!(client.job_end(&running).await["state"], "lost");
    assert_eq!(client.job_end(&waiting).await["state"], "lost");
    assert!(session.gone().await.contains("worker was lost"));
    session.execute("1").await.error(410);
    no_process_below(&dir.to_string_lossy()).await;
}

#[tokio::test]
async fn a_worker_that_freezes_past_its_lease_changes_nothing_when_it_wakes_up() {
    let mut house = House::build().await;
    let client = house.admin().await;
    let session = client.open_session().await;
    let job = session
        .submit("invisible(file.create('here')); while (!file.exists('go')) Sys.sleep(0.01); cat('late')")
        .await;
    let dir = house.working_dir_with("here").await;
    house.workers[0].process.signal("STOP").await;
    assert_eq!(client.job_end(&job).await["state"], "lost");
    std::fs::write(dir.join("go"), "").unwrap();
    house.workers[0].process.signal("CONT").await;
    let status = house.workers[0].process.ended().await;
    assert!(!status.success());
    let job = client.get(&format!("/jobs/{job}")).await.expect(200);
    assert_eq!(
        (&job["state"], &job["result"]),
        (&json!("lost"), &json!(null))
    );
    assert_eq!(house.sql_value("SELECT state FROM workers").await, "dead");
}

#[tokio::test]
async fn a_worker_asked_to_stop_finishes_what_runs_and_leaves() {
    let mut house = Builder::new().workers(2).build().await;
    let client = house.admin().await;
    let session = client.open_session().await;
    let job = session
        .submit("invisible(file.create('here')); while (!file.exists('go')) Sys.sleep(0.01); cat('done')")
        .await;
    let dir = house.working_dir_with("here").await;
    let holder = house
        .workers
        .iter()
        .position(|worker| dir.starts_with(&worker.work_dir))
        .unwrap();
    house.workers[holder].process.signal("TERM").await;
    // New sessions go to the other one.
    assert_eq!(
        client.open_session().await.prints("cat('elsewhere')").await,
        "elsewhere"
    );
    std::fs::write(dir.join("go"), "").unwrap();
    let ended = client.job_end(&job).await;
    assert_eq!(
        (&ended["state"], &ended["result"]["consoleOutput"]),
        (&json!("succeeded"), &json!("done"))
    );
    assert!(house.workers[holder].process.ended().await.success());
    assert!(session.gone().await.contains("worker was stopped"));
    assert_eq!(
        house
            .sql_value("SELECT count(*) FROM workers WHERE state = 'left'")
            .await,
        "1"
    );
}

#[tokio::test]
async fn a_second_signal_interrupts_r() {
    let mut house = House::build().await;
    let client = house.admin().await;
    let session = client.open_session().await;
    let job = session
        .submit("invisible(file.create('here')); repeat Sys.sleep(0.01)")
        .await;
    house.working_dir_with("here").await;
    house.workers[0].process.signal("TERM").await;
    warren_tests::wait::until("the worker drains", async || {
        house.workers[0]
            .process
            .log_text()
            .contains("finish what runs")
            .then_some(())
    })
    .await;
    house.workers[0].process.signal("TERM").await;
    assert!(house.workers[0].process.ended().await.success());
    let ended = client.job_end(&job).await;
    assert_eq!(
        (&ended["state"], &ended["reason"]),
        (&json!("lost"), &json!("its worker was stopped"))
    );
}

#[tokio::test]
async fn sessions_wait_for_a_worker_and_a_new_one_takes_them_at_once() {
    let mut house = Builder::new().workers(0).build().await;
    let client = house.admin().await;
    let opening = {
        let client = client.clone();
        tokio::spawn(async move { client.open_session().await })
    };
    warren_tests::wait::until("the opening is stored", async || {
        (house.sql_value("SELECT count(*) FROM jobs").await == "1").then_some(())
    })
    .await;
    house.add_worker(WorkerOptions::default()).await;
    let session = tokio::time::timeout(Duration::from_secs(30), opening)
        .await
        .unwrap()
        .unwrap();
    assert_eq!(session.prints("cat('here')").await, "here");
}

#[tokio::test]
async fn a_full_worker_leaves_sessions_to_those_with_room() {
    let mut house = Builder::new().workers(0).build().await;
    let one_place = vec![("WARREN_SESSION_SLOTS".to_owned(), "1".to_owned())];
    house
        .add_worker(WorkerOptions {
            env: one_place.clone(),
            ..WorkerOptions::default()
        })
        .await;
    let client = house.admin().await;
    let first = client.open_session().await;
    let second = {
        let client = client.clone();
        tokio::spawn(async move { client.open_session().await })
    };
    warren_tests::wait::until("the second waits", async || {
        let waiting = "SELECT count(*) FROM jobs WHERE kind = 'open_session' AND state = 'queued'";
        (house.sql_value(waiting).await == "1").then_some(())
    })
    .await;
    first.close().await;
    let second = second.await.unwrap();
    assert_eq!(second.prints("cat('in')").await, "in");
    let third = {
        let client = client.clone();
        tokio::spawn(async move { client.open_session().await })
    };
    house
        .add_worker(WorkerOptions {
            env: one_place,
            ..WorkerOptions::default()
        })
        .await;
    assert_eq!(third.await.unwrap().prints("cat('too')").await, "too");
}

#[tokio::test]
async fn a_worker_that_cannot_start_says_what_is_missing_and_where_it_looked() {
    let house = Builder::new().workers(0).build().await;
    let work_dir = house.dir().join("none").to_string_lossy().into_owned();
    let nobody = "amqp://warren:hunter2@127.0.0.1:1/%2f";
    for (variable, value, told) in [
        ("WARREN_R", "/no/such/R", "/no/such/R"),
        ("WARREN_RHOST", "/no/such/rhost", "WARREN_RHOST"),
        (
            "WARREN_AMQP_URL",
            nobody,
            "RabbitMQ at 127.0.0.1:1/%2f does not answer",
        ),
    ] {
        let output = tokio::process::Command::new(warren_tests::process::program("warren-worker"))
            .arg("serve")
            .envs(house.shared_env(house.database.server))
            .env("WARREN_WORK_DIR", &work_dir)
            .env("WARREN_HEARTBEAT_SECONDS", "1")
            .env(variable, value)
            .output()
            .await
            .unwrap();
        let printed = String::from_utf8(output.stderr).unwrap();
        assert!(!output.status.success(), "{variable}");
        assert!(printed.contains(told), "{variable}: {printed}");
        assert!(!printed.contains("hunter2"), "{printed}");
    }
    assert_eq!(house.sql_value("SELECT count(*) FROM workers").await, "0");
}

/// Waits until no process has anything below `dir` as its working directory.
async fn no_process_below(dir: &str) {
    warren_tests::wait::until("R is gone with its worker", async || {
        let processes = std::fs::read_dir("/proc").ok()?.flatten();
        let mut dirs =
            processes.filter_map(|process| std::fs::read_link(process.path().join("cwd")).ok());
        (!dirs.any(|cwd| cwd.starts_with(dir))).then_some(())
    })
    .await;
}
