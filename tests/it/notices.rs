//! Notices wake people up and decide nothing: twice is once, never is a little later.

use serde_json::json;
use warren_common::id::{ApiId, JobId, SessionId};
use warren_common::model::JobKind;
use warren_common::queue::{Notice, QueueName};
use warren_common::store::jobs::{self, NewJob, Verdict};
use warren_tests::House;
use warren_tests::raw_queues::RawQueues;

#[tokio::test]
async fn a_notice_delivered_many_times_runs_its_job_once() {
    let house = House::build().await;
    let session = house.admin().await.open_session().await;
    session.prints("count <- 0").await;
    let id: SessionId = session.id.parse().unwrap();
    let worker = house
        .sql_value("SELECT id FROM workers")
        .await
        .parse()
        .unwrap();
    let broker = house.broker().await;
    let job = session
        .submit(
            "count <- count + 1; invisible(file.create('here')); while (!file.exists('go')) Sys.sleep(0.01)",
        )
        .await;
    session.client.job_is(&job, "running").await;
    for _ in 0..50 {
        broker
            .publish(
                QueueName::Worker(worker),
                &Notice::SessionWorkV1 { session: id },
            )
            .await
            .unwrap();
    }
    let dir = house.working_dir_with("here").await;
    std::fs::write(dir.join("go"), "").unwrap();
    assert_eq!(session.client.job_end(&job).await["state"], "succeeded");
    assert_eq!(session.client.job_end(&job).await["attempt"], 1);
    assert_eq!(session.prints("cat(count)").await, "1");

    // The same for a session: the notice about an opening that is over opens nothing.
    let opening = house
        .sql_value("SELECT id FROM jobs WHERE kind = 'open_session'")
        .await;
    let opening: JobId = opening.parse().unwrap();
    for _ in 0..5 {
        broker
            .publish(
                QueueName::SessionsNew,
                &Notice::OpenSessionV1 { job: opening },
            )
            .await
            .unwrap();
    }
    session.client.open_session().await;
    assert_eq!(
        house
            .sql_value("SELECT count(*) FROM sessions WHERE state = 'open'")
            .await,
        "2"
    );
}

#[tokio::test]
async fn a_job_whose_notice_was_lost_is_found_by_the_sweeper() {
    let house = House::build().await;
    let session = house.admin().await.open_session().await;
    let owner = house
        .sql_value("SELECT owner_id FROM sessions")
        .await
        .parse()
        .unwrap();
    let job = NewJob {
        id: JobId::new(),
        kind: JobKind::Execute,
        session: session.id.parse().unwrap(),
        owner,
        request: json!({"code": "cat('found')"}).to_string().into_bytes(),
        traceparent: String::new(),
    };
    let mut conn = house.db().conn().await.unwrap();
    let verdicts = jobs::submit(&mut conn, ApiId::new(), 100, std::slice::from_ref(&job))
        .await
        .unwrap();
    assert!(
        matches!(verdicts[..], [Verdict::Accepted(Some(_))]),
        "{verdicts:?}"
    );
    let ended = session.client.job_end(&job.id.to_string()).await;
    assert_eq!(ended["result"]["consoleOutput"], "found");
}

#[tokio::test]
async fn bytes_that_no_version_can_read_go_to_the_dead_queue_and_stop_nobody() {
    let house = House::build().await;
    let session = house.admin().await.open_session().await;
    let raw = RawQueues::open(&house).await;
    raw.publish(QueueName::SessionsNew, b"{\"kind\":\"open_session_v99\"}")
        .await;
    raw.publish(QueueName::SessionsNew, b"\xff\x00").await;
    raw.holds(QueueName::Dead, 2).await;
    assert_eq!(
        session
            .client
            .open_session()
            .await
            .prints("cat('on')")
            .await,
        "on"
    );
}

#[tokio::test]
async fn notices_that_travel_together_are_each_heard() {
    let house = House::build().await;
    let admin = house.admin().await;
    let worker = house
        .sql_value("SELECT id FROM workers")
        .await
        .parse()
        .unwrap();
    let mut notices = Vec::new();
    let mut jobs = Vec::new();
    for _ in 0..3 {
        let session = admin.open_session().await;
        let job = session.submit("repeat Sys.sleep(0.01)").await;
        session.client.job_is(&job, "running").await;
        notices.push(Notice::CancelV1 {
            session: session.id.parse().unwrap(),
            job: job.parse().unwrap(),
        });
        jobs.push(job);
    }
    // No row says that these are to be cancelled: only the message does.
    let broker = house.broker().await;
    broker
        .publish_together(QueueName::Control(worker), notices)
        .await
        .unwrap();
    for job in jobs {
        assert_eq!(admin.job_end(&job).await["state"], "cancelled");
    }
}

#[tokio::test]
async fn notices_that_are_settled_one_by_one_do_not_travel_together() {
    let house = House::build().await;
    let raw = RawQueues::open(&house).await;
    let opening = json!({"kind": "open_session_v1", "args": {"job": JobId::new().to_string()}});
    let together = json!([opening, opening]).to_string();
    raw.publish(QueueName::SessionsNew, together.as_bytes())
        .await;
    raw.holds(QueueName::Dead, 1).await;
}
