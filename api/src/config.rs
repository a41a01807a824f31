//! Settings of the API. Every one is an environment variable and an option; wrong values stop the start.

mod keep;
mod ldap;
mod openid;
mod transport;

use std::net::SocketAddr;
use std::time::Duration;

use clap::Args;
pub use keep::{RetentionConfig, StreamConfig};
pub use ldap::{LdapConfig, Servers};
pub use openid::OpenIdConfig;
pub(crate) use openid::is_https_or_loopback;
pub(crate) use transport::{TLS_CERT, TLS_KEY};
pub use transport::{TlsConfig, TransportConfig};
use warren_common::config::{
    BlobConfig, DatabaseConfig, QueueConfig, RuntimeConfig, Secret, TelemetryConfig,
};

use crate::auth::groups::RoleGroups;
use crate::auth::password_rules::judge;

/// The name of the first user.
pub(crate) const ADMIN: &str = "admin";

/// Two settings that do not go together, or one out of its range.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{variable} {problem}")]
pub struct BadSetting {
    variable: &'static str,
    problem: String,
}

impl BadSetting {
    pub(crate) fn new(variable: &'static str, problem: impl Into<String>) -> Self {
        Self {
            variable,
            problem: problem.into(),
        }
    }
}

/// Where the API listens, and how it is spoken with there.
#[derive(Debug, Clone, Args)]
pub struct ListenConfig {
    /// Address and port of the API
    #[arg(
        id = "listen",
        long = "listen",
        env = "WARREN_LISTEN",
        default_value = "0.0.0.0:12800"
    )]
    pub address: SocketAddr,
    /// TLS.
    #[command(flatten)]
    pub tls: TlsConfig,
}

/// The first user.
#[derive(Debug, Clone, Args)]
pub struct AdminConfig {
    /// Password of the user admin, who is created when there is no such user
    #[arg(
        id = "admin_password",
        long = "admin-password",
        env = "WARREN_ADMIN_PASSWORD",
        hide_env_values = true
    )]
    pub password: Option<Secret>,
}

impl AdminConfig {
    /// Refuses what clap cannot judge.
    pub fn validate(&self) -> Result<(), BadSetting> {
        let Some(password) = &self.password else {
            return Ok(());
        };
        judge(password.reveal(), ADMIN)
            .map_err(|unfit| BadSetting::new("WARREN_ADMIN_PASSWORD", unfit.to_string()))
    }
}

