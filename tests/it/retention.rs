//! What is over is kept for a while, and then it is not there any more.

use std::time::Duration;

use serde_json::json;
use warren_common::blobs::{BlobKey, Blobs};
use warren_common::id::{JobId, PrincipalId, SnapshotId, TransferId};
use warren_common::store::transfers;
use warren_tests::{Builder, House, wait};

/// A house where things are kept for so many seconds.
async fn house(settings: &[(&str, &str)]) -> House {
    let mut house = Builder::new().apis(0).build().await;
    for _node in 0..2 {
        house.add_api_via(house.database.server, settings).await;
    }
    house
}

/// Waits until a count in the database is zero.
async fn none(house: &House, what: &str, rows: &str) {
    wait::until(&format!("there is no {what}"), async || {
        let count = format!("SELECT count(*) FROM {rows}");
        (house.sql_value(&count).await == "0").then_some(())
    })
    .await;
}

#[tokio::test]
async fn jobs_text_and_tombstones_go_in_their_time_and_a_session_that_lives_keeps_what_it_needs() {
    let house = house(&[
        ("WARREN_JOB_RETENTION_SECONDS", "1"),
        ("WARREN_SESSION_RETENTION_SECONDS", "3"),
    ])
    .await;
    let client = house.admin().await;
    let (living, ended) = (client.open_session().await, client.open_session().await);
    // Printed slowly enough for some of it to be in chunks.
    let slow = "for (i in 1:4) { cat('line', i, ''); Sys.sleep(0.12) }";
    let text = "line 1 line 2 line 3 line 4 ";
    let earlier = living.submit(slow).await;
    client.job_end(&earlier).await;
    let last = living.submit(slow).await;
    client.job_end(&last).await;
    assert_eq!(ended.prints(slow).await, text);
    let of_ended = client.get("/jobs?limit=1").await.expect(200)[0]["jobId"]
        .as_str()
        .unwrap()
        .to_owned();
    ended.close().await;
    let told = ended.gone().await;
    assert!(told.contains("closed by its owner"), "{told}");
    wait::until("the session is forgotten", async || {
        let answer = client.get(&ended.path("/history")).await;
        assert!(answer.status == 410 || answer.status == 404);
        (answer.status == 404).then_some(())
    })
    .await;
    none(
        &house,
        "job of it",
        &format!("jobs WHERE session_id = '{}'", ended.id),
    )
    .await;
    client.get(&format!("/jobs/{of_ended}")).await.error(404);
    client
        .get(&format!("/jobs/{of_ended}/console"))
        .await
        .error(404);
    none(
        &house,
        "row of it",
        &format!("sessions WHERE id = '{}'", ended.id),
    )
    .await;
    // The living session has its jobs, but of the text only that of its last run.
    none(
        &house,
        "text of an earlier run",
        &format!("console_chunks WHERE job_id = '{earlier}'"),
    )
    .await;
    wait::until("its tail is gone too", async || {
        let page = client
            .get(&format!("/jobs/{earlier}/console"))
            .await
            .expect(200);
        assert_eq!(page["final"], true);
        (page["text"] == "").then_some(())
    })
    .await;
    let so_far = client
        .get(&living.path("/console-output"))
        .await
        .expect(200);
    assert_eq!(so_far, json!({"consoleOutput": text}));
    let page = client
        .get(&format!("/jobs/{last}/console"))
        .await
        .expect(200);
    assert_eq!(page["text"], text);
    let history = client.get(&living.path("/history")).await.expect(200);
    assert_eq!(history, json!([slow, slow]));
    assert_eq!(living.prints("cat('alive')").await, "alive");
}

#[tokio::test]
async fn text_can_go_before_its_job() {
    let house = house(&[("WARREN_CONSOLE_RETENTION_SECONDS", "1")]).await;
    let client = house.admin().await;
    let session = client.open_session().await;
    let job = session.submit("x <- cat('text')").await;
    client.job_end(&job).await;
    session.close().await;
    wait::until("the text is gone", async || {
        let page = client
            .get(&format!("/jobs/{job}/console"))
            .await
            .expect(200);
        (page["text"] == "").then_some(())
    })
    .await;
    let job = client.get(&format!("/jobs/{job}")).await.expect(200);
    assert_eq!(
        (&job["state"], &job["result"]["success"]),
        (&json!("succeeded"), &json!(true))
    );
}

