//! Warren as its callers have it: a whole one, with the settings it is shipped with.

use std::net::SocketAddr;
use std::time::{Duration, Instant};

use hyper::{Method, StatusCode};
use serde::Deserialize;

use super::BenchError;
use super::http::{Connection, Target};
use super::load::Caller;
use crate::postgres::free_port;
use crate::{Builder, House, WorkerOptions};

/// What is executed.
const CODE: &str = r#"{"code":"1+1"}"#;

/// Its nodes and workers, and sessions that are open all the time.
pub(super) struct Warren {
    pub(super) house: House,
    /// The nodes.
    targets: Vec<Target>,
    /// Where each tells its numbers.
    pub(super) metrics: Vec<SocketAddr>,
    sessions: Vec<String>,
}

/// How large a Warren is.
#[derive(Debug, Clone, Copy)]
pub(super) struct Size {
    /// API nodes.
    pub(super) nodes: usize,
    /// Workers.
    pub(super) workers: usize,
    /// Sessions.
    pub(super) sessions: usize,
}

/// An answer to `POST /sessions`.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Opened {
    session_id: String,
}

/// An answer to `POST …/snapshot`.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Saved {
    snapshot_id: String,
}

/// An answer to an execute.
#[derive(Deserialize)]
struct Executed {
    success: bool,
}

impl Warren {
    /// Starts one node and one worker, and opens this many sessions.
    pub(super) async fn start(sessions: usize) -> Result<Self, BenchError> {
        let (nodes, workers) = (1, 1);
        Self::of(Size {
            nodes,
            workers,
            sessions,
        })
        .await
    }

    /// Starts it and opens its sessions.
    pub(super) async fn of(size: Size) -> Result<Self, BenchError> {
        let builder = Builder::new().as_shipped().apis(0).workers(0);
        let mut house = builder.build().await;
        let mut metrics = Vec::new();
        for _ in 0..size.nodes {
            metrics.push(add_node(&mut house).await);
        }
        for _ in 0..size.workers {
            house
                .add_worker(WorkerOptions {
                    env: vec![("WARREN_SESSION_SLOTS".to_owned(), slots(size.sessions))],
                    ..WorkerOptions::default()
                })
                .await;
        }
        let admin = house.admin().await;
        let targets: Result<Vec<Target>, BenchError> = house
            .apis
            .iter()
            .map(|node| Target::new(node.addr, admin.token()))
            .collect();
        let mut warren = Self {
            house,
            targets: targets?,
            metrics,
            sessions: Vec::new(),
        };
        let mut connection = Connection::open(warren.target(0)).await?;
        for _ in 0..size.sessions {
            let session = open(&mut connection).await?;
            warren.sessions.push(session);
        }
        Ok(warren)
    }

    /// A node; clients are spread over all of them.
    pub(super) fn target(&self, client: usize) -> &Target {
        &self.targets[client % self.targets.len()]
    }

    /// A client that lists its jobs, connected: the owner of the sessions, or somebody with a token of their own.
    pub(super) async fn lister(&self, token: Option<&str>) -> Result<Lister, BenchError> {
        let target = match token {
            Some(token) => Target::new(self.house.apis[0].addr, token)?,
            None => self.target(0).clone(),
        };
        let connection = Connection::open(&target).await?;
        Ok(Lister { connection })
    }

    /// A client for each of the first sessions, connected.
    pub(super) async fn clients(&self, count: usize) -> Result<Vec<SessionClient>, BenchError> {
        let mut clients = Vec::new();
        for (number, session) in self.sessions.iter().take(count).enumerate() {
            clients.push(SessionClient {
                connection: Connection::open(self.target(number)).await?,
                path: format!("/sessions/{session}/execute"),
            });
        }
        Ok(clients)
    }

    /// Opens sessions one after another: how long each took to be open, and to have answered.
    pub(super) async fn opens(
        &self,
        count: u32,
    ) -> Result<(Vec<Duration>, Vec<Duration>), BenchError> {
        let mut connection = Connection::open(self.target(0)).await?;
        let (mut opened, mut answered) = (Vec::new(), Vec::new());
        for _ in 0..count {
            let began = Instant::now();
            let session = open(&mut connection).await?;
            opened.push(began.elapsed());
            execute(&mut connection, &format!("/sessions/{session}/execute")).await?;
            answered.push(began.elapsed());
            close(&mut connection, &session).await?;
        }
        Ok((opened, answered))
    }
}

