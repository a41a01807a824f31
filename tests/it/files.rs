//! Files of sessions, over the API.

use std::net::SocketAddr;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use reqwest::Method;
use reqwest::multipart::{Form, Part};
use serde_json::{Value, json};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;
use warren_tests::client::Session;
use warren_tests::proxy::Proxy;
use warren_tests::{Builder, House, WorkerOptions, wait};

const MIB: usize = 1024 * 1024;
/// Runs until a file `go` comes.
const UNTIL_GO: &str = "invisible(file.create('here')); while (!file.exists('go')) Sys.sleep(0.01)";

/// Bytes of which no two stretches are alike.
fn pattern(size: usize) -> Vec<u8> {
    let mut state = 7_u32;
    let next = |_| {
        state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
        state.to_le_bytes()
    };
    let mut bytes: Vec<u8> = (0..size.div_ceil(4)).flat_map(next).collect();
    bytes.truncate(size);
    bytes
}

/// A way to the store that lets through so many bytes of its answers, all connections together, and holds the rest back.
async fn gate_to(store: SocketAddr) -> (SocketAddr, watch::Sender<u64>) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let addr = listener.local_addr().unwrap();
    let (gate, allowed) = watch::channel(0);
    let passed = Arc::new(AtomicU64::new(0));
    tokio::spawn(async move {
        while let Ok((stream, _)) = listener.accept().await {
            let (allowed, passed) = (allowed.clone(), Arc::clone(&passed));
            tokio::spawn(pass(stream, store, allowed, passed));
        }
    });
    (addr, gate)
}

async fn pass(
    stream: TcpStream,
    store: SocketAddr,
    mut allowed: watch::Receiver<u64>,
    passed: Arc<AtomicU64>,
) -> Option<()> {
    let (mut asks, mut hears) = stream.into_split();
    let (mut answers, mut asked) = TcpStream::connect(store).await.ok()?.into_split();
    tokio::spawn(async move { tokio::io::copy(&mut asks, &mut asked).await });
    let mut piece = vec![0; 65_536];
    loop {
        let more = allowed.wait_for(|most| passed.load(Ordering::Relaxed) < *most);
        more.await.ok()?;
        let read = answers.read(&mut piece).await.ok()?;
        if read == 0 {
            return None;
        }
        passed.fetch_add(read as u64, Ordering::Relaxed);
        hears.write_all(&piece[..read]).await.ok()?;
    }
}

/// One API node, and one worker with a gate before its store.
async fn house_with_gate() -> (House, watch::Sender<u64>) {
    let mut house = Builder::new().workers(0).build().await;
    let (addr, gate) = gate_to(house.store()).await;
    let store = ("WARREN_S3_ENDPOINT".to_owned(), format!("http://{addr}"));
    house
        .add_worker(WorkerOptions {
            env: vec![store],
            ..WorkerOptions::default()
        })
        .await;
    (house, gate)
}

/// Uploads without waiting, and returns the job's id.
async fn submit_upload(session: &Session, name: &str, bytes: &[u8]) -> String {
    let upload = session.upload(&[(name, bytes)]);
    let upload = upload.header("Prefer", "respond-async");
    let body = session.client.send(upload).await.expect(202);
    body["jobId"].as_str().unwrap().to_owned()
}

