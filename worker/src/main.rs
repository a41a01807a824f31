//! `warren-worker`: reads its settings, starts telemetry, calls the library.

use std::process::ExitCode;

use clap::{Args, Parser, Subcommand};
use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::time::Duration;
use warren_common::stop::Stop;
use warren_common::telemetry;
use warren_worker::config::WorkerConfig;

/// Runs R for a Warren: takes jobs, keeps sessions, writes results.
#[derive(Debug, Parser)]
#[command(version, about)]
struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Take jobs until SIGTERM; a second signal interrupts R
    Serve(Box<WorkerConfig>),
    /// Exit with 0 if the worker on this host is ready; for health checks of containers
    Probe(ProbeArgs),
}

#[derive(Debug, Args)]
struct ProbeArgs {
    /// Where its probes are served
    #[arg(long, env = "WARREN_METRICS_LISTEN", default_value = "127.0.0.1:9465")]
    metrics_listen: SocketAddr,
}

fn main() -> ExitCode {
    match Cli::parse_from(with_default_command(std::env::args_os())).command {
        Command::Serve(config) => serve(*config),
        Command::Probe(probe) => ExitCode::from(u8::from(!is_ready(probe.metrics_listen))),
    }
}

/// `serve` is what the program does when it is told nothing else.
fn with_default_command(
    args: impl Iterator<Item = std::ffi::OsString>,
) -> impl Iterator<Item = std::ffi::OsString> {
    let mut args: Vec<_> = args.collect();
    let named = args.get(1).and_then(|arg| arg.to_str()).is_some_and(|arg| {
        ["serve", "probe", "help", "--help", "-h", "--version", "-V"].contains(&arg)
    });
    if !named {
        args.insert(1.min(args.len()), "serve".into());
    }
    args.into_iter()
}

fn serve(config: WorkerConfig) -> ExitCode {
    if let Err(error) = telemetry::start(&config.telemetry) {
        return fail(&error);
    }
    let runtime = match tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .build()
    {
        Ok(runtime) => runtime,
        Err(error) => return fail(&error),
    };
    let outcome = runtime.block_on(async {
        let stop = Stop::new();
        if let Err(error) = stop.on_signals(config.drain_grace) {
            return fail(&error);
        }
        match warren_worker::run(config, stop).await {
            Ok(()) => ExitCode::SUCCESS,
            Err(error) => fail(&error),
        }
    });
    runtime.shutdown_timeout(Duration::from_secs(2));
    outcome
}

fn fail(error: &(dyn std::error::Error + 'static)) -> ExitCode {
    let text = telemetry::chain(error);
    // Also when logging could not be started, or is filtered.
    let _ = writeln!(std::io::stderr(), "warren-worker: {text}");
    ExitCode::FAILURE
}

fn is_ready(address: SocketAddr) -> bool {
    let ask = || -> std::io::Result<String> {
        let limit = Some(Duration::from_secs(3));
        let mut stream = TcpStream::connect_timeout(&address, Duration::from_secs(3))?;
        stream.set_read_timeout(limit)?;
        stream.set_write_timeout(limit)?;
        stream.write_all(b"GET /health/ready HTTP/1.0\r\n\r\n")?;
        let mut answer = String::new();
        stream.read_to_string(&mut answer)?;
        Ok(answer)
    };
    ask().is_ok_and(|answer| answer.split(' ').nth(1) == Some("200"))
}
