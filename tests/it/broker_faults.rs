//! RabbitMQ that goes away and comes back.

use serde_json::json;
use warren_common::queue::QueueName;
use warren_tests::proxy::Proxy;
use warren_tests::raw_queues::RawQueues;
use warren_tests::{Builder, WorkerOptions};

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
    warren_tests::wait::until("the node knows that the broker is away", async || {
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
