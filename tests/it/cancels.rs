//! Cancelling and time-outs: interrupted, given a moment, then killed with everything that was started.

use std::path::Path;

use serde_json::{Value, json};
use warren_tests::client::Session;
use warren_tests::{Builder, House, WorkerOptions, processes, wait};

/// Swallows interrupts for ever.
const DEAF: &str = "repeat tryCatch(repeat Sys.sleep(0.01), interrupt = function(i) NULL)";
/// Starts a child of R, a daemon in a session of its own and one without a terminal; each says who it is.
const COMPANY: &str = "
    for (name in c('child', 'daemon', 'nohup')) {
        start <- c(child = '', daemon = 'setsid ', nohup = 'nohup ')[[name]]
        program <- sprintf('echo $$ > %s.new; mv %s.new %s; exec sleep 1000', name, name, name)
        system(sprintf('(%ssh -c \"trap \\'\\' INT HUP; %s\" >/dev/null 2>&1 &)', start, gsub('$', '\\\\$', program, fixed = TRUE)))
    }
    while (!all(file.exists('child', 'daemon', 'nohup'))) Sys.sleep(0.01)
";
const COMPANIONS: [&str; 3] = ["child", "daemon", "nohup"];

/// Runs code that says `here`, cancels it then, and returns how its job ended.
async fn cancelled(house: &House, session: &Session, code: &str) -> Value {
    let job = session.submit(code).await;
    let dir = house.working_dir_with("here").await;
    std::fs::remove_file(dir.join("here")).unwrap();
    session
        .client
        .delete(&format!("/jobs/{job}"))
        .await
        .expect(200);
    session.client.job_end(&job).await
}

fn assert_ended(job: &Value, state: &str, cancel: &str) {
    assert_eq!(
        (&job["state"], &job["cancel"]),
        (&json!(state), &json!(cancel)),
        "{job}"
    );
}

/// The companions of a session's R, as they wrote themselves down.
fn companions(dir: &Path) -> Vec<u32> {
    let pid = |name: &&str| {
        let text = std::fs::read_to_string(dir.join(name)).unwrap();
        text.trim().parse().unwrap()
    };
    let pids: Vec<u32> = COMPANIONS.iter().map(pid).collect();
    assert!(pids.iter().all(|pid| processes::exists(*pid)), "{pids:?}");
    pids
}

async fn all_gone(pids: &[u32]) {
    wait::until(&format!("the processes {pids:?} are gone"), async || {
        pids.iter()
            .all(|pid| !processes::exists(*pid))
            .then_some(())
    })
    .await;
}

#[tokio::test]
async fn what_r_can_leave_is_confirmed_and_the_session_keeps_its_objects() {
    let house = House::build().await;
    let session = house.admin().await.open_session().await;
    session.prints("kept <- 7").await;
    for code in [
        "invisible(file.create('here')); repeat {}",
        "f <- function() { i <- 0; repeat i <- i + 1 }; invisible(file.create('here')); f()",
        "invisible(file.create('here')); Sys.sleep(1000)",
        "invisible(file.create('here')); system('sleep 1000'); repeat Sys.sleep(0.01)",
        "cat('printed'); invisible(file.create('here')); lapply(1:1e9, function(i) i)",
    ] {
        let job = cancelled(&house, &session, code).await;
        assert_ended(&job, "cancelled", "confirmed");
        assert_eq!(job["result"]["success"], false, "{job}");
        assert_eq!(job["result"]["errorMessage"], "it was cancelled", "{code}");
        assert_eq!(session.prints("cat(kept)").await, "7", "after {code}");
    }
}

/// Kendall's correlation of a million values compares each pair of them in C, without a look at anything else.
#[tokio::test]
async fn c_code_that_does_not_look_up_is_killed_and_the_session_says_why() {
    let house = House::build().await;
    let session = house.admin().await.open_session().await;
    // The last argument is evaluated just before C begins.
    let code = "x <- runif(1e6); y <- runif(1e6); \
        .Call(stats:::C_cor, x, y, 4L, {file.create('here'); TRUE})";
    let job = cancelled(&house, &session, code).await;
    assert_ended(&job, "cancelled", "forced");
    let message = job["result"]["errorMessage"].as_str().unwrap();
    assert!(message.contains("process was killed"), "{message}");
    let reason = session.gone().await;
    assert!(reason.contains("a run was cancelled"), "{reason}");
    assert!(reason.contains("was killed"), "{reason}");
    session.execute("1").await.error(410);
}

