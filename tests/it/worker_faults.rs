//! Workers that die, freeze or leave.

use std::time::Duration;

use serde_json::json;
use warren_tests::{Builder, House, WorkerOptions, wait};

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

/// R ends while its worker stands still, so the worker has a result in its hands when it wakes up; an idle session and an
/// opening that it held are no longer its own either.
#[tokio::test]
async fn a_worker_that_freezes_past_its_lease_changes_nothing_when_it_wakes_up() {
    let mut house = Builder::new().lease(Duration::from_secs(12)).build().await;
    let client = house.admin().await;
    let (session, idle) = (client.open_session().await, client.open_session().await);
    let job = session
        .submit(
            "invisible(file.create('here')); while (!file.exists('go')) Sys.sleep(0.01); \
             cat('late'); invisible(file.create('done'))",
        )
        .await;
    let dir = house.working_dir_with("here").await;
    house.workers[0].process.signal("STOP").await;
    std::fs::write(dir.join("go"), "").unwrap();
    wait::until("R has done its work", async || {
        dir.join("done").exists().then_some(())
    })
    .await;
    assert_eq!(client.job_end(&job).await["state"], "lost");
    for session in [&session, &idle] {
        let reason = session.gone().await;
        assert!(reason.contains("worker was lost"), "{reason}");
    }
    let rows = "SELECT string_agg(j::text, ' ' ORDER BY j.id) FROM jobs j";
    let before = house.sql_value(rows).await;
    house.workers[0].process.signal("CONT").await;
    let status = house.workers[0].process.ended().await;
    assert!(!status.success());
    assert_eq!(house.sql_value(rows).await, before);
    let job = client.get(&format!("/jobs/{job}")).await.expect(200);
    assert_eq!(
        (&job["state"], &job["result"]),
        (&json!("lost"), &json!(null))
    );
    assert_eq!(house.sql_value("SELECT state FROM workers").await, "dead");
    no_process_below(&house.workers[0].work_dir.to_string_lossy()).await;
}

/// The caller is told that the job is lost; nobody may then find that it went on all the same.
#[tokio::test]
async fn r_of_a_frozen_worker_does_not_compute_on() {
    let mut house = House::build().await;
    let client = house.admin().await;
    let session = client.open_session().await;
    session
        .submit("repeat { cat('beat\\n', file = 'beats', append = TRUE); Sys.sleep(0.01) }")
        .await;
    let dir = house.working_dir_with("beats").await;
    house.workers[0].process.signal("STOP").await;
    no_process_below(&dir.to_string_lossy()).await;
    // Its directory is the worker's to remove, which stands still.
    let beats = std::fs::metadata(dir.join("beats")).unwrap().len();
    session.gone().await;
    assert_eq!(std::fs::metadata(dir.join("beats")).unwrap().len(), beats);
    house.workers[0].process.signal("CONT").await;
    assert!(!house.workers[0].process.ended().await.success());
}

/// Others may lose nothing by it, and it nothing by standing still for less than its lease.
#[tokio::test]
async fn a_worker_that_stands_still_for_a_moment_loses_nothing() {
    let house = Builder::new().lease(Duration::from_secs(60)).build().await;
    let client = house.admin().await;
    let session = client.open_session().await;
    session.prints("kept <- 1").await;
    house.workers[0].process.signal("STOP").await;
    let job = session.submit("cat(kept)").await;
    // It is noticed again, while nobody listens.
    wait::until("the job is noticed again", async || {
        let notices = format!("SELECT notices > 1 FROM jobs WHERE id = '{job}'");
        (house.sql_value(&notices).await == "t").then_some(())
    })
    .await;
    house.workers[0].process.signal("CONT").await;
    let ended = client.job_end(&job).await;
    assert_eq!(
        (&ended["result"]["consoleOutput"], &ended["attempt"]),
        (&json!("1"), &json!(1))
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
    wait::until("the opening is stored", async || {
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
    wait::until("the second waits", async || {
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
            "WARREN_OFFER_ADDRESS",
            "http://here:1",
            "WARREN_OFFER_ADDRESS",
        ),
        ("WARREN_OFFER_ADDRESS", "here:1", "--offer-listen"),
        // An address of nobody's (RFC 5737).
        (
            "WARREN_OFFER_LISTEN",
            "203.0.113.1:1",
            "WARREN_OFFER_LISTEN cannot be used",
        ),
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
    wait::until("R is gone with its worker", async || {
        let processes = std::fs::read_dir("/proc").ok()?.flatten();
        let mut dirs =
            processes.filter_map(|process| std::fs::read_link(process.path().join("cwd")).ok());
        (!dirs.any(|cwd| cwd.starts_with(dir))).then_some(())
    })
    .await;
}
