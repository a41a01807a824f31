//! Batches: one service called for many records.

use reqwest::Method;
use serde_json::{Value, json};
use warren_tests::client::Client;
use warren_tests::services::service;
use warren_tests::{Builder, House, WorkerOptions, wait};

/// Starts a batch of `v1` and gives its path.
async fn start(client: &Client, name: &str, query: &str, records: &Value) -> String {
    let path = format!("/api/{name}/v1/batch");
    let started = client.post(&format!("{path}{query}"), records).await;
    let location = started.header("location").to_owned();
    let body = started.expect(202);
    assert_eq!(body["batchExecutionId"], body["BatchExecutionId"]);
    let id = body["batchExecutionId"].as_str().unwrap();
    assert_eq!(location, format!("{path}/{id}"));
    location
}

/// Waits until all of a batch has ended.
async fn complete(client: &Client, batch: &str) -> Value {
    wait::until("the batch is complete", async || {
        let seen = client.get(batch).await.expect(200);
        (seen["state"] == "Complete").then_some(seen)
    })
    .await
}

fn add() -> Value {
    service(
        "z <- x + y",
        &[("x", "numeric"), ("y", "numeric")],
        &[("z", "numeric")],
    )
}

#[tokio::test]
async fn every_record_has_its_result_in_its_place() {
    let house = House::build().await;
    let (client, other) = (house.user("ana").await, house.user("bob").await);
    let mut service = service(
        "if (x == 2) stop('two'); z <- x * 10; if (x == 3) writeLines('three', 'f.txt'); cat(x)",
        &[("x", "numeric")],
        &[("z", "numeric")],
    );
    service["outputFileNames"] = json!(["f.txt"]);
    client.published("ten", &service).await;
    let records: Vec<Value> = (0..5).map(|x| json!({ "x": x })).collect();
    let batch = start(&client, "ten", "?parallelCount=2", &json!(records)).await;
    let seen = complete(&client, &batch).await;
    assert_eq!(
        (&seen["completedItemCount"], &seen["totalItemCount"]),
        (&json!(5), &json!(5))
    );
    let results = seen["batchExecutionResults"].as_array().unwrap();
    for (x, result) in results.iter().enumerate() {
        assert_eq!(result["success"], x != 2, "{result}");
        if x != 2 {
            assert_eq!(result["outputParameters"], json!({"z": x * 10}));
            assert_eq!(result["consoleOutput"], x.to_string());
        }
    }
    assert_eq!(results[2]["errorMessage"], "two");
    assert_eq!(
        client.get(&format!("{batch}/3/files")).await.expect(200),
        json!(["f.txt"])
    );
    assert_eq!(
        client.get(&format!("{batch}/1/files")).await.expect(200),
        json!([])
    );
    let file = client.request(Method::GET, &format!("{batch}/3/files/f.txt"));
    assert_eq!(client.fetch(file).await.expect(200), b"three\n");
    client
        .get(&format!("{batch}/1/files/f.txt"))
        .await
        .error(404);
    client.get(&format!("{batch}/5/files")).await.error(404);
    client.get(&format!("{batch}/x/files")).await.error(400);

    let id = batch.rsplit('/').next().unwrap();
    assert_eq!(
        client.get("/api/ten/v1/batch").await.expect(200),
        json!([id])
    );
    // Nobody else sees it.
    assert_eq!(other.get("/api/ten/v1/batch").await.expect(200), json!([]));
    other.get(&batch).await.error(404);
    other.delete(&batch).await.error(404);
    assert_eq!(client.delete(&batch).await.expect(200), json!([id]));
    client.get(&batch).await.error(404);
}

