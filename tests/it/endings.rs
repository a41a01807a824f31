//! How R code can end, as its caller reads it.

use serde_json::{Value, json};
use warren_tests::client::Session;
use warren_tests::{Builder, House, WorkerOptions};

/// Runs code that does not succeed, and returns how its job ended.
async fn failed(session: &Session, code: &str) -> Value {
    let job = session.submit(code).await;
    let job = session.client.job_end(&job).await;
    assert_eq!(job["state"], "failed", "{code}: {job}");
    assert_eq!(job["result"]["success"], false, "{code}: {job}");
    job
}

fn message(job: &Value) -> &str {
    job["result"]["errorMessage"].as_str().unwrap()
}

#[tokio::test]
async fn each_error_says_what_it_is_and_leaves_the_session_as_it_was() {
    let house = House::build().await;
    let session = house.admin().await.open_session().await;
    session.prints("kept <- 3").await;
    for (code, told) in [
        ("b <- )", "unexpected ')'"),
        ("stop('no way')", "no way"),
        (
            "options(warn = 2); as.integer('x')",
            "(converted from warning)",
        ),
        ("options(warn = 0); quit()", "close the session instead"),
        ("q('no', 3)", "close the session instead"),
        ("base::quit()", "close the session instead"),
        ("readline('name? ')", "readline() is not available"),
        ("scan(stdin())", "nobody can answer"),
        ("browser()", "browser() is not available"),
        (
            "f <- function() f(); g <- function() { o <- options(expressions = 200); on.exit(options(o)); f() }; g()",
            "infinite recursion",
        ),
        ("x <- numeric(1e12)", "cannot allocate vector"),
        (
            "tools::pskill(Sys.getpid(), 2); repeat Sys.sleep(0.01)",
            "interrupted",
        ),
    ] {
        let job = failed(&session, code).await;
        assert!(message(&job).contains(told), "{code}: {}", message(&job));
        assert_eq!(session.prints("cat(kept)").await, "3", "after {code}");
    }
}

#[tokio::test]
async fn each_death_says_what_it_was_and_takes_the_session_with_it() {
    let house = House::build().await;
    let client = house.admin().await;
    let neighbour = client.open_session().await;
    neighbour.prints("kept <- 3").await;
    for (signal, told) in [
        (4, "illegal instruction (signal 4)"),
        (6, "it aborted itself (signal 6)"),
        (7, "bus error (signal 7)"),
        (8, "arithmetic fault (signal 8)"),
        (9, "killed by signal 9"),
        (11, "segmentation fault (signal 11)"),
    ] {
        let session = client.open_session().await;
        let code =
            format!("cat('before'); tools::pskill(Sys.getpid(), {signal}); repeat Sys.sleep(0.01)");
        let job = failed(&session, &code).await;
        assert!(message(&job).contains(told), "{}", message(&job));
        assert!(message(&job).contains("the session is gone"));
        assert_eq!(job["result"]["consoleOutput"], "before", "{job}");
        assert_eq!(job["cancel"], Value::Null);
        let reason = session.gone().await;
        assert!(reason.contains(told), "{reason}");
        session.execute("1").await.error(410);
    }
    assert_eq!(neighbour.prints("cat(kept)").await, "3");
    let states = "SELECT string_agg(DISTINCT state, ' ') FROM sessions WHERE ended_at IS NOT NULL";
    assert_eq!(house.sql_value(states).await, "lost");
}

#[tokio::test]
#[expect(clippy::print_stderr, reason = "whoever reads the test's output")]
async fn a_session_that_is_killed_for_its_memory_says_so() {
    let mut house = Builder::new().workers(0).build().await;
    house
        .add_worker(WorkerOptions {
            env: vec![(
                "WARREN_SESSION_MEMORY_BYTES".to_owned(),
                "1200000000".to_owned(),
            )],
            ..WorkerOptions::default()
        })
        .await;
    let client = house.admin().await;
    let session = client.open_session().await;
    // More than one process may have is an error of R's.
    let job = failed(&session, "kept <- 3; x <- numeric(2e8)").await;
    assert!(message(&job).contains("cannot allocate vector"), "{job}");
    assert_eq!(session.prints("cat(kept)").await, "3");
    let status = client.get("/status").await.expect(200).to_string();
    if status.contains("memory of a session") {
        return eprintln!("skipped: no control group bounds a session's memory here");
    }
    let code = "x <- rep(0.5, 5e7); cat('before')
        system('for i in 1 2 3; do dd bs=300M if=/dev/zero of=/dev/null 2>/dev/null & done; wait')";
    let job = failed(&session, code).await;
    assert!(message(&job).contains("ran out of memory"), "{job}");
    assert!(message(&job).contains("the session is gone"), "{job}");
    assert_eq!(job["result"]["consoleOutput"], "before", "{job}");
    let reason = session.gone().await;
    assert!(reason.contains("ran out of memory"), "{reason}");
}

#[tokio::test]
async fn a_session_whose_r_dies_between_two_runs_says_so_without_being_asked() {
    let house = House::build().await;
    let session = house.admin().await.open_session().await;
    session
        .prints(
            "pid <- Sys.getpid(); invisible(file.create('here')); \
             invisible(parallel::mcparallel({ while (!file.exists('go')) Sys.sleep(0.01); tools::pskill(pid, 9) }, \
                 detached = TRUE))",
        )
        .await;
    assert_eq!(session.prints("cat('alive')").await, "alive");
    std::fs::write(house.working_dir_with("here").await.join("go"), "").unwrap();
    let reason = session.gone().await;
    assert!(reason.contains("killed by signal 9"), "{reason}");
    let refused = session.execute("1").await.error(410);
    assert!(refused.contains("killed by signal 9"), "{refused}");
    let state = format!("SELECT state FROM sessions WHERE id = '{}'", session.id);
    assert_eq!(house.sql_value(&state).await, "lost");
    assert_eq!(session.client.get("/sessions").await.expect(200), json!([]));
}
