//! Objects of workspaces, over the API. R without Warren is the judge of the bytes.

use std::collections::BTreeSet;
use std::process::Command;

use reqwest::Method;
use serde_json::json;
use warren_tests::client::{Session, UNTIL_GO};
use warren_tests::{Builder, House};

/// Runs R without Warren in a directory that holds these bytes as the file `object`; gives what it printed and that file then.
fn plain_r(code: &str, object: &[u8]) -> (String, Vec<u8>) {
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("object");
    std::fs::write(&file, object).unwrap();
    let output = Command::new("R")
        .args(["--vanilla", "--no-echo", "-e", code])
        .env("LC_ALL", "C.UTF-8")
        .current_dir(dir.path())
        .output()
        .unwrap();
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{code}: {said}");
    let printed = String::from_utf8(output.stdout).unwrap();
    (printed, std::fs::read(file).unwrap())
}

/// Starts a run that lasts until a file `go` comes, and waits until it has begun.
async fn busy(house: &House, session: &Session) -> String {
    let job = session.submit(UNTIL_GO).await;
    house.working_dir_with("here").await;
    job
}

async fn let_go(session: &Session) {
    session.put_file("go", b"").await;
}

#[tokio::test]
async fn objects_are_listed_given_out_taken_in_and_removed() {
    let house = House::build().await;
    let session = house.admin().await.open_session().await;
    assert_eq!(session.objects().await, json!([]));
    session
        .prints("b <- data.frame(n = 1:2, s = c('x', 'é')); `größe 1/2` <- 2; .hidden <- 3")
        .await;
    assert_eq!(session.objects().await, json!(["b", "größe 1/2"]));

    let saved = session.get_object("b").await;
    assert_eq!(saved.header("Content-Type"), "application/octet-stream");
    assert_eq!(
        saved.header("Content-Disposition"),
        "attachment; filename=\"b.RData\""
    );
    let saved = saved.expect(200);
    let (printed, _) = plain_r("cat(load('object'), b$s, class(b))", &saved);
    assert_eq!(printed, "b x é data.frame");
    let rds = session
        .get_object("gr%C3%B6%C3%9Fe%201%2F2?format=rds")
        .await;
    assert!(rds.header("Content-Disposition").ends_with("12.rds"));
    assert_eq!(plain_r("cat(readRDS('object'))", &rds.expect(200)).0, "2");
    let raw = session.get_object("b?format=serialize").await.expect(200);
    let code = "cat(unserialize(readBin('object', 'raw', 1e6))$n)";
    assert_eq!(plain_r(code, &raw).0, "1 2");
    session.get_object("b?format=json").await.expect(400);

    let stored = session.put_object("copy", &raw).await;
    assert!(stored.body.is_null());
    stored.expect(200);
    session.put_object(".hidden", &saved).await.expect(200);
    assert_eq!(
        session
            .prints("cat(identical(copy, b), class(.hidden))")
            .await,
        "TRUE data.frame"
    );
    assert_eq!(session.objects().await, json!(["b", "copy", "größe 1/2"]));

    let path = session.path("/workspace/copy");
    session.client.delete(&path).await.expect(200);
    let missing = session.client.delete(&path).await.error(404);
    assert!(missing.contains("no object of this name"), "{missing}");
    session.get_object("copy").await.expect(404);
    // What R finds elsewhere is no object of the session.
    session.get_object("pi").await.expect(404);
}

#[tokio::test]
async fn whatever_r_writes_is_taken() {
    let house = House::build().await;
    let session = house.admin().await.open_session().await;
    for written in [
        "writeBin(serialize(x, NULL, version = 2), 'object')",
        "writeBin(serialize(x, NULL, version = 3), 'object')",
        "writeBin(serialize(x, NULL, xdr = FALSE), 'object')",
        "writeBin(serialize(x, NULL, ascii = TRUE), 'object')",
        "saveRDS(x, 'object')",
        "saveRDS(x, 'object', compress = 'bzip2')",
        "saveRDS(x, 'object', compress = 'xz')",
        "y <- 1; save(y, x, file = 'object')",
        "save(x, file = 'object', version = 2)",
        "save(x, file = 'object', compress = 'xz')",
        "save(x, file = 'object', ascii = TRUE)",
    ] {
        let code = format!("x <- list(1:3, 'é', function(n) n + 1); {written}");
        let (_, bytes) = plain_r(&code, b"");
        session.put_object("x", &bytes).await.expect(200);
        assert_eq!(
            session
                .prints("cat(x[[1]], x[[2]], x[[3]](1)); rm(x)")
                .await,
            "1 2 3 é 2",
            "{written}"
        );
    }
}

