//! RabbitMQ that goes away and comes back.

use std::time::Duration;

use serde_json::json;
use tokio::time::Instant;
use warren_common::queue::QueueName;
use warren_tests::load::{Load, Nodes, Plan};
use warren_tests::proxy::Proxy;
use warren_tests::rabbitmq::OwnBroker;
use warren_tests::raw_queues::RawQueues;
use warren_tests::{Builder, Client, House, WorkerOptions, wait};

/// Enough to be at work for some seconds.
const PLAN: Plan = Plan {
    clients: 9,
    jobs: 40,
    pause_ms: 40,
};

/// How long an outage is that outlasts what a confirm may take.
const OUTAGE: Duration = Duration::from_secs(11);

/// Waits until clients have had so many answers.
async fn answers(house: &House, count: usize) {
    let done = format!("SELECT count(*) >= {count} FROM jobs WHERE state = 'succeeded'");
    wait::until("the clients are at work", async || {
        (house.sql_value(&done).await == "t").then_some(())
    })
    .await;
}

/// Waits until a node knows that the broker is away, and what ran has ended all the same.
async fn callers_are_refused_and_nothing_runs(house: &House, client: &Client) {
    wait::until("callers are refused, and what ran has ended", async || {
        let running = "SELECT count(*) FROM jobs WHERE state = 'running'";
        let refused = client.get("/health/ready").await.status == 503;
        (refused && house.sql_value(running).await == "0").then_some(())
    })
    .await;
}

#[tokio::test]
async fn a_worker_cut_off_from_the_broker_catches_up_when_the_link_is_back() {
    let mut house = Builder::new().workers(0).build().await;
    let link = Proxy::to(house.amqp_server()).await;
    house
        .add_worker(WorkerOptions {
            amqp_via: Some(link.addr()),
            ..WorkerOptions::default()
        })
        .await;
    let client = house.admin().await;
    let session = client.open_session().await;
    session.prints("count <- 0").await;
    link.cut();
    // Accepted while the worker is deaf; its own queue takes the notice, and the catch-up query would find it anyway.
    let job = session.submit("count <- count + 1; cat(count)").await;
    link.restore();
    let ended = client.job_end(&job).await;
    assert_eq!(ended["result"]["consoleOutput"], "1");
    assert_eq!(session.prints("cat(count)").await, "1");
    assert_eq!(
        client.open_session().await.prints("cat('new')").await,
        "new"
    );
}

#[tokio::test]
async fn while_the_broker_is_away_nothing_is_stored_and_503_says_when_to_come_back() {
    let mut house = Builder::new().apis(0).workers(0).build().await;
    let link = Proxy::to(house.amqp_server()).await;
    let amqp = house.amqp_via(link.addr());
    house
        .add_api_via(house.database.server, &[("WARREN_AMQP_URL", &amqp)])
        .await;
    house.add_worker(WorkerOptions::default()).await;
    let client = house.admin().await;
    let session = client.open_session().await;
    let running = session
        .submit("invisible(file.create('here')); while (!file.exists('go')) Sys.sleep(0.01); cat('kept')")
        .await;
    let dir = house.working_dir_with("here").await;
    link.cut();
    wait::until("the node knows that the broker is away", async || {
        let ready = client.get("/health/ready").await;
        (ready.status == 503).then_some(())
    })
    .await;
    let before = house.sql_value("SELECT count(*) FROM jobs").await;
    let refused = session.execute("1").await;
    assert!(!refused.header("Retry-After").is_empty());
    refused.error(503);
    client.post("/sessions", &json!({})).await.error(503);
    assert_eq!(house.sql_value("SELECT count(*) FROM jobs").await, before);
    // What was accepted goes on, and can be read.
    std::fs::write(dir.join("go"), "").unwrap();
    assert_eq!(
        client.job_end(&running).await["result"]["consoleOutput"],
        "kept"
    );
    link.restore();
    client.ready().await;
    assert_eq!(session.prints("cat('back')").await, "back");
}

