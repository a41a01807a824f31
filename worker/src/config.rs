//! The worker's settings.

use std::net::{Ipv6Addr, SocketAddr};
use std::path::PathBuf;
use std::time::Duration;

use clap::Args;
use warren_common::config::{
    BlobConfig, DatabaseConfig, QueueConfig, RuntimeConfig, TelemetryConfig,
};

/// Everything a worker can be told.
#[derive(Debug, Clone, Args)]
pub struct WorkerConfig {
    /// Postgres.
    #[command(flatten)]
    pub database: DatabaseConfig,
    /// `RabbitMQ`.
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
    /// R and its processes.
    #[command(flatten)]
    pub host: HostConfig,
    /// Leases.
    #[command(flatten)]
    pub lease: LeaseConfig,
    /// Services.
    #[command(flatten)]
    pub services: ServiceConfig,
    /// Files past the object store.
    #[command(flatten)]
    pub offers: OfferConfig,
    /// Sessions that this worker holds at most
    #[arg(long, env = "WARREN_SESSION_SLOTS", default_value_t = 200)]
    pub session_slots: usize,
    /// How long a run may take unless its request says otherwise, in seconds
    #[arg(long, env = "WARREN_EXECUTE_TIMEOUT", default_value_t = 3600)]
    pub execute_timeout: u64,
    /// How long R may take to unwind after an interrupt before it is killed, in seconds
    #[arg(long, env = "WARREN_INTERRUPT_GRACE", default_value = "5", value_parser = seconds)]
    pub interrupt_grace: Duration,
    /// How long running jobs may take after SIGTERM before R is interrupted, in seconds
    #[arg(long, env = "WARREN_DRAIN_GRACE", default_value = "30", value_parser = seconds)]
    pub drain_grace: Duration,
    /// Console text that is kept of one run, in bytes; what is beyond is counted and left out
    #[arg(long, env = "WARREN_CONSOLE_MAX_BYTES", default_value_t = 16 * 1024 * 1024)]
    pub console_max_bytes: usize,
    /// The longest outputs of one run, in bytes of JSON
    #[arg(long, env = "WARREN_RESULT_MAX_BYTES", default_value_t = 64 * 1024 * 1024)]
    pub result_max_bytes: u64,
    /// The longest object that may be given out, in bytes
    #[arg(long, env = "WARREN_OBJECT_MAX_BYTES", default_value_t = 256 * 1024 * 1024)]
    pub object_max_bytes: u64,
    /// Workspace and files of one snapshot together, in bytes before they are compressed
    #[arg(long, env = "WARREN_SNAPSHOT_MAX_BYTES", default_value_t = 8 << 30)]
    pub snapshot_max_bytes: u64,
}

/// R and its processes.
#[derive(Debug, Clone, Args)]
pub struct HostConfig {
    /// Directory for the sessions' own directories
    #[arg(
        long,
        env = "WARREN_WORK_DIR",
        default_value = "/var/lib/warren/sessions"
    )]
    pub work_dir: PathBuf,
    /// The R host; beside this program when absent
    #[arg(long, env = "WARREN_RHOST")]
    pub rhost: Option<PathBuf>,
    /// The R executable
    #[arg(long = "r", env = "WARREN_R", default_value = "R")]
    pub r_executable: String,
    /// Packages that every session has loaded already, separated by commas
    #[arg(long, env = "WARREN_PRELOAD", default_value = "")]
    pub preload: String,
    /// What user code may do.
    #[command(flatten)]
    pub sandbox: SandboxConfig,
    /// R processes that fork the sessions' processes; one a core when absent
    #[arg(long, env = "WARREN_PARENTS")]
    pub parents: Option<usize>,
    /// Processes kept ready for sessions to come
    #[arg(long, env = "WARREN_READY_CHILDREN", default_value_t = 4)]
    pub ready_children: usize,
}