#[tokio::test]
async fn what_is_no_object_is_refused_with_rs_own_words() {
    let house = House::build().await;
    let session = house.admin().await.open_session().await;
    session
        .prints("x <- 1; lockBinding('x', globalenv())")
        .await;
    for junk in [&b""[..], b"junk", b"RDX3\nX\n\0"] {
        session.put_object("y", junk).await.error(400);
    }
    let (_, bytes) = plain_r("saveRDS(2, 'object')", b"");
    let locked = session.put_object("x", &bytes).await.error(400);
    assert!(locked.contains("locked"), "{locked}");
    session
        .prints("makeActiveBinding('bad', function() stop('no value today'), globalenv())")
        .await;
    let path = session.path("/workspace/bad");
    let refused = session.client.get(&path).await.error(400);
    assert!(refused.contains("no value today"), "{refused}");
    let long = "n".repeat(10_001);
    session.put_object(&long, &bytes).await.error(400);
    session.put_object("a%00b", &bytes).await.error(400);
    assert_eq!(session.prints("cat(x)").await, "1");
}

#[tokio::test]
async fn objects_take_their_turn() {
    let house = House::build().await;
    let session = house.admin().await.open_session().await;
    let (_, bytes) = plain_r("saveRDS(2, 'object')", b"");
    let running = busy(&house, &session).await;
    let put = session.object(Method::POST, "x").body(bytes);
    let put = session
        .client
        .send(put.header("Prefer", "respond-async"))
        .await
        .expect(202);
    let add = session.submit("x <- x + 1").await;
    let got = session.object(Method::GET, "x?format=rds");
    let got = session
        .client
        .send(got.header("Prefer", "respond-async"))
        .await
        .expect(202);
    let_go(&session).await;
    for job in [running.as_str(), put["jobId"].as_str().unwrap(), &add] {
        assert_eq!(session.client.job_end(job).await["state"], "succeeded");
    }
    let got = got["jobId"].as_str().unwrap();
    let ended = session.client.job_end(got).await;
    assert_eq!(ended["kind"], "get_object");
    assert_eq!(ended["result"]["href"], format!("/jobs/{got}/content"));
    let content = session
        .client
        .request(Method::GET, &format!("/jobs/{got}/content"));
    let content = session.client.fetch(content).await;
    assert!(content.header("Content-Disposition").contains("x.rds"));
    assert_eq!(
        plain_r("cat(readRDS('object'))", &content.expect(200)).0,
        "3"
    );
}

#[tokio::test]
async fn a_large_object_goes_up_and_down_by_the_store() {
    let house = House::build().await;
    let session = house.admin().await.open_session().await;
    session.prints("set.seed(1); x <- runif(3e6)").await;
    let bytes = session.get_object("x?format=serialize").await.expect(200);
    assert!(bytes.len() > 24_000_000);
    session.put_object("y", &bytes).await.expect(200);
    assert_eq!(session.prints("cat(identical(x, y))").await, "TRUE");
    // What went up is not needed any more; what goes down expires.
    warren_tests::wait::until("one transfer is left", async || {
        let blobs = house.blobs();
        let transfers: BTreeSet<_> = blobs.iter().map(|key| key.split('.').next()).collect();
        (transfers.len() == 1).then_some(())
    })
    .await;
    assert_eq!(
        session
            .prints("list.files(Sys.getenv('TMPDIR'), all.files = TRUE, pattern = 'object')")
            .await,
        "character(0)\n"
    );
}

