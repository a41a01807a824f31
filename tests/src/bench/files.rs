//! A large file up and down through Warren, beside the same bytes put straight into the object store and taken out again: by the
//! same plain client, which sends and reads and looks at nothing.
//!
//! The store is that of `compose.yaml`. It keeps equal blocks once, so no megabyte here is like another or like one of an
//! earlier round.

use std::io;
use std::net::SocketAddr;
use std::time::{Duration, Instant};

use aws_credential_types::Credentials;
use aws_sdk_s3::config::{BehaviorVersion, Region, RequestChecksumCalculation};
use aws_sdk_s3::presigning::PresigningConfig;
use tokio::io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader};
use tokio::net::TcpStream;
use warren_common::config::BlobConfig;

use super::BenchError;
use super::figure::{Program, Quantity, Way};
use super::plan::Plan;
use super::stage::{Found, Stage};
use crate::client::Session;
use crate::garage::Garage;
use crate::{Builder, House};

/// How long one file may take.
const LIMIT: Duration = Duration::from_secs(600);
/// How long an address of the store that is signed beforehand may be used.
const SIGNED_FOR: Duration = Duration::from_secs(6 * 3600);
/// Bytes that are sent and read at once: a block of the store.
const PIECE: usize = 1024 * 1024;

const FORM_START: &str =
    "--b\r\nContent-Disposition: form-data; name=\"file\"; filename=\"large\"\r\n\r\n";
const FORM_END: &str = "\r\n--b--\r\n";

/// One API node, one worker, a session, and a place in the store.
pub(super) struct FilesStage {
    house: House,
    session: Session,
    store: Garage,
    /// Signed paths of the store for PUT and GET.
    straight: [String; 2],
}

impl FilesStage {
    /// Starts it.
    pub(super) async fn set_up() -> Result<Self, BenchError> {
        let store = Garage::start().await;
        let config = store.config();
        let house = Builder::new().as_shipped().storing_in(&config);
        let house = house.env("WARREN_OFFER_LISTEN", "127.0.0.1:0");
        let house = house.build().await;
        let session = house.admin().await.open_session().await;
        let straight = signed(&config).await?;
        Ok(Self {
            house,
            session,
            store,
            straight,
        })
    }

    async fn file(&self, way: Way, plan: &Plan) -> Result<Vec<Found>, BenchError> {
        if way == Way::Down {
            self.change_file(plan).await;
        }
        let programs = [
            (Program::Api, self.house.apis[0].process.pid()),
            (Program::Worker, self.house.workers[0].process.pid()),
        ];
        let mut before = Vec::new();
        for (_program, pid) in programs {
            before.push(memory(pid, "VmRSS:").map_err(BenchError::Memory)?);
            forget_peak(pid).map_err(BenchError::Memory)?;
        }
        let addr = self.house.apis[0].addr;
        let token = self.session.client.token();
        let speed = match way {
            Way::Up => {
                let path = self.session.path("/files");
                let kind = "Content-Type: multipart/form-data; boundary=b\r\n";
                let head = format!("{kind}Authorization: Bearer {token}\r\n");
                let form = [FORM_START, FORM_END];
                put(addr, &format!("POST {path}"), &head, form, plan).await?
            }
            Way::Down => {
                let path = self.session.path("/files/large");
                let head = format!("Authorization: Bearer {token}\r\n");
                get(addr, &path, &head, plan).await?
            }
        };
        let mut found = vec![Found::Amount(Quantity::File(way), speed)];
        for ((program, pid), before) in programs.into_iter().zip(before) {
            let peak = memory(pid, "VmHWM:").map_err(BenchError::Memory)?;
            let grown = Quantity::Growth(program, way);
            found.push(Found::Amount(grown, (peak - before).max(0.0)));
        }
        Ok(found)
    }

    /// Makes every block of the file that came up one that the store has never seen.
    async fn change_file(&self, plan: &Plan) {
        let code = format!(
            "local({{
               file <- file('large', 'r+b')
               for (block in seq_len({mib}) - 1) {{
                 seek(file, block * {PIECE}, rw = 'write')
                 writeBin(runif(2), file)
               }}
               close(file)
             }})",
            mib = plan.file_mib
        );
        self.session.execute(&code).await.expect(200);
    }
}

impl Stage for FilesStage {
    type Step = (bool, Way);

    fn steps() -> Vec<(bool, Way)> {
        vec![
            (true, Way::Up),
            (false, Way::Up),
            (true, Way::Down),
            (false, Way::Down),
        ]
    }

    async fn measure(
        &self,
        (straight, way): (bool, Way),
        plan: &Plan,
    ) -> Result<Vec<Found>, BenchError> {
        let addr = self.store.addr();
        let [put_path, get_path] = &self.straight;
        let speed = match (straight, way) {
            (false, way) => return self.file(way, plan).await,
            (true, Way::Up) => put(addr, &format!("PUT {put_path}"), "", ["", ""], plan).await?,
            (true, Way::Down) => get(addr, get_path, "", plan).await?,
        };
        Ok(vec![Found::Amount(Quantity::Store(way), speed)])
    }
}

