//! Executing code in a session.

use serde_json::json;
use warren_tests::House;

#[tokio::test]
async fn the_main_job() {
    let house = House::build().await;
    let session = house.admin().await.open_session().await;
    let body = json!({
        "code": "fit <- lm(mpg ~ wt, mtcars)\nslope <- unname(coef(fit)[2])\nprint(x + 1)",
        "inputParameters": [{"name": "x", "value": 41}],
        "outputParameters": ["slope", "x"],
    });
    let answer = session
        .client
        .post(&session.path("/execute"), &body)
        .await
        .expect(200);
    assert_eq!(answer["success"], true, "{answer}");
    assert_eq!(answer["errorMessage"], "");
    assert_eq!(answer["consoleOutput"], "[1] 42\n");
    assert_eq!(answer["changedFiles"], json!([]));
    assert_eq!(answer["outputParameters"][0]["name"], "slope");
    let slope = answer["outputParameters"][0]["value"][0].as_f64().unwrap();
    assert!((slope - -5.344_471_572_722_676).abs() < 1e-12, "{slope}");
    assert_eq!(
        answer["outputParameters"][1],
        json!({"name": "x", "value": [41]})
    );
    session.close().await;
}

#[tokio::test]
async fn ten_clients_get_a_hundred_answers_of_one_session_each_its_own_and_in_order() {
    let house = House::build().await;
    let session = house.admin().await.open_session().await;
    session.prints("seen <- character()").await;
    let clients = (0..10).map(|client| {
        let session = session.clone();
        async move {
            for call in 0..10 {
                let mark = format!("{client}/{call}");
                let printed = session
                    .prints(&format!("seen <- c(seen, '{mark}'); cat('{mark}')"))
                    .await;
                assert_eq!(printed, mark);
            }
        }
    });
    futures::future::join_all(clients).await;
    // What R saw is what history says, in the same order; and each client's own calls came in its order.
    let printed = session.prints("cat(seen, sep = ' ')").await;
    let seen: Vec<&str> = printed.split(' ').collect();
    let history = session
        .client
        .get(&session.path("/history"))
        .await
        .expect(200);
    let told: Vec<String> = history
        .as_array()
        .unwrap()
        .iter()
        .filter_map(|code| {
            code.as_str()?
                .strip_suffix("')")?
                .rsplit_once("cat('")
                .map(|(_, mark)| mark.to_owned())
        })
        .collect();
    assert_eq!(seen, told);
    for client in 0..10 {
        let own: Vec<&&str> = seen
            .iter()
            .filter(|mark| mark.starts_with(&format!("{client}/")))
            .collect();
        let sorted = {
            let mut sorted = own.clone();
            sorted.sort();
            sorted
        };
        assert_eq!(own, sorted);
        assert_eq!(own.len(), 10);
    }
}

#[tokio::test]
async fn an_r_error_ends_the_run_but_not_the_session() {
    let house = House::build().await;
    let session = house.admin().await.open_session().await;
    let answer = session
        .execute("a <- 1\ncat('before\\n')\nstop('no way')\na <- 2")
        .await
        .expect(200);
    assert_eq!(answer["success"], false);
    assert!(
        answer["errorMessage"].as_str().unwrap().contains("no way"),
        "{answer}"
    );
    assert_eq!(answer["consoleOutput"], "before\nError: no way\n");
    assert_eq!(session.prints("cat(a)").await, "1");
}

#[tokio::test]
async fn a_parse_error_runs_nothing_and_says_where() {
    let house = House::build().await;
    let session = house.admin().await.open_session().await;
    let answer = session.execute("a <- 1\nb <- )").await.expect(200);
    assert_eq!(answer["success"], false);
    assert!(
        answer["errorMessage"].as_str().unwrap().contains("2:6"),
        "{answer}"
    );
    assert_eq!(session.prints("cat(exists('a'))").await, "FALSE");
}

#[tokio::test]
async fn console_output_can_be_read_while_r_runs() {
    let house = House::build().await;
    let session = house.admin().await.open_session().await;
    let job = session.submit("cat('working\\n'); invisible(file.create('here')); while (!file.exists('go')) Sys.sleep(0.01)").await;
    warren_tests::wait::until("the running job's text is there", async || {
        let text = session
            .client
            .get(&session.path("/console-output"))
            .await
            .expect(200);
        (text["consoleOutput"] == "working\n").then_some(())
    })
    .await;
    std::fs::write(house.working_dir_with("here").await.join("go"), "").unwrap();
    let ended = session.client.job_end(&job).await;
    assert_eq!(ended["result"]["consoleOutput"], "working\n", "{ended}");
}

#[tokio::test]
async fn values_go_in_and_come_out_as_they_are() {
    let house = House::build().await;
    let session = house.admin().await.open_session().await;
    let body = json!({
        "code": "",
        "inputParameters": [
            {"name": "scalar", "value": 0.1},
            {"name": "text", "value": ["a", "é€😀"]},
            {"name": "frame", "value": {"hp": [120, 110.5], "name": ["x", "y"], "ok": [true, false]}},
            {"name": "list", "value": {"b": [1, 2], "a": {"deep": "er"}}},
            {"name": "my var", "value": true},
        ],
        "outputParameters": ["scalar", "text", "frame", "list", "my var", "missing"],
    });
    let answer = session
        .client
        .post(&session.path("/execute"), &body)
        .await
        .expect(200);
    assert_eq!(answer["success"], true, "{answer}");
    let outputs = answer["outputParameters"].as_array().unwrap();
    let value = |name: &str| {
        outputs
            .iter()
            .find(|output| output["name"] == name)
            .unwrap()["value"]
            .clone()
    };
    assert_eq!(value("scalar"), json!([0.1]));
    assert_eq!(value("text"), json!(["a", "é€😀"]));
    assert_eq!(
        value("frame").to_string(),
        r#"{"hp":[120,110.5],"name":["x","y"],"ok":[true,false]}"#
    );
    assert_eq!(value("my var"), json!([true]));
    assert_eq!(value("missing"), json!(null));
}
