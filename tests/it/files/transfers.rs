//! Bytes that are on their way through the store when something goes wrong.

use std::path::PathBuf;

use serde_json::json;
use tokio::io::AsyncWriteExt;
use tokio::net::TcpStream;
use warren_tests::proxy::Proxy;
use warren_tests::{Builder, House, WorkerOptions, wait};

use super::{MIB, house_with_gate, pattern, submit_upload};

#[tokio::test]
async fn without_the_store_what_is_small_goes_on_and_what_is_large_is_put_off() {
    let mut house = House::build().await;
    let session = house.admin().await.open_session().await;
    session.prints("writeBin(raw(100000), 'large')").await;
    house.take_store_away().await;
    let upload = session.upload(&[("x", &pattern(70_000))]);
    let refused = session.client.send(upload).await;
    assert!(!refused.header("Retry-After").is_empty());
    assert!(refused.error(503).contains("store"));
    assert_eq!(
        house
            .sql_value("SELECT count(*) FROM jobs WHERE kind = 'put_files'")
            .await,
        "0"
    );
    session.get_file("large").await.expect(503);
    session.put_file("small", b"1").await;
    assert_eq!(session.get_file("small").await.expect(200), b"1");
    assert_eq!(session.files().await, json!(["large", "small"]));
    assert_eq!(
        session.prints("cat(file.size('large') == 1e5)").await,
        "TRUE"
    );
    house.give_store_back().await;
    assert!(session.get_file("large").await.expect(200) == vec![0; 100_000]);
    session.put_file("x", &pattern(70_000)).await;
}

#[tokio::test]
async fn a_transfer_holds_nothing_up_and_can_be_cancelled() {
    let (house, _gate) = house_with_gate().await;
    let session = house.admin().await.open_session().await;
    let mut jobs = Vec::new();
    for name in ["a", "b", "c", "d", "e", "f"] {
        jobs.push(submit_upload(&session, name, &pattern(70_000)).await);
    }
    session.client.job_is(&jobs[0], "running").await;
    // However many wait.
    assert_eq!(session.files().await, json!([]));
    assert_eq!(session.prints("cat(1)").await, "1");
    for job in jobs.iter().rev() {
        session
            .client
            .delete(&format!("/jobs/{job}"))
            .await
            .expect(200);
        let ended = session.client.job_end(job).await;
        assert_eq!(ended["state"], "cancelled", "{ended}");
    }
    assert_eq!(session.files().await, json!([]));
    assert_eq!(session.prints("cat(2)").await, "2");
}

/// Files that a worker has begun to take in.
fn arriving(house: &House) -> Vec<PathBuf> {
    let below = |dir: PathBuf| std::fs::read_dir(dir).into_iter().flatten().flatten();
    below(house.workers[0].work_dir.clone())
        .flat_map(|worker| below(worker.path().join("arriving")))
        .map(|entry| entry.path())
        .collect()
}

#[tokio::test]
async fn a_transfer_that_is_cut_short_leaves_nothing() {
    let (house, gate) = house_with_gate().await;
    let session = house.admin().await.open_session().await;
    let old = pattern(5);
    session.put_file("a", &old).await;
    let job = submit_upload(&session, "a", &pattern(20 * MIB)).await;
    gate.send_replace(9 * MIB as u64);
    wait::until("some of it is on the worker's disk", async || {
        let sizes = arriving(&house)
            .into_iter()
            .filter_map(|file| file.metadata().ok());
        sizes.map(|data| data.len()).find(|size| *size > 0)
    })
    .await;
    assert_eq!(session.files().await, json!(["a"]));
    session
        .client
        .delete(&format!("/jobs/{job}"))
        .await
        .expect(200);
    assert_eq!(session.client.job_end(&job).await["state"], "cancelled");
    assert!(session.get_file("a").await.expect(200) == old);
    gate.send_replace(u64::MAX);
    wait::until("nothing of it is left", async || {
        (arriving(&house).is_empty() && house.blobs().is_empty()).then_some(())
    })
    .await;
}

#[tokio::test]
async fn the_end_of_a_session_ends_its_transfers() {
    for force in ["", "/force"] {
        let (house, _gate) = house_with_gate().await;
        let client = house.admin().await;
        let session = client.open_session().await;
        let job = submit_upload(&session, "a", &pattern(70_000)).await;
        client.job_is(&job, "running").await;
        client.delete(&session.path(force)).await.expect(200);
        let ended = client.job_end(&job).await;
        assert_eq!(
            (&ended["state"], &ended["reason"]),
            (&json!("cancelled"), &json!("its session was closed"))
        );
        client.get(&session.path("/files")).await.error(410);
    }
}

