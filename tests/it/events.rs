//! A job followed while it runs: pages behind a cursor, and event streams, at any node.

use std::path::Path;

use serde_json::{Value, json};
use warren_common::id::{JobId, PrincipalId};
use warren_common::store::console;
use warren_tests::client::Session;
use warren_tests::events::Gathered;
use warren_tests::{Builder, House, WorkerOptions, wait};

/// Prints a line, waits until that line has been seen, and so on.
const LINE_BY_LINE: &str = "invisible(file.create('here')); \
    for (i in 1:12) { cat('zeile', i, 'äöü\\n'); while (!file.exists(paste0('seen', i))) Sys.sleep(0.005) }";

fn expected_lines() -> String {
    let lines = (1..=12).map(|line| format!("zeile {line} äöü\n"));
    lines.collect::<Vec<_>>().concat()
}

/// Lets R go on behind every line that was seen.
fn tell_seen(dir: &Path, text: &str) {
    for line in 1..=text.lines().count() {
        std::fs::write(dir.join(format!("seen{line}")), "").unwrap();
    }
}

#[tokio::test]
async fn a_reader_that_goes_from_node_to_node_gets_every_event_once_and_in_order() {
    let house = Builder::new().apis(3).build().await;
    let session = house.admin().await.open_session().await;
    let job = session.submit(LINE_BY_LINE).await;
    let dir = house.working_dir_with("here").await;
    let mut gathered = Gathered::default();
    let mut connections = 0;
    while gathered.states.last().map(String::as_str) != Some("succeeded") {
        let node = house.apis[connections % 3].addr;
        connections += 1;
        let client = session.client.at(node);
        let mut stream = client.events(&job, gathered.last_id.as_deref()).await;
        // One event of each connection, whatever it is; what the node has sent beyond that is lost with it.
        if let Some(event) = stream.next().await {
            gathered.take(event);
        }
        assert_eq!(stream.retry, Some(1000));
        tell_seen(&dir, &gathered.text);
    }
    assert!(connections >= 13, "{connections}");
    assert_eq!(gathered.text, expected_lines());
    assert_eq!(gathered.states, ["running", "succeeded"]);
    assert_eq!(
        gathered.last_state,
        json!({"state": "succeeded", "attempt": 1})
    );
    // A browser connects once more after the last event.
    let path = format!(
        "/jobs/{job}/events?lastEventId={}",
        gathered.last_id.unwrap()
    );
    session.client.get(&path).await.expect(204);
    session
        .client
        .get(&format!("/jobs/{job}/events?lastEventId=7"))
        .await
        .error(400);
}

#[tokio::test]
async fn one_stream_tells_a_job_from_the_queue_to_its_end() {
    let house = Builder::new().apis(2).build().await;
    let session = house.admin().await.open_session().await;
    let first = session
        .submit("while (!file.exists('go')) Sys.sleep(0.005)")
        .await;
    session.client.job_is(&first, "running").await;
    let job = session
        .submit("cat('begun'); invisible(file.create('here')); repeat Sys.sleep(0.005)")
        .await;
    let other = session.client.at(house.apis[1].addr);
    let mut stream = other.events(&job, None).await;
    let mut gathered = Gathered::default();
    gathered.take(stream.next().await.unwrap());
    assert_eq!(gathered.states, ["queued"]);
    session
        .client
        .delete(&format!("/jobs/{first}"))
        .await
        .expect(200);
    while gathered.text != "begun" {
        gathered.take(stream.next().await.unwrap());
    }
    session
        .client
        .delete(&format!("/jobs/{job}"))
        .await
        .expect(200);
    gathered.take_all(&mut stream).await;
    assert_eq!(gathered.states, ["queued", "running", "cancelled"]);
    assert_eq!(gathered.last_state["cancel"], "confirmed");
    assert_eq!(gathered.last_state["reason"], "it was cancelled");
    // The line that R was in the middle of ends where it was interrupted.
    assert_eq!(gathered.text, "begun\n");
    // Whoever comes late gets the text and the end.
    let mut late = Gathered::default();
    late.take_all(&mut other.events(&job, None).await).await;
    assert_eq!(
        (late.text.as_str(), late.states),
        ("begun\n", vec!["cancelled".to_owned()])
    );
}

#[tokio::test]
async fn streams_and_pages_of_somebody_else_s_job_are_not_there() {
    let house = House::build().await;
    let session = house.admin().await.open_session().await;
    let job = session.submit("cat('secret')").await;
    let ben = house.user("ben").await;
    for path in ["events", "console"] {
        ben.get(&format!("/jobs/{job}/{path}")).await.error(404);
    }
    session.client.job_end(&job).await;
    ben.get(&format!("/jobs/{job}/console?after=5"))
        .await
        .error(404);
}