#[tokio::test]
async fn no_more_items_run_than_were_asked_for() {
    let house = House::build().await;
    let client = house.admin().await;
    client
        .published(
            "wait",
            &service(
                "invisible(file.create('here')); while (!file.exists('go')) Sys.sleep(0.01)",
                &[("x", "numeric")],
                &[],
            ),
        )
        .await;
    let records: Vec<Value> = (0..6).map(|x| json!({ "x": x })).collect();
    let batch = start(&client, "wait", "?parallelCount=2", &json!(records)).await;
    let state = "SELECT string_agg(state, ' ' ORDER BY item) FROM jobs WHERE batch_id IS NOT NULL";
    let mut ended = 0;
    while ended < 6 {
        let at_work = house.working_dir_with("here").await;
        wait::until("two run", async || {
            let states = house.sql_value(state).await;
            let of = |word: &str| states.split(' ').filter(|state| *state == word).count();
            assert!(of("running") + of("queued") <= 2, "{states}");
            (of("running") == 2.min(6 - ended)).then_some(())
        })
        .await;
        let partial = client.get(&batch).await.expect(200);
        assert_eq!(partial["completedItemCount"], ended);
        assert_eq!(partial["state"], "InProgress");
        let results = partial["batchExecutionResults"].as_array().unwrap();
        let waiting = results
            .iter()
            .filter(|result| result["errorMessage"] == "not finished");
        assert_eq!((results.len(), waiting.count()), (6, 6 - ended));
        let whole = client
            .get(&format!("{batch}?showPartialResult=False"))
            .await;
        assert_eq!(whole.expect(200)["batchExecutionResults"], json!([]));
        std::fs::remove_file(at_work.join("here")).unwrap();
        std::fs::write(at_work.join("go"), "").unwrap();
        ended += 1;
        wait::until("one more has ended", async || {
            let seen = client.get(&batch).await.expect(200);
            (seen["completedItemCount"] == ended).then_some(())
        })
        .await;
    }
    complete(&client, &batch).await;
}

#[tokio::test]
async fn records_that_do_not_fit_are_named_and_nothing_of_the_batch_is_left() {
    let house = House::build().await;
    let client = house.admin().await;
    client.published("add", &add()).await;
    for (records, named) in [
        (
            json!([{"x": 1, "y": 2}, {"x": 1}]),
            "record 1: the input \"y\" is missing",
        ),
        (json!([{"x": 1, "y": "a"}]), "record 0"),
        (json!({"x": 1, "y": 2}), "array"),
        (json!([1]), "array"),
    ] {
        let problem = client.post("/api/add/v1/batch", &records).await.error(400);
        assert!(problem.contains(named), "{problem}");
    }
    client
        .post("/api/add/v1/batch?parallelCount=0", &json!([]))
        .await
        .error(400);
    client
        .post("/api/none/v1/batch", &json!([]))
        .await
        .error(404);
    client.get("/api/none/v1/batch").await.error(404);
    client.get("/api/add/v1/batch/1").await.error(404);
    assert_eq!(house.sql_value("SELECT count(*) FROM batches").await, "0");
    assert_eq!(
        house
            .sql_value("SELECT count(*) FROM jobs WHERE batch_id IS NOT NULL")
            .await,
        "0"
    );
    // One without records is complete at once.
    let empty = start(&client, "add", "", &json!([])).await;
    let seen = client.get(&empty).await.expect(200);
    assert_eq!(
        (&seen["state"], &seen["totalItemCount"]),
        (&json!("Complete"), &json!(0))
    );
}

#[tokio::test]
async fn thousands_of_records_go_through_while_single_calls_are_answered() {
    let house = House::build().await;
    let client = house.admin().await;
    client.published("add", &add()).await;
    let records: Vec<Value> = (0..1200).map(|x| json!({"x": x, "y": 1})).collect();
    let batch = start(&client, "add", "?parallelCount=100", &json!(records)).await;
    // A call does not wait for the batch, of which most is still to come.
    assert_eq!(
        client.outputs("add", &json!({"x": 1, "y": 1})).await,
        json!({"z": 2})
    );
    let seen = client
        .get(&format!("{batch}?showPartialResults=false"))
        .await;
    assert_ne!(seen.expect(200)["state"], "Complete");
    let done = complete(&client, &batch).await;
    let results = done["batchExecutionResults"].as_array().unwrap();
    assert_eq!(results.len(), 1200);
    for (x, result) in results.iter().enumerate() {
        assert_eq!(result["outputParameters"]["z"], x + 1, "{result}");
    }
}

#[tokio::test]
async fn a_huge_batch_does_not_hold_up_that_of_somebody_else() {
    let house = House::build().await;
    let (ana, bob) = (house.user("ana").await, house.user("bob").await);
    ana.published("add", &add()).await;
    let records = |count: i32| -> Value {
        let records = (0..count).map(|x| json!({"x": x, "y": 1}));
        Value::Array(records.collect())
    };
    let huge = start(&ana, "add", "?parallelCount=100", &records(3000)).await;
    let small = start(&bob, "add", "", &records(20)).await;
    complete(&bob, &small).await;
    let seen = ana
        .get(&format!("{huge}?showPartialResults=false"))
        .await
        .expect(200);
    assert_ne!(seen["state"], "Complete", "{}", seen["completedItemCount"]);
    ana.delete(&huge).await.expect(200);
}

