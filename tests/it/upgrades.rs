//! Programs of two versions side by side, as far as one version can tell: what a later one would send and store.

use serde_json::json;
use warren_common::queue::QueueName;
use warren_tests::House;
use warren_tests::raw_queues::RawQueues;

/// The readers of a new message come before its writers. Should a writer be first, nobody falls over it.
#[tokio::test]
async fn a_message_of_a_later_version_goes_to_the_dead_queue_whoever_hears_it() {
    let house = House::build().await;
    let session = house.admin().await.open_session().await;
    let worker = house
        .sql_value("SELECT id FROM workers")
        .await
        .parse()
        .unwrap();
    let node = house
        .sql_value("SELECT api_id FROM jobs LIMIT 1")
        .await
        .parse()
        .unwrap();
    let raw = RawQueues::open(&house).await;
    let queues = [
        QueueName::SessionsNew,
        QueueName::Worker(worker),
        QueueName::Control(worker),
        QueueName::Api(node),
    ];
    for queue in queues {
        raw.publish(
            queue,
            br#"{"kind":"of_a_later_version_v1","args":{"more":[1]}}"#,
        )
        .await;
    }
    raw.holds(QueueName::Dead, 4).await;
    // Behind them everything is heard as before.
    assert_eq!(session.prints("cat('heard')").await, "heard");
    let job = session.submit("repeat Sys.sleep(0.01)").await;
    session.client.job_is(&job, "running").await;
    session
        .client
        .delete(&format!("/jobs/{job}"))
        .await
        .expect(200);
    assert_eq!(session.client.job_end(&job).await["state"], "cancelled");
    session.client.open_session().await;
}

/// A newer node has accepted a job of a kind that this worker and this node have never heard of.
#[tokio::test]
async fn a_job_of_a_later_version_is_refused_in_words_and_costs_no_session() {
    let house = House::build().await;
    let session = house.admin().await.open_session().await;
    session.prints("kept <- 7").await;
    let job = "0190b0c0-0000-7000-8000-000000000002";
    house
        .sql("ALTER TABLE jobs DROP CONSTRAINT jobs_kind_check")
        .await;
    house
        .sql(&format!(
            "UPDATE sessions SET next_seq = next_seq + 1;
             INSERT INTO jobs (id, kind, lane, state, owner_id, session_id, seq, api_id, request)
             SELECT '{job}', 'dream', 'ordered', 'queued', owner_id, id, next_seq - 1, gen_random_uuid(),
                    convert_to('{{\"of\": [\"sheep\"]}}', 'UTF8')
               FROM sessions"
        ))
        .await;
    // A node that does not know the kind shows it all the same, and waits for it.
    let ended = session.client.job_end(job).await;
    assert_eq!(
        (&ended["kind"], &ended["state"], &ended["result"]),
        (&json!("dream"), &json!("failed"), &json!(null)),
        "{ended}"
    );
    let reason = ended["reason"].as_str().unwrap();
    assert!(
        reason.contains("this worker is older than the job"),
        "{reason}"
    );
    assert!(reason.contains("dream"), "{reason}");
    let listed = session.client.get("/jobs").await.expect(200);
    assert!(
        listed
            .as_array()
            .unwrap()
            .iter()
            .any(|listed| listed["kind"] == "dream"),
        "{listed}"
    );
    assert_eq!(session.prints("cat(kept)").await, "7");
}