#[tokio::test]
async fn a_poller_that_waits_is_answered_when_text_comes_and_when_the_job_ends() {
    let house = Builder::new().apis(2).build().await;
    let session = house.admin().await.open_session().await;
    let job = session.submit(LINE_BY_LINE).await;
    let dir = house.working_dir_with("here").await;
    let (mut text, mut cursor, mut answers) = (String::new(), 0, 0);
    loop {
        let node = house.apis[answers % 2].addr;
        answers += 1;
        let path = format!("/jobs/{job}/console?after={cursor}&wait=60");
        let page = session.client.at(node).get(&path).await.expect(200);
        text.push_str(page["text"].as_str().unwrap());
        cursor = page["seq"].as_i64().unwrap();
        if page["final"] == true {
            break;
        }
        assert_ne!(
            page["text"], "",
            "nothing came, and the wait cannot be over"
        );
        tell_seen(&dir, &text);
    }
    assert_eq!(text, expected_lines());
    // Asking again behind the end is answered at once and the same.
    let path = format!("/jobs/{job}/console?after={cursor}&wait=60");
    let end = session.client.get(&path).await.expect(200);
    assert_eq!(end, json!({"seq": cursor, "text": "", "final": true}));
    for wrong in ["after=-1", "after=x", "wait=61"] {
        let path = format!("/jobs/{job}/console?{wrong}");
        session.client.get(&path).await.error(400);
    }
}

/// Follows a job by pages, each from the next node.
async fn by_pages(house: &House, session: &Session, job: &str) -> (String, usize) {
    let (mut text, mut cursor, mut pages) = (String::new(), 0, 0);
    loop {
        let node = house.apis[pages % house.apis.len()].addr;
        let path = format!("/jobs/{job}/console?after={cursor}&wait=60");
        let page = session.client.at(node).get(&path).await.expect(200);
        let piece = page["text"].as_str().unwrap();
        assert!(piece.len() <= 1024 * 1024, "{}", piece.len());
        text.push_str(piece);
        cursor = page["seq"].as_i64().unwrap();
        pages += 1;
        if page["final"] == true {
            return (text, pages);
        }
    }
}

#[tokio::test]
async fn a_flood_is_read_in_pages_and_in_events_and_nothing_is_missing_or_twice() {
    let house = Builder::new().apis(3).build().await;
    let session = house.admin().await.open_session().await;
    // Faster than it can be written away, so that much of it ends up behind the last chunk, and full of long characters.
    let code = "for (i in 1:40) cat(i, strrep('é語🦀', 15000), '\\n')";
    let job = session.submit(code).await;
    let mut stream = session.client.events(&job, None).await;
    let mut gathered = Gathered::default();
    let ((by_pages, pages), ()) = tokio::join!(
        by_pages(&house, &session, &job),
        gathered.take_all(&mut stream)
    );
    let lines = (1..=40).map(|line| format!("{line} {} \n", "é語🦀".repeat(15000)));
    let expected = lines.collect::<Vec<_>>().concat();
    assert!(by_pages == expected, "{} bytes by pages", by_pages.len());
    assert!(
        gathered.text == expected,
        "{} bytes by events",
        gathered.text.len()
    );
    assert!(pages >= 6, "{pages}");
    assert_eq!(gathered.states.last().unwrap(), "succeeded");
    let (again, _pages) = self::by_pages(&house, &session, &job).await;
    assert!(again == expected, "{} bytes when it is over", again.len());
}

#[tokio::test]
async fn a_lost_job_s_stream_ends_with_the_reason() {
    let mut house = Builder::new().apis(2).workers(0).build().await;
    house.add_worker(WorkerOptions::default()).await;
    let session = house.admin().await.open_session().await;
    let job = session
        .submit("cat('begun'); invisible(file.create('here')); repeat Sys.sleep(0.005)")
        .await;
    house.working_dir_with("here").await;
    let mut stream = session
        .client
        .at(house.apis[1].addr)
        .events(&job, None)
        .await;
    let mut gathered = Gathered::default();
    while gathered.text.is_empty() {
        gathered.take(stream.next().await.unwrap());
    }
    house.workers[0].process.kill().await;
    gathered.take_all(&mut stream).await;
    assert_eq!(gathered.text, "begun");
    assert_eq!(gathered.states.last().unwrap(), "lost");
    let reason = gathered.last_state["reason"].as_str().unwrap();
    assert!(reason.contains("worker was lost"), "{reason}");
}