#[tokio::test]
async fn files_go_up_are_seen_by_r_come_down_and_go_away() {
    let house = House::build().await;
    let session = house.admin().await.open_session().await;
    let upload = session.upload(&[
        ("b.csv", b"x,y\n1,2\n"),
        ("a.bin", b"\0\xff\r\n--"),
        ("empty", b""),
    ]);
    let stored = session.client.fetch(upload).await;
    assert_eq!(stored.status, 201);
    assert!(stored.bytes.is_empty());
    assert_eq!(
        session
            .prints("cat(read.csv('b.csv')$y, file.size('empty'))")
            .await,
        "2 0"
    );
    session
        .prints("writeLines('hi', 'from_r.txt'); dir.create('folder'); file.create('.hidden')")
        .await;
    assert_eq!(
        session.files().await,
        json!(["a.bin", "b.csv", "empty", "from_r.txt"])
    );

    let file = session.get_file("a.bin").await;
    assert_eq!(file.header("Content-Type"), "application/octet-stream");
    assert_eq!(file.header("Content-Length"), "6");
    assert_eq!(
        file.header("Content-Disposition"),
        "attachment; filename=\"a.bin\""
    );
    assert_eq!(file.expect(200), b"\0\xff\r\n--");
    assert_eq!(session.get_file("empty").await.expect(200), b"");
    assert_eq!(session.get_file("from_r.txt").await.expect(200), b"hi\n");
    assert_eq!(session.get_file(".hidden").await.expect(200), b"");
    session.get_file("folder").await.expect(404);

    session.put_file("a.bin", b"new").await;
    assert_eq!(session.get_file("a.bin").await.expect(200), b"new");
    // R may change what came, as if it had made it.
    session
        .prints("cat('er', file = 'a.bin', append = TRUE)")
        .await;
    assert_eq!(session.get_file("a.bin").await.expect(200), b"newer");

    let deleted = session
        .client
        .request(Method::DELETE, &session.path("/files/a.bin"));
    let deleted = session.client.fetch(deleted).await;
    assert!(deleted.bytes.is_empty());
    deleted.expect(200);
    let missing = session.client.delete(&session.path("/files/a.bin")).await;
    assert!(missing.error(404).contains("a.bin"));
    session.get_file("a.bin").await.expect(404);
    assert_eq!(session.prints("cat(file.exists('a.bin'))").await, "FALSE");
}

#[tokio::test]
async fn files_are_answered_while_r_is_busy() {
    let house = House::build().await;
    let session = house.admin().await.open_session().await;
    let job = session.submit(UNTIL_GO).await;
    house.working_dir_with("here").await;
    session.put_file("x", b"1").await;
    assert_eq!(session.files().await, json!(["here", "x"]));
    assert_eq!(session.get_file("x").await.expect(200), b"1");
    session
        .client
        .delete(&session.path("/files/x"))
        .await
        .expect(200);
    let queued = session.submit("1").await;
    assert_eq!(session.files().await, json!(["here"]));
    session.put_file("go", b"").await;
    assert_eq!(session.client.job_end(&job).await["state"], "succeeded");
    assert_eq!(session.client.job_end(&queued).await["state"], "succeeded");
}

#[tokio::test]
async fn names_are_checked_and_decoded_once() {
    let house = House::build().await;
    let session = house.admin().await.open_session().await;
    for (sent, name) in [
        ("../../up.txt", "up.txt"),
        ("C:\\data\\win.txt", "win.txt"),
        ("50%25", "50%25"),
        ("ünï ☃.txt", "ünï ☃.txt"),
        ("-rf *", "-rf *"),
    ] {
        session.put_file(sent, name.as_bytes()).await;
    }
    let names = json!(["-rf *", "50%25", "up.txt", "win.txt", "ünï ☃.txt"]);
    assert_eq!(session.files().await, names);
    assert_eq!(session.get_file("50%2525").await.expect(200), b"50%25");
    session.get_file("50%25").await.expect(404);
    let snow = session.get_file("%C3%BCn%C3%AF%20%E2%98%83.txt").await;
    assert_eq!(
        snow.header("Content-Disposition"),
        "attachment; filename=\"_n_ _.txt\"; filename*=UTF-8''%C3%BCn%C3%AF%20%E2%98%83.txt"
    );
    assert_eq!(snow.expect(200), "ünï ☃.txt".as_bytes());
    let long = "x".repeat(256);
    for bad in ["..", ".", "...", "a/", "", &long] {
        let upload = session.upload(&[("good", b""), (bad, b"")]);
        session.client.send(upload).await.error(400);
    }
    for bad in [
        "a%2Fb",
        "a%5Cb",
        "a%00b",
        "%2E%2E%2Fwork",
        "...",
        "a%0Ab",
        &long,
    ] {
        session
            .client
            .get(&session.path(&format!("/files/{bad}")))
            .await
            .error(400);
        session
            .client
            .delete(&session.path(&format!("/files/{bad}")))
            .await
            .error(400);
    }
    // All or nothing: what came with a bad name did not come.
    assert_eq!(session.files().await, names);
}

