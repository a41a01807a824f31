//! Snapshots of sessions, over the API.

use std::path::Path;
use std::process::Command;

use reqwest::Method;
use serde_json::json;
use warren_tests::client::{Answer, Client, Session, UNTIL_GO};
use warren_tests::gate::Gate;
use warren_tests::{Builder, House, WorkerOptions, wait};

async fn zip_of(client: &Client, snapshot: &str) -> Vec<u8> {
    let request = client.request(Method::GET, &format!("/snapshots/{snapshot}"));
    client.fetch(request).await.expect(200)
}

/// Unpacks with `unzip`, and says what R prints that loads the workspace there.
fn unzipped(zip: &[u8], into: &Path, code: &str) -> String {
    let file = into.join("snapshot.zip");
    std::fs::write(&file, zip).unwrap();
    let to = into.join("to");
    let mut unzip = Command::new("unzip");
    unzip.arg("-q").arg(&file).arg("-d").arg(&to);
    let done = unzip.output().unwrap();
    assert!(done.status.success(), "{done:?}");
    let output = Command::new("R")
        .args(["--vanilla", "--no-echo", "-e", code])
        .env("LC_ALL", "C.UTF-8")
        .current_dir(&to)
        .output()
        .unwrap();
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{said}");
    String::from_utf8(output.stdout).unwrap()
}

/// Asks without waiting, and returns the job's id.
async fn ask(session: &Session, path: &str) -> String {
    let request = session.client.request(Method::POST, &session.path(path));
    let request = request.header("Prefer", "respond-async");
    let body = session.client.send(request).await.expect(202);
    body["jobId"].as_str().unwrap().to_owned()
}

async fn try_save(session: &Session) -> Answer {
    let path = session.path("/snapshot");
    session.client.post(&path, &json!({})).await
}

fn nothing() -> Vec<String> {
    Vec::new()
}

#[tokio::test]
async fn a_snapshot_holds_workspace_and_files_and_opens_with_unzip_and_load() {
    let house = House::build().await;
    let client = house.admin().await;
    let session = client.open_session().await;
    session
        .prints("x <- 1:3; .hidden <- 'é'; f <- function() x; dir.create('d'); cat('text', file = 'd/größe 1'); save.image(); set.seed(1); invisible(.libPaths())")
        .await;
    let body = json!({"name": "my state", "other": 1});
    let saved = client.post(&session.path("/snapshot"), &body).await;
    let id = saved.expect(201)["snapshotId"].as_str().unwrap().to_owned();

    let listed = client.get("/snapshots").await.expect(200);
    let zip = zip_of(&client, &id).await;
    let one = &listed[0];
    assert_eq!(one["id"], id);
    assert_eq!(
        (&one["name"], &one["owner"]),
        (&json!("my state"), &json!("admin"))
    );
    assert_eq!(one["contentSize"], zip.len());
    let time = one["creationTime"].as_str().unwrap();
    assert!(time.len() > 19 && time.as_bytes()[10] == b'T', "{time}");

    let dir = tempfile::tempdir().unwrap();
    let code = "print(setequal(load('.RData'), c('x', '.hidden', 'f', '.Random.seed'))); cat(f(), .hidden, readLines('d/größe 1', warn = FALSE), dir.exists('.library'))";
    assert_eq!(
        unzipped(&zip, dir.path(), code),
        "[1] TRUE\n1 2 3 é text TRUE"
    );

    let path = format!("/snapshots/{id}");
    let part = client
        .request(Method::GET, &path)
        .header("Range", "bytes=10-19");
    let part = client.fetch(part).await;
    assert_eq!(
        part.header("Content-Range"),
        format!("bytes 10-19/{}", zip.len())
    );
    assert_eq!(part.header("Content-Type"), "application/zip");
    assert_eq!(
        part.header("Content-Disposition"),
        "attachment; filename=\"my state.zip\""
    );
    assert_eq!(part.expect(206), zip[10..20]);
    let head = client.fetch(client.request(Method::HEAD, &path)).await;
    assert_eq!(head.header("Content-Length"), zip.len().to_string());
    let beyond = client
        .request(Method::GET, &path)
        .header("Range", format!("bytes={}-", zip.len()));
    client.send(beyond).await.error(416);
}