#[tokio::test]
async fn a_deleted_batch_stops_and_one_cancelled_item_makes_room_for_the_next() {
    let house = House::build().await;
    let client = house.admin().await;
    client
        .published(
            "sleep",
            &service(
                "if (x < 2) Sys.sleep(600); z <- x",
                &[("x", "numeric")],
                &[("z", "numeric")],
            ),
        )
        .await;
    let records: Vec<Value> = (0..4).map(|x| json!({ "x": x })).collect();
    let batch = start(&client, "sleep", "?parallelCount=1", &json!(records)).await;
    let first = house
        .sql_value("SELECT id FROM jobs WHERE batch_id IS NOT NULL AND item = 0")
        .await;
    let second = house
        .sql_value("SELECT id FROM jobs WHERE batch_id IS NOT NULL AND item = 1")
        .await;
    client.job_is(&first, "running").await;
    client.delete(&format!("/jobs/{second}")).await.expect(200);
    client.delete(&format!("/jobs/{first}")).await.expect(200);
    let seen = complete(&client, &batch).await;
    let results = &seen["batchExecutionResults"];
    assert_eq!(results[1]["success"], false);
    assert_eq!(results[3]["outputParameters"], json!({"z": 3}), "{seen}");

    let batch = start(&client, "sleep", "?parallelCount=2", &json!(records)).await;
    client.delete(&batch).await.expect(200);
    wait::until("nothing of it runs", async || {
        let left = "SELECT count(*) FROM jobs j JOIN batches b ON b.id = j.batch_id
                     WHERE b.deleted_at IS NOT NULL AND j.finished_at IS NULL";
        (house.sql_value(left).await == "0").then_some(())
    })
    .await;
}

/// The statement that deletes a batch waits for nobody, and so passes over an item that a worker is taking at that moment.
#[tokio::test]
async fn an_item_that_is_locked_while_its_batch_is_deleted_stops_too() {
    let house = House::build().await;
    let client = house.admin().await;
    let code = service(
        "Sys.sleep(600); z <- x",
        &[("x", "numeric")],
        &[("z", "numeric")],
    );
    client.published("sleep", &code).await;
    let batch = start(&client, "sleep", "", &json!([{ "x": 1 }])).await;
    let item = house
        .sql_value("SELECT id FROM jobs WHERE batch_id IS NOT NULL")
        .await;
    client.job_is(&item, "running").await;
    let holder = house.database.connect().await;
    let lock = format!("BEGIN; SELECT FROM jobs WHERE id = '{item}' FOR UPDATE");
    holder.batch_execute(&lock).await.unwrap();
    client.delete(&batch).await.expect(200);
    holder.batch_execute("COMMIT").await.unwrap();
    assert_eq!(client.job_end(&item).await["state"], "cancelled");
}

#[tokio::test]
async fn a_batch_survives_its_worker_and_a_repeated_request_is_the_same_batch() {
    let mut house = Builder::new()
        .lease(std::time::Duration::from_secs(2))
        .build()
        .await;
    let client = house.admin().await;
    client
        .published(
            "slow",
            &service(
                "Sys.sleep(0.05); z <- x",
                &[("x", "numeric")],
                &[("z", "numeric")],
            ),
        )
        .await;
    let records: Vec<Value> = (0..60).map(|x| json!({ "x": x })).collect();
    let ask = || {
        let request = client.request(Method::POST, "/api/slow/v1/batch?parallelCount=4");
        request.header("Idempotency-Key", "b").json(&records)
    };
    let first = client.send(ask()).await.expect(202);
    let again = client.send(ask()).await.expect(202);
    assert_eq!(first, again);
    let batch = format!(
        "/api/slow/v1/batch/{}",
        first["batchExecutionId"].as_str().unwrap()
    );
    wait::until("some have ended", async || {
        let seen = client.get(&batch).await.expect(200);
        (seen["completedItemCount"].as_i64() > Some(5)).then_some(())
    })
    .await;
    house.workers[0].process.kill().await;
    house.add_worker(WorkerOptions::default()).await;
    let seen = complete(&client, &batch).await;
    for (x, result) in seen["batchExecutionResults"]
        .as_array()
        .unwrap()
        .iter()
        .enumerate()
    {
        assert_eq!(result["outputParameters"]["z"], x, "{result}");
    }
    assert_eq!(
        house
            .sql_value("SELECT count(*) FROM jobs WHERE batch_id IS NOT NULL")
            .await,
        "60"
    );
}
