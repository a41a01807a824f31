//! What is called: the same functions and the same bytes for both sides.

use hyper::{Method, StatusCode};
use serde::Deserialize;
use serde_json::{Value, json};

use crate::bench::BenchError;
use crate::bench::http::{Connection, Target};
use crate::bench::load::Caller;

/// Adds.
pub(super) const ADD: &str = "z <- x + y";
/// What predictions are made from.
pub(super) const MODEL: &str = "model <- glm(am ~ wt + hp, binomial, mtcars)";
/// Predicts.
pub(super) const PREDICT: &str = "p <- unname(predict(model, cars, type = 'response'))";
/// 25 million numbers, 200 MB.
pub(super) const LARGE_MODEL: &str = "model <- sqrt(as.numeric(1:25e6))";
/// Reads one of them.
pub(super) const LARGE: &str = "z <- model[[x]]";
/// Sleeps.
pub(super) const NAP: &str = "Sys.sleep(seconds); z <- seconds";
/// Its name.
pub(super) const NAP_NAME: &str = "nap";

/// A function with the inputs that it is called with, always the same.
pub(super) struct Function {
    pub(super) name: &'static str,
    pub(super) inputs: std::borrow::Cow<'static, str>,
}

impl Function {
    pub(super) const ADD: Self = Self::new("add", r#"{"x":3.5,"y":4}"#);
    pub(super) const PREDICT: Self = Self::new(
        "predict",
        r#"{"cars":{"wt":[2.62,2.875,2.32,3.215,3.44,3.46,3.57,3.19,3.15,3.44],"hp":[110,110,93,110,175,105,245,62,95,123]}}"#,
    );
    pub(super) const LARGE: Self = Self::new("large", r#"{"x":12345678}"#);

    const fn new(name: &'static str, inputs: &'static str) -> Self {
        Self {
            name,
            inputs: std::borrow::Cow::Borrowed(inputs),
        }
    }

    /// Sleeps so long.
    pub(super) fn nap(seconds: f64) -> Self {
        Self {
            name: NAP_NAME,
            inputs: json!({ "seconds": seconds }).to_string().into(),
        }
    }

    /// The inputs, as an example to publish with.
    pub(super) fn example(&self) -> Value {
        serde_json::from_str(&self.inputs).unwrap_or_default()
    }
}

/// A client with a connection of its own.
pub(super) struct Call {
    connection: Connection,
    path: String,
    inputs: String,
}

/// An answer to a call.
#[derive(Deserialize)]
struct Answer {
    success: bool,
}

impl Call {
    /// So many of them, connected.
    pub(super) async fn clients(
        target: &Target,
        function: &Function,
        count: usize,
    ) -> Result<Vec<Self>, BenchError> {
        let mut clients = Vec::with_capacity(count);
        for _ in 0..count {
            clients.push(Self {
                connection: Connection::open(target).await?,
                path: format!("/api/{}/v1", function.name),
                inputs: function.inputs.to_string(),
            });
        }
        Ok(clients)
    }
}

impl Caller for Call {
    async fn call(&mut self) -> Result<(), BenchError> {
        let (what, status) = ("calling a service", StatusCode::OK);
        let body = self
            .connection
            .ask(what, Method::POST, &self.path, &self.inputs, status)
            .await?;
        match serde_json::from_slice(&body) {
            Ok(Answer { success: true }) => Ok(()),
            _ => Err(BenchError::Refused {
                what,
                status,
                body: String::from_utf8_lossy(&body).into_owned(),
            }),
        }
    }
}
