//! Records of who did what.

use reqwest::Method;
use serde_json::json;
use warren_tests::audit::records;
use warren_tests::client::Client;
use warren_tests::house::PASSWORD;
use warren_tests::services::service;
use warren_tests::{Builder, House, wait};

fn record(of: [&str; 5]) -> [String; 5] {
    of.map(str::to_owned)
}

#[tokio::test]
async fn what_is_done_and_refused_is_recorded() {
    let house = House::build().await;
    let ana = house.user("ana").await;
    let session = ana.open_session().await;
    let snapshot = session.save().await;
    session
        .prints("kept <- 1; cat('x', file = 'plan.txt')")
        .await;
    let [file, object] = ["/files/plan.txt", "/workspace/kept"].map(|rest| session.path(rest));
    ana.delete(&file).await.expect(200);
    ana.delete(&object).await.expect(200);
    ana.published("num", &service("z <- 1", &[], &[("z", "numeric")]))
        .await;
    ana.patch("/services/num/v1", &json!({"description": "new"}))
        .await
        .expect(200);
    ana.get("/users").await.error(403);
    ana.with_token("nonsense")
        .get("/jobs?wait=1")
        .await
        .error(401);
    ana.delete("/services/num/v1").await.expect(200);
    ana.delete(&format!("/snapshots/{snapshot}"))
        .await
        .expect(200);
    session.close().await;
    let login = |user: &str, password: &str| json!({"username": user, "password": password});
    ana.post("/login", &login("ana", "wrong password"))
        .await
        .error(401);
    ana.post("/login", &login("hunter2", "ana"))
        .await
        .error(401);
    let tokens = ana
        .post("/login", &login("ana", PASSWORD))
        .await
        .expect(200);
    let refresh = tokens["refresh_token"].as_str().unwrap();
    ana.delete(&format!("/login/refreshToken?refreshToken={refresh}"))
        .await
        .expect(200);
    ana.delete(&format!("/login/refreshToken/{refresh}"))
        .await
        .error(401);
    // It says whose it was, though it lets nobody in.
    let access = tokens["access_token"].as_str().unwrap();
    ana.with_token(access).get("/jobs").await.error(401);
    let admin = house.admin().await;
    admin
        .post(
            "/users",
            &json!({"name": "bob", "password": "correct horse"}),
        )
        .await
        .expect(201);
    let change = json!({"role": "owner", "password": "battery staple", "disabled": true});
    admin
        .send(admin.request(Method::PATCH, "/users/bob").json(&change))
        .await
        .expect(200);
    admin.delete("/users/bob").await.expect(200);
    house
        .administer(&["users", "set-role", "ana", "reader"], "")
        .await;
    house.administer(&["keys", "rotate"], "").await;
    let session_path = session.path("");
    let snapshot_path = format!("/snapshots/{snapshot}");
    let expected = [
        [
            "add_user",
            "done",
            "",
            "(command line)",
            "ana as contributor",
        ],
        ["sign_in", "done", "200", "ana", ""],
        ["open_session", "done", "201", "ana", &session_path],
        ["delete_file", "done", "200", "ana", &file],
        ["delete_object", "done", "200", "ana", &object],
        ["publish", "done", "201", "ana", "/services/num/v1"],
        ["change_service", "done", "200", "ana", "/services/num/v1"],
        ["refusal", "refused", "403", "ana", "/users"],
        ["refusal", "refused", "401", "", "/jobs"],
        ["delete_service", "done", "200", "ana", "/services/num/v1"],
        ["delete_snapshot", "done", "200", "ana", &snapshot_path],
        ["close_session", "done", "200", "ana", &session_path],
        ["sign_in", "refused", "401", "ana", ""],
        ["sign_in", "refused", "401", "", ""],
        ["sign_in", "done", "200", "ana", ""],
        ["sign_out", "done", "200", "ana", ""],
        ["sign_out", "refused", "401", "", ""],
        ["refusal", "refused", "401", "ana", "/jobs"],
        ["sign_in", "done", "200", "admin", ""],
        ["add_user", "done", "201", "admin", "bob as contributor"],
        [
            "change_user",
            "done",
            "200",
            "admin",
            "bob: role owner, disabled, password",
        ],
        ["delete_user", "done", "200", "admin", "/users/bob"],
        [
            "change_user",
            "done",
            "",
            "(command line)",
            "ana: role reader",
        ],
    ];
    let seen = records(&house, expected.len() + 1).await;
    for (seen, expected) in seen.iter().zip(expected) {
        assert_eq!(*seen, record(expected));
    }
    assert_eq!(seen[expected.len()][0], "rotate_keys");
    assert_eq!(seen.len(), expected.len() + 1);
    let all = house
        .sql_value("SELECT string_agg(a::text, ' ') FROM audit a")
        .await;
    for secret in [
        refresh,
        PASSWORD,
        "battery staple",
        "nonsense",
        "hunter2",
        "z <- 1",
    ] {
        assert!(!all.contains(secret), "{secret} in {all}");
    }
    // Whoever looks for one finds the request in the log, and the other way round.
    let request = "SELECT request_id FROM audit WHERE event = 'publish'";
    assert_eq!(house.sql_value(request).await.len(), 32);
    let address = "SELECT DISTINCT address FROM audit WHERE address IS NOT NULL";
    assert_eq!(house.sql_value(address).await, "127.0.0.1");
    let log = house.apis[0].process.log_text();
    let line = log.lines().find(|line| line.contains("event=\"publish\""));
    let line = line.unwrap_or_else(|| panic!("no line of it in {log}"));
    assert!(
        line.contains("name=\"ana\"") && line.contains("request.id="),
        "{line}"
    );
}

