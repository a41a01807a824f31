//! The S3 server of the local stack as a program of its own: what `./dev up` starts.
//!
//! It prints one line when it listens, and ends cleanly on SIGTERM and SIGINT.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::process::ExitCode;

use clap::Parser;
use tokio::signal::unix::{SignalKind, signal};
use warren_tests::s3::{S3Config, S3Error, S3Server};

/// A small S3-compatible server over a folder, for development.
#[derive(Parser)]
#[command(name = "dev-s3", version)]
struct Args {
    /// Address to listen on; port 0 takes a free one
    #[arg(long, default_value = "127.0.0.1:0")]
    listen: SocketAddr,
    /// Folder that holds the buckets; made when it is missing
    #[arg(long)]
    dir: PathBuf,
    /// Access key that may sign requests
    #[arg(long, env = "WARREN_S3_ACCESS_KEY")]
    access_key: String,
    /// Its secret; better given by the environment, where other users do not see it
    #[arg(long, env = "WARREN_S3_SECRET_KEY", hide_env_values = true)]
    secret_key: String,
    /// Bucket to make when it is missing; may be given more than once
    #[arg(long, env = "WARREN_S3_BUCKET", required = true)]
    bucket: Vec<String>,
    /// File to write the port to once it listens
    #[arg(long)]
    port_file: Option<PathBuf>,
}

/// Why the program ended.
#[derive(Debug, thiserror::Error)]
enum Error {
    #[error(transparent)]
    Server(#[from] S3Error),
    #[error("cannot write the port to {}", path.display())]
    PortFile {
        path: PathBuf,
        source: std::io::Error,
    },
    #[error("cannot listen for signals")]
    Signals(#[source] std::io::Error),
}

#[tokio::main]
#[expect(clippy::print_stderr, reason = "the person who started it reads this")]
async fn main() -> ExitCode {
    match run(Args::parse()).await {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprint!("dev-s3: {error}");
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
    reason = "the one line that says where it listens"
)]
async fn run(args: Args) -> Result<(), Error> {
    // Before listening, so that a signal right after the line is not lost.
    let mut terminate = signal(SignalKind::terminate()).map_err(Error::Signals)?;
    let mut interrupt = signal(SignalKind::interrupt()).map_err(Error::Signals)?;
    let server = S3Server::start(S3Config {
        listen: args.listen,
        dir: args.dir.clone(),
        access_key: args.access_key,
        secret_key: args.secret_key,
        buckets: args.bucket,
    })
    .await?;
    if let Some(path) = args.port_file {
        write_whole(&path, &server.addr().port().to_string())
            .map_err(|source| Error::PortFile { path, source })?;
    }
    println!(
        "dev-s3 listens on {} and keeps its data in {}",
        server.endpoint(),
        args.dir.display()
    );
    tokio::select! {
        _ = terminate.recv() => {}
        _ = interrupt.recv() => {}
    }
    server.stop().await;
    Ok(())
}

/// Writes beside the file and renames, so that a reader never sees half a port.
fn write_whole(path: &std::path::Path, text: &str) -> std::io::Result<()> {
    let beside = path.with_extension("tmp");
    std::fs::write(&beside, text)?;
    std::fs::rename(beside, path)
}