/// What user code may do.
#[derive(Debug, Clone, Args)]
pub struct SandboxConfig {
    /// Whether user code is confined (on) or not (off: only for trusted code)
    #[arg(long = "sandbox", env = "WARREN_SANDBOX", default_value = "on", value_parser = ["on", "off"])]
    pub mode: String,
    /// TCP ports that user code may connect to, separated by commas; none listed, it has no network at all
    #[arg(long = "sandbox-connect-ports", env = "WARREN_SANDBOX_CONNECT_PORTS", default_value = "", value_parser = ports)]
    pub connect_ports: String,
    /// Users for the sessions, one each, when the worker runs as root: a range, or off
    #[arg(long, env = "WARREN_SESSION_UIDS", default_value = "70000-79999", value_parser = users)]
    pub session_uids: String,
    /// Whether sessions get control groups where the worker can make some (auto) or not (off)
    #[arg(long, env = "WARREN_CGROUPS", default_value = "auto", value_parser = ["auto", "off"])]
    pub cgroups: String,
    /// Memory of one R process, and with control groups of a whole session, in bytes
    #[arg(long, env = "WARREN_SESSION_MEMORY_BYTES", default_value_t = 8 << 30)]
    pub session_memory_bytes: u64,
    /// Processes and threads of a session
    #[arg(long, env = "WARREN_SESSION_PROCESSES", default_value_t = 256)]
    pub session_processes: u64,
    /// Files that one process of a session may have open
    #[arg(long, env = "WARREN_SESSION_OPEN_FILES", default_value_t = 4096)]
    pub session_open_files: u64,
    /// The longest file that a session may write, in bytes
    #[arg(long, env = "WARREN_SESSION_FILE_BYTES", default_value_t = 1 << 30)]
    pub session_file_bytes: u64,
}

/// Published services.
#[derive(Debug, Clone, Args)]
pub struct ServiceConfig {
    /// Calls of services and publications that run here at the same moment at most
    #[arg(long, env = "WARREN_CALL_SLOTS", default_value_t = 8)]
    pub call_slots: usize,
    /// Services of which a parent is started with the worker, those first that were published last; others when first called
    #[arg(
        id = "service_parents",
        long = "service-parents",
        env = "WARREN_SERVICE_PARENTS",
        default_value_t = 0
    )]
    pub parents: u32,
    /// Processes that are forked ahead of demand for each service that is called
    #[arg(
        id = "service_ready",
        long = "service-ready",
        env = "WARREN_SERVICE_READY",
        default_value_t = 1
    )]
    pub ready_forks: usize,
    /// Memory that the parents of services may take together, in bytes; the one that was used last stays in any case
    #[arg(id = "service_memory", long = "service-memory", env = "WARREN_SERVICE_MEMORY", default_value_t = 2 << 30)]
    pub memory_bytes: u64,
    /// How long a service may take to load its snapshot, to run its init code and its example, in seconds
    #[arg(
        id = "service_start_limit",
        long = "service-start-limit",
        env = "WARREN_SERVICE_START_LIMIT",
        default_value_t = 120
    )]
    pub start_limit: u32,
}

/// Files past the object store.
#[derive(Debug, Clone, Args)]
pub struct OfferConfig {
    /// Where API nodes fetch large files of sessions, for example 0.0.0.0:9466; absent, they go through the object store
    #[arg(
        id = "offer_listen",
        long = "offer-listen",
        env = "WARREN_OFFER_LISTEN"
    )]
    pub listen: Option<SocketAddr>,
    /// Host and port by which they reach it; the name of this machine and the port it listens on when absent
    #[arg(
        id = "offer_address",
        long = "offer-address",
        env = "WARREN_OFFER_ADDRESS",
        requires = "offer_listen",
        value_parser = address
    )]
    pub address: Option<String>,
}

impl OfferConfig {
    /// The port, if it is one of those that user code may connect to.
    fn port_among(&self, connect_ports: &str) -> Option<u16> {
        let mut ports = connect_ports.split(',');
        let door = self.listen?.port();
        ports.any(|port| port.parse() == Ok(door)).then_some(door)
    }

