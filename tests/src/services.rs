//! Publishing and calling, as a client does.

use reqwest::Method;
use serde_json::{Value, json};

use crate::client::{Answer, Client};

/// Parameters in the form of a request: pairs of name and type.
pub fn parameters(pairs: &[(&str, &str)]) -> Value {
    let parameters = pairs
        .iter()
        .map(|(name, kind)| json!({"name": name, "type": kind}));
    Value::Array(parameters.collect())
}

/// The request of a service.
pub fn service(code: &str, inputs: &[(&str, &str)], outputs: &[(&str, &str)]) -> Value {
    json!({
        "code": code,
        "inputParameterDefinitions": parameters(inputs),
        "outputParameterDefinitions": parameters(outputs),
    })
}

impl Client {
    /// Publishes a version.
    pub async fn publish(&self, name: &str, version: &str, service: &Value) -> Answer {
        self.post(&format!("/services/{name}/{version}"), service)
            .await
    }

    /// Publishes `v1` of a service that must be fine.
    pub async fn published(&self, name: &str, service: &Value) {
        self.publish(name, "v1", service).await.expect(201);
    }

    /// Changes a version.
    pub async fn patch(&self, path: &str, change: &Value) -> Answer {
        self.send(self.request(Method::PATCH, path).json(change))
            .await
    }

    /// Calls `v1` without waiting for its end; gives the job.
    ///
    /// # Panics
    ///
    /// When it is not accepted.
    pub async fn begin_call(&self, name: &str, inputs: &Value) -> String {
        let request = self.request(Method::POST, &format!("/api/{name}/v1"));
        let request = request.json(inputs).header("Prefer", "respond-async");
        let accepted = self.send(request).await.expect(202);
        accepted["jobId"].as_str().unwrap_or_default().to_owned()
    }

    /// Calls a version.
    pub async fn call(&self, name: &str, version: &str, inputs: &Value) -> Answer {
        self.post(&format!("/api/{name}/{version}"), inputs).await
    }

    /// Calls `v1`, which must succeed, and gives the outputs.
    ///
    /// # Panics
    ///
    /// When it does not.
    pub async fn outputs(&self, name: &str, inputs: &Value) -> Value {
        let answer = self.call(name, "v1", inputs).await.expect(200);
        assert_eq!(answer["success"], true, "{answer}");
        answer["outputParameters"].clone()
    }
}