#[tokio::test]
async fn loading_adds_and_overrides_and_leaves_the_rest() {
    let house = House::build().await;
    let client = house.admin().await;
    let saved = client.open_session().await;
    saved
        .prints("x <- 'saved'; y <- 1; cat('saved', file = 'a'); dir.create('d'); cat('saved', file = 'd/b')")
        .await;
    let id = saved.save().await;
    let other = client.open_session().await;
    other
        .prints("x <- 'other'; z <- 2; cat('other', file = 'a'); cat('other', file = 'c'); dir.create('d'); cat('other', file = 'd/e')")
        .await;
    other.load(&id).await.expect(200);
    assert_eq!(
        other
            .prints("cat(x, y, z, sapply(c('a', 'c', 'd/b', 'd/e'), readLines, warn = FALSE))")
            .await,
        "saved 1 2 saved other saved other"
    );
    // Its files are the session's own.
    other
        .prints("cat('more', file = 'd/b', append = TRUE); file.remove('a')")
        .await;
    saved.close().await;
    other.load(&id).await.expect(200);
    assert_eq!(
        other.prints("cat(readLines('a', warn = FALSE))").await,
        "saved"
    );
    assert_eq!(house.blobs(), [format!("snapshots/{id}.zip")]);
}

#[tokio::test]
async fn a_session_begins_with_a_snapshot_and_its_packages() {
    let house = House::build().await;
    let client = house.admin().await;
    let session = client.open_session().await;
    session
        .prints("x <- 42; e <- new.env(); e$self <- e; cat('here', file = 'a')\nlib <- .libPaths()[1]; dir.create(file.path(lib, 'p')); cat('of p', file = file.path(lib, 'p', 'data'))")
        .await;
    let id = session.save().await;
    session.close().await;
    let fresh = client.open_with(&id).await;
    assert_eq!(
        fresh.prints("cat(x, identical(e, e$self), readLines('a', warn = FALSE), readLines(file.path(.libPaths()[1], 'p', 'data'), warn = FALSE))").await,
        "42 TRUE here of p"
    );
    let history = client.get(&fresh.path("/history")).await.expect(200);
    assert_eq!(history.as_array().unwrap().len(), 1);
    let jobs = client.get("/jobs?kind=open_session").await.expect(200);
    assert_eq!(
        (&jobs[0]["state"], &jobs[0]["attempt"]),
        (&json!("succeeded"), &json!(1))
    );
}

#[tokio::test]
async fn snapshots_take_their_turn() {
    let house = House::build().await;
    let client = house.admin().await;
    let session = client.open_session().await;
    session.prints("x <- 0").await;
    let running = session.submit(&format!("x <- 1; {UNTIL_GO}; x <- 2")).await;
    house.working_dir_with("here").await;
    let create = ask(&session, "/snapshot").await;
    let later = session.submit("x <- 3; unlink('go')").await;
    session.put_file("go", b"").await;
    for job in [&running, &create, &later] {
        assert_eq!(client.job_end(job).await["state"], "succeeded");
    }
    let saved = client.job_end(&create).await;
    let id = saved["result"]["snapshotId"].as_str().unwrap();
    assert_eq!(client.open_with(id).await.prints("cat(x)").await, "2");
}

#[tokio::test]
async fn snapshots_are_their_owner_s_and_can_be_deleted() {
    let house = House::build().await;
    let (ada, ben) = (house.user("ada").await, house.user("ben").await);
    let session = ada.open_session().await;
    let id = session.save().await;
    let path = format!("/snapshots/{id}");
    let of_ben = ben.open_session().await;
    assert_eq!(ben.get("/snapshots").await.expect(200), json!([]));
    ben.get(&path).await.error(404);
    ben.delete(&path).await.error(404);
    of_ben.load(&id).await.error(404);
    let open = json!({ "snapshotId": id });
    ben.post("/sessions", &open).await.error(404);
    ada.post("/sessions", &json!({"snapshotId": "x"}))
        .await
        .error(400);

    assert!(ada.delete(&path).await.expect(200).is_string());
    ada.delete(&path).await.error(404);
    ada.get(&path).await.error(404);
    session.load(&id).await.error(404);
    ada.post("/sessions", &open).await.error(404);
    assert_eq!(house.blobs(), nothing());
}

#[tokio::test]
async fn a_snapshot_repeated_with_its_key_is_one() {
    let house = House::build().await;
    let client = house.admin().await;
    let session = client.open_session().await;
    let save = || {
        let request = client.request(Method::POST, &session.path("/snapshot"));
        client.send(request.header("Idempotency-Key", "k"))
    };
    let (first, second) = (save().await.expect(201), save().await.expect(201));
    assert_eq!(first, second);
    let listed = client.get("/snapshots").await.expect(200);
    assert_eq!(listed.as_array().unwrap().len(), 1);
}

