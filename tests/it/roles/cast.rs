//! People with something of each kind.

use reqwest::Method;
use serde_json::json;
use warren_tests::client::Client;
use warren_tests::services::service;
use warren_tests::{House, wait};

/// What one user has: something that every path with a place can name.
pub(super) struct Belongings {
    names: Vec<(&'static str, String)>,
    pub(super) object: Vec<u8>,
}

impl Belongings {
    /// Made by a user who may make all of it, with a local user for the routes that are about one.
    pub(super) async fn of(house: &House, name: &str, client: &Client) -> Self {
        let session = client.open_session().await;
        session.prints("x <- 1").await;
        session.put_file("data.txt", b"data").await;
        let snapshot = session.save().await;
        let other_session = client.open_session().await.id;
        let fetch = session
            .download("data.txt")
            .header("Prefer", "respond-async");
        let job = client.send(fetch).await.expect(202)["jobId"].clone();
        let job = job.as_str().unwrap().to_owned();
        client.job_end(&job).await;
        let service_name = format!("of-{name}");
        let mut definition = service(
            "z <- 1; writeLines('1', 'data.txt')",
            &[],
            &[("z", "numeric")],
        );
        definition["outputFileNames"] = json!(["data.txt"]);
        client.published(&service_name, &definition).await;
        let batches = format!("/api/{service_name}/v1/batch");
        let batch = client.post(&batches, &json!([{}])).await.expect(202);
        let batch = batch["batchExecutionId"].as_str().unwrap().to_owned();
        wait::until("the batch is complete", async || {
            let seen = client.get(&format!("{batches}/{batch}")).await.expect(200);
            (seen["state"] == "Complete").then_some(())
        })
        .await;
        let user = format!("user-of-{name}");
        house
            .administer(&["users", "add", &user], "correct horse battery\n")
            .await;
        let object = session.object(Method::GET, "x");
        let object = client.fetch(object).await.expect(200);
        let names = vec![
            ("{session}", session.id.clone()),
            ("{other_session}", other_session),
            ("{file}", "data.txt".to_owned()),
            ("{object}", "x".to_owned()),
            ("{snapshot}", snapshot),
            ("{service}", service_name),
            ("{version}", "v1".to_owned()),
            ("{batch}", batch),
            ("{index}", "0".to_owned()),
            ("{job}", job),
            ("{user}", user),
        ];
        Self { names, object }
    }

    /// The path of a row, about these belongings.
    pub(super) fn path(&self, pattern: &str) -> String {
        let mut path = pattern.to_owned();
        for (place, name) in &self.names {
            path = path.replace(place, name);
        }
        path
    }
}
