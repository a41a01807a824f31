//! The object store of `compose.yaml`: one node of Garage with a folder of its own, set up by the file that the stack uses.
//!
//! The tests' own store ([`crate::s3`]) starts at once and can be taken away; it is made to be right, not fast. How long a
//! large file takes is measured with the store that people run.

use std::net::SocketAddr;
use std::path::Path;

use tempfile::TempDir;
use warren_common::blobs::Blobs;
use warren_common::config::{BlobConfig, Secret};

use crate::postgres::{free_port, setting};
use crate::process::Process;
use crate::wait;

/// How the stack sets it up.
const SETTINGS: &str = include_str!("../../.config/garage.toml");
/// The region that those settings name.
const REGION: &str = "garage";
/// The bucket that it makes at its first start, like that of the stack.
const BUCKET: &str = "warren";
/// A key of the form that it asks for, and its secret.
const KEY: &str = "GK000000000000000000000000";
const SECRET: &str = "0000000000000000000000000000000000000000000000000000000000000000";

/// A running server. Dropping it kills it.
pub struct Garage {
    listen: SocketAddr,
    _process: Process,
    _dir: TempDir,
}

impl Garage {
    /// Starts the program that `WARREN_TEST_GARAGE` names, and waits until the bucket is there.
    ///
    /// # Panics
    ///
    /// When it does not start.
    pub async fn start() -> Self {
        let program = setting("WARREN_TEST_GARAGE");
        let dir = TempDir::with_prefix("warren-garage-").expect("a folder can be made");
        // Somebody else may take a port between the look and the start: then others are tried.
        loop {
            let [listen, rpc] = [free_port().await, free_port().await]
                .map(|port| SocketAddr::from(([127, 0, 0, 1], port)));
            let mut process = serve(Path::new(&program), dir.path(), listen, rpc);
            if answers(&mut process, listen).await {
                return Self {
                    listen,
                    _process: process,
                    _dir: dir,
                };
            }
            let printed = process.log_text();
            assert!(printed.contains("in use"), "garage ended:\n{printed}");
        }
    }

    /// Where it listens.
    pub fn addr(&self) -> SocketAddr {
        self.listen
    }

    /// How a client reaches it.
    pub fn config(&self) -> BlobConfig {
        config(self.listen)
    }
}

fn serve(program: &Path, dir: &Path, listen: SocketAddr, rpc: SocketAddr) -> Process {
    let settings = settings(dir, listen, rpc);
    let file = dir.join("garage.toml");
    std::fs::write(&file, settings).expect("a file can be written");
    let args = ["-c", &file.to_string_lossy(), "server"];
    let args = [&args[..], &["--single-node", "--default-bucket"]].concat();
    let env = [
        ("GARAGE_RPC_SECRET", SECRET),
        ("GARAGE_DEFAULT_ACCESS_KEY", KEY),
        ("GARAGE_DEFAULT_SECRET_KEY", SECRET),
        ("GARAGE_DEFAULT_BUCKET", BUCKET),
        ("RUST_LOG", "warn"),
    ];
    let env = env.map(|(name, value)| (name.to_owned(), value.to_owned()));
    Process::start("garage", program, &args, &env, &dir.join("log"))
}

/// Those of the stack, but for where it listens and keeps its data.
///
/// # Panics
///
/// When the stack's have no such line.
fn settings(dir: &Path, listen: SocketAddr, rpc: SocketAddr) -> String {
    let dir = dir.display();
    let mut settings = SETTINGS.to_owned();
    for (stack, here) in [
        ("\"/var/lib/garage/", format!("\"{dir}/")),
        ("\"[::]:3901\"", format!("\"{rpc}\"")),
        ("\"127.0.0.1:3901\"", format!("\"{rpc}\"")),
        ("\"[::]:3900\"", format!("\"{listen}\"")),
    ] {
        assert!(settings.contains(stack), "no {stack} in garage.toml");
        settings = settings.replace(stack, &here);
    }
    settings
}

/// Waits until the bucket is there; false when the server has ended instead.
async fn answers(process: &mut Process, listen: SocketAddr) -> bool {
    let blobs = Blobs::new(&config(listen));
    wait::until("garage has its bucket, or has ended", async || {
        let ended = (!process.is_running()).then_some(false);
        let answers = blobs.check().await.ok().map(|()| true);
        ended.or(answers)
    })
    .await
}

fn config(listen: SocketAddr) -> BlobConfig {
    BlobConfig {
        endpoint: format!("http://{listen}"),
        region: REGION.to_owned(),
        bucket: BUCKET.to_owned(),
        access_key: Secret::new(KEY),
        secret_key: Secret::new(SECRET),
        transfer_seconds: 3600,
    }
}
