//! Snapshots of a session with a large data frame, beside what R alone needs for the same bytes and the store for moving them.

use std::path::Path;
use std::process::Stdio;
use std::time::{Duration, Instant};

use tokio::io::AsyncReadExt;
use tokio::process::Command;
use tokio_util::bytes::BytesMut;
use warren_common::blobs::{BlobError, BlobKey, Blobs};
use warren_common::config::{BlobConfig, Secret};
use warren_common::id::SnapshotId;

use super::BenchError;
use super::figure::Figure;
use super::plan::Plan;
use super::series::Sample;
use super::stage::{Found, Stage};
use super::warren::Warren;

/// How long R may take for its part of a round.
const LIMIT: Duration = Duration::from_secs(300);
/// Bytes that are read from a file at once.
const PIECE: usize = 1024 * 1024;

/// A whole Warren and a client of its store.
pub(super) struct SnapshotsStage {
    warren: Warren,
    blobs: Blobs,
}

#[derive(Debug, Clone, Copy)]
pub(super) enum Step {
    Warren,
    Peers,
}

impl SnapshotsStage {
    pub(super) async fn set_up() -> Result<Self, BenchError> {
        let warren = Warren::start(0).await?;
        let blobs = Blobs::new(&BlobConfig {
            endpoint: format!("http://{}", warren.house.store()),
            region: crate::s3::REGION.to_owned(),
            bucket: "warren".to_owned(),
            access_key: Secret::new("warren"),
            secret_key: Secret::new("secret"),
            transfer_seconds: 3600,
        });
        Ok(Self { warren, blobs })
    }

    /// R saves and loads the frame by itself, and the store takes and gives the same bytes.
    async fn peers(&self, rows: u32) -> Result<Vec<Found>, BenchError> {
        let dir = tempfile::tempdir().map_err(BenchError::Host)?;
        let script = format!(
            "{frame}; time <- function(code) cat(1000 * system.time(code)[['elapsed']], '')
             time(save(x, file = 'plain', version = 2, compress = FALSE))
             time(load('plain', new.env()))
             time({{ save.image(); utils::zip('default.zip', '.RData', flags = '-q') }})",
            frame = frame(rows)
        );
        let times = plain_r(dir.path(), &script).await?;
        let [save, load, default] = times[..] else {
            return Err(BenchError::StartR(format!("it told {} times", times.len())));
        };
        let (up, down) = self.copy(&dir.path().join("plain")).await?;
        Ok(vec![
            time(Figure::SaveImageAndZip, default),
            time(Figure::SaveAndCopy, save + up),
            time(Figure::SaveLoadAndCopy, save + load + up + down),
        ])
    }

    /// Brings a file to the store and back, as one object like a snapshot.
    async fn copy(&self, file: &Path) -> Result<(Duration, Duration), BenchError> {
        let key = BlobKey::Snapshot(SnapshotId::new());
        let began = Instant::now();
        let mut from = tokio::fs::File::open(file)
            .await
            .map_err(BenchError::Host)?;
        let mut upload = self.blobs.upload(key, u64::MAX);
        loop {
            let mut piece = BytesMut::with_capacity(PIECE);
            if from.read_buf(&mut piece).await.map_err(BenchError::Host)? == 0 {
                break;
            }
            upload.write(piece.freeze()).await?;
        }
        upload.finish().await?;
        let up = began.elapsed();
        let began = Instant::now();
        let mut download = self.blobs.download(key, None).await?;
        while download.next().await?.is_some() {}
        let down = began.elapsed();
        self.blobs.delete(key).await?;
        Ok((up, down))
    }
}

impl Stage for SnapshotsStage {
    type Step = Step;

    fn steps() -> Vec<Step> {
        vec![Step::Warren, Step::Peers]
    }

    async fn measure(&self, step: Step, plan: &Plan) -> Result<Vec<Found>, BenchError> {
        match step {
            Step::Peers => self.peers(plan.snapshot_rows).await,
            Step::Warren => {
                let (create, load) = self.warren.snapshot(&frame(plan.snapshot_rows)).await?;
                Ok(vec![
                    time(Figure::CreateSnapshot, create),
                    time(Figure::CreateAndLoadSnapshot, create + load),
                ])
            }
        }
    }
}

fn time(figure: Figure, time: Duration) -> Found {
    Found::Times(figure, Sample::in_turn(vec![time]))
}

/// Ten columns of noise: 80 bytes a row.
fn frame(rows: u32) -> String {
    format!("x <- as.data.frame(matrix(rnorm(10 * {rows}), ncol = 10))")
}

/// Runs R in a directory; the times that it printed, in milliseconds.
async fn plain_r(dir: &Path, script: &str) -> Result<Vec<Duration>, BenchError> {
    let run = Command::new("R")
        .args(["--vanilla", "--no-echo", "-e", script])
        .current_dir(dir)
        .stdin(Stdio::null())
        .stderr(Stdio::null())
        .kill_on_drop(true)
        .output();
    let output = tokio::time::timeout(LIMIT, run)
        .await
        .map_err(|_elapsed| BenchError::Late("R"))?
        .map_err(|error| BenchError::StartR(error.to_string()))?;
    let printed = String::from_utf8_lossy(&output.stdout);
    let times = printed.split_whitespace().map(str::parse::<f64>);
    times
        .map(|ms| ms.map(|ms| Duration::from_secs_f64(ms / 1000.0)))
        .collect::<Result<_, _>>()
        .map_err(|_error| BenchError::StartR(format!("it printed {printed:?}")))
}

impl From<BlobError> for BenchError {
    fn from(error: BlobError) -> Self {
        Self::Store(error)
    }
}
