//! API nodes that die, and nodes of another version.

use serde_json::json;
use warren_tests::Builder;

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
