//! PostgreSQL that goes away at the worst moments.

use std::time::Duration;

use serde_json::json;
use warren_tests::load::{Load, Nodes, Plan};
use warren_tests::postgres::OwnServer;
use warren_tests::proxy::Proxy;
use warren_tests::{Builder, WorkerOptions, wait};

/// A folder that the user of the database server can pass.
fn open_dir() -> tempfile::TempDir {
    let dir = tempfile::tempdir().unwrap();
    let open = std::os::unix::fs::PermissionsExt::from_mode(0o755);
    std::fs::set_permissions(dir.path(), open).unwrap();
    dir
}

#[tokio::test]
async fn a_commit_whose_answer_is_lost_is_no_503_for_work_that_runs() {
    let mut house = Builder::new().apis(0).build().await;
    let link = Proxy::to(house.database.server).await;
    house.add_api_via(link.addr(), &[]).await;
    let session = house.admin().await.open_session().await;
    session.prints("count <- 0").await;
    let call = {
        link.mute();
        let session = session.clone();
        tokio::spawn(async move { session.execute("count <- count + 1; cat(count)").await })
    };
    wait::until("the job is stored though nobody was told", async || {
        (house
            .sql_value("SELECT count(*) FROM jobs WHERE kind = 'execute'")
            .await
            == "2")
            .then_some(())
    })
    .await;
    link.restore();
    assert_eq!(call.await.unwrap().expect(200)["consoleOutput"], "1");
    assert_eq!(session.prints("cat(count)").await, "1");
    assert_eq!(
        house
            .sql_value("SELECT count(*) FROM jobs WHERE kind = 'execute'")
            .await,
        "3"
    );
}

#[tokio::test]
async fn postgres_away_for_twice_the_lease_loses_no_session() {
    let mut house = Builder::new()
        .apis(0)
        .workers(0)
        .lease(Duration::from_secs(2))
        .build()
        .await;
    let link = Proxy::to(house.database.server).await;
    house.add_api_via(link.addr(), &[]).await;
    house
        .add_worker(WorkerOptions {
            database_via: Some(link.addr()),
            ..WorkerOptions::default()
        })
        .await;
    let client = house.admin().await;
    let (idle, busy) = (client.open_session().await, client.open_session().await);
    idle.prints("kept <- 1").await;
    let job = busy
        .submit("invisible(file.create('here')); while (!file.exists('go')) Sys.sleep(0.01); cat('ran on')")
        .await;
    let dir = house.working_dir_with("here").await;
    let lease_end = "SELECT lease_expires_at + interval '2 seconds' < now() FROM workers";
    link.cut();
    wait::until("the node knows that Postgres is away", async || {
        (client.get("/health/ready").await.status == 503).then_some(())
    })
    .await;
    let refused = idle.execute("1").await;
    assert!(!refused.header("Retry-After").is_empty());
    refused.error(503);
    std::fs::write(dir.join("go"), "").unwrap();
    wait::until("Postgres was away for twice the lease", async || {
        (house.sql_value(lease_end).await == "t").then_some(())
    })
    .await;
    link.restore();
    client.ready().await;
    assert_eq!(
        client.job_end(&job).await["result"]["consoleOutput"],
        "ran on"
    );
    assert_eq!(idle.prints("cat(kept)").await, "1");
    assert_eq!(
        house
            .sql_value("SELECT count(*) FROM sessions WHERE state = 'open'")
            .await,
        "2"
    );
    assert_eq!(house.sql_value("SELECT state FROM workers").await, "alive");
}

/// Claims of open sessions commit without waiting for the disk. A crash of Postgres may take them back; nothing may run
/// twice for that, and the completion must be taken all the same.
#[tokio::test]
async fn postgres_crashing_between_claim_and_completion_runs_nothing_twice() {
    let dir = open_dir();
    let server = OwnServer::start(dir.path()).await;
    // Heartbeats commit durably and would take the claim along to the disk: a lease far longer than this test has few.
    let house = Builder::new()
        .lease(Duration::from_secs(240))
        .on(server.address.clone())
        .build()
        .await;
    let client = house.admin().await;
    let session = client.open_session().await;
    session.prints("count <- 0").await;
    let job = session.submit("count <- count + 1; invisible(file.create('here')); while (!file.exists('go')) Sys.sleep(0.01); cat(count)").await;
    let working_dir = house.working_dir_with("here").await;
    server.crash().await;
    server.start_again().await;
    // This is the case at hand: the claim is forgotten.
    let state = house
        .sql_value(&format!("SELECT state FROM jobs WHERE id = '{job}'"))
        .await;
    assert_eq!(state, "queued");
    std::fs::write(working_dir.join("go"), "").unwrap();
    client.ready().await;
    let ended = client.job_end(&job).await;
    assert_eq!(
        (&ended["state"], &ended["attempt"]),
        (&json!("succeeded"), &json!(1)),
        "{ended}"
    );
    assert_eq!(ended["result"]["consoleOutput"], "1");
    assert_eq!(session.prints("cat(count)").await, "1");
}

/// The worker's own link: answers of openings, claims and completions get lost one after the other.
#[tokio::test]
async fn a_worker_whose_answers_get_lost_runs_everything_once() {
    let mut house = Builder::new().workers(0).build().await;
    let link = Proxy::to(house.database.server).await;
    house
        .add_worker(WorkerOptions {
            database_via: Some(link.addr()),
            ..WorkerOptions::default()
        })
        .await;
    let client = house.admin().await;
    let session = client.open_session().await;
    session.prints("count <- 0").await;
    for call in 1..=20 {
        link.mute();
        let running = {
            let session = session.clone();
            tokio::spawn(async move { session.prints("count <- count + 1; cat(count)").await })
        };
        let opening = {
            let client = client.clone();
            tokio::spawn(async move { client.open_session().await })
        };
        tokio::task::yield_now().await;
        link.restore();
        assert_eq!(running.await.unwrap(), call.to_string());
        assert_eq!(opening.await.unwrap().prints("cat('open')").await, "open");
    }
    assert_eq!(
        house
            .sql_value("SELECT count(*) FROM jobs WHERE finished_at IS NULL")
            .await,
        "0"
    );
    assert_eq!(house.sql_value("SELECT max(attempt) FROM jobs").await, "1");
}

/// Each crash forgets what was claimed in the last moment; nothing runs twice for that, and no session is lost.
#[tokio::test]
async fn postgres_restarted_under_load_loses_no_job() {
    let dir = open_dir();
    let server = OwnServer::start(dir.path()).await;
    let house = Builder::new()
        .apis(2)
        .workers(2)
        .on(server.address.clone())
        .build()
        .await;
    let plan = Plan {
        clients: 9,
        jobs: 30,
        pause_ms: 200,
    };
    let load = Load::start(&house, &Nodes::of(&house), plan).await;
    for crash in 1..=2 {
        let done = format!(
            "SELECT count(*) >= {} FROM jobs WHERE state = 'succeeded'",
            crash * 80
        );
        wait::until("the load is under way", async || {
            (house.sql_value(&done).await == "t").then_some(())
        })
        .await;
        server.crash().await;
        server.start_again().await;
    }
    let summary = load.seen().await.check(&house).await;
    assert_eq!(summary.lost(), 0, "{summary}");
    let states = "SELECT string_agg(DISTINCT state, ' ') FROM workers";
    assert_eq!(house.sql_value(states).await, "alive");
}
