//! Bad input gets the Error body, everywhere.

use reqwest::Method;
use serde_json::json;
use warren_tests::House;
use warren_tests::client::Client;

#[tokio::test]
async fn every_refusal_carries_the_error_body() {
    let house = House::build().await;
    let client = house.admin().await;
    let session = client.open_session().await;
    let unknown = "/sessions/00000000-0000-7000-8000-000000000000";
    client.get("/no/such/route").await.error(404);
    client.get(&format!("{unknown}/history")).await.error(404);
    client
        .post(&format!("{unknown}/execute"), &json!({"code": "1"}))
        .await
        .error(404);
    client.get("/sessions/not-a-uuid/history").await.error(400);
    client
        .send(client.request(Method::PUT, "/sessions"))
        .await
        .error(405);
    client
        .post("/sessions", &json!({"runtimeType": "Python"}))
        .await
        .error(400);
    client
        .post(
            "/sessions",
            &json!({"snapshotId": "00000000-0000-7000-8000-000000000000"}),
        )
        .await
        .error(404);
    let execute = |body: Vec<u8>, kind: &'static str| {
        let request = client.request(Method::POST, &session.path("/execute"));
        client.send(request.header("Content-Type", kind).body(body))
    };
    let json_type = "application/json; charset=utf-8";
    assert!(
        execute(b"{\"code\": }".to_vec(), json_type)
            .await
            .error(400)
            .contains("line 1")
    );
    execute(b"{\"code\": \"\xff\"}".to_vec(), json_type)
        .await
        .error(400);
    execute(b"{}".to_vec(), json_type).await.error(400);
    execute(b"{\"code\": \"1\"}".to_vec(), "text/xml")
        .await
        .error(415);
    let nameless = json!({"code": "1", "inputParameters": [{"name": "", "value": 1}]});
    client
        .post(&session.path("/execute"), &nameless)
        .await
        .error(400);
    client
        .post("/services/add/v1/pool", &json!({}))
        .await
        .error(501);
    assert_eq!(session.prints("cat('still here')").await, "still here");
}

#[tokio::test]
async fn a_body_over_the_limit_is_refused_before_it_is_read() {
    let mut house = warren_tests::Builder::new().apis(0).build().await;
    house
        .add_api_via(
            house.database.server,
            &[("WARREN_BODY_LIMIT_BYTES", "65536")],
        )
        .await;
    let client = house.admin().await;
    let session = client.open_session().await;
    let big = json!({"code": "x".repeat(70_000)});
    client
        .post(&session.path("/execute"), &big)
        .await
        .error(413);
    assert_eq!(session.prints("1").await, "[1] 1\n");
}

#[tokio::test]
async fn nulls_and_empty_bodies_mean_absent() {
    let house = House::build().await;
    let client = house.admin().await;
    let opened = client
        .send(client.request(Method::POST, "/sessions"))
        .await
        .expect(201);
    let body = json!({"name": null, "snapshotId": null, "runtimeType": null, "unknown": 1});
    client.post("/sessions", &body).await.expect(201);
    let path = format!(
        "/sessions/{}/execute",
        opened["sessionId"].as_str().unwrap()
    );
    let body = json!({"code": "1\r\n2\r3", "inputParameters": null, "outputParameters": null});
    let answer = client.post(&path, &body).await.expect(200);
    assert_eq!(answer["consoleOutput"], "[1] 1\n[1] 2\n[1] 3\n");
}

#[tokio::test]
async fn probes_need_no_token_and_status_does() {
    let house = House::build().await;
    let anonymous = Client::anonymous(house.apis[0].addr);
    assert_eq!(anonymous.get("/health/live").await.status, 200);
    assert_eq!(anonymous.get("/health/ready").await.status, 200);
    anonymous.get("/status").await.error(401);
    let status = house.admin().await.get("/status").await.expect(200);
    assert_eq!(status["statusCode"], "pass", "{status}");
    assert_eq!(status["components"]["database"]["details"]["state"], "Open");
    let workers = status["components"]["backends"]["components"]
        .as_object()
        .unwrap();
    assert_eq!(workers.len(), 1);
    let document = house.admin().await.get("/swagger.json").await.expect(200);
    assert_eq!(document["swagger"], "2.0");
}
