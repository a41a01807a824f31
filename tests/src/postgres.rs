//! Databases for tests: one each on the shared server, or a whole server for those that stop it.

use std::net::SocketAddr;
use std::path::{Path, PathBuf};

use tokio::process::Command;
use tokio_postgres::{Client, Config, NoTls};

use crate::wait;

/// A variable that `./dev test` sets.
///
/// # Panics
///
/// When it is not set.
pub fn setting(name: &str) -> String {
    std::env::var(name)
        .unwrap_or_else(|_unset| panic!("{name} is not set: run the tests with ./dev test"))
}

/// Where a database is.
#[derive(Debug, Clone)]
pub struct Address {
    /// Host and port.
    pub server: SocketAddr,
    /// Role.
    pub user: String,
    /// Its password.
    pub password: String,
    /// Database.
    pub name: String,
}

impl Address {
    /// The server that `./dev test` started.
    ///
    /// # Panics
    ///
    /// When its address cannot be read.
    pub fn shared() -> Self {
        let config: Config = setting("WARREN_TEST_DATABASE_URL")
            .parse()
            .expect("a PostgreSQL address");
        let port = config.get_ports().first().copied().unwrap_or(5432);
        Self {
            server: SocketAddr::from(([127, 0, 0, 1], port)),
            user: config.get_user().unwrap_or("postgres").to_owned(),
            password: String::from_utf8_lossy(config.get_password().unwrap_or_default())
                .into_owned(),
            name: config.get_dbname().unwrap_or("postgres").to_owned(),
        }
    }

    /// As a setting, by way of `server` (the server itself, or a link to it).
    pub fn url_via(&self, server: SocketAddr) -> String {
        format!(
            "postgres://{}:{}@{server}/{}",
            self.user, self.password, self.name
        )
    }

    /// As a setting.
    pub fn url(&self) -> String {
        self.url_via(self.server)
    }

    /// A connection of the test's own.
    ///
    /// # Panics
    ///
    /// When the server does not answer.
    pub async fn connect(&self) -> Client {
        let (client, connection) = tokio_postgres::connect(&self.url(), NoTls)
            .await
            .expect("PostgreSQL answers");
        tokio::spawn(connection);
        client
    }
}

/// A new, empty database on a server.
///
/// # Panics
///
/// When it cannot be made.
pub async fn create_database(server: &Address) -> Address {
    let name = format!("t_{}", uuid::Uuid::now_v7().simple());
    let admin = server.connect().await;
    admin
        .batch_execute(&format!("CREATE DATABASE {name}"))
        .await
        .expect("a database can be made");
    Address {
        name,
        ..server.clone()
    }
}

/// Removes a database, with whoever is still connected.
pub async fn drop_database(server: &Address, database: &Address) {
    let admin = server.connect().await;
    let _ = admin
        .batch_execute(&format!(
            "DROP DATABASE IF EXISTS {} WITH (FORCE)",
            database.name
        ))
        .await;
}

/// A database that is removed again when this is dropped.
pub struct OwnDatabase {
    server: Address,
    /// How to reach it.
    pub address: Address,
}

impl OwnDatabase {
    /// Makes an empty one on a server.
    pub async fn create(server: &Address) -> Self {
        Self {
            server: server.clone(),
            address: create_database(server).await,
        }
    }
}

impl Drop for OwnDatabase {
    fn drop(&mut self) {
        drop_database_now(&self.server, &self.address);
    }
}

/// Removes a database from where nothing can be awaited.
pub fn drop_database_now(server: &Address, database: &Address) {
    let (server, database) = (server.clone(), database.clone());
    // Drop cannot wait in this runtime; a thread with its own can.
    let removed = std::thread::spawn(move || {
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build();
        if let Ok(runtime) = runtime {
            runtime.block_on(drop_database(&server, &database));
        }
    });
    let _ = removed.join();
}

/// A PostgreSQL server of one test.
pub struct OwnServer {
    bin: PathBuf,
    data: PathBuf,
    run_as: Option<String>,
    /// How to reach it.
    pub address: Address,
}

