//! What was executed in a session, and what became of it.

use serde_json::{Value, json};
use warren_tests::House;

#[tokio::test]
async fn history_is_the_code_texts_or_the_runs_with_what_became_of_them() {
    let house = House::build().await;
    let session = house.admin().await.open_session().await;
    session.prints("x <- 1\r\nx").await;
    session.execute("stop('on purpose')").await.expect(200);
    let endless = "repeat Sys.sleep(0.01)";
    let running = session.submit(endless).await;
    session.client.job_is(&running, "running").await;
    let never = session.submit("never").await;
    session
        .client
        .delete(&format!("/jobs/{never}"))
        .await
        .expect(200);
    let path = session.path("/history");
    let codes = json!(["x <- 1\r\nx", "stop('on purpose')", endless]);
    assert_eq!(session.client.get(&path).await.expect(200), codes);
    let details = format!("{path}?details=true");
    let runs = session.client.get(&details).await.expect(200);
    assert_eq!(
        (
            &runs[2]["state"],
            &runs[2]["success"],
            &runs[2]["finishedAt"]
        ),
        (&json!("running"), &Value::Null, &Value::Null)
    );
    session
        .client
        .delete(&format!("/jobs/{running}"))
        .await
        .expect(200);
    session.client.job_end(&running).await;
    let runs = session.client.get(&details).await.expect(200);
    let told: Vec<Value> = runs
        .as_array()
        .unwrap()
        .iter()
        .map(|run| {
            json!([
                run["code"],
                run["state"],
                run["success"],
                run["errorMessage"],
                run["cancel"]
            ])
        })
        .collect();
    assert_eq!(
        Value::from(told),
        json!([
            ["x <- 1\r\nx", "succeeded", true, "", null],
            ["stop('on purpose')", "failed", false, "on purpose", null],
            [endless, "cancelled", false, "it was cancelled", "confirmed"],
        ])
    );
    assert_eq!(runs[2]["jobId"], running);
    for run in runs.as_array().unwrap() {
        let at = |name: &str| run[name].as_str().unwrap().to_owned();
        assert!(at("createdAt") <= at("startedAt") && at("startedAt") <= at("finishedAt"));
    }
    session
        .client
        .get(&format!("{path}?details=yes"))
        .await
        .error(400);
}
