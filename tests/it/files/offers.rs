//! Large files that an API node fetches from the worker, past the object store.

use reqwest::{Method, Response, StatusCode};
use serde_json::Value;
use tokio::net::TcpListener;
use warren_tests::client::Session;
use warren_tests::postgres::free_port;
use warren_tests::{Builder, House, wait};

use super::{MIB, pattern};

/// With workers that API nodes reach.
fn within_reach() -> Builder {
    Builder::new().env("WARREN_OFFER_LISTEN", "127.0.0.1:0")
}

/// A house whose API node reaches its worker, and a session that has a large file.
async fn house_with_offers(size: usize) -> (House, Session) {
    let house = within_reach().build().await;
    let session = house.admin().await.open_session().await;
    session.put_file("large", &pattern(size)).await;
    wait::until("nothing of the upload is in the store", async || {
        house.blobs().is_empty().then_some(())
    })
    .await;
    (house, session)
}

/// The newest job of this kind.
async fn last_job(session: &Session, kind: &str) -> Value {
    let jobs = session.client.get(&format!("/jobs?kind={kind}")).await;
    jobs.expect(200)[0].clone()
}

#[tokio::test]
async fn a_large_file_is_answered_while_the_store_is_away() {
    let (mut house, session) = house_with_offers(3 * MIB).await;
    house.take_store_away().await;
    let whole = session.get_file("large").await;
    assert_eq!(whole.header("Content-Length"), (3 * MIB).to_string());
    assert!(whole.header("Content-Disposition").contains("large"));
    let etag = whole.header("ETag").to_owned();
    assert!(whole.expect(200) == pattern(3 * MIB));
    let range = session.download("large").header("Range", "bytes=5-1048580");
    let part = session.client.fetch(range).await;
    assert_eq!(part.header("Content-Range"), "bytes 5-1048580/3145728");
    // Weak while the file is new.
    let bare = |tag: &str| tag.trim_start_matches("W/").to_owned();
    assert_eq!(bare(part.header("ETag")), bare(&etag));
    assert!(part.expect(206) == pattern(3 * MIB)[5..1_048_581]);
    let known = session.download("large").header("If-None-Match", etag);
    session.client.fetch(known).await.expect(304);
    assert!(house.blobs().is_empty(), "{:?}", house.blobs());
}

#[tokio::test]
async fn who_may_come_back_for_a_file_finds_it_in_the_store() {
    let (mut house, session) = house_with_offers(MIB).await;
    let later = session.download("large").header("Prefer", "respond-async");
    let accepted = session.client.send(later).await.expect(202);
    let job = accepted["jobId"].as_str().unwrap();
    session.client.job_end(job).await;
    session.prints("invisible(file.remove('large'))").await;
    let path = format!("/jobs/{job}/content");
    let request = session.client.request(Method::GET, &path);
    let content = session.client.fetch(request).await.expect(200);
    assert!(content == pattern(MIB));
    // With a key, the same call may come again.
    session.put_file("large", &pattern(MIB)).await;
    let mut answers = Vec::new();
    for _ in 0..2 {
        let keyed = session.download("large").header("Idempotency-Key", "k");
        answers.push(session.client.fetch(keyed).await.expect(200));
    }
    assert!(answers.iter().all(|answer| *answer == pattern(MIB)));
    house.take_store_away().await;
    let keyed = session.download("large").header("Idempotency-Key", "k");
    session.client.fetch(keyed).await.expect(503);
}

#[tokio::test]
async fn what_was_fetched_from_the_worker_is_read_again_for_who_asks_for_the_job() {
    let (house, session) = house_with_offers(MIB).await;
    session.get_file("large").await.expect(200);
    let range = session.download("large").header("Range", "bytes=7-700006");
    session.client.fetch(range).await.expect(206);
    let job = last_job(&session, "get_file").await;
    let path = format!("/jobs/{}", job["jobId"].as_str().unwrap());
    let about = session.client.get(&path).await.expect(200);
    assert_eq!(about["result"]["size"], 700_000, "{about}");
    // Where it could be fetched, and with what, is nobody's business.
    assert!(!about.to_string().contains("token"), "{about}");
    let href = about["result"]["href"].as_str().unwrap();
    for _ in 0..2 {
        let request = session.client.request(Method::GET, href);
        let content = session.client.fetch(request).await.expect(206);
        assert!(content == pattern(MIB)[7..700_007]);
        let request = session.client.request(Method::HEAD, href);
        let described = session.client.fetch(request).await;
        assert_eq!(described.header("Content-Length"), MIB.to_string());
        assert!(described.expect(200).is_empty());
    }
    assert!(house.blobs().is_empty(), "{:?}", house.blobs());
}

#[tokio::test]
async fn a_worker_that_cannot_be_reached_gives_files_out_by_way_of_the_store() {
    let nobody = format!("127.0.0.1:{}", free_port().await);
    let house = within_reach().env("WARREN_OFFER_ADDRESS", &nobody);
    let house = house.build().await;
    let session = house.admin().await.open_session().await;
    session.put_file("large", &pattern(MIB)).await;
    assert!(session.get_file("large").await.expect(200) == pattern(MIB));
    let log = house.apis[0].process.log_text();
    assert!(log.contains("goes through the object store"), "{log}");
    assert!(log.contains(&nobody), "{log}");
}

