//! The demonstration that `./dev up` ends with: a linear model, through the public API alone.
//!
//! It reads `WARREN_URL`, `WARREN_USER` and `WARREN_PASSWORD`, and prints what it asks, what comes
//! back, and how long each step took.

use std::process::ExitCode;
use std::time::{Duration, Instant};

use clap::Parser;
use reqwest::{Client, Method, Response};
use serde_json::{Value, json};

/// Logs in, opens a session, runs R in it and shows what came back.
#[derive(Parser)]
#[command(name = "dev-demo", version)]
struct Args {
    /// Where the API is
    #[arg(long, env = "WARREN_URL", default_value = "http://127.0.0.1:12800")]
    url: String,
    /// User to log in as
    #[arg(long, env = "WARREN_USER", default_value = "admin")]
    user: String,
    /// The user's password; better given by the environment, where other users do not see it
    #[arg(long, env = "WARREN_PASSWORD", hide_env_values = true)]
    password: String,
}

/// A step that did not go as it should.
#[derive(Debug, thiserror::Error)]
enum Error {
    #[error("{step}: no answer from the API")]
    Unreachable {
        step: &'static str,
        source: reqwest::Error,
    },
    #[error("{step}: the API answered {status}: {body}")]
    Refused {
        step: &'static str,
        status: reqwest::StatusCode,
        body: String,
    },
    #[error("{step}: the answer has no {field:?}: {body}")]
    Unexpected {
        step: &'static str,
        field: &'static str,
        body: String,
    },
    #[error("{step}: R reported: {message}")]
    R { step: &'static str, message: String },
}

#[tokio::main]
#[expect(clippy::print_stderr, reason = "the person who started it reads this")]
async fn main() -> ExitCode {
    match demonstrate(Args::parse()).await {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprint!("dev-demo: {error}");
            let mut source = std::error::Error::source(&error);
            while let Some(cause) = source {
                eprint!(": {cause}");
                source = cause.source();
            }
            eprintln!();
            ExitCode::FAILURE
        }
    }
}

#[expect(
    clippy::print_stdout,
    reason = "showing it is what this program is for"
)]
async fn demonstrate(args: Args) -> Result<(), Error> {
    let mut api = Api {
        client: Client::new(),
        url: args.url,
        token: String::new(),
    };
    let began = Instant::now();

    let login = json!({"username": args.user, "password": args.password});
    let (login, took) = api
        .call("log in", Method::POST, "/login", Some(login))
        .await?;
    text("log in", &login, "access_token")?.clone_into(&mut api.token);
    step("POST /login", &format!("as {}", args.user), took);

    let (opened, took) = api
        .call("open", Method::POST, "/sessions", Some(json!({})))
        .await?;
    let session = text("open", &opened, "sessionId")?;
    let path = format!("/sessions/{session}");
    step("POST /sessions", session, took);

    let code = "fit <- lm(mpg ~ wt, mtcars); summary(fit)";
    let (console, took) =
        api.execute("fit", &path, json!({"code": code}))
            .await
            .map(|(answer, took)| {
                (
                    answer["consoleOutput"]
                        .as_str()
                        .unwrap_or_default()
                        .to_owned(),
                    took,
                )
            })?;
    step("POST …/execute", code, took);
    for line in console.lines() {
        println!("    {line}");
    }

    // The session still has `fit`: typed values go in, and come back.
    let code = "predicted <- data.frame(wt, mpg = round(predict(fit, data.frame(wt)), 2))\n\
                coefficients <- coef(fit)";
    let request = json!({
        "code": code,
        "inputParameters": [{"name": "wt", "value": [2.5, 3.0, 3.5]}],
        "outputParameters": ["predicted", "coefficients"],
    });
    let (answer, took) = api.execute("predict", &path, request).await?;
    step("POST …/execute", "predict for wt = [2.5, 3, 3.5]", took);
    for output in answer["outputParameters"].as_array().into_iter().flatten() {
        println!(
            "    {} = {}",
            output["name"].as_str().unwrap_or("?"),
            output["value"]
        );
    }

    let (_, took) = api.call("close", Method::DELETE, &path, None).await?;
    step(&format!("DELETE {path}"), "", took);
    println!("all of it took {}", milliseconds(began.elapsed()));
    Ok(())
}

#[expect(
    clippy::print_stdout,
    reason = "showing it is what this program is for"
)]
fn step(request: &str, what: &str, took: Duration) {
    println!("{:>10}  {request}  {what}", milliseconds(took));
}

fn milliseconds(time: Duration) -> String {
    format!("{:.1} ms", time.as_secs_f64() * 1000.0)
}

fn text<'a>(step: &'static str, body: &'a Value, field: &'static str) -> Result<&'a str, Error> {
    body[field].as_str().ok_or_else(|| Error::Unexpected {
        step,
        field,
        body: body.to_string(),
    })
}

/// The API as this program needs it: JSON both ways, and the time each answer took.
struct Api {
    client: Client,
    url: String,
    token: String,
}

impl Api {
    async fn call(
        &self,
        step: &'static str,
        method: Method,
        path: &str,
        body: Option<Value>,
    ) -> Result<(Value, Duration), Error> {
        let mut request = self
            .client
            .request(method, format!("{}{path}", self.url))
            .timeout(Duration::from_secs(60));
        if !self.token.is_empty() {
            request = request.bearer_auth(&self.token);
        }
        if let Some(body) = body {
            request = request.json(&body);
        }
        let began = Instant::now();
        let unreachable = |source| Error::Unreachable { step, source };
        let response = request.send().await.map_err(unreachable)?;
        let status = response.status();
        let body = Response::text(response).await.map_err(unreachable)?;
        let took = began.elapsed();
        if !status.is_success() {
            return Err(Error::Refused { step, status, body });
        }
        // A success may have no body at all.
        Ok((serde_json::from_str(&body).unwrap_or(Value::Null), took))
    }

    async fn execute(
        &self,
        step: &'static str,
        session: &str,
        request: Value,
    ) -> Result<(Value, Duration), Error> {
        let path = format!("{session}/execute");
        let (answer, took) = self.call(step, Method::POST, &path, Some(request)).await?;
        if answer["success"] == true {
            Ok((answer, took))
        } else {
            let message = answer["errorMessage"]
                .as_str()
                .unwrap_or("nothing")
                .to_owned();
            Err(Error::R { step, message })
        }
    }
}