#[tokio::test]
async fn a_backlog_is_removed_in_many_small_steps() {
    const JOBS: u64 = 1_700;
    let house = house(&[
        ("WARREN_JOB_RETENTION_SECONDS", "5"),
        ("WARREN_SESSION_RETENTION_SECONDS", "5"),
    ])
    .await;
    let owner = house.sql_value("SELECT id FROM principals").await;
    let old: Vec<String> = (0..JOBS)
        .map(|nth| {
            let id = JobId::earliest_at(1_700_000_000_000 + nth);
            format!(
                "('{id}', 'execute', 'succeeded', '{owner}', '{id}', '', now() - interval '1 day', now() - interval '1 day')"
            )
        })
        .collect();
    // One of them has printed more than is removed at once.
    let first = JobId::earliest_at(1_700_000_000_000);
    house
        .sql(&format!(
            "INSERT INTO jobs (id, kind, state, owner_id, api_id, request, created_at, finished_at) VALUES {};
             INSERT INTO console_chunks SELECT '{first}', seq, 'x' FROM generate_series(0, 1200) seq",
            old.join(", ")
        ))
        .await;
    none(&house, "old job", "jobs").await;
    none(&house, "old text", "console_chunks").await;
}

#[tokio::test]
async fn workers_and_sign_ins_that_are_over_are_forgotten() {
    let mut house = house(&[
        ("WARREN_WORKER_RETENTION_SECONDS", "1"),
        ("WARREN_TOKEN_RETENTION_SECONDS", "1"),
    ])
    .await;
    let client = house.admin().await;
    let ben = house.user("ben").await;
    let of_ben = "SELECT id FROM principals WHERE subject = 'ben'";
    house
        .sql(&format!(
            "UPDATE token_families SET expires_at = now() WHERE principal_id = ({of_ben});
             UPDATE refresh_tokens SET expires_at = now()
              WHERE family_id IN (SELECT id FROM token_families WHERE principal_id = ({of_ben}))"
        ))
        .await;
    none(
        &house,
        "sign-in of ben",
        &format!("token_families WHERE principal_id = ({of_ben})"),
    )
    .await;
    // What has not expired stays.
    assert_eq!(
        house.sql_value("SELECT count(*) FROM token_families").await,
        "1"
    );
    assert_eq!(
        house.sql_value("SELECT count(*) FROM refresh_tokens").await,
        "1"
    );
    ben.get("/sessions").await.expect(200);
    house.workers[0].process.kill().await;
    none(&house, "dead worker", "workers").await;
    house
        .add_worker(warren_tests::WorkerOptions::default())
        .await;
    client.open_session().await.prints("1").await;
}

async fn put(blobs: &Blobs, key: BlobKey) {
    let mut upload = blobs.upload(key, 100);
    upload.write("bytes".into()).await.unwrap();
    upload.finish().await.unwrap();
}

/// What is in the bucket. None when it cannot be told: the server of the tests stumbles over what goes while it lists.
async fn keys(blobs: &Blobs) -> Option<Vec<BlobKey>> {
    let page = blobs.list(None).await.ok()?;
    Some(page.blobs.into_iter().map(|blob| blob.key).collect())
}

#[tokio::test]
async fn blobs_go_with_their_transfers_and_when_no_row_ever_named_them() {
    let house = house(&[
        // The rounds come as often as the shortest of these wants.
        ("WARREN_TOKEN_RETENTION_SECONDS", "2"),
        ("WARREN_BLOB_RETENTION_SECONDS", "2"),
    ])
    .await;
    let (blobs, db) = (house.object_store(), house.db());
    let owner = house.sql_value("SELECT id FROM principals").await;
    let owner: PrincipalId = owner.parse().unwrap();
    let (expired, living) = (TransferId::new(), TransferId::new());
    let (named, orphan) = (SnapshotId::new(), SnapshotId::new());
    for key in [
        BlobKey::Transfer(expired),
        BlobKey::Transfer(living),
        BlobKey::Snapshot(named),
        BlobKey::Snapshot(orphan),
    ] {
        put(&blobs, key).await;
    }
    for (id, kept) in [
        (expired, Duration::ZERO),
        (living, Duration::from_secs(600)),
    ] {
        transfers::insert(&db, id, owner, 5, kept).await.unwrap();
    }
    house
        .sql(&format!(
            "INSERT INTO snapshots (id, owner_id, content_size) VALUES ('{named}', '{owner}', 5)"
        ))
        .await;
    wait::until("what is nobody's is gone", async || {
        let keys = keys(&blobs).await?;
        assert!(keys.contains(&BlobKey::Transfer(living)));
        assert!(keys.contains(&BlobKey::Snapshot(named)));
        (keys.len() == 2).then_some(())
    })
    .await;
    assert_eq!(house.sql_value("SELECT count(*) FROM transfers").await, "1");
}
