//! One client: a session, calls in it one after another, and a new session whenever that one is gone.

use std::fs::File;
use std::path::PathBuf;
use std::time::Duration;

use reqwest::{Method, RequestBuilder};
use serde_json::{Value, json};

use super::{Call, Nodes, Plan, Saw, Seen};
use crate::client::{Answer, Client, Session};
use crate::house::working_dirs_below;
use crate::wait;

/// The pause after a call that was refused, or that found no node.
const PAUSE: Duration = Duration::from_millis(100);
/// How long a client asks for a definite answer about one job.
const PATIENCE: Duration = Duration::from_secs(120);

/// How a client asks.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Kind {
    /// Waits for the answer of its one request.
    Plain,
    /// Repeats its request with the same `Idempotency-Key`, at any node, until the answer is a definite one.
    WithKey,
    /// Takes a 202 and asks any node for the job.
    Polling,
}

impl Kind {
    pub(super) const fn of(number: usize) -> Self {
        match number % 3 {
            0 => Self::Plain,
            1 => Self::WithKey,
            _ => Self::Polling,
        }
    }
}

/// A client.
pub(super) struct Caller {
    /// Whose client it is.
    pub(super) load: String,
    pub(super) number: usize,
    pub(super) kind: Kind,
    /// Signed in; where is decided for each request.
    pub(super) client: Client,
    pub(super) nodes: Nodes,
    /// The house's folder.
    pub(super) dir: PathBuf,
    pub(super) plan: Plan,
    pub(super) session: Option<Session>,
    /// Decides which node is asked.
    pub(super) turn: usize,
    pub(super) seen: Seen,
}

impl Caller {
    /// Does all of its jobs, and returns what it saw.
    pub(super) async fn call_all(mut self) -> Seen {
        let mut jobs = 0;
        let mut calls = 0;
        while jobs < self.plan.jobs {
            let session = match self.session.take() {
                Some(session) => session,
                None => self.open().await,
            };
            calls += 1;
            let marker = format!("{}-{}-{calls}", self.load, self.number);
            let saw = self.call(&session, &marker).await;
            match &saw {
                Saw::Gone(_) => {}
                Saw::Refused => tokio::time::sleep(PAUSE).await,
                _ => self.session = Some(session),
            }
            jobs += usize::from(saw != Saw::Refused);
            self.seen.calls.push(Call { marker, saw });
        }
        self.seen
    }

    /// The client at one of the nodes that answer.
    async fn anywhere(&mut self) -> Client {
        loop {
            self.turn += 1;
            if let Some(node) = self.nodes.pick(self.turn) {
                return self.client.at(node);
            }
            tokio::time::sleep(PAUSE).await;
        }
    }

    /// Opens a session whose notes are held open here; tries until there is one.
    async fn open(&mut self) -> Session {
        let deadline = tokio::time::Instant::now() + PATIENCE;
        loop {
            assert!(
                tokio::time::Instant::now() < deadline,
                "client {} got no session for {PATIENCE:?}",
                self.number
            );
            if let Some(session) = self.try_to_open().await {
                return session;
            }
            tokio::time::sleep(PAUSE).await;
        }
    }

    async fn try_to_open(&mut self) -> Option<Session> {
        let client = self.anywhere().await;
        let request = client.request(Method::POST, "/sessions").json(&json!({}));
        let answer = client.try_send(request).await.ok()?;
        let id = answer.body["sessionId"].as_str()?.to_owned();
        let session = Session { client, id };
        let notes = notes(&session);
        let code = format!("invisible(file.create('{notes}'))");
        let client = self.anywhere().await;
        let request = client.request(Method::POST, &session.path("/execute"));
        let made = client.try_send(request.json(&json!({"code": code}))).await;
        if made.ok()?.body["success"] != true {
            return None;
        }
        let dirs = working_dirs_below(&self.dir);
        let opened = dirs
            .iter()
            .find_map(|dir| File::open(dir.join(&notes)).ok())?;
        self.seen.logs.push(opened);
        Some(session)
    }

