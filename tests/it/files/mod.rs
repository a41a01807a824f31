//! Files of sessions, over the API.

mod offers;
mod plain;
mod refused;
mod transfers;

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;
use warren_tests::client::Session;
use warren_tests::{Builder, House, WorkerOptions};

const MIB: usize = 1024 * 1024;

/// Bytes of which no two stretches are alike.
fn pattern(size: usize) -> Vec<u8> {
    let mut state = 7_u32;
    let next = |_| {
        state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
        state.to_le_bytes()
    };
    let mut bytes: Vec<u8> = (0..size.div_ceil(4)).flat_map(next).collect();
    bytes.truncate(size);
    bytes
}

/// A way to the store that lets through so many bytes of its answers, all connections together, and holds the rest back.
async fn gate_to(store: SocketAddr) -> (SocketAddr, watch::Sender<u64>) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let addr = listener.local_addr().unwrap();
    let (gate, allowed) = watch::channel(0);
    let passed = Arc::new(AtomicU64::new(0));
    tokio::spawn(async move {
        while let Ok((stream, _)) = listener.accept().await {
            let (allowed, passed) = (allowed.clone(), Arc::clone(&passed));
            tokio::spawn(pass(stream, store, allowed, passed));
        }
    });
    (addr, gate)
}

async fn pass(
    stream: TcpStream,
    store: SocketAddr,
    mut allowed: watch::Receiver<u64>,
    passed: Arc<AtomicU64>,
) -> Option<()> {
    let (mut asks, mut hears) = stream.into_split();
    let (mut answers, mut asked) = TcpStream::connect(store).await.ok()?.into_split();
    tokio::spawn(async move { tokio::io::copy(&mut asks, &mut asked).await });
    let mut piece = vec![0; 65_536];
    loop {
        let more = allowed.wait_for(|most| passed.load(Ordering::Relaxed) < *most);
        more.await.ok()?;
        let read = answers.read(&mut piece).await.ok()?;
        if read == 0 {
            return None;
        }
        passed.fetch_add(read as u64, Ordering::Relaxed);
        hears.write_all(&piece[..read]).await.ok()?;
    }
}

/// One API node, and one worker with a gate before its store.
async fn house_with_gate() -> (House, watch::Sender<u64>) {
    let mut house = Builder::new().workers(0).build().await;
    let (addr, gate) = gate_to(house.store()).await;
    let store = ("WARREN_S3_ENDPOINT".to_owned(), format!("http://{addr}"));
    house
        .add_worker(WorkerOptions {
            env: vec![store],
            ..WorkerOptions::default()
        })
        .await;
    (house, gate)
}

/// Uploads without waiting, and returns the job's id.
async fn submit_upload(session: &Session, name: &str, bytes: &[u8]) -> String {
    let upload = session.upload(&[(name, bytes)]);
    let upload = upload.header("Prefer", "respond-async");
    let body = session.client.send(upload).await.expect(202);
    body["jobId"].as_str().unwrap().to_owned()
}
