//! Sessions that nobody uses.

use warren_tests::client::Session;
use warren_tests::{Builder, House, wait};

/// Long enough for a machine with much to do not to make a used session look idle.
const IDLE: &str = "4";

async fn house() -> House {
    let mut house = Builder::new().apis(0).build().await;
    for _node in 0..2 {
        house
            .add_api_via(
                house.database.server,
                &[("WARREN_SESSION_IDLE_SECONDS", IDLE)],
            )
            .await;
    }
    house
}

/// Where a session stands, without using it.
async fn state(house: &House, session: &Session) -> String {
    let state = format!("SELECT state FROM sessions WHERE id = '{}'", session.id);
    house.sql_value(&state).await
}

#[tokio::test]
async fn a_session_that_nobody_uses_is_closed_and_one_that_is_only_read_lives_on() {
    let house = house().await;
    let client = house.admin().await;
    let job_of = async |session: &Session| {
        let job = session.submit("cat('kept')").await;
        client.job_end(&job).await;
        job
    };
    let unused = client.open_session().await;
    job_of(&unused).await;
    // One session for each way of reading, all of them at the other node.
    let reader = client.at(house.apis[1].addr);
    let mut reads = Vec::new();
    for way in 0..5 {
        let session = client.open_session().await;
        let job = job_of(&session).await;
        let path = match way {
            0 => session.path("/console-output"),
            1 => session.path("/history"),
            2 => format!("/jobs/{job}"),
            3 => format!("/jobs?session={}", session.id),
            _ => format!("/jobs/{job}/console?after=1"),
        };
        reads.push((session, path));
    }
    wait::until("the unused session is closed", async || {
        for (_session, path) in &reads {
            reader.get(path).await.expect(200);
        }
        (state(&house, &unused).await == "closed").then_some(())
    })
    .await;
    let told = reader.get(&unused.path("/history")).await.error(410);
    let seconds: f64 = told
        .split_once("it was idle for ")
        .and_then(|(_, rest)| rest.strip_suffix(" s"))
        .unwrap_or_else(|| panic!("{told}"))
        .parse()
        .unwrap();
    assert!(seconds >= 4.0, "{told}");
    for (session, path) in &reads {
        assert_eq!(state(&house, session).await, "open", "{path}");
    }
}

#[tokio::test]
async fn a_session_that_runs_is_not_idle_and_the_end_of_a_run_begins_the_time_anew() {
    let house = house().await;
    let client = house.admin().await;
    let (running, unused) = (client.open_session().await, client.open_session().await);
    let job = running
        .submit("invisible(file.create('here')); while (!file.exists('go')) Sys.sleep(0.01)")
        .await;
    let never_ran = running.submit("1").await;
    let go = house.working_dir_with("here").await.join("go");
    client
        .delete(&format!("/jobs/{never_ran}"))
        .await
        .expect(200);
    wait::until("the unused session is closed", async || {
        (state(&house, &unused).await == "closed").then_some(())
    })
    .await;
    // Nobody has called since before the other one became idle.
    assert_eq!(state(&house, &running).await, "open");
    std::fs::write(go, "").unwrap();
    wait::until("the session that ran is closed", async || {
        (state(&house, &running).await == "closed").then_some(())
    })
    .await;
    let late = format!(
        "SELECT s.ended_at - j.finished_at >= interval '{IDLE} seconds'
           FROM jobs j JOIN sessions s ON s.id = j.session_id WHERE j.id = '{job}'"
    );
    assert_eq!(house.sql_value(&late).await, "t");
    let state = format!("SELECT state FROM jobs WHERE id = '{job}'");
    assert_eq!(house.sql_value(&state).await, "succeeded");
}

#[tokio::test]
async fn an_outage_of_postgres_makes_no_session_idle() {
    let dir = tempfile::tempdir().unwrap();
    let server = warren_tests::postgres::OwnServer::start(dir.path()).await;
    let mut house = Builder::new()
        .on(server.address.clone())
        .apis(0)
        .build()
        .await;
    house
        .add_api_via(
            house.database.server,
            &[("WARREN_SESSION_IDLE_SECONDS", "2")],
        )
        .await;
    let client = house.admin().await;
    let session = client.open_session().await;
    session.prints("kept <- 5").await;
    server.crash().await;
    // The caller does not give up, and its calls cannot be noted anywhere.
    let began = std::time::Instant::now();
    wait::until("the outage was longer than the idle time", async || {
        let answer = client.get(&session.path("/history")).await;
        assert_eq!(answer.status, 503);
        (began.elapsed() > std::time::Duration::from_secs(4)).then_some(())
    })
    .await;
    server.start_again().await;
    wait::until("the session answers", async || {
        let answer = session.execute("cat(kept)").await;
        assert_ne!(answer.status, 410, "{}", answer.body);
        (answer.status == 200).then_some(())
    })
    .await;
}
