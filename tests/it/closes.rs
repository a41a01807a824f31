//! Closing sessions: answered at once whatever R does, and everything is given back.

use std::path::PathBuf;
use std::time::Duration;

use serde_json::json;
use warren_common::queue::QueueName;
use warren_tests::client::{Client, Session};
use warren_tests::raw_queues::RawQueues;
use warren_tests::{Builder, House, WorkerOptions, processes, wait};

/// Swallows interrupts for ever.
const DEAF: &str = "repeat tryCatch(repeat Sys.sleep(0.01), interrupt = function(i) NULL)";

/// A session whose R is in C code that looks at nothing else, with one more job that waits.
struct Stuck {
    session: Session,
    running: String,
    waiting: String,
    pid: u32,
    dir: PathBuf,
}

impl Stuck {
    async fn open(house: &House, client: &Client, name: &str) -> Self {
        let session = client.open_session().await;
        let pid = session.prints("cat(Sys.getpid())").await;
        // Kendall's correlation compares each pair of a million values; the last argument is evaluated just before C begins.
        let running = session
            .submit(&format!(
                "x <- runif(1e6); y <- runif(1e6); .Call(stats:::C_cor, x, y, 4L, {{file.create('{name}'); TRUE}})"
            ))
            .await;
        let dir = house.working_dir_with(name).await;
        Self {
            waiting: session.submit("1").await,
            pid: pid.parse().unwrap(),
            session,
            running,
            dir,
        }
    }
}

/// The worker stands still while the calls are answered, so R cannot have been asked or killed: nobody waited for it.
#[tokio::test]
async fn close_and_force_answer_while_r_is_stuck_in_c_and_then_give_everything_back() {
    let mut house = Builder::new()
        .workers(0)
        .lease(Duration::from_secs(120))
        .build()
        .await;
    house
        .add_worker(WorkerOptions {
            env: vec![("WARREN_SESSION_SLOTS".to_owned(), "2".to_owned())],
            ..WorkerOptions::default()
        })
        .await;
    let client = house.admin().await;
    let closed = Stuck::open(&house, &client, "closed").await;
    let forced = Stuck::open(&house, &client, "forced").await;
    house.workers[0].process.signal("STOP").await;
    for (stuck, path) in [(&closed, ""), (&forced, "/force")] {
        client.delete(&stuck.session.path(path)).await.expect(200);
        let told = stuck.session.execute("1").await.error(410);
        assert!(told.contains("closed by its owner"), "{told}");
        client.delete(&stuck.session.path("")).await.error(410);
        let waiting = client.get(&format!("/jobs/{}", stuck.waiting)).await;
        assert_eq!(waiting.expect(200)["state"], "cancelled");
        assert!(processes::exists(stuck.pid));
    }
    house.workers[0].process.signal("CONT").await;
    for stuck in [&closed, &forced] {
        let running = client.job_end(&stuck.running).await;
        assert_eq!(
            (&running["state"], &running["cancel"]),
            (&json!("cancelled"), &json!("forced")),
            "{running}"
        );
        let state = format!(
            "SELECT state FROM sessions WHERE id = '{}'",
            stuck.session.id
        );
        wait::until(
            "the process, its directory and its row are done with",
            async || {
                let over = !processes::exists(stuck.pid)
                    && !stuck.dir.exists()
                    && house.sql_value(&state).await == "closed";
                over.then_some(())
            },
        )
        .await;
        // Over is over, also for those who insist.
        client
            .delete(&stuck.session.path("/force"))
            .await
            .error(410);
    }
    // Both places are free again.
    let (first, second) = (client.open_session().await, client.open_session().await);
    assert_eq!(first.prints("cat(1)").await, "1");
    assert_eq!(second.prints("cat(2)").await, "2");
    let worker = house
        .sql_value("SELECT id FROM workers")
        .await
        .parse()
        .unwrap();
    let raw = RawQueues::open(&house).await;
    for queue in [
        QueueName::Worker(worker),
        QueueName::Control(worker),
        QueueName::SessionsNew,
        QueueName::Dead,
    ] {
        raw.holds(queue, 0).await;
    }
}

/// The sweeper repeats a wish that nobody heard twice a second, which is more often than R is given to unwind.
#[tokio::test]
async fn a_wish_to_close_that_is_repeated_gives_r_no_more_time() {
    let house = House::build().await;
    let session = house.admin().await.open_session().await;
    let job = session
        .submit(&format!("invisible(file.create('here')); {DEAF}"))
        .await;
    house.working_dir_with("here").await;
    house
        .sql(
            "UPDATE sessions SET state = 'closing', last_activity_at = now() - interval '1 minute'",
        )
        .await;
    let ended = session.client.job_end(&job).await;
    assert_eq!(
        (&ended["state"], &ended["cancel"]),
        (&json!("cancelled"), &json!("forced"))
    );
}

#[tokio::test]
async fn callers_that_wait_in_a_session_are_told_that_it_was_closed() {
    let house = House::build().await;
    let session = house.admin().await.open_session().await;
    let call = |code: &'static str| {
        let session = session.clone();
        tokio::spawn(async move { session.execute(code).await })
    };
    let running = call("invisible(file.create('here')); repeat Sys.sleep(0.01)");
    house.working_dir_with("here").await;
    let waiting = call("1");
    wait::until("the second call waits", async || {
        let queued = "SELECT count(*) FROM jobs WHERE state = 'queued'";
        (house.sql_value(queued).await == "1").then_some(())
    })
    .await;
    session.close().await;
    for call in [running, waiting] {
        let answer = call.await.unwrap().expect(200);
        assert_eq!(
            (&answer["success"], &answer["errorMessage"]),
            (&json!(false), &json!("its session was closed"))
        );
    }
}

#[tokio::test]
async fn a_session_that_is_closed_before_a_worker_took_it_never_opens() {
    let mut house = Builder::new().workers(0).build().await;
    let client = house.admin().await;
    let (session, _opening) = client.ask_for_session().await;
    let waiting = session.submit("1").await;
    let told = client.delete(&session.path("")).await.expect(200);
    assert_eq!(told, "the session is closed");
    client.delete(&session.path("")).await.error(410);
    session.execute("1").await.error(410);
    assert_eq!(client.job_end(&waiting).await["state"], "cancelled");
    house.add_worker(WorkerOptions::default()).await;
    assert_eq!(client.open_session().await.prints("cat(1)").await, "1");
    let opened = "SELECT count(*) FROM sessions WHERE worker_id IS NOT NULL";
    assert_eq!(house.sql_value(opened).await, "1");
}
