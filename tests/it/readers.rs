//! Readers of event streams that are slow, many, or stay for ever.

use std::net::SocketAddr;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpSocket, TcpStream};
use warren_tests::events::Gathered;
use warren_tests::postgres::free_port;
use warren_tests::{Builder, Client, House, WorkerOptions, processes, wait};

const MIB: usize = 1024 * 1024;
/// What a flood prints.
const TEXT: usize = 24 * MIB;

/// A house whose one API node says how it is, with these settings.
pub(crate) async fn house(settings: &[(&str, &str)]) -> (House, Client) {
    let metrics = SocketAddr::from(([127, 0, 0, 1], free_port().await));
    let mut house = Builder::new().apis(0).workers(0).build().await;
    let place = metrics.to_string();
    let mut settings = settings.to_vec();
    settings.push(("WARREN_METRICS_LISTEN", &place));
    house.add_api_via(house.database.server, &settings).await;
    house
        .add_worker(WorkerOptions {
            env: vec![(
                "WARREN_CONSOLE_MAX_BYTES".to_owned(),
                (64 * MIB).to_string(),
            )],
            ..WorkerOptions::default()
        })
        .await;
    (house, Client::anonymous(metrics))
}

/// A number that a node tells.
pub(crate) async fn metric(metrics: &Client, name: &str) -> u64 {
    let request = metrics.request(reqwest::Method::GET, "/metrics");
    let text = request.send().await.unwrap().text().await.unwrap();
    let line = text.lines().find_map(|line| line.strip_prefix(name));
    line.unwrap_or_else(|| panic!("no {name} in {text}"))
        .trim()
        .parse()
        .unwrap()
}

/// Asks for a stream and takes the first bytes of it, and nothing more, on a connection that holds little by itself.
async fn stalled_reader(node: SocketAddr, client: &Client, job: &str) -> TcpStream {
    let socket = TcpSocket::new_v4().unwrap();
    socket.set_recv_buffer_size(4096).unwrap();
    let mut connection = socket.connect(node).await.unwrap();
    let token = client.token();
    let request = format!(
        "GET /jobs/{job}/events HTTP/1.1\r\nHost: {node}\r\nAuthorization: Bearer {token}\r\nConnection: close\r\n\r\n"
    );
    connection.write_all(request.as_bytes()).await.unwrap();
    let mut begin = [0; 12];
    connection.read_exact(&mut begin).await.unwrap();
    assert_eq!(&begin, b"HTTP/1.1 200");
    connection
}

#[tokio::test]
async fn a_reader_that_takes_nothing_makes_the_server_fetch_and_hold_nothing() {
    const READERS: u64 = 8;
    let (house, metrics) = house(&[("WARREN_STALLED_READER_SECONDS", "600")]).await;
    let client = house.admin().await;
    let session = client.open_session().await;
    let code = format!(
        "line <- strrep('x', 1e5 - 1); for (i in 1:{}) cat(line, '\\n', sep = '')",
        TEXT / 100_000
    );
    let job = session.submit(&code).await;
    wait::until("the job has ended", async || {
        let state = format!("SELECT state FROM jobs WHERE id = '{job}'");
        (house.sql_value(&state).await == "succeeded").then_some(())
    })
    .await;
    let node = house.apis[0].addr;
    let api = house.apis[0].process.pid();
    // What one reader costs a node that is warm is not the question.
    let one = pages_of_one(&metrics, &client, &job).await;
    let before = processes::resident_kib(api);
    let pages_before = metric(&metrics, "warren_console_pages_total").await;
    let mut stalled = Vec::new();
    for _reader in 0..READERS {
        stalled.push(stalled_reader(node, &client, &job).await);
    }
    // Somebody who reads gets all of it meanwhile, in as many pages as there are.
    pages_of_one(&metrics, &client, &job).await;
    let fetched = metric(&metrics, "warren_console_pages_total").await - pages_before;
    let open = metric(&metrics, "warren_event_streams").await;
    assert!(open >= READERS, "{open}");
    let by_stalled = fetched - one;
    assert!(
        by_stalled <= READERS * one / 4,
        "{by_stalled} pages were fetched for {READERS} stalled readers, and one reads all in {one}"
    );
    let grown = processes::peak_kib(api).saturating_sub(before) / 1024;
    assert!(grown < 64, "the API grew by {grown} MiB");
    // One that goes on gets everything, as if nothing had been.
    let mut late = stalled.pop().unwrap();
    drop(stalled);
    let mut received = Vec::new();
    late.read_to_end(&mut received).await.unwrap();
    let received = String::from_utf8(received).unwrap();
    let (_head, body) = received.split_once("\r\n\r\n").unwrap();
    // Each event has one in its own words.
    let events = body.matches("\"text\":").count();
    let printed = TEXT / 100_000 * (100_000 - 1);
    assert_eq!(body.matches('x').count() - events, printed);
    assert!(body.contains("\"state\":\"succeeded\""));
    wait::until("every place is given back", async || {
        (metric(&metrics, "warren_event_streams").await == 0).then_some(())
    })
    .await;
}