#[tokio::test]
async fn what_cannot_be_saved_leaves_nothing() {
    let house = Builder::new()
        .env("WARREN_SNAPSHOT_MAX_BYTES", "1000000")
        .build()
        .await;
    let client = house.admin().await;
    let session = client.open_session().await;
    session.prints("x <- runif(2e5)").await;
    let large = try_save(&session).await.error(413);
    assert!(large.contains("WARREN_SNAPSHOT_MAX_BYTES"), "{large}");
    session.prints("rm(x); writeBin(raw(2e6), 'zeros')").await;
    try_save(&session).await.error(413);
    session
        .prints("file.remove('zeros'); makeActiveBinding('bad', function() stop('no value today'), globalenv())")
        .await;
    assert!(
        try_save(&session)
            .await
            .error(400)
            .contains("no value today")
    );
    session.prints("rm(bad); file.create('a\\xe9b')").await;
    assert!(try_save(&session).await.error(400).contains("not UTF-8"));
    assert_eq!(client.get("/snapshots").await.expect(200), json!([]));
    assert_eq!(house.blobs(), nothing());
    session.prints("unlink(list.files()); x <- 1").await;
    session.save().await;
}

#[tokio::test]
async fn without_the_store_nothing_is_saved_or_loaded_and_the_session_lives() {
    let mut house = House::build().await;
    let client = house.admin().await;
    let session = client.open_session().await;
    session.prints("x <- 1").await;
    let id = session.save().await;
    house.take_store_away().await;
    let away = client.post(&session.path("/snapshot"), &json!({})).await;
    assert!(away.error(503).contains("object store"));
    session.load(&id).await.error(503);
    client.get(&format!("/snapshots/{id}")).await.error(503);
    client
        .post("/sessions", &json!({ "snapshotId": id }))
        .await
        .error(503);
    assert_eq!(session.prints("cat(x)").await, "1");
    let jobs = client.get("/jobs?state=failed").await.expect(200);
    let kinds: Vec<&str> = jobs
        .as_array()
        .unwrap()
        .iter()
        .map(|job| job["kind"].as_str().unwrap())
        .collect();
    assert_eq!(kinds, ["open_session", "load_snapshot", "create_snapshot"]);
    let listed = client.get("/snapshots").await.expect(200);
    assert_eq!(listed.as_array().unwrap().len(), 1);
    house.give_store_back().await;
    session.load(&id).await.expect(200);
    assert_eq!(house.blobs().len(), 1);
}

#[tokio::test]
async fn saving_can_be_cancelled_and_leaves_nothing() {
    let house = House::build().await;
    let client = house.admin().await;
    let session = client.open_session().await;
    session
        .prints("makeActiveBinding('slow', function() { file.create('here'); repeat Sys.sleep(0.01) }, globalenv())")
        .await;
    let create = ask(&session, "/snapshot").await;
    house.working_dir_with("here").await;
    client.delete(&format!("/jobs/{create}")).await.expect(200);
    let ended = client.job_end(&create).await;
    assert_eq!(
        (&ended["state"], &ended["cancel"]),
        (&json!("cancelled"), &json!("confirmed"))
    );
    assert_eq!(client.get("/snapshots").await.expect(200), json!([]));
    session.prints("rm(slow)").await;
    session.save().await;
}

/// A snapshot in the store, and a worker on whose way there is a closed gate. Nothing but its patience ends its wait.
async fn house_with_gate(settings: &[(&str, &str)]) -> (House, Gate, String) {
    let builder = settings
        .iter()
        .fold(Builder::new(), |house, (name, value)| {
            house.env(name, value)
        });
    let mut house = builder.build().await;
    let session = house.admin().await.open_session().await;
    session.prints("x <- 1").await;
    let id = session.save().await;
    session.close().await;
    house.workers[0].process.signal("TERM").await;
    house.workers[0].process.ended().await;
    let gate = Gate::before(house.store()).await;
    let store = (
        "WARREN_S3_ENDPOINT".to_owned(),
        format!("http://{}", gate.addr()),
    );
    let options = WorkerOptions {
        env: vec![store],
        ..WorkerOptions::default()
    };
    house.add_worker(options).await;
    (house, gate, id)
}