    async fn call(&mut self, session: &Session, marker: &str) -> Saw {
        // Unequal pauses, so that runs do not all end in the same moment.
        let pause = self.plan.pause_ms * (1 + self.turn as u64 % 4) / 4;
        let code = format!(
            "# {marker}\ncat('{marker}\\n', file = '{}', append = TRUE); Sys.sleep({pause} / 1000); cat('{marker}')",
            notes(session)
        );
        let body = json!({"code": code});
        match self.kind {
            Kind::Plain => {
                let request = self.execute(session, &body).await;
                saw(request.send().await)
            }
            Kind::WithKey => self.call_until_it_is_clear(session, marker, &body).await,
            Kind::Polling => self.call_and_poll(session, &body).await,
        }
    }

    async fn execute(&mut self, session: &Session, body: &Value) -> Request {
        let client = self.anywhere().await;
        let request = client.request(Method::POST, &session.path("/execute"));
        Request {
            client,
            request: request.json(body),
        }
    }

    async fn call_until_it_is_clear(
        &mut self,
        session: &Session,
        marker: &str,
        body: &Value,
    ) -> Saw {
        let deadline = tokio::time::Instant::now() + PATIENCE;
        let mut perhaps_stored = false;
        loop {
            let request = self.execute(session, body).await;
            let key = format!("{}-{marker}", session.id);
            let saw = saw(request.header("Idempotency-Key", &key).send().await);
            perhaps_stored |= matches!(saw, Saw::Nothing | Saw::InDoubt);
            let unclear = match saw {
                Saw::Nothing | Saw::InDoubt => true,
                // It speaks of this request alone.
                Saw::Refused => perhaps_stored,
                _ => false,
            };
            if !unclear || tokio::time::Instant::now() > deadline {
                return saw;
            }
            tokio::time::sleep(PAUSE).await;
        }
    }

    async fn call_and_poll(&mut self, session: &Session, body: &Value) -> Saw {
        let request = self.execute(session, body).await;
        let answer = match request.header("Prefer", "respond-async").send().await {
            Ok(answer) if answer.status == 202 => answer,
            other => return saw(other),
        };
        let path = answer.header("Location").to_owned();
        let deadline = tokio::time::Instant::now() + PATIENCE;
        while tokio::time::Instant::now() < deadline {
            let client = self.anywhere().await;
            let request = client.request(Method::GET, &format!("{path}?wait=5"));
            match client.try_send(request).await {
                Ok(answer) if answer.status == 200 && !answer.body["finishedAt"].is_null() => {
                    return of_job(&answer.body);
                }
                Ok(answer) if matches!(answer.status.as_u16(), 200 | 503 | 504) => {}
                Ok(answer) => return unexpected(&answer),
                Err(_broken) => {}
            }
            tokio::time::sleep(wait::PAUSE).await;
        }
        Saw::Unexpected(format!("{path} is not final after {PATIENCE:?}"))
    }
}

/// The file in which R of a session notes what it runs.
fn notes(session: &Session) -> String {
    format!("notes-{}", session.id)
}

/// A request on its way to a node.
struct Request {
    client: Client,
    request: RequestBuilder,
}

impl Request {
    fn header(mut self, name: &str, value: &str) -> Self {
        self.request = self.request.header(name, value);
        self
    }

    async fn send(self) -> reqwest::Result<Answer> {
        self.client.try_send(self.request).await
    }
}

fn saw(answer: reqwest::Result<Answer>) -> Saw {
    let answer = match answer {
        Ok(answer) => answer,
        // Nobody listens there, so nothing was sent.
        Err(error) if error.is_connect() => return Saw::Refused,
        Err(_broken) => return Saw::Nothing,
    };
    match answer.status.as_u16() {
        200 => of_run(&answer.body),
        410 => Saw::Gone(text(&answer.body["message"])),
        503 => Saw::Refused,
        504 => Saw::InDoubt,
        _ => unexpected(&answer),
    }
}

/// What a poller reads of a job that is final.
fn of_job(job: &Value) -> Saw {
    match job["state"].as_str() {
        Some("lost") => Saw::Gone(text(&job["reason"])),
        _ => of_run(&job["result"]),
    }
}

fn of_run(result: &Value) -> Saw {
    Saw::Answer {
        success: result["success"] == true,
        console: text(&result["consoleOutput"]),
    }
}

fn unexpected(answer: &Answer) -> Saw {
    Saw::Unexpected(format!("{} {}", answer.status, answer.body))
}

fn text(value: &Value) -> String {
    value.as_str().unwrap_or_default().to_owned()
}