#[tokio::test]
async fn the_end_of_r_loses_its_transfers() {
    let (house, _gate) = house_with_gate().await;
    let client = house.admin().await;
    let session = client.open_session().await;
    let job = submit_upload(&session, "a", &pattern(70_000)).await;
    client.job_is(&job, "running").await;
    session
        .execute("tools::pskill(Sys.getpid(), 9)")
        .await
        .expect(200);
    let ended = client.job_end(&job).await;
    assert_eq!(ended["state"], "lost", "{ended}");
    let told = client.get(&session.path("/files")).await.error(410);
    assert!(told.contains("signal 9"), "{told}");
}

#[tokio::test]
async fn a_worker_killed_during_a_transfer_loses_it() {
    let (mut house, _gate) = house_with_gate().await;
    let client = house.admin().await;
    let session = client.open_session().await;
    let upload = {
        let (session, client) = (session.clone(), client.clone());
        tokio::spawn(async move {
            client
                .send(session.upload(&[("a", &pattern(70_000))]))
                .await
        })
    };
    let running = "SELECT count(*) FROM jobs WHERE kind = 'put_files' AND state = 'running'";
    wait::until("the upload runs", async || {
        (house.sql_value(running).await == "1").then_some(())
    })
    .await;
    house.workers[0].process.kill().await;
    assert!(upload.await.unwrap().error(410).contains("worker was lost"));
    client.get(&session.path("/files")).await.error(410);
}

#[tokio::test]
async fn a_worker_asked_to_stop_finishes_the_transfers_that_run() {
    let (mut house, gate) = house_with_gate().await;
    let client = house.admin().await;
    let session = client.open_session().await;
    let job = submit_upload(&session, "a", &pattern(70_000)).await;
    client.job_is(&job, "running").await;
    house.workers[0].process.signal("TERM").await;
    gate.send_replace(u64::MAX);
    let ended = client.job_end(&job).await;
    assert_eq!(ended["state"], "succeeded", "{ended}");
    assert!(house.workers[0].process.ended().await.success());
    let told = client.get(&session.path("/files")).await.error(410);
    assert!(told.contains("worker was drained"), "{told}");
}

#[tokio::test]
async fn a_claim_whose_answer_is_lost_is_found_again() {
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
    link.mute();
    session.put_file("a", b"1").await;
    let log = house.workers[0].process.log_text();
    assert!(log.contains("lost during jobs::claim_aside"), "{log}");
    let attempts = "SELECT attempt FROM jobs WHERE kind = 'put_files'";
    assert_eq!(house.sql_value(attempts).await, "1");
    assert_eq!(session.files().await, json!(["a"]));
}

#[tokio::test]
async fn a_caller_that_goes_away_in_the_middle_leaves_nothing() {
    let house = House::build().await;
    let client = house.admin().await;
    let session = client.open_session().await;
    let addr = house.apis[0].addr;
    let mut stream = TcpStream::connect(addr).await.unwrap();
    let head = format!(
        "POST {} HTTP/1.1\r\nHost: {addr}\r\nAuthorization: Bearer {}\r\nContent-Length: 99999999\r\n\
         Content-Type: multipart/form-data; boundary=b\r\n\r\n\
         --b\r\nContent-Disposition: form-data; name=\"file\"; filename=\"one\"\r\n\r\n",
        session.path("/files"),
        client.token()
    );
    let next =
        b"\r\n--b\r\nContent-Disposition: form-data; name=\"file\"; filename=\"two\"\r\n\r\n";
    let parts = [head.as_bytes(), &pattern(100_000), next, &pattern(20 * MIB)].concat();
    stream.write_all(&parts).await.unwrap();
    wait::until("the first file is in the store", async || {
        (house.sql_value("SELECT count(*) FROM transfers").await == "1").then_some(())
    })
    .await;
    drop(stream);
    wait::until("nothing of it is left", async || {
        let rows = house.sql_value("SELECT count(*) FROM transfers").await;
        let unfinished = std::fs::read_dir(house.dir().join("s3")).unwrap().flatten();
        let parts =
            unfinished.filter(|entry| entry.file_name().to_string_lossy().contains("upload"));
        (rows == "0" && house.blobs().is_empty() && parts.count() == 0).then_some(())
    })
    .await;
    assert_eq!(session.files().await, json!([]));
}