/// Reads all, and tells in how many pages the node fetched it, if nobody else reads.
async fn pages_of_one(metrics: &Client, client: &Client, job: &str) -> u64 {
    let before = metric(metrics, "warren_console_pages_total").await;
    let mut gathered = Gathered::default();
    gathered.take_all(&mut client.events(job, None).await).await;
    assert_eq!(gathered.text.len(), TEXT / 100_000 * 100_000);
    metric(metrics, "warren_console_pages_total").await - before
}

#[tokio::test]
async fn a_reader_that_takes_nothing_for_too_long_loses_its_connection() {
    let (house, metrics) = house(&[("WARREN_STALLED_READER_SECONDS", "1")]).await;
    let client = house.admin().await;
    let session = client.open_session().await;
    let code = "line <- strrep('x', 1e6); for (i in 1:40) cat(line)";
    let job = session.submit(code).await;
    let stalled = stalled_reader(house.apis[0].addr, &client, &job).await;
    wait::until("its place is given back", async || {
        (metric(&metrics, "warren_event_streams").await == 0).then_some(())
    })
    .await;
    drop(stalled);
}

#[tokio::test]
async fn streams_have_places_at_a_node_and_a_caller_cannot_take_them_all() {
    let (house, _metrics) = house(&[
        ("WARREN_EVENT_STREAMS", "2"),
        ("WARREN_EVENT_STREAMS_PER_USER", "1"),
    ])
    .await;
    let mut jobs = Vec::new();
    for name in ["ada", "ben", "eve"] {
        let client = house.user(name).await;
        let session = client.open_session().await;
        let job = session.submit("repeat Sys.sleep(0.01)").await;
        jobs.push((client, format!("/jobs/{job}/events"), job));
    }
    let (ada, path, job) = &jobs[0];
    let first = ada.events(job, None).await;
    let refused = ada.get(path).await;
    assert!(!refused.header("Retry-After").is_empty());
    refused.error(429);
    let (ben, _path, job) = &jobs[1];
    let _second = ben.events(job, None).await;
    let (eve, path, _job) = &jobs[2];
    let refused = eve.get(path).await;
    assert!(!refused.header("Retry-After").is_empty());
    refused.error(503);
    drop(first);
    wait::until("a place is free again", async || {
        let request = eve.request(reqwest::Method::GET, path);
        (request.send().await.unwrap().status() == 200).then_some(())
    })
    .await;
}

#[tokio::test]
async fn a_stream_ends_when_it_has_lasted_long_enough_and_goes_on_with_the_last_id() {
    let (house, _metrics) = house(&[("WARREN_EVENT_STREAM_SECONDS", "0.3")]).await;
    let session = house.admin().await.open_session().await;
    let job = session
        .submit("cat('one'); invisible(file.create('here')); while (!file.exists('go')) Sys.sleep(0.01); cat('two')")
        .await;
    let go = house.working_dir_with("here").await.join("go");
    let mut gathered = Gathered::default();
    let mut streams = 0;
    while streams < 2 || gathered.text.is_empty() {
        streams += 1;
        let mut stream = session
            .client
            .events(&job, gathered.last_id.as_deref())
            .await;
        gathered.take_all(&mut stream).await;
    }
    assert_eq!((gathered.text.as_str(), gathered.states.len()), ("one", 1));
    std::fs::write(go, "").unwrap();
    while gathered.states.len() < 2 {
        let mut stream = session
            .client
            .events(&job, gathered.last_id.as_deref())
            .await;
        gathered.take_all(&mut stream).await;
    }
    assert_eq!(gathered.text, "onetwo");
    assert_eq!(gathered.states, ["running", "succeeded"]);
}
