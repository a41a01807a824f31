//! Workers that are told to stop: what can end within the grace period does, the rest is told why it did not.

use serde_json::json;
use warren_tests::client::{Client, Session};
use warren_tests::load::{Load, Nodes, Plan};
use warren_tests::{Builder, House, WorkerOptions, wait};

/// A house whose worker gives what runs this long.
async fn house(grace: &str, more: &[(&str, &str)]) -> House {
    let mut house = Builder::new().workers(0).build().await;
    let env = [("WARREN_DRAIN_GRACE", grace)];
    let env = env.iter().chain(more);
    house
        .add_worker(WorkerOptions {
            env: env
                .map(|(name, value)| ((*name).to_owned(), (*value).to_owned()))
                .collect(),
            ..WorkerOptions::default()
        })
        .await;
    house
}

/// Runs until there is a file `go`.
async fn start(session: &Session, name: &str) -> String {
    session
        .submit(&format!(
            "invisible(file.create('{name}')); while (!file.exists('go')) Sys.sleep(0.01); cat('done')"
        ))
        .await
}

async fn assert_lost_by_a_drain(client: &Client, job: &str) {
    let job = client.job_end(job).await;
    assert_eq!(job["state"], "lost", "{job}");
    assert_told(job["reason"].as_str().unwrap());
}

/// It says what happened and what to do.
fn assert_told(reason: &str) {
    assert!(reason.contains("its worker was drained"), "{reason}");
    assert!(reason.contains("open a new one"), "{reason}");
}

#[tokio::test]
async fn what_runs_and_what_waits_behind_it_ends_within_the_grace_period() {
    let mut house = house("600", &[]).await;
    let client = house.admin().await;
    let (idle, busy) = (client.open_session().await, client.open_session().await);
    let running = start(&busy, "here").await;
    let dir = house.working_dir_with("here").await;
    let waiting = busy.submit("cat('its turn')").await;
    house.workers[0].process.signal("TERM").await;
    assert_told(&idle.gone().await);
    assert_told(&idle.execute("1").await.error(410));
    // Also what comes while the session is still there.
    let late = busy.submit("cat('late')").await;
    std::fs::write(dir.join("go"), "").unwrap();
    for (job, printed) in [(&running, "done"), (&waiting, "its turn"), (&late, "late")] {
        let job = client.job_end(job).await;
        assert_eq!(
            (&job["state"], &job["result"]["consoleOutput"]),
            (&json!("succeeded"), &json!(printed)),
            "{job}"
        );
    }
    assert_told(&busy.gone().await);
    assert!(house.workers[0].process.ended().await.success());
    assert_eq!(house.sql_value("SELECT state FROM workers").await, "left");
}

#[tokio::test]
async fn what_does_not_end_within_the_grace_period_is_lost_and_says_why() {
    let mut house = house("1", &[]).await;
    let client = house.admin().await;
    let (soft, deaf) = (client.open_session().await, client.open_session().await);
    let mut jobs = vec![start(&soft, "soft").await, soft.submit("1").await];
    let deaf_code = "invisible(file.create('deaf')); repeat tryCatch(repeat Sys.sleep(0.01), interrupt = function(i) NULL)";
    jobs.extend([deaf.submit(deaf_code).await, deaf.submit("1").await]);
    let call = {
        let soft = soft.clone();
        tokio::spawn(async move { soft.execute("1").await })
    };
    house.working_dir_with("soft").await;
    house.working_dir_with("deaf").await;
    wait::until("three jobs wait", async || {
        let queued = "SELECT count(*) FROM jobs WHERE state = 'queued'";
        (house.sql_value(queued).await == "3").then_some(())
    })
    .await;
    house.workers[0].process.signal("TERM").await;
    for job in &jobs {
        assert_lost_by_a_drain(&client, job).await;
    }
    assert_told(&call.await.unwrap().error(410));
    for session in [&soft, &deaf] {
        assert_told(&session.gone().await);
    }
    assert!(house.workers[0].process.ended().await.success());
}

#[tokio::test]
async fn a_second_signal_ends_the_grace_period() {
    let mut house = house("600", &[]).await;
    let client = house.admin().await;
    let session = client.open_session().await;
    let job = start(&session, "here").await;
    house.working_dir_with("here").await;
    house.workers[0].process.signal("TERM").await;
    wait::until("the worker drains", async || {
        let log = house.workers[0].process.log_text();
        log.contains("finish what runs").then_some(())
    })
    .await;
    house.workers[0].process.signal("TERM").await;
    assert!(house.workers[0].process.ended().await.success());
    assert_lost_by_a_drain(&client, &job).await;
}

/// A rolling upgrade: the old worker has no place left and is told to stop, the new one takes what waited for it.
#[tokio::test]
async fn sessions_that_wait_go_to_the_worker_that_replaces_a_drained_one() {
    let mut house = house("600", &[("WARREN_SESSION_SLOTS", "1")]).await;
    let client = house.admin().await;
    let busy = client.open_session().await;
    let running = start(&busy, "here").await;
    let dir = house.working_dir_with("here").await;
    let (waiting, opening) = client.ask_for_session().await;
    let first = waiting.submit("cat('elsewhere')").await;
    house.workers[0].process.signal("TERM").await;
    house.add_worker(WorkerOptions::default()).await;
    assert_eq!(client.job_end(&opening).await["state"], "succeeded");
    let first = client.job_end(&first).await;
    assert_eq!(first["result"]["consoleOutput"], "elsewhere");
    std::fs::write(dir.join("go"), "").unwrap();
    assert_eq!(client.job_end(&running).await["state"], "succeeded");
    assert!(house.workers[0].process.ended().await.success());
    assert_eq!(waiting.prints("cat('lives on')").await, "lives on");
}

/// Whatever moment a session ends in, no job that was accepted is lost with it: all of them take far less than they have.
#[tokio::test]
async fn a_worker_drained_under_load_loses_no_job() {
    let mut house = Builder::new().workers(2).build().await;
    let nodes = Nodes::of(&house);
    let plan = Plan {
        clients: 8,
        jobs: 30,
        pause_ms: 40,
    };
    let load = Load::start(&house, &nodes, plan).await;
    for replaced in [0, 1] {
        let done = format!(
            "SELECT count(*) >= {} FROM jobs WHERE state = 'succeeded'",
            60 * (replaced + 1)
        );
        wait::until("the load is under way", async || {
            (house.sql_value(&done).await == "t").then_some(())
        })
        .await;
        house.workers[replaced].process.signal("TERM").await;
        house.add_worker(WorkerOptions::default()).await;
        assert!(house.workers[replaced].process.ended().await.success());
    }
    let summary = load.seen().await.check(&house).await;
    assert_eq!(summary.lost(), 0, "{summary}");
}

/// Whoever reads the log must not take a stop for a loss.
#[tokio::test]
async fn a_worker_that_is_told_to_stop_ends_without_an_error_in_its_log() {
    let mut house = house("600", &[]).await;
    let session = house.admin().await.open_session().await;
    assert_eq!(session.prints("cat('here')").await, "here");
    house.workers[0].process.signal("TERM").await;
    assert!(house.workers[0].process.ended().await.success());
    let log = house.workers[0].process.log_text();
    assert!(log.contains("finish what runs"), "{log}");
    assert!(!log.contains("ERROR"), "{log}");
}