#[tokio::test]
async fn a_form_that_makes_no_sense_is_refused() {
    let mut house = Builder::new().apis(0).build().await;
    let limit = [("WARREN_UPLOAD_MAX_BYTES", "200000")];
    house.add_api_via(house.database.server, &limit).await;
    let client = house.admin().await;
    let session = client.open_session().await;
    let post = || client.request(Method::POST, &session.path("/files"));
    client.send(post().json(&json!({}))).await.error(415);
    client.send(post().body("x")).await.error(415);
    let no_boundary = post()
        .header("Content-Type", "multipart/form-data")
        .body("x");
    assert!(
        client
            .send(no_boundary)
            .await
            .error(400)
            .contains("boundary")
    );
    let cut = "--b\r\nContent-Disposition: form-data; name=\"file\"; filename=\"x\"\r\n\r\n12";
    let cut = post()
        .header("Content-Type", "multipart/form-data; boundary=b")
        .body(cut);
    client.send(cut).await.error(400);
    let form = post().multipart(Form::new().part("other", Part::bytes(vec![1]).file_name("x")));
    assert!(client.send(form).await.error(400).contains("named file"));
    let form = post().multipart(Form::new().text("file", "no name"));
    assert!(client.send(form).await.error(400).contains("filename"));
    client
        .send(session.upload(&[("x", &pattern(200_001))]))
        .await
        .error(413);
    let halves = [("x", &pattern(100_000)[..]), ("y", &pattern(100_000)[..])];
    client.send(session.upload(&halves)).await.error(413);
    assert_eq!(session.files().await, json!([]));
    wait::until("nothing of it is left", async || {
        let rows = house.sql_value("SELECT count(*) FROM transfers").await;
        (rows == "0" && house.blobs().is_empty()).then_some(())
    })
    .await;
    assert_eq!(
        house
            .sql_value("SELECT count(*) FROM jobs WHERE kind = 'put_files'")
            .await,
        "0"
    );
}

#[tokio::test]
async fn a_file_too_long_for_a_session_is_refused_whole() {
    let mut house = Builder::new().workers(0).build().await;
    house
        .add_worker(WorkerOptions {
            env: vec![("WARREN_SESSION_FILE_BYTES".to_owned(), "100000".to_owned())],
            ..WorkerOptions::default()
        })
        .await;
    let session = house.admin().await.open_session().await;
    let upload = session.upload(&[("short", b"1"), ("long", &pattern(100_001))]);
    let told = session.client.send(upload).await.error(413);
    assert!(told.contains("WARREN_SESSION_FILE_BYTES"), "{told}");
    assert_eq!(session.files().await, json!([]));
}

#[tokio::test]
async fn ranges_tags_and_conditions_are_those_of_the_rfc() {
    let house = House::build().await;
    let session = house.admin().await.open_session().await;
    session.put_file("x", b"0123456789").await;
    let with = |name: &str, value: &str| session.download("x").header(name, value);
    let tag = wait::until("the file is older than a tick of the clock", async || {
        let tag = session.get_file("x").await.header("ETag").to_owned();
        (!tag.starts_with("W/")).then_some(tag)
    })
    .await;
    for (range, part, content_range) in [
        ("bytes=2-4", "234", "bytes 2-4/10"),
        ("bytes=7-", "789", "bytes 7-9/10"),
        ("bytes=-2", "89", "bytes 8-9/10"),
        ("bytes=9-99", "9", "bytes 9-9/10"),
    ] {
        let got = session.client.fetch(with("Range", range)).await;
        assert_eq!(got.header("Content-Range"), content_range);
        assert_eq!(got.header("Content-Length"), part.len().to_string());
        assert_eq!(got.header("ETag"), tag);
        assert_eq!(got.expect(206), part.as_bytes());
    }
    for ignored in ["bytes=4-2", "bytes=0-1,5-6", "lines=1-2"] {
        let got = session.client.fetch(with("Range", ignored)).await;
        assert_eq!(got.header("Accept-Ranges"), "bytes");
        assert_eq!(got.expect(200), b"0123456789");
    }
    let outside = session.client.send(with("Range", "bytes=10-")).await;
    assert_eq!(outside.header("Content-Range"), "bytes */10");
    outside.error(416);
    let part = with("Range", "bytes=0-0").header("If-Range", &tag);
    assert_eq!(session.client.fetch(part).await.expect(206), b"0");
    let whole = with("Range", "bytes=0-0").header("If-Range", "\"other\"");
    assert_eq!(session.client.fetch(whole).await.expect(200), b"0123456789");
    let known = session.client.fetch(with("If-None-Match", &tag)).await;
    assert_eq!(known.header("ETag"), tag);
    assert_eq!(known.header("Content-Disposition"), "");
    assert_eq!(known.expect(304), b"");
    let head = session
        .client
        .request(Method::HEAD, &session.path("/files/x"));
    let head = session.client.fetch(head).await;
    assert_eq!(head.header("Content-Length"), "10");
    assert_eq!(head.header("ETag"), tag);
    assert_eq!(head.expect(200), b"");

    session.prints("cat('9876543210', file = 'x')").await;
    let changed = session.client.fetch(with("If-None-Match", &tag)).await;
    assert_ne!(changed.header("ETag"), tag);
    assert_eq!(changed.expect(200), b"9876543210");
}

