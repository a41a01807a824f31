//! Publishing, changing, listing and deleting versions.

use reqwest::Method;
use serde_json::{Value, json};
use warren_tests::services::service;
use warren_tests::{Builder, House, wait};

fn constant(value: i32) -> Value {
    service(&format!("z <- {value}"), &[], &[("z", "integer")])
}

#[tokio::test]
async fn a_version_outlives_the_snapshot_and_the_session_it_came_from() {
    let house = House::build().await;
    let client = house.admin().await;
    let session = client.open_session().await;
    session
        .prints("model <- lm(mpg ~ wt, mtcars); half <- function(x) x / 2")
        .await;
    session.put_file("factor.txt", b"10\n").await;
    let snapshot = session.save().await;
    let mut service = service(
        "z <- unname(predict(model, data.frame(wt = half(wt)))) * scan('factor.txt', quiet = TRUE)",
        &[("wt", "numeric")],
        &[("z", "numeric")],
    );
    service["snapshotId"] = json!(snapshot);
    client.published("predict", &service).await;
    session.close().await;
    client
        .delete(&format!("/snapshots/{snapshot}"))
        .await
        .expect(200);
    let outputs = client.outputs("predict", &json!({"wt": 6})).await;
    let expected = (37.285_126_167_342_05 - 5.344_471_572_722_68 * 3.0) * 10.0;
    assert!(
        (outputs["z"].as_f64().unwrap() - expected).abs() < 1e-6,
        "{outputs}"
    );
    let listed = client.get("/services/predict/v1").await.expect(200);
    assert_eq!(listed[0]["snapshotId"], json!(snapshot));
}

#[tokio::test]
async fn names_belong_to_whoever_published_first() {
    let house = House::build().await;
    let (ana, bob) = (house.user("ana").await, house.user("bob").await);
    ana.published("mine", &constant(1)).await;
    ana.publish("mine", "v1", &constant(2)).await.error(409);
    for problem in [
        bob.publish("mine", "v1", &constant(2)).await,
        bob.publish("mine", "v2", &constant(2)).await,
        bob.delete("/services/mine/v1").await,
        bob.patch("/services/mine/v1", &constant(2)).await,
    ] {
        assert!(problem.error(403).contains("somebody else"));
    }
    bob.delete("/services/mine/v2").await.error(404);
    ana.patch("/services/mine/v2", &constant(2))
        .await
        .error(404);
    ana.delete("/services/mine/v1").await.expect(200);
    ana.call("mine", "v1", &json!({})).await.error(404);
    bob.published("mine", &constant(3)).await;
    assert_eq!(ana.outputs("mine", &json!({})).await, json!({"z": 3}));
}

#[tokio::test]
async fn what_is_wrong_with_a_publication_is_told_and_leaves_nothing() {
    let house = House::build().await;
    let (ana, bob) = (house.user("ana").await, house.user("bob").await);
    let broken = json!({"code": "x <- 1\ny <- (2 +\nz"});
    let problem = ana.publish("bad", "v1", &broken).await.error(400);
    assert!(
        problem.contains("code") && problem.contains('3'),
        "{problem}"
    );
    let init = json!({"code": "1", "initCode": "cat('loading')\nstop('no model')"});
    let problem = ana.publish("bad", "v1", &init).await.error(400);
    assert!(
        problem.contains("no model") && problem.contains("loading"),
        "{problem}"
    );
    // What is printed is not told a second time, and nobody is told of a session.
    let init = json!({"code": "1", "initCode": "f <- function() stop('no'); f()"});
    let problem = ana.publish("bad", "v1", &init).await.error(400);
    assert!(problem.contains("in f() : no"), "{problem}");
    assert!(!problem.contains("printed"), "{problem}");
    let crash = json!({"code": "1", "initCode": "tools::pskill(Sys.getpid(), 11)"});
    let problem = ana.publish("bad", "v1", &crash).await.error(400);
    assert!(problem.contains("segmentation fault"), "{problem}");
    assert!(!problem.contains("session"), "{problem}");
    let mut example = service("z <- x + 1", &[("x", "vector")], &[("z", "vector")]);
    example["exampleInputs"] = json!({"x": ["a"]});
    let problem = ana.publish("bad", "v1", &example).await.error(400);
    assert!(problem.contains("exampleInputs"), "{problem}");
    example["exampleInputs"] = json!({"y": [1]});
    let problem = ana.publish("bad", "v1", &example).await.error(400);
    assert!(problem.contains("[\"x\"]"), "{problem}");
    let session = bob.open_session().await;
    let mut of_bob = constant(1);
    of_bob["snapshotId"] = json!(session.save().await);
    ana.publish("bad", "v1", &of_bob).await.error(400);
    ana.publish("bad", "pool", &constant(1)).await.error(400);
    // The name is free: nothing was published under it.
    assert_eq!(ana.get("/services/bad").await.expect(200), json!([]));
    bob.published("bad", &constant(1)).await;
}

#[tokio::test]
async fn a_change_keeps_what_it_does_not_name() {
    let house = House::build().await;
    let client = house.admin().await;
    let mut first = service("z <- x * base", &[("x", "numeric")], &[("z", "numeric")]);
    first["initCode"] = json!("base <- 10");
    first["description"] = json!("multiplies");
    client.published("times", &first).await;
    let changed = client
        .patch(
            "/services/times/v1",
            &json!({"initCode": "base <- 100", "outputFileNames": ["f"]}),
        )
        .await;
    assert_eq!(changed.expect(200), "v1");
    assert_eq!(
        client.outputs("times", &json!({"x": 2})).await,
        json!({"z": 200})
    );
    let listed = client.get("/services/times/v1").await.expect(200);
    assert_eq!(listed[0]["description"], "multiplies");
    assert_eq!(listed[0]["outputFileNames"], json!(["f"]));
    assert_eq!(listed[0]["code"], "z <- x * base");
    // One that goes wrong changes nothing.
    client
        .patch("/services/times/v1", &json!({"code": "z <- ("}))
        .await
        .error(400);
    assert_eq!(
        client.outputs("times", &json!({"x": 3})).await,
        json!({"z": 300})
    );
}

