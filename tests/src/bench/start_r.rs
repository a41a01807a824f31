//! Starting R as everybody starts it: what a session would cost without Warren.

use std::process::Stdio;
use std::time::{Duration, Instant};

use tokio::process::Command;

use super::BenchError;

/// How long R may take.
const LIMIT: Duration = Duration::from_secs(30);

/// Starts R and waits until it has ended, this often.
pub(super) async fn times(starts: u32) -> Result<Vec<Duration>, BenchError> {
    let mut times = Vec::new();
    for _ in 0..starts {
        times.push(once().await?);
    }
    Ok(times)
}

async fn once() -> Result<Duration, BenchError> {
    let mut command = Command::new("R");
    command
        .args(["--vanilla", "--no-echo", "-e", "invisible(1)"])
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .kill_on_drop(true);
    let began = Instant::now();
    let status = tokio::time::timeout(LIMIT, command.status())
        .await
        .map_err(|_elapsed| BenchError::Late("starting R"))?
        .map_err(|error| BenchError::StartR(error.to_string()))?;
    let took = began.elapsed();
    if status.success() {
        Ok(took)
    } else {
        Err(BenchError::StartR(status.to_string()))
    }
}