impl OwnServer {
    /// Makes a cluster below `dir` and starts it on a free port.
    ///
    /// # Panics
    ///
    /// When that fails.
    pub async fn start(dir: &Path) -> Self {
        let data = dir.join("pg");
        std::fs::create_dir(&data).expect("the folder can be made");
        let run_as = std::env::var("WARREN_TEST_RUN_AS")
            .ok()
            .filter(|user| !user.is_empty());
        let server = Self {
            bin: PathBuf::from(setting("WARREN_TEST_PG_BIN")),
            data,
            run_as,
            address: Address {
                server: SocketAddr::from(([127, 0, 0, 1], free_port().await)),
                user: "postgres".to_owned(),
                password: "unused".to_owned(),
                name: "postgres".to_owned(),
            },
        };
        if let Some(user) = &server.run_as {
            let owned = Command::new("chown")
                .arg(user)
                .arg(&server.data)
                .status()
                .await
                .expect("chown runs");
            assert!(
                owned.success(),
                "{} cannot be given to {user}",
                server.data.display()
            );
        }
        server
            .run(
                "initdb",
                &[
                    "-U",
                    "postgres",
                    "-A",
                    "trust",
                    "--no-sync",
                    "-E",
                    "UTF8",
                    "--no-locale",
                ],
            )
            .await;
        server.start_again().await;
        server
    }

    /// Starts it, after it was stopped.
    ///
    /// # Panics
    ///
    /// When it does not start.
    pub async fn start_again(&self) {
        let port = self.address.server.port();
        let options = format!(
            "-p {port} -c listen_addresses=127.0.0.1 -c unix_socket_directories= -c wal_writer_delay=10s"
        );
        let log = self.data.join("log");
        self.run(
            "pg_ctl",
            &[
                "start",
                "-w",
                "-s",
                "-o",
                &options,
                "-l",
                &log.to_string_lossy(),
            ],
        )
        .await;
    }

    /// Stops it as a crash would: nothing is flushed, everybody is cut off. Commits that did not wait for the disk are
    /// forgotten, unless a later one that did wait took them along.
    ///
    /// # Panics
    ///
    /// When it does not stop.
    pub async fn crash(&self) {
        self.run("pg_ctl", &["stop", "-m", "immediate", "-w", "-s"])
            .await;
    }

    async fn run(&self, program: &str, args: &[&str]) {
        let program = self.bin.join(program);
        let mut command = match &self.run_as {
            Some(user) => {
                let mut command = Command::new("setpriv");
                command.args([
                    &format!("--reuid={user}"),
                    &format!("--regid={user}"),
                    "--init-groups",
                ]);
                command.arg(program);
                command
            }
            None => Command::new(program),
        };
        command
            .arg("-D")
            .arg(&self.data)
            .args(args)
            .env("LC_ALL", "C");
        // The server that pg_ctl leaves behind must not hold on to the test's own output.
        command
            .stdout(std::process::Stdio::null())
            .stderr(std::process::Stdio::null());
        let status = tokio::time::timeout(wait::LIMIT, command.status())
            .await
            .expect("it ends")
            .expect("it runs");
        assert!(status.success(), "{command:?} failed");
    }
}

impl Drop for OwnServer {
    fn drop(&mut self) {
        let mut command = std::process::Command::new("setpriv");
        let pg_ctl = self.bin.join("pg_ctl");
        match &self.run_as {
            Some(user) => {
                command.args([
                    &format!("--reuid={user}"),
                    &format!("--regid={user}"),
                    "--init-groups",
                ]);
                command.arg(pg_ctl);
            }
            None => command = std::process::Command::new(pg_ctl),
        }
        let _ = command
            .arg("-D")
            .arg(&self.data)
            .args(["stop", "-m", "immediate", "-s"])
            .status();
    }
}

/// A port that nobody listens on at this moment.
///
/// # Panics
///
/// When there is none.
pub async fn free_port() -> u16 {
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0")
        .await
        .expect("a port is free");
    listener
        .local_addr()
        .expect("a bound socket has an address")
        .port()
}