#[tokio::test]
async fn links_and_pipes_that_r_code_planted_lead_nowhere() {
    let house = House::build().await;
    let session = house.admin().await.open_session().await;
    session
        .prints(
            "invisible(file.create('here', '../tmp/target'))
             invisible(file.symlink('/etc/passwd', 'far'))
             invisible(file.symlink('../tmp/target', 'near'))
             invisible(file.symlink('..', 'up'))
             invisible(file.symlink('nothing', 'dangling'))
             stopifnot(system('mkfifo pipe') == 0)",
        )
        .await;
    let dir = house.working_dir_with("here").await;
    assert_eq!(session.files().await, json!(["here"]));
    for name in ["far", "near", "up", "dangling", "pipe"] {
        session.get_file(name).await.expect(404);
        session
            .client
            .delete(&session.path(&format!("/files/{name}")))
            .await
            .error(404);
        // What comes takes the place of the link.
        session.put_file(name, name.as_bytes()).await;
        assert!(dir.join(name).symlink_metadata().unwrap().is_file());
        assert_eq!(session.get_file(name).await.expect(200), name.as_bytes());
    }
    assert_eq!(session.prints("cat(file.size('../tmp/target'))").await, "0");
    let owner = std::fs::metadata(&dir).unwrap().uid();
    assert_eq!(std::fs::metadata(dir.join("far")).unwrap().uid(), owner);

    // With users of their own for sessions, a file of somebody else is none of the session's, whatever its name.
    std::fs::write(house.dir().join("secret"), "secret").unwrap();
    if owner != rustix::process::geteuid().as_raw() {
        std::fs::hard_link(house.dir().join("secret"), dir.join("hard")).unwrap();
        session.get_file("hard").await.expect(404);
        session
            .client
            .delete(&session.path("/files/hard"))
            .await
            .error(404);
        session.put_file("hard", b"mine").await;
        assert_eq!(
            std::fs::read(house.dir().join("secret")).unwrap(),
            b"secret"
        );
    }

    // The working directory itself as a link.
    session
        .prints(
            "invisible(file.rename('../work', '../moved'))
             invisible(file.symlink('/etc', '../work'))",
        )
        .await;
    let told = session
        .client
        .get(&session.path("/files/passwd"))
        .await
        .error(409);
    assert!(!told.contains("root:"), "{told}");
    let upload = session.upload(&[("planted", b"")]);
    session.client.send(upload).await.error(409);
    assert!(!Path::new("/etc/planted").exists());
}

#[tokio::test]
async fn a_directory_keeps_its_name() {
    let house = House::build().await;
    let session = house.admin().await.open_session().await;
    session.prints("invisible(dir.create('folder'))").await;
    let upload = session.upload(&[("file", b"1"), ("folder", b"2")]);
    assert!(
        session
            .client
            .send(upload)
            .await
            .error(400)
            .contains("folder")
    );
    assert_eq!(session.files().await, json!([]));
}

#[tokio::test]
async fn a_large_file_goes_through_the_store_and_leaves_nothing_there_that_nobody_needs() {
    let house = House::build().await;
    let session = house.admin().await.open_session().await;
    let bytes = pattern(20 * MIB + 7);
    let small = pattern(10);
    let upload = session.upload(&[("large", &bytes), ("small", &small)]);
    session.client.send(upload).await.expect(201);
    wait::until("what was sent is gone from the store", async || {
        let rows = house.sql_value("SELECT count(*) FROM transfers").await;
        (rows == "0" && house.blobs().is_empty()).then_some(())
    })
    .await;
    assert_eq!(
        session.prints("cat(file.size('large'))").await,
        bytes.len().to_string()
    );
    let part = session
        .download("large")
        .header("Range", "bytes=8388600-8388619");
    assert!(session.client.fetch(part).await.expect(206) == bytes[8_388_600..8_388_620]);
    assert!(house.blobs().is_empty());
    let whole = session.get_file("large").await;
    assert_eq!(whole.header("Content-Length"), bytes.len().to_string());
    assert!(whole.expect(200) == bytes);
    assert_eq!(
        house.sql_value("SELECT sum(bytes) FROM transfers").await,
        bytes.len().to_string()
    );
    // One for each 2 MiB.
    assert_eq!(house.blobs().len(), 11);
    let rows = "SELECT max(length(request) + coalesce(length(result), 0)) < 100000 FROM jobs";
    assert_eq!(house.sql_value(rows).await, "t");
    assert!(session.get_file("small").await.expect(200) == small);
}

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

