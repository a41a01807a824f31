//! The bench. `./dev bench` builds it, starts the servers that it needs, and runs it.
//!
//! It tells on standard error what it does, prints a table (or JSON), and judges nothing: it fails only when something
//! cannot be measured.

#![expect(
    clippy::print_stdout,
    clippy::print_stderr,
    reason = "showing it is what this program is for"
)]

use std::process::ExitCode;

use clap::Parser;
use tokio::signal::unix::{SignalKind, signal};
use warren_common::telemetry::chain;
use warren_tests::bench::{self, Group, Plan};

/// Measures Warren beside the least that its promises cost, and starting R.
#[derive(Parser)]
#[command(name = "warren-bench", version)]
struct Args {
    /// What to measure; host, api and services when nothing else is asked for
    #[arg(value_enum)]
    groups: Vec<Group>,
    /// Finished jobs in the table of the group rows, which is measured when no group is named
    #[arg(long, value_parser = clap::value_parser!(u64).range(1..))]
    rows: Option<u64>,
    /// Print JSON in place of the table
    #[arg(long)]
    json: bool,
    /// How often everything is measured
    #[arg(long, default_value_t = 5, value_parser = clap::value_parser!(u32).range(1..=100))]
    rounds: u32,
    /// Size of the file that goes up and down, in MiB
    #[arg(long, value_parser = clap::value_parser!(u32).range(1..=1024))]
    file_mib: Option<u32>,
    /// Only see that it works: few calls, figures without meaning
    #[arg(long)]
    quick: bool,
}

#[tokio::main]
async fn main() -> ExitCode {
    let args = Args::parse();
    let mut plan = if args.quick {
        Plan::quick(args.rounds)
    } else {
        Plan::full(args.rounds)
    };
    plan.file_mib = args.file_mib.unwrap_or(plan.file_mib);
    plan.rows = args.rows.unwrap_or(plan.rows);
    let groups = match (args.groups.as_slice(), args.rows) {
        ([], Some(_)) => vec![Group::Rows],
        ([], None) => vec![Group::Host, Group::Api, Group::Services],
        (named, _) => named.to_vec(),
    };
    // When told to stop, the run is dropped, and with it every process and database that it made.
    let report = tokio::select! {
        report = bench::run(&plan, &groups, &|line| eprintln!("{line}")) => report,
        () = told_to_stop() => {
            eprintln!("warren-bench: stopped");
            return ExitCode::from(130);
        }
    };
    match report {
        Ok(report) if args.json => match serde_json::to_string_pretty(&report) {
            Ok(json) => println!("{json}"),
            Err(error) => return failed(&error),
        },
        Ok(report) => print!("{report}"),
        Err(error) => return failed(&error),
    }
    ExitCode::SUCCESS
}

fn failed(error: &(dyn std::error::Error + 'static)) -> ExitCode {
    eprintln!("warren-bench: {}", chain(error));
    ExitCode::FAILURE
}

/// Returns at the first SIGINT or SIGTERM.
async fn told_to_stop() {
    let (Ok(mut interrupt), Ok(mut terminate)) = (
        signal(SignalKind::interrupt()),
        signal(SignalKind::terminate()),
    ) else {
        return std::future::pending().await;
    };
    tokio::select! {
        _ = interrupt.recv() => {}
        _ = terminate.recv() => {}
    }
}