/// Paths of the store for PUT and GET that need no other signature.
async fn signed(store: &BlobConfig) -> Result<[String; 2], BenchError> {
    let settings = aws_sdk_s3::Config::builder()
        .behavior_version(BehaviorVersion::latest())
        .endpoint_url(&store.endpoint)
        .region(Region::new(store.region.clone()))
        .credentials_provider(Credentials::new(
            store.access_key.reveal(),
            store.secret_key.reveal(),
            None,
            None,
            "bench",
        ))
        .force_path_style(true)
        .request_checksum_calculation(RequestChecksumCalculation::WhenRequired)
        .build();
    let client = aws_sdk_s3::Client::from_conf(settings);
    let signing = |error: &dyn std::error::Error| BenchError::Signing(error.to_string());
    let until = PresigningConfig::expires_in(SIGNED_FOR).map_err(|error| signing(&error))?;
    let put = client.put_object().bucket(&store.bucket).key("bench");
    let put = put.presigned(until.clone()).await;
    let put = put.map_err(|error| signing(&error))?;
    let get = client.get_object().bucket(&store.bucket).key("bench");
    let get = get
        .presigned(until)
        .await
        .map_err(|error| signing(&error))?;
    let path = |uri: &str| uri.replacen(&store.endpoint, "", 1);
    Ok([path(put.uri()), path(get.uri())])
}

/// Sends the file between two texts; megabytes a second.
async fn put(
    addr: SocketAddr,
    line: &str,
    headers: &str,
    around: [&str; 2],
    plan: &Plan,
) -> Result<f64, BenchError> {
    let [start, end] = around;
    let length = start.len() as u64 + plan.file_bytes() + end.len() as u64;
    let head = format!(
        "{line} HTTP/1.1\r\nHost: {addr}\r\nContent-Length: {length}\r\n{headers}Connection: close\r\n\r\n{start}"
    );
    timed(plan, async {
        let mut stream = TcpStream::connect(addr).await?;
        stream.write_all(head.as_bytes()).await?;
        let mut piece = vec![0; PIECE];
        rand::fill(&mut piece[..]);
        for _ in 0..plan.file_mib {
            rand::fill(&mut piece[..32]);
            stream.write_all(&piece).await?;
        }
        stream.write_all(end.as_bytes()).await?;
        answer(stream).await.map(drop)
    })
    .await
}

/// Reads the file; megabytes a second.
async fn get(addr: SocketAddr, path: &str, headers: &str, plan: &Plan) -> Result<f64, BenchError> {
    let head = format!("GET {path} HTTP/1.1\r\nHost: {addr}\r\n{headers}Connection: close\r\n\r\n");
    timed(plan, async {
        let mut stream = TcpStream::connect(addr).await?;
        stream.write_all(head.as_bytes()).await?;
        let read = answer(stream).await?;
        if read == plan.file_bytes() {
            Ok(())
        } else {
            Err(io::Error::other(format!("{read} bytes came")))
        }
    })
    .await
}

/// Reads an answer to its end; how many bytes its body has.
async fn answer(stream: TcpStream) -> io::Result<u64> {
    let mut stream = BufReader::with_capacity(PIECE, stream);
    let mut status = String::new();
    stream.read_line(&mut status).await?;
    if !status.starts_with("HTTP/1.1 20") {
        return Err(io::Error::other(status));
    }
    let mut line = String::new();
    while line != "\r\n" {
        line.clear();
        if stream.read_line(&mut line).await? == 0 {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
    }
    let mut body = 0;
    let mut piece = vec![0; PIECE];
    loop {
        match stream.read(&mut piece).await? {
            0 => return Ok(body),
            read => body += read as u64,
        }
    }
}

async fn timed(
    plan: &Plan,
    exchange: impl Future<Output = io::Result<()>>,
) -> Result<f64, BenchError> {
    let began = Instant::now();
    tokio::time::timeout(LIMIT, exchange)
        .await
        .map_err(|_elapsed| BenchError::Late("a file"))?
        .map_err(BenchError::File)?;
    #[expect(clippy::cast_precision_loss, reason = "far below 2^52")]
    let megabytes = plan.file_bytes() as f64 / 1e6;
    Ok(megabytes / began.elapsed().as_secs_f64())
}

/// A field of a process's memory, in megabytes.
fn memory(pid: u32, field: &str) -> io::Result<f64> {
    let status = std::fs::read_to_string(format!("/proc/{pid}/status"))?;
    let line = status.lines().find_map(|line| line.strip_prefix(field));
    let kibibytes = line.and_then(|line| line.split_whitespace().next()?.parse::<f64>().ok());
    kibibytes
        .map(|kibibytes| kibibytes * 1024.0 / 1e6)
        .ok_or_else(|| io::Error::other(format!("the kernel does not tell {field} of {pid}")))
}

/// Begins a new count of the most memory that a process had.
fn forget_peak(pid: u32) -> io::Result<()> {
    std::fs::write(format!("/proc/{pid}/clear_refs"), "5")
}