    /// Host and port for API nodes, of who listens at `listening` on a machine called `host`.
    pub fn address(&self, listening: SocketAddr, host: &str) -> String {
        match &self.address {
            Some(address) => address.clone(),
            // An address that others may know; who listens everywhere has none.
            None if !listening.ip().is_unspecified() => listening.to_string(),
            None => format!("{host}:{}", listening.port()),
        }
    }
}

/// Leases.
#[derive(Debug, Clone, Args)]
pub struct LeaseConfig {
    /// How long this worker counts as alive after a heartbeat, in seconds; the same for the whole fleet
    #[arg(id = "lease_seconds", long = "lease-seconds", env = "WARREN_LEASE_SECONDS", default_value = "15", value_parser = seconds)]
    pub length: Duration,
    /// Time between two heartbeats, in seconds
    #[arg(id = "heartbeat_seconds", long = "heartbeat-seconds", env = "WARREN_HEARTBEAT_SECONDS", default_value = "5", value_parser = seconds)]
    pub heartbeat: Duration,
    /// How long sessions live on while Postgres does not answer, in seconds
    #[arg(id = "partition_limit", long = "partition-limit", env = "WARREN_PARTITION_LIMIT", default_value = "300", value_parser = seconds)]
    pub partition_limit: Duration,
}

impl LeaseConfig {
    /// How long R outlives a worker that is frozen: not as long as the lease, after which the sessions are declared lost.
    pub fn tick_limit(&self) -> Duration {
        const MARGIN: Duration = Duration::from_secs(2);
        self.length.saturating_sub(MARGIN).max(MARGIN)
    }
}

/// Settings that contradict each other.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ConfigError {
    /// The lease would run out between two heartbeats.
    #[error(
        "WARREN_LEASE_SECONDS ({lease:?}) must be at least twice WARREN_HEARTBEAT_SECONDS ({heartbeat:?})"
    )]
    LeaseTooShort {
        /// The lease.
        lease: Duration,
        /// The heartbeat.
        heartbeat: Duration,
    },
    /// User code may connect to where files are fetched.
    #[error(
        "WARREN_SANDBOX_CONNECT_PORTS has the port {0} of WARREN_OFFER_LISTEN, which is for API nodes only"
    )]
    OpenDoor(u16),
    /// A number that has to be positive is not.
    #[error("{0} must be at least 1")]
    Zero(&'static str),
}

impl WorkerConfig {
    /// Checks what one setting alone cannot tell.
    pub fn check(&self) -> Result<(), ConfigError> {
        let LeaseConfig {
            length: lease,
            heartbeat,
            ..
        } = self.lease;
        if lease < heartbeat * 2 || heartbeat.is_zero() {
            return Err(ConfigError::LeaseTooShort { lease, heartbeat });
        }
        if let Some(door) = self.offers.port_among(&self.host.sandbox.connect_ports) {
            return Err(ConfigError::OpenDoor(door));
        }
        let positive = [
            ("WARREN_SESSION_SLOTS", self.session_slots > 0),
            ("WARREN_CALL_SLOTS", self.services.call_slots > 0),
            ("WARREN_SERVICE_START_LIMIT", self.services.start_limit > 0),
            ("WARREN_EXECUTE_TIMEOUT", self.execute_timeout > 0),
            ("WARREN_PARENTS", self.host.parents != Some(0)),
            (
                "WARREN_SESSION_PROCESSES",
                self.host.sandbox.session_processes > 0,
            ),
        ];
        match positive.iter().find(|(_, holds)| !holds) {
            Some((name, _)) => Err(ConfigError::Zero(name)),
            None => Ok(()),
        }
    }
}

fn ports(text: &str) -> Result<String, String> {
    let mut ports = text.split(',').filter(|port| !port.is_empty());
    if ports.all(|port| port.parse::<u16>().is_ok_and(|port| port > 0)) {
        Ok(text.to_owned())
    } else {
        Err("expected port numbers separated by commas, for example 80,443".to_owned())
    }
}