/// A node that is told to stop stores first what it took.
#[tokio::test]
async fn a_node_that_stops_stores_its_last_records() {
    let mut house = Builder::new().workers(0).build().await;
    let client = Client::anonymous(house.apis[0].addr);
    for _ in 0..20 {
        client.get("/jobs").await.error(401);
    }
    house.apis[0].process.signal("TERM").await;
    house.apis[0].process.ended().await;
    let count = "SELECT count(*) FROM audit WHERE event = 'refusal'";
    assert_eq!(house.sql_value(count).await, "20");
}

#[tokio::test]
async fn old_records_are_removed() {
    let house = Builder::new()
        .workers(0)
        .env("WARREN_AUDIT_RETENTION_SECONDS", "1")
        .build()
        .await;
    let client = Client::anonymous(house.apis[0].addr);
    client.get("/jobs").await.error(401);
    records(&house, 1).await;
    wait::until("it is forgotten", async || {
        (house.sql_value("SELECT count(*) FROM audit").await == "0").then_some(())
    })
    .await;
}

/// Nobody gets past a record by not waiting for the answer.
#[tokio::test]
async fn what_nobody_waits_for_is_recorded_all_the_same() {
    let house = Builder::new()
        .workers(0)
        .env("WARREN_OPEN_WAIT_SECONDS", "2")
        .build()
        .await;
    let client = house.admin().await;
    let open = client.request(Method::POST, "/sessions").json(&json!({}));
    let asking = tokio::spawn({
        let client = client.clone();
        async move { client.try_send(open).await }
    });
    wait::until("the session waits for a worker", async || {
        let opening = "SELECT count(*) FROM sessions WHERE state = 'opening'";
        (house.sql_value(opening).await == "1").then_some(())
    })
    .await;
    asking.abort();
    let records = records(&house, 2).await;
    assert_eq!(
        records[1][..4],
        record(["open_session", "failed", "503", "admin", ""])[..4]
    );
    let closed = "SELECT count(*) FROM sessions WHERE state = 'closed'";
    assert_eq!(house.sql_value(closed).await, "1");
}