/// Everything that `warren-api serve` can be told.
#[derive(Debug, Clone, Args)]
pub struct ApiConfig {
    /// Where it listens.
    #[command(flatten)]
    pub listen: ListenConfig,
    /// What lies between the network and the router.
    #[command(flatten)]
    pub transport: TransportConfig,
    /// Largest request body in bytes
    #[arg(
        id = "body_limit_bytes",
        long = "body-limit-bytes",
        env = "WARREN_BODY_LIMIT_BYTES",
        default_value_t = 64 * 1024 * 1024
    )]
    pub body_limit: usize,
    /// Largest body of an upload of files in bytes
    #[arg(
        id = "upload_max_bytes",
        long = "upload-max-bytes",
        env = "WARREN_UPLOAD_MAX_BYTES",
        default_value_t = 1025 * 1024 * 1024
    )]
    pub upload_limit: u64,
    /// Largest object that may be sent to a session in bytes
    #[arg(
        id = "object_max_bytes",
        long = "object-max-bytes",
        env = "WARREN_OBJECT_MAX_BYTES",
        default_value_t = 256 * 1024 * 1024
    )]
    pub object_limit: u64,
    /// How long an access token is valid, in seconds
    #[arg(
        id = "token_seconds",
        long = "token-seconds",
        env = "WARREN_TOKEN_SECONDS",
        default_value_t = 3600
    )]
    pub token_seconds: u32,
    /// How many jobs may wait in one session
    #[arg(
        id = "session_queue_limit",
        long = "session-queue-limit",
        env = "WARREN_SESSION_QUEUE_LIMIT",
        default_value_t = 100
    )]
    pub session_queue_limit: u32,
    /// How many calls of services may wait for workers; more are refused, as they are counted every few seconds
    #[arg(
        id = "call_queue_limit",
        long = "call-queue-limit",
        env = "WARREN_CALL_QUEUE_LIMIT",
        default_value_t = 10_000
    )]
    pub call_queue_limit: u32,
    /// Records that one batch may have
    #[arg(
        id = "batch_max_items",
        long = "batch-max-items",
        env = "WARREN_BATCH_MAX_ITEMS",
        default_value_t = 1_000_000
    )]
    pub batch_max_items: u32,
    /// Items of one batch that may run at the same moment; who asks for more gets so many
    #[arg(
        id = "batch_max_parallel",
        long = "batch-max-parallel",
        env = "WARREN_BATCH_MAX_PARALLEL",
        default_value_t = 100
    )]
    pub batch_max_parallel: u32,
    /// Live sessions that one user may have; 0: as many as there is room for
    #[arg(
        id = "sessions_per_user",
        long = "sessions-per-user",
        env = "WARREN_SESSIONS_PER_USER",
        default_value_t = 8
    )]
    pub sessions_per_user: u32,
    /// How long nobody may use a session before it is closed, in seconds; 0: for ever
    #[arg(
        id = "session_idle_seconds",
        long = "session-idle-seconds",
        env = "WARREN_SESSION_IDLE_SECONDS",
        default_value = "1800",
        value_parser = seconds
    )]
    pub session_idle: Duration,
    /// How long opening a session, a call or a publication waits for a worker with room, in seconds
    #[arg(
        id = "open_wait_seconds",
        long = "open-wait-seconds",
        env = "WARREN_OPEN_WAIT_SECONDS",
        default_value = "60",
        value_parser = seconds
    )]
    pub open_wait: Duration,
    /// Lease of the workers in seconds; must be the same on every node
    #[arg(
        id = "lease_seconds",
        long = "lease-seconds",
        env = "WARREN_LEASE_SECONDS",
        default_value = "15",
        value_parser = seconds
    )]
    pub lease: Duration,
    /// How long requests under way may take to end after SIGTERM, in seconds
    #[arg(
        id = "grace_seconds",
        long = "grace-seconds",
        env = "WARREN_GRACE_SECONDS",
        default_value = "30",
        value_parser = seconds
    )]
    pub grace: Duration,
    /// How long what is over is kept.
    #[command(flatten)]
    pub retention: RetentionConfig,
    /// Event streams.
    #[command(flatten)]
    pub streams: StreamConfig,
    /// The directory.
    #[command(flatten)]
    pub ldap: LdapConfig,
    /// Which groups of a directory or a provider have which role.
    #[command(flatten)]
    pub role_groups: RoleGroups,
    /// The first user.
    #[command(flatten)]
    pub admin: AdminConfig,
    /// The OpenID provider whose tokens are taken.
    #[command(flatten)]
    pub openid: OpenIdConfig,
    /// Postgres.
    #[command(flatten)]
    pub database: DatabaseConfig,
    /// RabbitMQ.
    #[command(flatten)]
    pub queue: QueueConfig,
    /// The object store.
    #[command(flatten)]
    pub blobs: BlobConfig,
    /// Logs and metrics.
    #[command(flatten)]
    pub telemetry: TelemetryConfig,
    /// Threads.
    #[command(flatten)]
    pub runtime: RuntimeConfig,
}

impl ApiConfig {
    /// How long nobody may use a session before it is closed; none when it is never closed for that.
    pub fn idle(&self) -> Option<Duration> {
        Some(self.session_idle).filter(|idle| !idle.is_zero())
    }

