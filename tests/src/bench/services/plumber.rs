//! The same functions behind plumber: one R process, as it is run, that answers one request after another and keeps nothing.

use std::net::SocketAddr;
use std::process::Stdio;
use std::time::{Duration, Instant};

use hyper::{Method, StatusCode};
use tokio::process::{Child, Command};

use super::calls::{ADD, Function, MODEL, PREDICT};
use crate::bench::BenchError;
use crate::bench::http::{Connection, Target};
use crate::bench::load::Caller;

/// How long it may take to start.
const LIMIT: Duration = Duration::from_secs(60);

/// A plumber that listens. It is killed when this is dropped.
pub(super) struct Plumber {
    target: Target,
    _process: Child,
}

impl Plumber {
    /// Starts it; none when it is not installed.
    pub(super) async fn start() -> Result<Option<Self>, BenchError> {
        if !is_installed().await {
            return Ok(None);
        }
        let addr = SocketAddr::from(([127, 0, 0, 1], crate::postgres::free_port().await));
        let mut process = Command::new("Rscript")
            .args(["--vanilla", "-e", &script(addr.port())])
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .kill_on_drop(true)
            .spawn()
            .map_err(|error| BenchError::StartR(error.to_string()))?;
        let target = Target::new(addr, "nobody")?;
        let began = Instant::now();
        while Connection::open(&target).await.is_err() {
            if matches!(process.try_wait(), Ok(Some(_))) {
                return Err(BenchError::StartR("plumber ended".to_owned()));
            }
            if began.elapsed() > LIMIT {
                return Err(BenchError::Late("starting plumber"));
            }
            tokio::time::sleep(crate::wait::PAUSE).await;
        }
        Ok(Some(Self {
            target,
            _process: process,
        }))
    }

    /// So many clients.
    pub(super) fn clients(&self, function: &Function, count: usize) -> Vec<PlumberCall> {
        let client = || PlumberCall {
            target: self.target.clone(),
            path: format!("/{}", function.name),
            inputs: function.inputs.to_string(),
        };
        std::iter::repeat_with(client).take(count).collect()
    }
}

async fn is_installed() -> bool {
    let looked = Command::new("Rscript")
        .args(["--vanilla", "-e", "stopifnot(requireNamespace('plumber'))"])
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .kill_on_drop(true)
        .status();
    looked.await.is_ok_and(|status| status.success())
}

fn script(port: u16) -> String {
    format!(
        "library(plumber)
        {MODEL}
        add <- function(x, y) {{ {ADD}; list(z = z) }}
        score <- function(cars) {{ cars <- as.data.frame(cars); {PREDICT}; list(p = p) }}
        json <- serializer_unboxed_json()
        api <- pr_post(pr(), '/add', add, serializer = json)
        api <- pr_post(api, '/predict', score, serializer = json)
        pr_run(api, host = '127.0.0.1', port = {port}, docs = FALSE, quiet = TRUE)"
    )
}

/// A client that connects anew for each call: on a kept connection plumber answers after a delayed acknowledgement, 40 ms later.
pub(super) struct PlumberCall {
    target: Target,
    path: String,
    inputs: String,
}

impl Caller for PlumberCall {
    async fn call(&mut self) -> Result<(), BenchError> {
        let (what, status) = ("calling plumber", StatusCode::OK);
        let mut connection = Connection::open(&self.target).await?;
        let asked = connection.ask(what, Method::POST, &self.path, &self.inputs, status);
        asked.await.map(drop)
    }
}