#[tokio::test]
async fn two_uploads_of_one_name_leave_one_of_them_whole() {
    let house = House::build().await;
    let session = house.admin().await.open_session().await;
    let [one, two] = [vec![1; 3 * MIB], vec![2; 3 * MIB]];
    for _ in 0..3 {
        let (first, second) =
            tokio::join!(session.put_file("x", &one), session.put_file("x", &two));
        let ((), ()) = (first, second);
        let left = session.get_file("x").await.expect(200);
        assert!(left == one || left == two);
    }
    assert_eq!(session.files().await, json!(["x"]));
}

#[tokio::test]
async fn a_poller_fetches_the_bytes_of_its_job() {
    let house = House::build().await;
    let client = house.admin().await;
    let session = client.open_session().await;
    let bytes = pattern(100_000);
    session.put_file("large", &bytes).await;
    session.put_file("small", b"small").await;
    for (name, bytes) in [("large", &bytes[..]), ("small", b"small")] {
        let request = session.download(name).header("Prefer", "respond-async");
        let job = client.send(request).await.expect(202)["jobId"].clone();
        let job = job.as_str().unwrap();
        let ended = client.job_end(job).await;
        let href = format!("/jobs/{job}/content");
        let expected = json!({"name": name, "size": bytes.len(), "href": href});
        assert_eq!(ended["result"], expected);
        let content = client.fetch(client.request(Method::GET, &href)).await;
        assert!(content.header("Content-Disposition").contains(name));
        assert!(content.expect(200) == bytes);
        house
            .user(&format!("reader-of-{name}"))
            .await
            .get(&href)
            .await
            .error(404);
    }
    let request = session.download("none").header("Prefer", "respond-async");
    let job = client.send(request).await.expect(202)["jobId"].clone();
    let job = job.as_str().unwrap();
    let ended = client.job_end(job).await;
    assert_eq!(
        (&ended["state"], &ended["result"]["refusal"]),
        (&json!("failed"), &json!("not_found"))
    );
    client.get(&format!("/jobs/{job}/content")).await.error(404);
    let run = session.submit("1").await;
    client.job_end(&run).await;
    client.get(&format!("/jobs/{run}/content")).await.error(404);
}

#[tokio::test]
async fn an_upload_repeated_with_its_key_is_one_upload() {
    let house = House::build().await;
    let session = house.admin().await.open_session().await;
    let send = async |files: &[(&str, &[u8])]| -> u16 {
        let upload = session.upload(files).header("Idempotency-Key", "once");
        session.client.send(upload).await.status.as_u16()
    };
    let large = pattern(100_000);
    assert_eq!(send(&[("x", b"1"), ("y", &large)]).await, 201);
    session.prints("invisible(file.remove('x'))").await;
    // The boundary of the form is another one each time; what counts is what is in it.
    assert_eq!(send(&[("x", b"1"), ("y", &large)]).await, 201);
    assert_eq!(session.files().await, json!(["y"]));
    assert_eq!(send(&[("x", b"2"), ("y", &large)]).await, 422);
    assert_eq!(send(&[("x1", b""), ("y", &large)]).await, 422);
}

#[tokio::test]
async fn files_of_somebody_else_are_not_there() {
    let house = House::build().await;
    let session = house.admin().await.open_session().await;
    session.put_file("x", b"1").await;
    let theirs = Session {
        client: house.user("other").await,
        id: session.id.clone(),
    };
    theirs.get_file("x").await.expect(404);
    let client = &theirs.client;
    client.get(&theirs.path("/files")).await.error(404);
    client.delete(&theirs.path("/files/x")).await.error(404);
    client.send(theirs.upload(&[("x", b"2")])).await.error(404);
    let unchanged: Value = session.files().await;
    assert_eq!(unchanged, json!(["x"]));
    assert_eq!(session.get_file("x").await.expect(200), b"1");
}