/// The kernel takes up the call again after the interrupt, as it does below R's own console.
#[tokio::test]
async fn a_read_that_the_kernel_resumes_is_killed() {
    let house = House::build().await;
    let client = house.admin().await;
    for code in [
        "invisible(file.create('here')); readLines('pipe')",
        "pipe <- fifo('pipe', 'w+', blocking = TRUE); invisible(file.create('here')); readLines(pipe, 1)",
    ] {
        let session = client.open_session().await;
        session.prints("invisible(system('mkfifo pipe'))").await;
        let job = cancelled(&house, &session, code).await;
        assert_ended(&job, "cancelled", "forced");
        assert!(session.gone().await.contains("a run was cancelled"));
    }
}

#[tokio::test]
async fn what_r_started_dies_with_a_session_that_does_not_listen() {
    let house = House::build().await;
    let session = house.admin().await.open_session().await;
    // Deaf before the file tells that it is: the cancel comes right after.
    let deaf = "suspendInterrupts({ file.create('here'); repeat NULL })";
    let job = session.submit(&format!("{COMPANY}\n {deaf}")).await;
    let pids = companions(&house.working_dir_with("here").await);
    let state = session
        .client
        .post(&session.path("/cancel"), &json!({}))
        .await;
    assert_eq!(state.expect(200), "cancelling was asked for");
    assert_ended(&session.client.job_end(&job).await, "cancelled", "forced");
    assert!(session.gone().await.contains("a run was cancelled"));
    all_gone(&pids).await;
}

#[tokio::test]
async fn what_r_started_dies_with_a_session_that_is_closed() {
    let house = House::build().await;
    let session = house.admin().await.open_session().await;
    session
        .prints(&format!("{COMPANY}\n invisible(file.create('here'))"))
        .await;
    let pids = companions(&house.working_dir_with("here").await);
    // They outlive the run that started them, not the session.
    session.prints("1").await;
    companions(&house.working_dir_with("here").await);
    session.close().await;
    all_gone(&pids).await;
}

#[tokio::test]
async fn what_r_started_dies_with_a_worker_that_is_killed() {
    let mut house = House::build().await;
    let session = house.admin().await.open_session().await;
    session
        .prints(&format!("{COMPANY}\n invisible(file.create('here'))"))
        .await;
    let pids = companions(&house.working_dir_with("here").await);
    house.workers[0].process.kill().await;
    all_gone(&pids).await;
}

#[tokio::test]
async fn a_run_that_takes_too_long_is_interrupted_and_the_session_lives() {
    let house = House::build().await;
    let session = house.admin().await.open_session().await;
    let body =
        json!({"code": "kept <- 1; cat('so far'); repeat Sys.sleep(0.01)", "timeoutSeconds": 1});
    let job = session.submit_request(&body).await;
    let job = session.client.job_end(&job).await;
    assert_ended(&job, "timed_out", "confirmed");
    let message = "it ran longer than its 1 s and was interrupted";
    assert_eq!(job["result"]["errorMessage"], message);
    assert_eq!(job["result"]["consoleOutput"], "so far\n", "{job}");
    assert_eq!(session.prints("cat(kept)").await, "1");
}

#[tokio::test]
async fn a_run_that_takes_too_long_and_does_not_listen_is_killed_with_what_it_started() {
    let house = House::build().await;
    let session = house.admin().await.open_session().await;
    let code = format!("{COMPANY}\n invisible(file.create('here')); {DEAF}");
    let body = json!({"code": code, "timeoutSeconds": 3});
    let job = session.submit_request(&body).await;
    let pids = companions(&house.working_dir_with("here").await);
    let job = session.client.job_end(&job).await;
    assert_ended(&job, "timed_out", "forced");
    let reason = session.gone().await;
    assert!(reason.contains("longer than its 3 s"), "{reason}");
    all_gone(&pids).await;
}

