//! Settings that both tiers share. Every setting is an environment variable `WARREN_…` (or the option of the same name);
//! wrong values stop the start with the name and the reason, secrets never print.
#![expect(
    clippy::doc_markdown,
    reason = "what describes a setting is also what --help prints, where nobody wants backticks"
)]

use std::fmt;
use std::net::SocketAddr;
use std::num::NonZeroUsize;
use std::str::FromStr;

use clap::{Args, ValueEnum};
use tokio::runtime::{Builder, Runtime};

/// A value that is never printed.
#[derive(Clone, PartialEq, Eq)]
pub struct Secret(String);

impl Secret {
    /// Wraps a value.
    pub fn new(value: impl Into<String>) -> Self {
        Self(value.into())
    }

    /// The value itself, for the one place that needs it.
    pub fn reveal(&self) -> &str {
        &self.0
    }
}

impl FromStr for Secret {
    type Err = std::convert::Infallible;

    fn from_str(value: &str) -> Result<Self, Self::Err> {
        Ok(Self::new(value))
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("[secret]")
    }
}

/// Where Postgres is.
#[derive(Debug, Clone, Args)]
pub struct DatabaseConfig {
    /// Address of the database: postgres://user:password@host:port/database
    #[arg(
        id = "database_url",
        long = "database-url",
        env = "WARREN_DATABASE_URL",
        hide_env_values = true
    )]
    pub url: Secret,
    /// Connections that one process holds at most
    #[arg(
        id = "database_pool",
        long = "database-pool",
        env = "WARREN_DATABASE_POOL",
        default_value_t = 10
    )]
    pub pool: usize,
}

impl DatabaseConfig {
    /// Host, port and database, without user and password: for messages.
    pub fn place(&self) -> &str {
        place(self.url.reveal())
    }
}

/// Where RabbitMQ is.
#[derive(Debug, Clone, Args)]
pub struct QueueConfig {
    /// Address of the broker: amqp://user:password@host:port/vhost (%2f is the vhost /)
    #[arg(
        id = "amqp_url",
        long = "amqp-url",
        env = "WARREN_AMQP_URL",
        hide_env_values = true
    )]
    pub url: Secret,
    /// Put in front of every queue name, so that several Warrens can share a vhost
    #[arg(
        id = "queue_prefix",
        long = "queue-prefix",
        env = "WARREN_QUEUE_PREFIX",
        default_value = ""
    )]
    pub prefix: String,
}

impl QueueConfig {
    /// Host, port and vhost, without user and password: for messages.
    pub fn place(&self) -> &str {
        place(self.url.reveal())
    }
}

/// What of an address may be shown. An address of another form is not repeated at all: who knows where its password is.
fn place(url: &str) -> &str {
    let Some((_scheme, rest)) = url.split_once("://") else {
        return "the address in its setting";
    };
    let after_password = rest.rsplit_once('@').map_or(rest, |(_user, place)| place);
    after_password
        .split_once('?')
        .map_or(after_password, |(place, _options)| place)
}

/// Where the S3-compatible object store is.
#[derive(Debug, Clone, Args)]
pub struct BlobConfig {
    /// Address of the store, for example http://127.0.0.1:3900
    #[arg(id = "s3_endpoint", long = "s3-endpoint", env = "WARREN_S3_ENDPOINT")]
    pub endpoint: String,
    /// Region that requests are signed for
    #[arg(
        id = "s3_region",
        long = "s3-region",
        env = "WARREN_S3_REGION",
        default_value = "garage"
    )]
    pub region: String,
    /// Bucket that holds everything; it must exist
    #[arg(
        id = "s3_bucket",
        long = "s3-bucket",
        env = "WARREN_S3_BUCKET",
        default_value = "warren"
    )]
    pub bucket: String,
    /// Access key
    #[arg(
        id = "s3_access_key",
        long = "s3-access-key",
        env = "WARREN_S3_ACCESS_KEY",
        hide_env_values = true
    )]
    pub access_key: Secret,
    /// Secret key
    #[arg(
        id = "s3_secret_key",
        long = "s3-secret-key",
        env = "WARREN_S3_SECRET_KEY",
        hide_env_values = true
    )]
    pub secret_key: Secret,
    /// Seconds for which bytes on their way between callers and sessions are kept there
    #[arg(
        id = "transfer_seconds",
        long = "transfer-seconds",
        env = "WARREN_TRANSFER_SECONDS",
        default_value_t = 24 * 3600
    )]
    pub transfer_seconds: u32,
}

/// What the tasks of a program run on.
#[derive(Debug, Clone, Args)]
pub struct RuntimeConfig {
    /// Threads that the program's tasks share; half of the cores, at least one, when absent
    #[arg(id = "threads", long = "threads", env = "WARREN_THREADS")]
    pub threads: Option<NonZeroUsize>,
}

impl RuntimeConfig {
    /// Starts the runtime.
    ///
    /// A job passes through many tasks, each of which does little: a second thread is woken more often than it helps, and
    /// Postgres, the broker or R want the other cores (`docs/decisions/0007-threads.md`).
    pub fn start(&self) -> std::io::Result<Runtime> {
        let half = || std::thread::available_parallelism().map_or(1, |cores| cores.get() / 2);
        let threads = self.threads.map_or_else(half, NonZeroUsize::get).max(1);
        Builder::new_multi_thread()
            .worker_threads(threads)
            .enable_all()
            .build()
    }
}

/// How logs look.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum LogFormat {
    /// Lines for people.
    Text,
    /// One JSON object a line, for machines.
    Json,
}

/// What is logged and what is measured.
#[derive(Debug, Clone, Args)]
pub struct TelemetryConfig {
    /// Which messages are logged: a level, or a filter such as warren_api=debug,info
    #[arg(id = "log", long = "log", env = "WARREN_LOG", default_value = "info")]
    pub filter: String,
    /// How they look
    #[arg(
        id = "log_format",
        long = "log-format",
        env = "WARREN_LOG_FORMAT",
        value_enum,
        default_value = "text"
    )]
    pub format: LogFormat,
    /// Where /metrics and the health probes are served; off when empty
    #[arg(
        id = "metrics_listen",
        long = "metrics-listen",
        env = "WARREN_METRICS_LISTEN"
    )]
    pub metrics_listen: Option<SocketAddr>,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_secret_does_not_print() {
        assert_eq!(format!("{:?}", Secret::new("hunter2")), "[secret]");
    }

    #[test]
    fn a_place_names_no_password() {
        for (url, shown) in [
            ("postgres://u:p@h:5432/db?sslmode=disable", "h:5432/db"),
            ("amqp://u:p@ss@h/%2f", "h/%2f"),
            ("postgres://u:p?x@h/db", "h/db"),
            ("amqp://h:5672", "h:5672"),
            ("host=h password=p", "the address in its setting"),
        ] {
            assert_eq!(place(url), shown);
        }
    }
}
