//! Calling services.

use reqwest::Method;
use serde_json::{Value, json};
use warren_tests::House;
use warren_tests::services::service;

#[tokio::test]
async fn a_service_is_published_and_called_by_anybody() {
    let house = House::build().await;
    let (ana, bob) = (house.user("ana").await, house.user("bob").await);
    let add = service(
        "z <- x + y; cat('sum')",
        &[("x", "numeric"), ("y", "numeric")],
        &[("z", "numeric")],
    );
    let published = ana.publish("add", "v1", &add).await;
    assert_eq!(published.header("location"), "/api/add/v1");
    assert_eq!(published.expect(201), "v1");
    let answer = bob.call("add", "v1", &json!({"x": 2, "y": 3.5})).await;
    assert_eq!(
        answer.expect(200),
        json!({
            "success": true, "errorMessage": "", "outputParameters": {"z": 5.5}, "outputFiles": {},
            "consoleOutput": "sum", "changedFiles": [],
        })
    );
    // Again, by the parent that is there now.
    assert_eq!(
        bob.outputs("add", &json!({"y": 1, "x": 1})).await,
        json!({"z": 2})
    );
}

#[tokio::test]
async fn values_come_and_go_by_their_declared_types() {
    let house = House::build().await;
    let client = house.admin().await;
    let kinds = [
        "logical",
        "numeric",
        "integer",
        "character",
        "vector",
        "matrix",
        "data.frame",
    ];
    let names: Vec<String> = (0..kinds.len()).map(|at| format!("x{at}")).collect();
    let pairs: Vec<(&str, &str)> = names.iter().map(String::as_str).zip(kinds).collect();
    client
        .published(
            "echo",
            &service(
                "stopifnot(is.matrix(x5), is.data.frame(x6))",
                &pairs,
                &pairs,
            ),
        )
        .await;
    let inputs = json!({
        "x0": true, "x1": 2.5, "x2": 3, "x3": "é", "x4": [1, null, 3], "x5": [[1, 2], [3, 4]],
        "x6": {"b": [1, 2], "a": ["u", "v"]},
    });
    assert_eq!(client.outputs("echo", &inputs).await, inputs);
    // One element with an array or without, as the client's library writes it.
    let outputs = client
        .outputs(
            "echo",
            &json!({
                "x0": [true], "x1": [1, 2], "x2": [3], "x3": ["a"], "x4": 5, "x5": [[1]], "x6": {"b": 1},
            }),
        )
        .await;
    assert_eq!(
        outputs,
        json!({
            "x0": true, "x1": [1, 2], "x2": 3, "x3": "a", "x4": [5], "x5": [[1]], "x6": {"b": [1]},
        })
    );
    // Rows are taken for columns, and what is missing goes out as null.
    let outputs = client
        .outputs(
            "echo",
            &json!({
                "x0": null, "x1": "NaN", "x2": null, "x3": null, "x4": [], "x5": [[1]], "x6": [{"b": 1}, {"b": 2}],
            }),
        )
        .await;
    assert_eq!(outputs["x6"], json!({"b": [1, 2]}));
    assert_eq!(outputs["x1"], "NaN");
    assert_eq!(outputs["x0"], Value::Null);
}

#[tokio::test]
async fn inputs_that_do_not_fit_are_named() {
    let house = House::build().await;
    let client = house.admin().await;
    client
        .published(
            "f",
            &service("1", &[("n", "integer"), ("df", "data.frame")], &[]),
        )
        .await;
    for (inputs, named) in [
        (json!({"n": 1}), "\"df\" is missing"),
        (json!({"n": 1, "df": {}, "m": 1}), "no input \"m\""),
        (json!({"n": "1", "df": {}}), "\"n\" is declared as integer"),
        (json!({"n": 1.5, "df": {}}), "input `n`"),
        (
            json!({"n": 1, "df": {"a": [1, 2], "b": [1, 2, 3]}}),
            "input `df`",
        ),
        (json!([1]), "an object"),
    ] {
        let problem = client.call("f", "v1", &inputs).await.error(400);
        assert!(problem.contains(named), "{inputs}: {problem}");
    }
    for (name, version) in [("f", "v2"), ("g", "v1"), ("F", "v1")] {
        client.call(name, version, &json!({})).await.error(404);
    }
    client
        .call("f", "swagger.json", &json!({}))
        .await
        .error(400);
}

#[tokio::test]
async fn a_service_without_inputs_needs_no_body() {
    let house = House::build().await;
    let client = house.admin().await;
    client
        .published("one", &service("z <- 1", &[], &[("z", "integer")]))
        .await;
    let call = |name: &str| client.request(Method::POST, &format!("/api/{name}/v1"));
    // R's jsonlite writes an empty list as an empty array.
    for request in [call("one"), call("one").body("{}"), call("one").body("[]")] {
        let answer = client.send(request).await.expect(200);
        assert_eq!(answer["outputParameters"], json!({"z": 1}));
    }
    client
        .published("two", &service("z <- x", &[("x", "integer")], &[]))
        .await;
    let problem = client.send(call("two")).await.error(400);
    assert!(problem.contains("\"x\" is missing"), "{problem}");
}

