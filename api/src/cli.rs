//! The program: serve, migrate, manage users and keys, probe.

mod record;
mod users;

use std::io::Write;
use std::process::ExitCode;
use std::time::Duration;

use clap::{Args, Command, FromArgMatches, Parser, Subcommand};
use tokio::net::TcpListener;
use warren_common::config::{DatabaseConfig, TelemetryConfig};
use warren_common::model::AuditEvent;
use warren_common::stop::Stop;
use warren_common::telemetry;

use crate::auth::tokens::rotate_keys;
use crate::config::{AdminConfig, ApiConfig, ListenConfig};
use crate::start::{StartError, prepare_database, run};
use crate::transport;

/// How long work on threads of its own, such as hashing a password, may take after the server stopped.
const LAST_BLOCKING: Duration = Duration::from_secs(2);

/// The HTTP tier of Warren
#[derive(Debug, Parser)]
#[command(name = "warren-api", version)]
struct Cli {
    #[command(subcommand)]
    task: Task,
}

#[derive(Debug, Subcommand)]
enum Task {
    /// Answer requests (also without any command)
    Serve(Box<ApiConfig>),
    /// Bring the schema up to date and leave
    Migrate(MigrateConfig),
    /// Manage users
    #[command(subcommand)]
    Users(users::UsersTask),
    /// Manage the keys that sign access tokens
    #[command(subcommand)]
    Keys(KeysTask),
    /// Succeed when the API on this machine is ready
    Probe(ListenConfig),
}

#[derive(Debug, Args)]
struct MigrateConfig {
    #[command(flatten)]
    database: DatabaseConfig,
    #[command(flatten)]
    admin: AdminConfig,
    #[command(flatten)]
    telemetry: TelemetryConfig,
}

#[derive(Debug, Subcommand)]
enum KeysTask {
    /// Sign with a new key from now on; nobody has to sign in again
    Rotate(RotateKeys),
}

/// Whose keys.
#[derive(Debug, Args)]
struct RotateKeys {
    #[command(flatten)]
    database: DatabaseConfig,
    #[command(flatten)]
    telemetry: TelemetryConfig,
}

/// What went wrong, for the person who typed it.
#[derive(Debug, thiserror::Error)]
enum CliError {
    #[error(transparent)]
    Start(#[from] StartError),
    #[error(transparent)]
    Setting(#[from] crate::config::BadSetting),
    #[error(transparent)]
    Filter(#[from] telemetry::BadFilter),
    #[error("the threads cannot be started")]
    Runtime(#[source] std::io::Error),
    #[error("signals cannot be caught")]
    Signals(#[source] std::io::Error),
    #[error(transparent)]
    NotRecorded(#[from] record::NotRecorded),
    #[error(transparent)]
    Users(#[from] users::UsersError),
    #[error(transparent)]
    Probe(#[from] telemetry::NotReady),
}

/// Does what the arguments of this process ask for.
pub fn main() -> ExitCode {
    let arguments = warren_common::cli::with_default_task(std::env::args_os().collect());
    let matches = command().get_matches_from(arguments);
    let cli = match Cli::from_arg_matches(&matches) {
        Ok(cli) => cli,
        Err(error) => error.exit(),
    };
    match perform(cli.task) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            let message = telemetry::chain(&error);
            // Nobody is left to tell when standard error is closed.
            let _ = writeln!(std::io::stderr(), "warren-api: {message}");
            ExitCode::FAILURE
        }
    }
}

fn perform(task: Task) -> Result<(), CliError> {
    match task {
        Task::Serve(config) => {
            let runtime = config.runtime.start().map_err(CliError::Runtime)?;
            let served = runtime.block_on(serve(*config));
            runtime.shutdown_timeout(LAST_BLOCKING);
            served
        }
        Task::Migrate(config) => {
            telemetry::start(&config.telemetry)?;
            config.admin.validate()?;
            errand(async { Ok(prepare_database(&config.database, &config.admin).await?) }).map(drop)
        }
        Task::Users(task) => {
            telemetry::start(task.telemetry())?;
            errand(async { Ok(task.perform().await?) })
        }
        Task::Keys(KeysTask::Rotate(keys)) => {
            telemetry::start(&keys.telemetry)?;
            errand(async {
                let db = prepare_database(&keys.database, &AdminConfig { password: None }).await?;
                let kid = rotate_keys(&db).await.map_err(StartError::Keys)?;
                record::record(&db, AuditEvent::RotateKeys, kid.clone()).await?;
                tracing::info!("Access tokens are signed with the new key {kid} from now on");
                Ok(())
            })
        }
        Task::Probe(listen) => Ok(transport::ask_ready(&listen)?),
    }
}

/// Does something short.
fn errand<T>(work: impl Future<Output = Result<T, CliError>>) -> Result<T, CliError> {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .map_err(CliError::Runtime)?;
    runtime.block_on(work)
}

async fn serve(config: ApiConfig) -> Result<(), CliError> {
    telemetry::start(&config.telemetry)?;
    config.validate()?;
    let place = config.listen.address;
    let listener = TcpListener::bind(place)
        .await
        .map_err(|source| StartError::Listen {
            place,
            setting: "WARREN_LISTEN",
            source,
        })?;
    let stop = Stop::new();
    stop.on_signals(config.grace).map_err(CliError::Signals)?;
    run(config, listener, stop).await?;
    tracing::info!("Stopped");
    Ok(())
}

/// The command line.
fn command() -> Command {
    warren_common::cli::command::<Cli, ApiConfig>()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_help_lists_every_variable() {
        let help = command().render_help().to_string();
        let settings = ApiConfig::augment_args(Command::new("serve"));
        for argument in settings.get_arguments() {
            let variable = argument.get_env().unwrap().to_str().unwrap();
            assert!(variable.starts_with("WARREN_"), "{variable}");
            assert!(help.contains(variable), "{variable}");
        }
    }

    #[test]
    fn a_wrong_value_names_its_variable() {
        let tried = command().try_get_matches_from(["warren-api", "serve", "--token-seconds=soon"]);
        let problem = tried.unwrap_err().to_string();
        assert!(problem.contains("WARREN_TOKEN_SECONDS"), "{problem}");
    }

    #[test]
    fn the_command_line_is_sound() {
        command().debug_assert();
    }
}
