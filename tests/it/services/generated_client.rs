//! A client that a program generates from the Swagger document of a service can use the service.

use serde_json::json;
use tokio::process::Command;
use warren_tests::House;
use warren_tests::house::PASSWORD;
use warren_tests::postgres::setting;
use warren_tests::services::service;

/// With bravado, which holds documents, requests and answers against the specification and the document.
#[tokio::test]
async fn a_generated_client_signs_in_and_calls_services() {
    let python = setting("WARREN_TEST_PYTHON");
    let house = House::build().await;
    let client = house.user("ana").await;
    let scalars = [
        ("x", "numeric"),
        ("n", "integer"),
        ("text", "character"),
        ("flag", "logical"),
    ];
    let mut scalar = service(
        "cat('hello'); if (identical(text, 'stop')) stop('no'); if (length(x) && x < 0) x <- NaN",
        &scalars,
        &scalars,
    );
    scalar["operationId"] = json!("convert");
    scalar["description"] = json!("Gives back what it takes.");
    client.published("scalar", &scalar).await;
    let vector = service(
        "sorted <- sort(v, na.last = TRUE)",
        &[("v", "vector")],
        &[("sorted", "vector")],
    );
    client.published("vector", &vector).await;
    let mut frame = service(
        "ratio <- data.frame(hp_by_wt = df$hp / df$wt); m <- as.matrix(df); write.csv(ratio, 'table.csv')",
        &[("df", "data.frame")],
        &[("ratio", "data.frame"), ("m", "matrix")],
    );
    frame["outputFileNames"] = json!(["table.csv", "missing.csv"]);
    client.published("frame", &frame).await;

    let script = house.dir().join("generated_client.py");
    std::fs::write(&script, include_str!("generated_client.py")).unwrap();
    let output = Command::new(&python)
        .arg(&script)
        .env("WARREN", format!("http://{}", house.apis[0].addr))
        .env("PASSWORD", PASSWORD)
        .kill_on_drop(true)
        .output()
        .await
        .unwrap_or_else(|error| panic!("{python} cannot be run: {error}; ./dev test installs it"));
    assert!(
        output.status.success(),
        "{}{}",
        String::from_utf8_lossy(&output.stdout),
        String::from_utf8_lossy(&output.stderr)
    );
}
