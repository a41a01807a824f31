//! API nodes that die, and nodes of another version.

use serde_json::json;
use warren_tests::Builder;
use warren_tests::client::Session;
use warren_tests::proxy::Proxy;

#[tokio::test]
async fn a_job_survives_its_api_node_and_another_node_answers() {
    let mut house = Builder::new().apis(2).build().await;
    let client = house.admin_at(0).await;
    let elsewhere = client.at(house.apis[1].addr);
    let session = client.open_session().await;
    let job = session
        .submit("invisible(file.create('here')); while (!file.exists('go')) Sys.sleep(0.01); cat('answer')")
        .await;
    let dir = house.working_dir_with("here").await;
    house.apis[0].process.kill().await;
    let polling = {
        let (elsewhere, job) = (elsewhere.clone(), job.clone());
        tokio::spawn(async move { elsewhere.job_end(&job).await })
    };
    std::fs::write(dir.join("go"), "").unwrap();
    let ended = polling.await.unwrap();
    assert_eq!(
        (&ended["state"], &ended["result"]["consoleOutput"]),
        (&json!("succeeded"), &json!("answer"))
    );
    let path = session.path("/execute");
    let answer = elsewhere
        .post(&path, &json!({"code": "cat('goes on')"}))
        .await
        .expect(200);
    assert_eq!(answer["consoleOutput"], "goes on");
}

/// The node's link to the broker swallows everything and closes nothing, so the node accepts jobs and none of its notices
/// leaves. Then it dies.
#[tokio::test]
async fn jobs_of_a_node_that_died_between_storing_and_noticing_them_run_once() {
    let mut house = Builder::new().apis(0).build().await;
    let link = Proxy::to(house.amqp_server()).await;
    let amqp = house.amqp_via(link.addr());
    house
        .add_api_via(house.database.server, &[("WARREN_AMQP_URL", &amqp)])
        .await;
    let client = house.admin().await;
    let session = client.open_session().await;
    session.prints("count <- 0").await;
    link.hold();
    let job = session.submit("count <- count + 1; cat(count)").await;
    let (opened, opening) = client.ask_for_session().await;
    house.apis[0].process.kill().await;
    // Nobody has heard of them, and nobody is there to repeat it.
    let stored = "SELECT string_agg(state || notices, ' ') FROM jobs WHERE finished_at IS NULL";
    assert_eq!(house.sql_value(stored).await, "queued1 queued1");
    drop(link);
    let node = house.add_api().await;
    let client = client.at(house.apis[node].addr);
    let ended = client.job_end(&job).await;
    assert_eq!(
        (&ended["result"]["consoleOutput"], &ended["attempt"]),
        (&json!("1"), &json!(1))
    );
    assert_eq!(client.job_end(&opening).await["state"], "succeeded");
    for (session, code, printed) in [(session, "cat(count)", "1"), (opened, "cat('new')", "new")] {
        let session = Session {
            client: client.clone(),
            ..session
        };
        assert_eq!(session.prints(code).await, printed);
    }
}

/// The caller cannot know what became of its request; with its key it may simply ask again.
#[tokio::test]
async fn a_call_whose_node_died_is_repeated_elsewhere_with_its_key_and_runs_once() {
    let mut house = Builder::new().apis(2).build().await;
    let client = house.admin_at(0).await;
    let session = client.open_session().await;
    session.prints("count <- 0").await;
    let body = json!({
        "code": "count <- count + 1; invisible(file.create('here')); \
                 while (!file.exists('go')) Sys.sleep(0.01); cat(count)"
    });
    let nodes = [house.apis[0].addr, house.apis[1].addr];
    let ask = |node: usize| {
        let client = client.at(nodes[node]);
        let request = client.request(reqwest::Method::POST, &session.path("/execute"));
        let request = request.header("Idempotency-Key", "k").json(&body);
        tokio::spawn(async move { client.try_send(request).await })
    };
    let broken = ask(0);
    let dir = house.working_dir_with("here").await;
    let repeated = ask(1);
    house.apis[0].process.kill().await;
    assert!(broken.await.unwrap().is_err());
    std::fs::write(dir.join("go"), "").unwrap();
    let answer = repeated.await.unwrap().unwrap().expect(200);
    assert_eq!(answer["consoleOutput"], "1");
    let executed = "SELECT count(*) FROM jobs WHERE kind = 'execute'";
    assert_eq!(house.sql_value(executed).await, "2");
}

#[tokio::test]
async fn a_node_waits_for_what_another_node_accepted() {
    let house = Builder::new().apis(2).build().await;
    let client = house.admin_at(0).await;
    let session = client.open_session().await;
    let job = session
        .submit("invisible(file.create('here')); while (!file.exists('go')) Sys.sleep(0.01); cat('answer')")
        .await;
    let dir = house.working_dir_with("here").await;
    let waiting = {
        let (elsewhere, path) = (
            client.at(house.apis[1].addr),
            format!("/jobs/{job}?wait=30"),
        );
        tokio::spawn(async move { elsewhere.get(&path).await.expect(200) })
    };
    std::fs::write(dir.join("go"), "").unwrap();
    assert_eq!(waiting.await.unwrap()["result"]["consoleOutput"], "answer");
}

/// During a deploy a node of the version before meets a schema, rows and messages of the next one.
#[tokio::test]
async fn old_nodes_and_new_workers_work_together() {
    let mut house = Builder::new().build().await;
    // What a later version may do: a migration of its own, columns nobody here knows, members in stored requests.
    // One table a transaction: together they would wait for a sweeper that waits for them.
    for statement in [
        "INSERT INTO schema_migrations (version, name) VALUES (999, '0999_of_a_later_version')",
        "ALTER TABLE jobs ADD COLUMN later text DEFAULT 'unknown here'",
        "ALTER TABLE sessions ADD COLUMN later integer NOT NULL DEFAULT 1",
        "ALTER TABLE workers ADD COLUMN later jsonb",
    ] {
        house.sql(statement).await;
    }
    let old = house.add_api().await;
    let client = house.admin_at(old).await;
    let session = client.open_session().await;
    assert_eq!(session.prints("cat('together')").await, "together");
    house
        .sql(&format!(
            "UPDATE sessions SET next_seq = next_seq + 1;
             INSERT INTO jobs (id, kind, lane, state, owner_id, session_id, seq, api_id, request)
             SELECT '0190b0c0-0000-7000-8000-000000000001', 'execute', 'ordered', 'queued', owner_id, id, next_seq - 1,
                    gen_random_uuid(), convert_to('{{\"code\": \"cat(1)\", \"later\": {{\"un\": \"known\"}}}}', 'UTF8')
               FROM sessions WHERE id = '{}'",
            session.id
        ))
        .await;
    let ended = client.job_end("0190b0c0-0000-7000-8000-000000000001").await;
    assert_eq!(ended["result"]["consoleOutput"], "1");
}