#[tokio::test]
async fn an_object_beyond_the_limit_is_refused_both_ways() {
    let house = Builder::new()
        .env("WARREN_OBJECT_MAX_BYTES", "100000")
        .build()
        .await;
    let session = house.admin().await.open_session().await;
    session.put_object("x", &vec![0; 100_001]).await.error(413);
    session.prints("x <- runif(20000); y <- 1").await;
    let path = session.path("/workspace/x");
    let refused = session.client.get(&path).await.error(413);
    assert!(refused.contains("WARREN_OBJECT_MAX_BYTES"), "{refused}");
    session.get_object("y").await.expect(200);
    assert_eq!(house.blobs(), Vec::<String>::new());
}

#[tokio::test]
async fn without_the_store_small_objects_still_come_and_go() {
    let mut house = House::build().await;
    let session = house.admin().await.open_session().await;
    session.prints("x <- 1; big <- runif(1e5)").await;
    let bytes = session.get_object("big?format=rds").await.expect(200);
    house.take_store_away().await;
    session.get_object("x").await.expect(200);
    let path = session.path("/workspace/big");
    let away = session.client.get(&path).await.error(503);
    assert!(away.contains("object store"), "{away}");
    session.put_object("y", &bytes).await.error(503);
    house.give_store_back().await;
    session.put_object("y", &bytes).await.expect(200);
    assert_eq!(session.prints("cat(identical(big, y))").await, "TRUE");
}

#[tokio::test]
async fn waiting_for_an_object_can_be_cancelled_and_r_that_gives_it_too() {
    let house = House::build().await;
    let session = house.admin().await.open_session().await;
    session
        .prints("makeActiveBinding('slow', function() { file.create('here'); repeat Sys.sleep(0.01) }, globalenv()); x <- 1")
        .await;
    let ask = |name: &str| {
        let request = session.object(Method::GET, name);
        session
            .client
            .send(request.header("Prefer", "respond-async"))
    };
    let slow = ask("slow").await.expect(202);
    let slow = slow["jobId"].as_str().unwrap().to_owned();
    let next = ask("x").await.expect(202);
    let next = next["jobId"].as_str().unwrap().to_owned();
    house.working_dir_with("here").await;
    session
        .client
        .delete(&format!("/jobs/{next}"))
        .await
        .expect(200);
    assert_eq!(session.client.job_end(&next).await["state"], "cancelled");
    session
        .client
        .delete(&format!("/jobs/{slow}"))
        .await
        .expect(200);
    let ended = session.client.job_end(&slow).await;
    assert_eq!(
        (&ended["state"], &ended["cancel"]),
        (&json!("cancelled"), &json!("confirmed"))
    );
    let content = session.client.get(&format!("/jobs/{slow}/content")).await;
    content.error(409);
    assert_eq!(session.prints("cat(x)").await, "1");
}

#[tokio::test]
async fn nobody_reaches_the_objects_of_somebody_else() {
    let house = House::build().await;
    let (ada, ben) = (house.user("ada").await, house.user("ben").await);
    let session = ada.open_session().await;
    session.prints("x <- 1").await;
    let path = session.path("/workspace");
    ben.get(&path).await.error(404);
    ben.get(&format!("{path}/x")).await.error(404);
    ben.delete(&format!("{path}/x")).await.error(404);
    let put = ben
        .request(Method::POST, &format!("{path}/x"))
        .body("bytes");
    ben.send(put).await.error(404);
    session.close().await;
    ada.get(&path).await.error(410);
    ada.get(&format!("{path}/x")).await.error(410);
}

#[tokio::test]
async fn an_upload_repeated_with_its_key_is_done_once() {
    let house = House::build().await;
    let session = house.admin().await.open_session().await;
    let (_, one) = plain_r("saveRDS(1, 'object')", b"");
    let (_, two) = plain_r("saveRDS(2, 'object')", b"");
    let put = |bytes: &[u8]| {
        let request = session.object(Method::POST, "x").body(bytes.to_vec());
        session.client.send(request.header("Idempotency-Key", "k"))
    };
    put(&one).await.expect(200);
    session.prints("x <- 3").await;
    put(&one).await.expect(200);
    assert_eq!(session.prints("cat(x)").await, "3");
    put(&two).await.error(422);
}