fn users(text: &str) -> Result<String, String> {
    let range = text
        .split_once('-')
        .and_then(|(first, last)| Some((first.parse::<u32>().ok()?, last.parse::<u32>().ok()?)));
    match range {
        _ if text == "off" => Ok(text.to_owned()),
        Some((first, last)) if 0 < first && first <= last => Ok(text.to_owned()),
        _ => Err("expected a range of user numbers, for example 70000-79999, or off".to_owned()),
    }
}

fn address(text: &str) -> Result<String, String> {
    let parts = text.rsplit_once(':');
    let part = parts.filter(|(host, port)| {
        let is_port = port.parse::<u16>().is_ok_and(|port| port > 0);
        // An address with colons stands in brackets.
        let is_v6 = |inner: &str| inner.parse::<Ipv6Addr>().is_ok();
        let bracketed = host
            .strip_prefix('[')
            .and_then(|rest| rest.strip_suffix(']'));
        let is_host = bracketed.map_or(!host.contains(':'), is_v6);
        is_port && is_host && !host.is_empty() && !host.contains(['/', '@', '?', '#', ' '])
    });
    match part {
        Some(_) => Ok(text.to_owned()),
        None => Err("expected a host and a port, for example worker-1.example:9466".to_owned()),
    }
}

fn seconds(text: &str) -> Result<Duration, String> {
    text.parse::<f64>()
        .ok()
        .and_then(|seconds| Duration::try_from_secs_f64(seconds).ok())
        .ok_or_else(|| "expected a number of seconds, for example 5 or 0.5".to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ports_and_users_are_numbers() {
        for right in ["", "443", "80,443"] {
            assert!(ports(right).is_ok(), "{right}");
        }
        for wrong in ["http", "0", "65536", "80 443"] {
            assert!(ports(wrong).is_err(), "{wrong}");
        }
        for right in ["off", "70000-79999", "5-5"] {
            assert!(users(right).is_ok(), "{right}");
        }
        for wrong in ["", "0-5", "9-3", "70000", "on"] {
            assert!(users(wrong).is_err(), "{wrong}");
        }
    }

    #[test]
    fn api_nodes_are_told_an_address_that_leads_here() {
        let told = |address: Option<&str>, listening: &str| {
            let config = OfferConfig {
                listen: None,
                address: address.map(str::to_owned),
            };
            config.address(listening.parse().unwrap(), "node-1")
        };
        assert_eq!(told(None, "0.0.0.0:9466"), "node-1:9466");
        assert_eq!(told(None, "10.0.0.7:9466"), "10.0.0.7:9466");
        assert_eq!(told(Some("w.example:80"), "10.0.0.7:9466"), "w.example:80");
    }

    #[test]
    fn user_code_may_not_be_let_to_where_files_are_fetched() {
        let config = |listen: Option<&str>| OfferConfig {
            listen: listen.map(|listen| listen.parse().unwrap()),
            address: None,
        };
        let open = config(Some("0.0.0.0:9466"));
        assert_eq!(open.port_among("443,9466"), Some(9466));
        assert_eq!(open.port_among("443,94"), None);
        assert_eq!(open.port_among(""), None);
        assert_eq!(config(None).port_among("9466"), None);
    }

    #[test]
    fn an_address_is_a_host_and_a_port() {
        for right in ["w:1", "w.example:9466", "10.0.0.7:9466", "[::1]:9466"] {
            assert!(address(right).is_ok(), "{right}");
        }
        for wrong in [
            "",
            "w",
            ":1",
            "w:",
            "w:0",
            "http://w:1",
            "a@w:1",
            "w:x",
            "fd00::7:1",
            "[w]:1",
        ] {
            assert!(address(wrong).is_err(), "{wrong}");
        }
    }

    #[test]
    fn seconds_may_have_a_fraction() {
        assert_eq!(seconds("0.5"), Ok(Duration::from_millis(500)));
        assert!(seconds("soon").is_err());
        assert!(seconds("-1").is_err());
    }
}