    /// Refuses what clap cannot judge.
    pub fn validate(&self) -> Result<(), BadSetting> {
        self.admin.validate()?;
        self.streams.validate()?;
        self.openid.validate()?;
        if self.openid.issuer().is_some() && self.ldap.is_on() {
            return Err(BadSetting::new(
                "WARREN_OPENID_ISSUER",
                "does not go together with WARREN_LDAP_URL: one of them says who people are",
            ));
        }
        self.ldap.validate()?;
        self.listen.tls.validate()?;
        self.transport.validate()?;
        if self.body_limit < 1024 {
            return Err(BadSetting::new(
                "WARREN_BODY_LIMIT_BYTES",
                "must be at least 1024",
            ));
        }
        if self.upload_limit < 1024 {
            return Err(BadSetting::new(
                "WARREN_UPLOAD_MAX_BYTES",
                "must be at least 1024",
            ));
        }
        if self.token_seconds == 0 {
            return Err(BadSetting::new("WARREN_TOKEN_SECONDS", "must not be 0"));
        }
        if self.session_queue_limit == 0 {
            return Err(BadSetting::new(
                "WARREN_SESSION_QUEUE_LIMIT",
                "must not be 0",
            ));
        }
        if self.lease < Duration::from_millis(100) {
            return Err(BadSetting::new(
                "WARREN_LEASE_SECONDS",
                "must be at least 0.1",
            ));
        }
        if self
            .idle()
            .is_some_and(|idle| idle < Duration::from_secs(1))
        {
            return Err(BadSetting::new(
                "WARREN_SESSION_IDLE_SECONDS",
                "must be 0, or at least 1",
            ));
        }
        if self.open_wait.is_zero() {
            return Err(BadSetting::new("WARREN_OPEN_WAIT_SECONDS", "must not be 0"));
        }
        // One connection is for the sweeper, one for those who wait, one for requests.
        if self.database.pool < 3 {
            return Err(BadSetting::new(
                "WARREN_DATABASE_POOL",
                "must be at least 3",
            ));
        }
        if self.telemetry.metrics_listen == Some(self.listen.address)
            && self.listen.address.port() != 0
        {
            return Err(BadSetting::new(
                "WARREN_METRICS_LISTEN",
                "must differ from WARREN_LISTEN",
            ));
        }
        Ok(())
    }
}

/// Reads seconds, also fractions.
fn seconds(text: &str) -> Result<Duration, String> {
    let wrong = || format!("{text:?} is no number of seconds");
    let seconds: f64 = text.parse().map_err(|_error| wrong())?;
    Duration::try_from_secs_f64(seconds).map_err(|_error| wrong())
}

#[cfg(test)]
mod tests {
    use super::*;
    use clap::{Command, FromArgMatches};

    fn parsed(extra: &[&str]) -> ApiConfig {
        let mut arguments = vec![
            "warren-api",
            "--database-url=postgres://h/d",
            "--amqp-url=amqp://h",
            "--s3-endpoint=http://h",
            "--s3-access-key=a",
            "--s3-secret-key=s",
        ];
        arguments.extend(extra);
        let matches =
            ApiConfig::augment_args(Command::new("warren-api")).get_matches_from(arguments);
        ApiConfig::from_arg_matches(&matches).unwrap()
    }

    #[test]
    fn the_defaults_go_together() {
        assert_eq!(parsed(&[]).validate(), Ok(()));
    }

    #[test]
    fn a_wrong_value_names_its_variable() {
        for (extra, variable) in [
            ("--admin-password=short", "WARREN_ADMIN_PASSWORD"),
            ("--lease-seconds=0.01", "WARREN_LEASE_SECONDS"),
            ("--database-pool=1", "WARREN_DATABASE_POOL"),
            ("--metrics-listen=0.0.0.0:12800", "WARREN_METRICS_LISTEN"),
            ("--body-limit-bytes=3", "WARREN_BODY_LIMIT_BYTES"),
            ("--event-streams=0", "WARREN_EVENT_STREAMS"),
            ("--session-idle-seconds=0.1", "WARREN_SESSION_IDLE_SECONDS"),
            ("--tls-cert=chain.pem", "WARREN_TLS_KEY"),
            ("--tls-key=key.pem", "WARREN_TLS_CERT"),
            ("--max-connections=0", "WARREN_MAX_CONNECTIONS"),
            ("--max-requests=0", "WARREN_MAX_REQUESTS"),
            ("--header-read-seconds=0", "WARREN_HEADER_READ_SECONDS"),
        ] {
            let problem = parsed(&[extra]).validate().unwrap_err().to_string();
            assert!(problem.starts_with(variable), "{problem}");
        }
    }

    #[test]
    fn seconds_may_be_fractions() {
        assert_eq!(seconds("0.5"), Ok(Duration::from_millis(500)));
        assert!(seconds("-1").is_err());
        assert!(seconds("soon").is_err());
    }
}
