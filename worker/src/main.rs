//! `warren-worker`: reads its settings, starts telemetry, calls the library.

use std::io::Write;
use std::net::SocketAddr;
use std::process::ExitCode;
use std::time::Duration;

use clap::{Args, FromArgMatches, Parser, Subcommand};
use warren_common::stop::Stop;
use warren_common::{cli, telemetry};
use warren_worker::config::{HostConfig, WorkerConfig};
use warren_worker::doctor;

/// Runs R for a Warren: takes jobs, keeps sessions, writes results
#[derive(Debug, Parser)]
#[command(name = "warren-worker", version)]
struct Cli {
    #[command(subcommand)]
    task: Task,
}

#[derive(Debug, Subcommand)]
enum Task {
    /// Take jobs until SIGTERM; a second signal interrupts R (also without any command)
    Serve(Box<WorkerConfig>),
    /// Succeed when the worker on this machine is ready
    Probe(ProbeConfig),
    /// Start R as serve would, and say what protects this machine from user code
    Doctor(Box<DoctorConfig>),
}

#[derive(Debug, Args)]
struct DoctorConfig {
    #[command(flatten)]
    host: HostConfig,
    /// Print JSON in place of the table
    #[arg(long)]
    json: bool,
}

#[derive(Debug, Args)]
struct ProbeConfig {
    /// Where its probes are served
    #[arg(long, env = "WARREN_METRICS_LISTEN", default_value = "127.0.0.1:9465")]
    metrics_listen: SocketAddr,
}

fn main() -> ExitCode {
    let arguments = cli::with_default_task(std::env::args_os().collect());
    let matches = cli::command::<Cli, WorkerConfig>().get_matches_from(arguments);
    match Cli::from_arg_matches(&matches) {
        Ok(Cli {
            task: Task::Serve(config),
        }) => serve(*config),
        Ok(Cli {
            task: Task::Probe(probe),
        }) => match telemetry::ask_ready(probe.metrics_listen) {
            Ok(()) => ExitCode::SUCCESS,
            Err(error) => fail(&error),
        },
        Ok(Cli {
            task: Task::Doctor(config),
        }) => examine(&config),
        Err(error) => error.exit(),
    }
}

fn examine(config: &DoctorConfig) -> ExitCode {
    let runtime = match tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
    {
        Ok(runtime) => runtime,
        Err(error) => return fail(&error),
    };
    let findings = runtime.block_on(doctor::examine(&config.host));
    runtime.shutdown_timeout(Duration::from_secs(2));
    let text = match &findings {
        Ok(findings) if config.json => {
            serde_json::to_string_pretty(findings).map(|json| json + "\n")
        }
        Ok(findings) => Ok(findings.to_string()),
        Err(error) => return fail(error),
    };
    match text {
        Ok(text) => {
            // Whoever closed the pipe has read enough.
            let _ = std::io::stdout().write_all(text.as_bytes());
            ExitCode::SUCCESS
        }
        Err(error) => fail(&error),
    }
}

fn serve(config: WorkerConfig) -> ExitCode {
    if let Err(error) = telemetry::start(&config.telemetry) {
        return fail(&error);
    }
    let runtime = match config.runtime.start() {
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