#[tokio::test]
async fn queues_deleted_by_hand_come_back() {
    let house = Builder::new().build().await;
    let client = house.admin().await;
    let session = client.open_session().await;
    let worker = house
        .sql_value("SELECT id FROM workers")
        .await
        .parse()
        .unwrap();
    let raw = RawQueues::open(&house).await;
    for queue in [
        QueueName::Worker(worker),
        QueueName::Control(worker),
        QueueName::SessionsNew,
    ] {
        raw.delete(queue).await;
    }
    let job = session.submit("cat('found')").await;
    assert_eq!(
        client.job_end(&job).await["result"]["consoleOutput"],
        "found"
    );
    assert_eq!(
        client.open_session().await.prints("cat('opened')").await,
        "opened"
    );
}

/// What was accepted runs, once, be the broker there or not: no session depends on it.
#[tokio::test]
async fn the_broker_away_under_load_loses_no_job() {
    let mut house = Builder::new().apis(0).workers(0).build().await;
    let link = Proxy::to(house.amqp_server()).await;
    let amqp = house.amqp_via(link.addr());
    for _ in 0..2 {
        house
            .add_api_via(house.database.server, &[("WARREN_AMQP_URL", &amqp)])
            .await;
        house
            .add_worker(WorkerOptions {
                amqp_via: Some(link.addr()),
                ..WorkerOptions::default()
            })
            .await;
    }
    let client = house.admin().await;
    let load = Load::start(&house, &Nodes::of(&house), PLAN).await;
    for outage in 1..=2 {
        answers(&house, outage * 100).await;
        let since = Instant::now();
        link.cut();
        callers_are_refused_and_nothing_runs(&house, &client).await;
        if outage == 1 {
            // Its length is what is tried; nobody waits for anything here.
            tokio::time::sleep_until(since + OUTAGE).await;
        }
        link.restore();
    }
    let summary = load.seen().await.check(&house).await;
    assert_eq!(summary.lost(), 0, "{summary}");
}

/// Killed, wiped and started anew as it came out of its package: nothing of it is missed.
#[tokio::test]
async fn rabbitmq_killed_under_load_loses_no_job_with_everything_that_it_knew() {
    let dir = tempfile::tempdir().unwrap();
    let open = std::os::unix::fs::PermissionsExt::from_mode(0o755);
    std::fs::set_permissions(dir.path(), open).unwrap();
    let mut broker = OwnBroker::start(dir.path()).await;
    let house = Builder::new()
        .apis(2)
        .workers(2)
        .hearing(broker.url())
        .build()
        .await;
    let client = house.admin().await;
    let load = Load::start(&house, &Nodes::of(&house), PLAN).await;
    answers(&house, 100).await;
    broker.crash().await;
    callers_are_refused_and_nothing_runs(&house, &client).await;
    broker.forget_everything();
    broker.start_again().await;
    let summary = load.seen().await.check(&house).await;
    assert_eq!(summary.lost(), 0, "{summary}");
    let session = client.open_session().await;
    assert_eq!(session.prints("cat('whole')").await, "whole");
}

/// All of them at once, those of the nodes too, while everything is at work.
#[tokio::test]
async fn queues_deleted_by_hand_under_load_lose_no_job() {
    let house = Builder::new().apis(2).workers(2).build().await;
    let ids = async |sql: &str| {
        let listed = house.sql_value(sql).await;
        let ids: Vec<String> = listed.split(' ').map(str::to_owned).collect();
        ids
    };
    let load = Load::start(&house, &Nodes::of(&house), PLAN).await;
    let raw = RawQueues::open(&house).await;
    for deletion in 1..=2 {
        answers(&house, deletion * 100).await;
        let workers = ids("SELECT string_agg(id::text, ' ') FROM workers").await;
        let nodes = ids("SELECT string_agg(DISTINCT api_id::text, ' ') FROM jobs").await;
        for worker in workers {
            raw.delete(QueueName::Control(worker.parse().unwrap()))
                .await;
            raw.delete(QueueName::Worker(worker.parse().unwrap())).await;
        }
        for node in nodes {
            raw.delete(QueueName::Api(node.parse().unwrap())).await;
        }
        raw.delete(QueueName::SessionsNew).await;
    }
    let summary = load.seen().await.check(&house).await;
    assert_eq!(summary.lost(), 0, "{summary}");
    let session = house.admin().await.open_session().await;
    assert_eq!(session.prints("cat('whole')").await, "whole");
}