#[tokio::test]
async fn a_call_finishes_on_what_it_began_with() {
    let house = House::build().await;
    let client = house.admin().await;
    let slow = service(
        "invisible(file.create('here')); while (!file.exists('go')) Sys.sleep(0.01); z <- 'old'",
        &[],
        &[("z", "character")],
    );
    client.published("slow", &slow).await;
    let job = client.begin_call("slow", &json!({})).await;
    let work = house.working_dir_with("here").await;
    client
        .patch("/services/slow/v1", &json!({"code": "z <- 'new'"}))
        .await
        .expect(200);
    assert_eq!(
        client.outputs("slow", &json!({})).await,
        json!({"z": "new"})
    );
    client.delete("/services/slow/v1").await.expect(200);
    std::fs::write(work.join("go"), "").unwrap();
    let ended = client.job_end(&job).await;
    assert_eq!(
        ended["result"]["outputParameters"],
        json!({"z": "old"}),
        "{ended}"
    );
}

#[tokio::test]
async fn versions_are_listed_oldest_first_and_code_is_its_publishers() {
    let house = House::build().await;
    let (ana, bob) = (house.user("ana").await, house.user("bob").await);
    ana.published("one", &constant(1)).await;
    let made_up = ana.post("/services/one", &constant(2)).await.expect(201);
    let made_up = made_up.as_str().unwrap();
    assert_eq!(made_up.len(), 36);
    bob.published("two", &constant(3)).await;
    let all = ana.get("/services").await.expect(200);
    let names: Vec<_> = all
        .as_array()
        .unwrap()
        .iter()
        .map(|service| {
            (
                service["name"].as_str().unwrap(),
                service["version"].as_str().unwrap(),
            )
        })
        .collect();
    assert_eq!(names, [("one", "v1"), ("one", made_up), ("two", "v1")]);
    assert_eq!(all[0]["code"], "z <- 1");
    assert_eq!(all[0]["myPermissionOnService"], "read/write");
    assert_eq!(all[2]["code"], Value::Null);
    assert_eq!(
        (&all[2]["owner"], &all[2]["versionPublishedBy"]),
        (&json!("bob"), &json!("bob"))
    );
    assert_eq!(ana.get("/services/none").await.expect(200), json!([]));
    ana.get("/services/one/v9").await.error(404);
}

#[tokio::test]
async fn a_version_that_is_made_up_is_known_to_whoever_repeats_or_does_not_wait() {
    let house = House::build().await;
    let client = house.admin().await;
    let ask = |key: &str| {
        let request = client.request(Method::POST, "/services/one");
        request.header("Idempotency-Key", key).json(&constant(1))
    };
    let first = client.send(ask("a")).await;
    let again = client.send(ask("a")).await;
    assert_eq!(first.header("location"), again.header("location"));
    let version = first.expect(201);
    assert_eq!(version, again.expect(201));
    let accepted = client
        .send(ask("b").header("Prefer", "respond-async"))
        .await;
    let accepted = accepted.expect(202);
    let job = accepted["jobId"].as_str().unwrap();
    assert_eq!(client.job_end(job).await["state"], "succeeded");
    let listed = client.get("/services/one").await.expect(200);
    let versions = [&listed[0]["version"], &listed[1]["version"]];
    assert_eq!(versions, [&version, &accepted["jobId"]]);
    assert_eq!(listed.as_array().unwrap().len(), 2);
}

#[tokio::test]
async fn what_nobody_needs_any_more_is_removed_and_the_version_stays() {
    let house = Builder::new()
        .env("WARREN_JOB_RETENTION_SECONDS", "1")
        .env("WARREN_CALL_RETENTION_SECONDS", "1")
        .env("WARREN_BATCH_RETENTION_SECONDS", "1")
        .build()
        .await;
    let client = house.admin().await;
    let session = client.open_session().await;
    let mut with_snapshot = service("z <- x + base", &[("x", "numeric")], &[("z", "numeric")]);
    session.prints("base <- 1").await;
    with_snapshot["snapshotId"] = json!(session.save().await);
    client.published("add", &with_snapshot).await;
    let copies = || {
        let blobs = house.blobs().into_iter();
        blobs.filter(|blob| blob.contains("services/")).count()
    };
    assert_eq!(copies(), 1);
    let job = client.begin_call("add", &json!({"x": 1})).await;
    client.job_end(&job).await;
    let batch = client.post("/api/add/v1/batch", &json!([{"x": 1}])).await;
    let batch = batch.header("location").to_owned();
    // A change without a snapshot keeps the copy, another snapshot takes its place.
    client
        .patch("/services/add/v1", &json!({"description": "d"}))
        .await
        .expect(200);
    assert_eq!(copies(), 1);
    session.prints("base <- 10").await;
    let change = json!({"snapshotId": session.save().await});
    client.patch("/services/add/v1", &change).await.expect(200);
    wait::until("all of it is gone", async || {
        let gone = async |path: &str| client.get(path).await.status.as_u16() == 404;
        let contents = house
            .sql_value("SELECT count(*) FROM service_contents")
            .await;
        let all = gone(&format!("/jobs/{job}")).await
            && gone(&batch).await
            && contents == "1"
            && copies() == 1;
        all.then_some(())
    })
    .await;
    assert_eq!(
        client.outputs("add", &json!({"x": 1})).await,
        json!({"z": 11})
    );
}