#[tokio::test]
async fn an_r_error_and_a_crash_are_answers_of_no_success() {
    let house = House::build().await;
    let client = house.admin().await;
    let code = "cat('before'); switch(how, stop = stop('no'), crash = tools::pskill(Sys.getpid(), 11), quit = q())";
    client
        .published(
            "bad",
            &service(code, &[("how", "character")], &[("z", "numeric")]),
        )
        .await;
    for (how, told) in [
        ("stop", "no"),
        ("crash", "segmentation fault"),
        ("quit", "cannot quit R"),
    ] {
        let answer = client
            .call("bad", "v1", &json!({ "how": how }))
            .await
            .expect(200);
        assert_eq!(answer["success"], false, "{answer}");
        let message = answer["errorMessage"].as_str().unwrap();
        assert!(message.contains(told), "{how}: {message}");
        assert!(!message.contains("session is gone"), "{message}");
        let printed = answer["consoleOutput"].as_str().unwrap();
        assert!(printed.starts_with("before"), "{printed}");
        assert_eq!(answer["outputParameters"], json!({}));
    }
    assert_eq!(
        client.outputs("bad", &json!({"how": ""})).await,
        json!({"z": null})
    );
    // The code's own words about an input are its error, and no refusal of the call.
    client
        .published(
            "mine",
            &service(
                "stop('input `x` must be positive')",
                &[("x", "numeric")],
                &[],
            ),
        )
        .await;
    let answer = client
        .call("mine", "v1", &json!({"x": 1}))
        .await
        .expect(200);
    assert_eq!(answer["errorMessage"], "input `x` must be positive");
}

#[tokio::test]
async fn files_that_are_declared_come_back() {
    let house = House::build().await;
    let client = house.admin().await;
    let mut files = service(
        "writeLines(c('a', 'b'), 'out.txt'); plot(1); file.symlink('/etc/passwd', 'link')",
        &[],
        &[],
    );
    files["outputFileNames"] = json!(["out.txt", "unnamedplot001.png", "link", "missing.csv"]);
    client.published("files", &files).await;
    let answer = client.call("files", "v1", &json!({})).await.expect(200);
    let found = &answer["outputFiles"];
    assert_eq!(found["out.txt"], "YQpiCg==");
    assert!(
        found["unnamedplot001.png"]
            .as_str()
            .unwrap()
            .starts_with("iVBOR")
    );
    assert_eq!(found["link"], Value::Null);
    assert_eq!(found["missing.csv"], Value::Null);
    assert!(
        answer["changedFiles"]
            .as_array()
            .unwrap()
            .contains(&json!("out.txt"))
    );
}

#[tokio::test]
async fn a_call_can_be_followed_and_cancelled_like_any_job() {
    let house = House::build().await;
    let client = house.admin().await;
    client
        .published(
            "wait",
            &service(
                "cat('here\\n'); invisible(file.create('here')); Sys.sleep(600)",
                &[],
                &[],
            ),
        )
        .await;
    let ask = || {
        let request = client
            .request(Method::POST, "/api/wait/v1")
            .json(&json!({}));
        request.header("Prefer", "respond-async")
    };
    let job = client.begin_call("wait", &json!({})).await;
    house.working_dir_with("here").await;
    client.delete(&format!("/jobs/{job}")).await.expect(200);
    let ended = client.job_end(&job).await;
    assert_eq!(
        (&ended["kind"], &ended["state"]),
        (&json!("call"), &json!("cancelled"))
    );
    assert_eq!(ended["cancel"], "confirmed");
    assert_eq!(ended["result"]["success"], false, "{ended}");
    let printed = ended["result"]["consoleOutput"].as_str().unwrap();
    assert_eq!(printed.trim_end(), "here");

    let key = |request: reqwest::RequestBuilder| request.header("Idempotency-Key", "k");
    let first = client.send(key(ask())).await.expect(202);
    let again = client.send(key(ask())).await.expect(202);
    assert_eq!(first["jobId"], again["jobId"]);
}

#[tokio::test]
async fn the_document_describes_the_version() {
    let house = House::build().await;
    let client = house.admin().await;
    let mut add = service("z <- x", &[("x", "numeric")], &[("z", "numeric")]);
    add["operationId"] = json!("addUp");
    client.published("add", &add).await;
    let document = client.get("/api/add/v1/swagger.json").await.expect(200);
    assert_eq!(document["swagger"], "2.0");
    assert_eq!(
        document["paths"]["/api/add/v1"]["post"]["operationId"],
        "addUp"
    );
    client.get("/api/add/v2/swagger.json").await.error(404);
}