impl Warren {
    /// Saves a session in which this code ran, and loads that into another; how long each took.
    pub(super) async fn snapshot(&self, code: &str) -> Result<(Duration, Duration), BenchError> {
        let mut connection = Connection::open(self.target(0)).await?;
        let session = open(&mut connection).await?;
        let other = open(&mut connection).await?;
        let run = serde_json::json!({ "code": code }).to_string();
        let path = format!("/sessions/{session}/execute");
        let what = "executing the code";
        let ok = StatusCode::OK;
        connection.ask(what, Method::POST, &path, &run, ok).await?;

        let began = Instant::now();
        let what = "creating a snapshot";
        let path = format!("/sessions/{session}/snapshot");
        let created = StatusCode::CREATED;
        let body = connection
            .ask(what, Method::POST, &path, "{}", created)
            .await?;
        let saved: Saved = read(what, created, &body)?;
        let create = began.elapsed();

        let began = Instant::now();
        let path = format!("/sessions/{other}/loadsnapshot/{}", saved.snapshot_id);
        connection
            .ask("loading a snapshot", Method::POST, &path, "", ok)
            .await?;
        let load = began.elapsed();

        let path = format!("/snapshots/{}", saved.snapshot_id);
        connection
            .ask("deleting a snapshot", Method::DELETE, &path, "", ok)
            .await?;
        close(&mut connection, &session).await?;
        close(&mut connection, &other).await?;
        Ok((create, load))
    }
}

/// Starts a node, and says where it tells its numbers.
async fn add_node(house: &mut House) -> SocketAddr {
    let metrics = SocketAddr::from(([127, 0, 0, 1], free_port().await));
    let env = [("WARREN_METRICS_LISTEN", &*metrics.to_string())];
    house.add_api_via(house.database.server, &env).await;
    metrics
}

/// Places for sessions: the worker's default, or more where more are wanted.
fn slots(sessions: usize) -> String {
    (sessions + 100).max(200).to_string()
}

/// A client with a session and a connection of its own.
pub(super) struct SessionClient {
    connection: Connection,
    path: String,
}

impl Caller for SessionClient {
    async fn call(&mut self) -> Result<(), BenchError> {
        execute(&mut self.connection, &self.path).await
    }
}

/// A client that lists its jobs.
pub(super) struct Lister {
    connection: Connection,
}

impl Caller for Lister {
    async fn call(&mut self) -> Result<(), BenchError> {
        let (what, status) = ("listing jobs", StatusCode::OK);
        let asked = self.connection.ask(what, Method::GET, "/jobs", "", status);
        asked.await.map(drop)
    }
}

async fn open(connection: &mut Connection) -> Result<String, BenchError> {
    let what = "opening a session";
    let status = StatusCode::CREATED;
    let body = connection
        .ask(what, Method::POST, "/sessions", "{}", status)
        .await?;
    let opened: Opened = read(what, status, &body)?;
    Ok(opened.session_id)
}

async fn execute(connection: &mut Connection, path: &str) -> Result<(), BenchError> {
    let what = "executing 1+1";
    let status = StatusCode::OK;
    let body = connection
        .ask(what, Method::POST, path, CODE, status)
        .await?;
    match read(what, status, &body)? {
        Executed { success: true } => Ok(()),
        Executed { success: false } => Err(unexpected(what, status, &body)),
    }
}

async fn close(connection: &mut Connection, session: &str) -> Result<(), BenchError> {
    let path = format!("/sessions/{session}");
    let what = "closing a session";
    connection
        .ask(what, Method::DELETE, &path, "", StatusCode::OK)
        .await
        .map(drop)
}

/// An answer as what it should be.
pub(super) fn read<'a, T: Deserialize<'a>>(
    what: &'static str,
    status: StatusCode,
    body: &'a [u8],
) -> Result<T, BenchError> {
    serde_json::from_slice(body).map_err(|_error| unexpected(what, status, body))
}

fn unexpected(what: &'static str, status: StatusCode, body: &[u8]) -> BenchError {
    let body = String::from_utf8_lossy(body).into_owned();
    BenchError::Refused { what, status, body }
}