#[tokio::test]
async fn the_limit_of_a_run_is_its_own_and_else_that_of_the_worker() {
    let mut house = Builder::new().workers(0).build().await;
    house
        .add_worker(WorkerOptions {
            env: vec![("WARREN_EXECUTE_TIMEOUT".to_owned(), "1".to_owned())],
            ..WorkerOptions::default()
        })
        .await;
    let session = house.admin().await.open_session().await;
    let job = session.submit("repeat Sys.sleep(0.01)").await;
    assert_ended(
        &session.client.job_end(&job).await,
        "timed_out",
        "confirmed",
    );
    // R's own clock says that the worker's limit has passed.
    let code = "begun <- Sys.time(); while (Sys.time() < begun + 2) Sys.sleep(0.01); cat('done')";
    let body = json!({"code": code, "timeoutSeconds": 600});
    let job = session.submit_request(&body).await;
    let job = session.client.job_end(&job).await;
    assert_eq!(
        (&job["state"], &job["result"]["consoleOutput"]),
        (&json!("succeeded"), &json!("done"))
    );
}

/// R hears an interrupt only when it is let go, and the worker has all the time: what was asked for can be read meanwhile.
#[tokio::test]
async fn a_wish_is_seen_before_r_has_obeyed_it() {
    let mut house = Builder::new().workers(0).build().await;
    house
        .add_worker(WorkerOptions {
            env: vec![("WARREN_INTERRUPT_GRACE".to_owned(), "600".to_owned())],
            ..WorkerOptions::default()
        })
        .await;
    let client = house.admin().await;
    for by_session in [false, true] {
        let session = client.open_session().await;
        // A name of its own: the directory of the first session may still be there when the second one runs.
        let here = format!("here-{by_session}");
        let job = session
            .submit(&format!(
                "kept <- 1; suspendInterrupts({{ file.create('{here}'); while (!file.exists('go')) NULL }}); repeat Sys.sleep(0.01)"
            ))
            .await;
        let dir = house.working_dir_with(&here).await;
        let told = if by_session {
            client.post(&session.path("/cancel"), &json!({})).await
        } else {
            client.delete(&format!("/jobs/{job}")).await
        };
        assert_eq!(told.expect(200), "cancelling was asked for");
        let asked = client.get(&format!("/jobs/{job}")).await.expect(200);
        assert_eq!(
            (&asked["state"], &asked["cancel"]),
            (&json!("running"), &Value::Null)
        );
        assert!(asked["cancelRequestedAt"].is_string(), "{asked}");
        std::fs::write(dir.join("go"), "").unwrap();
        let job = client.job_end(&job).await;
        assert_ended(&job, "cancelled", "confirmed");
        assert_eq!(job["cancelRequestedAt"], asked["cancelRequestedAt"]);
        assert_eq!(session.prints("cat(kept)").await, "1");
        // Nothing is left to cancel, which is no error.
        client
            .post(&session.path("/cancel"), &json!({}))
            .await
            .expect(200);
        session.close().await;
    }
}

/// Cancelling a session is about the job whose turn it is, also when a worker has not taken it yet.
#[tokio::test]
async fn a_job_that_is_about_to_run_is_cancelled_by_way_of_its_session() {
    let mut house = Builder::new().workers(0).build().await;
    let client = house.admin().await;
    let (session, _opening) = client.ask_for_session().await;
    let (first, second) = (
        session.submit("ran <- TRUE").await,
        session.submit("cat(exists('ran'))").await,
    );
    let told = client.post(&session.path("/cancel"), &json!({})).await;
    assert_eq!(told.expect(200), "the job is cancelled");
    let cancelled = client.job_end(&first).await;
    assert_eq!(
        (&cancelled["state"], &cancelled["startedAt"]),
        (&json!("cancelled"), &Value::Null)
    );
    assert!(cancelled["cancelRequestedAt"].is_string(), "{cancelled}");
    house.add_worker(WorkerOptions::default()).await;
    let second = client.job_end(&second).await;
    assert_eq!(second["result"]["consoleOutput"], "FALSE", "{second}");
}

#[tokio::test]
async fn an_opening_that_is_cancelled_closes_its_session() {
    let house = Builder::new().workers(0).build().await;
    let client = house.admin().await;
    let (session, opening) = client.ask_for_session().await;
    let told = client.delete(&format!("/jobs/{opening}")).await;
    assert_eq!(told.expect(200), "the job is cancelled");
    assert_eq!(client.job_end(&opening).await["state"], "cancelled");
    let told = session.execute("1").await.error(410);
    assert!(told.contains("its opening was cancelled"), "{told}");
}