/// Bytes that the buffers between worker and caller do not hold.
const HUGE: usize = 400 * MIB;

/// A house with a session that has a huge file of nothing, and the answer that has just begun.
async fn house_that_sends(builder: Builder) -> (House, Session, Response) {
    let house = builder.build().await;
    let session = house.admin().await.open_session().await;
    let code = format!(
        "f <- file('huge', 'wb'); seek(f, {HUGE} - 1, rw = 'write'); writeBin(raw(1), f); close(f)"
    );
    session.execute(&code).await.expect(200);
    let answer = session.download("huge").send().await.unwrap();
    assert_eq!(answer.status(), StatusCode::OK);
    (house, session, answer)
}

/// How much more comes, and whether the answer is whole.
async fn rest(mut answer: Response) -> (usize, bool) {
    let mut read = 0;
    loop {
        match answer.chunk().await {
            Ok(Some(piece)) => read += piece.len(),
            Ok(None) => return (read, true),
            Err(_cut) => return (read, false),
        }
    }
}

#[tokio::test]
async fn a_worker_that_dies_on_the_way_cuts_the_answer_short() {
    let (mut house, _session, answer) = house_that_sends(within_reach()).await;
    house.workers[0].process.kill().await;
    let (read, is_whole) = rest(answer).await;
    assert!(!is_whole, "the answer ended as if it were whole");
    assert!(read < HUGE, "{read}");
    let log = house.apis[0].process.log_text();
    assert!(log.contains("A file was cut short"), "{log}");
}

#[tokio::test]
async fn a_file_that_is_written_to_on_the_way_does_not_become_a_mixture() {
    let (_house, session, answer) = house_that_sends(within_reach()).await;
    session
        .prints("f <- file('huge', 'r+b'); writeBin(as.raw(1:9), f); close(f)")
        .await;
    let (read, is_whole) = rest(answer).await;
    assert!(!is_whole, "the answer ended as if it were whole");
    assert!(read < HUGE, "{read}");
}

#[tokio::test]
async fn a_worker_that_is_told_to_stop_sends_what_it_began_to_send() {
    let (mut house, session, answer) = house_that_sends(within_reach()).await;
    house.workers[0].process.signal("TERM").await;
    // It ends neither before all is read nor at once.
    session.gone().await;
    assert_eq!(rest(answer).await, (HUGE, true));
    assert!(house.workers[0].process.ended().await.success());
}

#[tokio::test]
async fn a_caller_who_reads_nothing_does_not_keep_a_worker_from_stopping() {
    let builder = within_reach().env("WARREN_DRAIN_GRACE", "1");
    let (mut house, _session, answer) = house_that_sends(builder).await;
    house.workers[0].process.signal("TERM").await;
    let process = &mut house.workers[0].process;
    assert!(process.ended().await.success());
    let log = process.log_text();
    assert!(!log.contains("Not everything"), "{log}");
    assert!(
        !rest(answer).await.1,
        "the answer ended as if it were whole"
    );
}

#[tokio::test]
async fn a_session_that_is_closed_meanwhile_changes_nothing_for_who_reads() {
    let (_house, session, answer) = house_that_sends(within_reach()).await;
    session.close().await;
    session.gone().await;
    assert_eq!(rest(answer).await, (HUGE, true));
}

#[tokio::test]
async fn a_worker_that_says_nothing_gives_files_out_by_way_of_the_store() {
    let silent = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let at = silent.local_addr().unwrap().to_string();
    let house = within_reach().env("WARREN_OFFER_ADDRESS", &at);
    let house = house.build().await;
    let session = house.admin().await.open_session().await;
    session.put_file("large", &pattern(MIB)).await;
    assert!(session.get_file("large").await.expect(200) == pattern(MIB));
    let log = house.apis[0].process.log_text();
    assert!(log.contains("says nothing"), "{log}");
}

#[tokio::test]
async fn the_door_opens_for_nobody_without_a_token() {
    let house = within_reach().build().await;
    let log = house.workers[0].process.log_text();
    let told = log.split("files of sessions at ").nth(1).unwrap();
    let door = told.lines().next().unwrap();
    let session = house.admin().await.open_session().await;
    session.put_file("large", &pattern(MIB)).await;
    let http = reqwest::Client::new();
    for token in ["", "x", &"A".repeat(43), "../large", "\u{e9}"] {
        for path in ["", "large", "metrics", "../../etc/passwd"] {
            let request = http.get(format!("http://{door}/{path}"));
            let answer = request.bearer_auth(token).send().await.unwrap();
            assert_eq!(answer.status(), StatusCode::NOT_FOUND, "{token:?} {path:?}");
            assert!(answer.bytes().await.unwrap().is_empty());
        }
    }
    let bare = http.get(format!("http://{door}/")).send().await.unwrap();
    assert_eq!(bare.status(), StatusCode::NOT_FOUND);
    assert!(session.get_file("large").await.expect(200) == pattern(MIB));
}
