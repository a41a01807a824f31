//! Files that go up and come down as they should.

use reqwest::Method;
use serde_json::{Value, json};
use warren_tests::client::{Session, UNTIL_GO};
use warren_tests::{House, wait};

use super::{MIB, pattern};

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
