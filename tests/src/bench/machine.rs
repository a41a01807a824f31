//! What all this ran on.

use std::fs;
use std::net::SocketAddr;
use std::thread::available_parallelism;
use std::time::Duration;

use serde::Serialize;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::process::Command;
use tokio_postgres::SimpleQueryMessage;

use crate::house::amqp_server;
use crate::postgres::{Address, setting};

/// How long a broker may take to say hello.
const LIMIT: Duration = Duration::from_secs(5);

/// Facts about a machine and its servers; empty where they could not be found out.
#[derive(Debug, Clone, Serialize)]
pub(super) struct Machine {
    /// When, in UTC, by the clock of PostgreSQL.
    pub(super) date: String,
    /// Cores that this process may use.
    pub(super) cores: usize,
    /// What they call themselves.
    pub(super) cpu: String,
    /// Version of Linux.
    pub(super) kernel: String,
    /// Version of R.
    pub(super) r: String,
    /// Version of PostgreSQL.
    pub(super) postgresql: String,
    /// Version of RabbitMQ.
    pub(super) rabbitmq: String,
    /// Whether PostgreSQL waits for the disk: `fsync` and `synchronous_commit`.
    pub(super) durable: bool,
    /// Optimised programs.
    pub(super) release: bool,
}

impl Machine {
    /// Looks around.
    pub(super) async fn look() -> Self {
        let database = Address::shared().connect().await;
        let facts = "SELECT to_char(now() AT TIME ZONE 'UTC', 'YYYY-MM-DD HH24:MI'),
            current_setting('server_version'),
            current_setting('fsync') = 'on' AND current_setting('synchronous_commit') = 'on'";
        let [date, postgresql, durable] =
            first_row(&database.simple_query(facts).await.unwrap_or_default());
        Self {
            date,
            cores: available_parallelism().map_or(0, usize::from),
            cpu: cpu(),
            kernel: file("/proc/sys/kernel/osrelease"),
            r: r_version().await,
            postgresql,
            rabbitmq: rabbitmq_version(amqp_server(&setting("WARREN_TEST_AMQP_URL"))).await,
            durable: durable == "t",
            release: !cfg!(debug_assertions),
        }
    }
}

fn first_row<const N: usize>(messages: &[SimpleQueryMessage]) -> [String; N] {
    let row = messages.iter().find_map(|message| match message {
        SimpleQueryMessage::Row(row) => Some(row),
        _ => None,
    });
    std::array::from_fn(|column| {
        row.and_then(|row| row.get(column))
            .unwrap_or_default()
            .to_owned()
    })
}

fn file(path: &str) -> String {
    fs::read_to_string(path)
        .map(|text| text.trim().to_owned())
        .unwrap_or_default()
}

fn cpu() -> String {
    let info = file("/proc/cpuinfo");
    let model = info
        .lines()
        .find_map(|line| line.strip_prefix("model name"));
    let model = model.and_then(|line| line.split_once(": "));
    model.map_or_else(String::new, |(_, name)| name.to_owned())
}

async fn r_version() -> String {
    let output = Command::new("R").arg("--version").output().await;
    let text = output.map(|output| String::from_utf8_lossy(&output.stdout).into_owned());
    // R version 4.2.2 (2022-10-31) -- "Innocent and Trusting"
    text.ok()
        .and_then(|text| text.split_ascii_whitespace().nth(2).map(str::to_owned))
        .unwrap_or_default()
}

/// A broker tells its version in its first frame, to whoever greets it.
async fn rabbitmq_version(server: SocketAddr) -> String {
    let hello = async {
        let mut stream = TcpStream::connect(server).await?;
        stream.write_all(b"AMQP\x00\x00\x09\x01").await?;
        let mut header = [0; 7];
        stream.read_exact(&mut header).await?;
        let [_, _, _, length @ ..] = header;
        let length = u32::from_be_bytes(length).min(64 * 1024);
        let mut frame = Vec::new();
        stream
            .take(u64::from(length))
            .read_to_end(&mut frame)
            .await?;
        Ok::<_, std::io::Error>(frame)
    };
    let frame = tokio::time::timeout(LIMIT, hello).await;
    frame
        .ok()
        .and_then(Result::ok)
        .and_then(|frame| version_in(&frame))
        .unwrap_or_default()
}

/// The long string called `version` in a table of AMQP.
fn version_in(frame: &[u8]) -> Option<String> {
    let key = b"\x07versionS";
    let at = frame.windows(key.len()).position(|part| part == key)? + key.len();
    let (length, rest) = frame[at..].split_first_chunk::<4>()?;
    let length = usize::try_from(u32::from_be_bytes(*length)).ok()?;
    Some(String::from_utf8_lossy(rest.get(..length)?).into_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_version_is_found_between_other_entries() {
        let frame = b"..\x07productS\0\0\0\x01R\x07versionS\0\0\0\x063.10.8\x04next";
        assert_eq!(version_in(frame).as_deref(), Some("3.10.8"));
        assert_eq!(version_in(b"\x07versionS\0\0\0\x09x"), None);
    }
}
