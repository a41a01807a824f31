//! What R code can reach from inside a session, and what it leaves there.

use serde_json::Value;
use tokio::process::Command;
use warren_tests::client::Session;
use warren_tests::{Builder, House, WorkerOptions, processes, wait};

/// A house whose worker has this setting.
async fn house_with(name: &str, value: &str) -> House {
    let mut house = Builder::new().workers(0).build().await;
    house
        .add_worker(WorkerOptions {
            env: vec![(name.to_owned(), value.to_owned())],
            ..WorkerOptions::default()
        })
        .await;
    house
}

/// Connects to a port of this machine from R.
async fn connect(session: &Session, port: u16) -> Value {
    let code =
        format!("close(socketConnection('127.0.0.1', {port}, timeout = 5)); cat('connected')");
    session.execute(&code).await.expect(200)
}

fn assert_refused(answer: &Value) {
    assert_eq!(answer["success"], false, "{answer}");
    let message = answer["errorMessage"].as_str().unwrap();
    assert!(message.contains("cannot open the connection"), "{message}");
}

#[tokio::test]
async fn r_code_reaches_neither_the_database_nor_the_broker() {
    let house = House::build().await;
    let session = house.admin().await.open_session().await;
    for server in [house.database.server, house.amqp_server()] {
        assert_refused(&connect(&session, server.port()).await);
    }
}

#[tokio::test]
async fn r_code_reaches_the_ports_that_the_operator_lists() {
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let listed = listener.local_addr().unwrap().port();
    let house = house_with("WARREN_SANDBOX_CONNECT_PORTS", &listed.to_string()).await;
    let client = house.admin().await;
    let session = client.open_session().await;
    let answer = connect(&session, listed).await;
    assert_eq!(answer["consoleOutput"], "connected", "{answer}");
    let status = client.get("/status").await.expect(200).to_string();
    // Before Landlock's ABI 4 the status says so, and every port is open.
    if !status.contains("Landlock ABI 4") {
        assert_refused(&connect(&session, house.database.server.port()).await);
    }
}

#[tokio::test]
async fn the_worker_s_settings_and_descriptors_are_not_the_session_s() {
    let house = House::build().await;
    let client = house.admin().await;
    let (_sibling, session) = (client.open_session().await, client.open_session().await);
    let worker = house.workers[0].process.pid();
    let own: u32 = session.prints("cat(Sys.getpid())").await.parse().unwrap();
    for pid in [worker, processes::parent_of(own)] {
        let code = format!("readLines('/proc/{pid}/environ')");
        assert_refused(&session.execute(&code).await.expect(200));
    }
    let seen = session
        .prints("cat(names(Sys.getenv()), Sys.getenv())")
        .await;
    assert!(!seen.contains("WARREN"), "{seen}");
    let open = session
        .prints("open <- Sys.readlink(list.files('/proc/self/fd', full.names = TRUE)); cat(open[!is.na(open) & nzchar(open)], sep = '\\n')")
        .await;
    let kinds: Vec<&str> = open
        .lines()
        .map(|name| name.split(':').next().unwrap())
        .collect();
    assert_eq!(kinds, ["/dev/null", "pipe", "pipe", "socket"], "{open}");
}

#[tokio::test]
async fn the_directory_of_a_closed_session_goes_whatever_code_left_in_it() {
    let house = House::build().await;
    let outside = house.dir().join("outside");
    std::fs::create_dir(&outside).unwrap();
    std::fs::write(outside.join("kept"), "").unwrap();
    let session = house.admin().await.open_session().await;
    session
        .prints(&format!(
            "invisible(file.create('here')); dir.create('closed/empty', recursive = TRUE)
             invisible(file.symlink('{}', c('way', 'closed/way')))
             invisible(system(\"perl -e 'for (1..3000) {{ mkdir q(d); chdir q(d) }}'\"))
             invisible(Sys.chmod(c('closed/empty', 'closed'), '000'))",
            outside.display()
        ))
        .await;
    let dir = house.working_dir_with("here").await;
    session.close().await;
    let own = dir.parent().unwrap().to_owned();
    wait::until("the directory is gone", async || {
        (!own.exists()).then_some(())
    })
    .await;
    assert!(outside.join("kept").exists());
}

#[tokio::test]
async fn packages_that_the_operator_names_are_loaded_already() {
    let house = house_with("WARREN_PRELOAD", "splines,stats4").await;
    let session = house.admin().await.open_session().await;
    let code = "cat(c('splines', 'stats4', 'tcltk') %in% loadedNamespaces())";
    assert_eq!(session.prints(code).await, "TRUE TRUE FALSE");
}

#[tokio::test]
async fn a_worker_has_a_host_for_each_core_unless_it_is_told_otherwise() {
    let house = Builder::new().as_shipped().build().await;
    let cores = std::thread::available_parallelism().unwrap().get();
    let worker = house.workers[0].process.pid();
    let hosts = processes::hosts_of(worker);
    // One more has R in memory, and no sessions.
    assert_eq!(hosts.len(), cores + 1);
    // And they end with their worker.
    let killed = Command::new("kill").arg(worker.to_string()).status().await;
    assert!(killed.unwrap().success());
    wait::until("no host is left", async || {
        hosts
            .iter()
            .all(|host| !processes::exists(*host))
            .then_some(())
    })
    .await;
}