#[tokio::test]
async fn a_stream_outlives_a_crash_of_nothing_but_its_node() {
    let mut house = Builder::new().apis(2).build().await;
    let session = house.admin().await.open_session().await;
    let job = session.submit(LINE_BY_LINE).await;
    let dir = house.working_dir_with("here").await;
    let mut gathered = Gathered::default();
    let mut stream = session.client.events(&job, None).await;
    while gathered.text.is_empty() {
        gathered.take(stream.next().await.unwrap());
    }
    // A node that is to stop sends its readers elsewhere at once, and does not wait for the job.
    house.apis[0].process.signal("TERM").await;
    gathered.take_all(&mut stream).await;
    assert!(house.apis[0].process.ended().await.success());
    assert_eq!(gathered.states, ["running"]);
    let other = session.client.at(house.apis[1].addr);
    let mut stream = other.events(&job, gathered.last_id.as_deref()).await;
    while gathered.states.len() < 2 {
        tell_seen(&dir, &gathered.text);
        gathered.take(stream.next().await.unwrap());
    }
    assert_eq!(gathered.text, expected_lines());
    assert_eq!(gathered.states, ["running", "succeeded"]);
}

#[tokio::test]
async fn console_output_of_a_session_is_the_whole_text_while_a_page_is_what_is_new() {
    let house = House::build().await;
    let session = house.admin().await.open_session().await;
    let job = session.submit(LINE_BY_LINE).await;
    let dir = house.working_dir_with("here").await;
    wait::until("the second line is there", async || {
        let page = session
            .client
            .get(&format!("/jobs/{job}/console"))
            .await
            .expect(200);
        tell_seen(&dir, page["text"].as_str().unwrap().lines().next()?);
        let so_far = session
            .client
            .get(&session.path("/console-output"))
            .await
            .expect(200);
        let text = so_far["consoleOutput"].as_str().unwrap();
        assert!(expected_lines().starts_with(text), "{text}");
        (text == "zeile 1 äöü\nzeile 2 äöü\n").then_some(())
    })
    .await;
    let behind = session
        .client
        .get(&format!("/jobs/{job}/console?after=1"))
        .await
        .expect(200);
    assert_eq!(behind["text"], "zeile 2 äöü\n");
    assert_eq!(behind["final"], Value::Bool(false));
    session
        .client
        .delete(&format!("/jobs/{job}"))
        .await
        .expect(200);
    session.client.job_end(&job).await;
}

#[tokio::test]
async fn pages_of_any_length_are_the_whole_text_however_it_was_stored() {
    const PIECE: usize = 64 * 1024;
    let house = Builder::new().workers(0).build().await;
    let owner: PrincipalId = house
        .sql_value("SELECT id FROM principals")
        .await
        .parse()
        .unwrap();
    let (db, raw) = (house.db(), house.database.connect().await);
    let layouts: [(&[usize], usize); 6] = [
        (&[], 0),
        (&[], 3 * PIECE + 1),
        (&[5, 1, 7], 0),
        (&[PIECE, 1, PIECE / 2], PIECE - 1),
        (&[3 * PIECE], 9),
        (&[1; 40], 2 * PIECE),
    ];
    for (chunks, tail) in layouts {
        let job = JobId::new();
        let insert = "INSERT INTO jobs (id, kind, state, owner_id, api_id, request, console_tail, finished_at)
                      VALUES ($1, 'execute', 'succeeded', $2, $1, '', $3, now())";
        // Every border falls into a character of three bytes at some piece.
        let text_of = |letters: usize, from: &str| from.repeat(letters).into_bytes();
        let tail_text = text_of(tail / 3 + usize::from(tail > 0), "語");
        raw.execute(insert, &[&job.uuid(), &owner.uuid(), &tail_text])
            .await
            .unwrap();
        let mut expected = Vec::new();
        for (seq, bytes) in (0_i32..).zip(chunks) {
            let text = text_of(*bytes, if seq % 2 == 0 { "a" } else { "b" });
            raw.execute(
                "INSERT INTO console_chunks VALUES ($1, $2, $3)",
                &[&job.uuid(), &seq, &text],
            )
            .await
            .unwrap();
            expected.extend(text);
        }
        expected.extend(tail_text);
        for limit in [0, 8, 100_000, 1024 * 1024] {
            let (mut text, mut cursor) = (Vec::<u8>::new(), 0);
            loop {
                let page = console::page(&db, owner, job, cursor, limit).await.unwrap();
                let page = page.unwrap();
                let is_one = page.next == cursor + 1;
                assert!(is_one || i64::try_from(page.text.len()).unwrap() <= limit);
                assert!(String::from_utf8(page.text.clone()).is_ok());
                assert!(page.next > cursor || page.is_last());
                text.extend(page.text.iter());
                cursor = page.next;
                if page.is_last() {
                    break;
                }
            }
            assert!(text == expected, "{chunks:?} and {tail} by {limit}");
            let end = console::page(&db, owner, job, cursor, limit).await.unwrap();
            let end = end.unwrap();
            assert!(end.is_last() && end.text.is_empty() && end.next == cursor);
        }
        let stranger = console::page(&db, PrincipalId::new(), job, 0, 8).await;
        assert!(stranger.unwrap().is_none());
    }
}