/// Asks for a session with a snapshot without waiting, and waits until a worker loads it; the job and the session.
async fn loading(client: &Client, snapshot: &str) -> (String, Session) {
    let body = json!({ "snapshotId": snapshot });
    let request = client.request(Method::POST, "/sessions");
    let request = request.header("Prefer", "respond-async").json(&body);
    let accepted = client.send(request).await.expect(202);
    let job = accepted["jobId"].as_str().unwrap().to_owned();
    client.job_is(&job, "running").await;
    let session = Session {
        client: client.clone(),
        id: accepted["sessionId"].as_str().unwrap().to_owned(),
    };
    (job, session)
}

#[tokio::test]
async fn a_session_whose_worker_is_killed_while_it_loads_is_opened_by_another() {
    let (mut house, _gate, id) = house_with_gate(&[]).await;
    let client = house.admin().await;
    let (job, session) = loading(&client, &id).await;
    house.workers[1].process.kill().await;
    house.add_worker(WorkerOptions::default()).await;
    let ended = client.job_end(&job).await;
    assert_eq!(
        (&ended["state"], &ended["attempt"]),
        (&json!("succeeded"), &json!(2))
    );
    assert_eq!(session.prints("cat(x)").await, "1");
}

#[tokio::test]
async fn an_opening_that_loads_can_be_cancelled_and_its_session_closed() {
    let (house, gate, id) = house_with_gate(&[]).await;
    let client = house.admin().await;
    let (job, session) = loading(&client, &id).await;
    client.delete(&session.path("")).await.expect(200);
    assert_eq!(client.job_end(&job).await["state"], "cancelled");
    session.gone().await;
    let (job, session) = loading(&client, &id).await;
    client.delete(&format!("/jobs/{job}")).await.expect(200);
    assert_eq!(client.job_end(&job).await["state"], "cancelled");
    session.gone().await;
    gate.open();
    assert_eq!(client.open_with(&id).await.prints("cat(x)").await, "1");
}

#[tokio::test]
async fn a_caller_waits_on_while_a_worker_loads() {
    let (house, gate, id) = house_with_gate(&[("WARREN_OPEN_WAIT_SECONDS", "0.5")]).await;
    let client = house.admin().await;
    let opening = {
        let client = client.clone();
        tokio::spawn(async move { client.open_with(&id).await })
    };
    // Longer than the wait: the node has asked by then whether it may give up.
    wait::until("the opening has run for a while", async || {
        let asked = "SELECT count(*) FROM jobs WHERE kind = 'open_session' AND state = 'running' \
                     AND started_at < now() - interval '1 second'";
        (house.sql_value(asked).await == "1").then_some(())
    })
    .await;
    gate.open();
    assert_eq!(opening.await.unwrap().prints("cat(x)").await, "1");
}

#[tokio::test]
async fn a_snapshot_that_is_deleted_while_it_waits_to_be_loaded_says_so() {
    let house = House::build().await;
    let client = house.admin().await;
    let session = client.open_session().await;
    let id = session.save().await;
    session.submit(UNTIL_GO).await;
    house.working_dir_with("here").await;
    let load = ask(&session, &format!("/loadsnapshot/{id}")).await;
    client.delete(&format!("/snapshots/{id}")).await.expect(200);
    session.put_file("go", b"").await;
    let ended = client.job_end(&load).await;
    assert_eq!(ended["state"], "failed");
    assert!(
        ended["reason"].as_str().unwrap().contains("was deleted"),
        "{ended}"
    );
}

#[tokio::test]
async fn a_snapshot_that_the_store_changed_is_loaded_by_nobody() {
    let house = House::build().await;
    let client = house.admin().await;
    let session = client.open_session().await;
    session.prints("x <- runif(1e5)").await;
    session.put_file("a", &[7; 100]).await;
    let snapshot = session.save().await;
    let zip = house
        .dir()
        .join(format!("s3/warren/snapshots/{snapshot}.zip"));
    let mut changed = std::fs::read(&zip).unwrap();
    let middle = changed.len() / 2;
    changed[middle] ^= 1;
    std::fs::write(&zip, changed).unwrap();
    session.prints("x <- 'mine'").await;
    let refused = session.load(&snapshot).await.error(400);
    assert!(refused.contains("checksum"), "{refused}");
    assert_eq!(session.prints("cat(x)").await, "mine");
}
