//! A whole Warren of one test's own.

mod build;

use std::net::SocketAddr;
use std::path::{Path, PathBuf};

use tempfile::TempDir;
use warren_common::blobs::Blobs;
use warren_common::config::{BlobConfig, DatabaseConfig, QueueConfig, Secret};
use warren_common::id::ApiId;
use warren_common::queue::{Broker, Role, Topology};
use warren_common::store::{Commit, Db};

pub(crate) use build::amqp_server;
pub use build::{Builder, WorkerOptions};

use crate::client::Client;
use crate::postgres::{self, Address};
use crate::process::Process;
use crate::s3::S3Server;
use crate::wait;

/// The password of every user that a house makes.
pub const PASSWORD: &str = "correct horse battery staple";

/// The access key of a house's object store.
pub const STORE_KEY: &str = "warren";
/// Its secret.
pub const STORE_SECRET: &str = "secret";

/// A Warren: a database, queue names, a bucket and processes of one test's own.
pub struct House {
    /// The API nodes, in the order they were started.
    pub apis: Vec<Api>,
    /// The workers, in the order they were started.
    pub workers: Vec<Worker>,
    /// The database.
    pub database: Address,
    server: Address,
    own_database: bool,
    amqp: String,
    prefix: String,
    s3: Option<S3Server>,
    s3_url: String,
    lease_seconds: String,
    as_shipped: bool,
    env: Vec<(String, String)>,
    dir: TempDir,
    started: usize,
}

/// A running API node.
pub struct Api {
    /// Where it listens.
    pub addr: SocketAddr,
    /// The program.
    pub process: Process,
}

/// A running worker.
pub struct Worker {
    /// The program.
    pub process: Process,
    /// Its sessions' directories are below.
    pub work_dir: PathBuf,
}

impl House {
    /// One API node and one worker.
    pub async fn build() -> Self {
        Builder::new().build().await
    }

    /// The folder of this test.
    pub fn dir(&self) -> &Path {
        self.dir.path()
    }

    /// The user `admin`, signed in at the first node.
    pub async fn admin(&self) -> Client {
        self.admin_at(0).await
    }

    /// The user `admin`, signed in at a node.
    pub async fn admin_at(&self, api: usize) -> Client {
        Client::anonymous(self.apis[api].addr)
            .login("admin", PASSWORD)
            .await
    }

    /// A new user with the role contributor, signed in at the first node.
    ///
    /// # Panics
    ///
    /// When the user cannot be made.
    pub async fn user(&self, name: &str) -> Client {
        self.user_as(name, "contributor").await
    }

    /// A new user with a role, signed in at the first node.
    ///
    /// # Panics
    ///
    /// When the user cannot be made.
    pub async fn user_as(&self, name: &str, role: &str) -> Client {
        let add = ["users", "add", name, "--role", role];
        self.administer(&add, &format!("{PASSWORD}\n")).await;
        Client::anonymous(self.apis[0].addr)
            .login(name, PASSWORD)
            .await
    }

    /// Does what an operator does with `warren-api` and these arguments, typing `input`. What comes back is what it printed.
    ///
    /// # Panics
    ///
    /// When it does not succeed.
    pub async fn administer(&self, arguments: &[&str], input: &str) -> String {
        let output = self.try_administer(arguments, input).await;
        let said = String::from_utf8_lossy(&output.stderr);
        assert!(output.status.success(), "{arguments:?}: {said}");
        String::from_utf8(output.stdout).expect("it prints text")
    }

    /// The same, whatever comes of it.
    ///
    /// # Panics
    ///
    /// When the program cannot be run.
    pub async fn try_administer(&self, arguments: &[&str], input: &str) -> std::process::Output {
        let mut command = tokio::process::Command::new(crate::process::program("warren-api"));
        command
            .args(arguments)
            .envs(self.shared_env(self.database.server))
            .stdin(std::process::Stdio::piped())
            .stdout(std::process::Stdio::piped())
            .stderr(std::process::Stdio::piped())
            .kill_on_drop(true);
        let mut child = command.spawn().expect("warren-api runs");
        let mut stdin = child.stdin.take().expect("its input is ours");
        // One that asks for nothing may have ended by now.
        let _ = tokio::io::AsyncWriteExt::write_all(&mut stdin, input.as_bytes()).await;
        drop(stdin);
        child.wait_with_output().await.expect("it ends")
    }

    /// Asks the test's own question of the database.
    ///
    /// # Panics
    ///
    /// When the database does not answer.
    pub async fn sql(&self, statement: &str) -> Vec<tokio_postgres::SimpleQueryMessage> {
        self.database
            .connect()
            .await
            .simple_query(statement)
            .await
            .expect("the statement runs")
    }

    /// One value out of the database, as text.
    ///
    /// # Panics
    ///
    /// When there is none.
    pub async fn sql_value(&self, statement: &str) -> String {
        let messages = self.sql(statement).await;
        let value = messages.iter().find_map(|message| match message {
            tokio_postgres::SimpleQueryMessage::Row(row) => row.get(0).map(str::to_owned),
            _ => None,
        });
        value.unwrap_or_else(|| panic!("no value: {statement}"))
    }

    /// The database as the programs see it.
    ///
    /// # Panics
    ///
    /// When the address cannot be used.
    pub fn db(&self) -> Db {
        let config = DatabaseConfig {
            url: Secret::new(self.database.url()),
            pool: 4,
        };
        Db::new(&config, Commit::Durable, "test").expect("the address is a good one")
    }

    /// Where the object store listens.
    ///
    /// # Panics
    ///
    /// When its address cannot be read.
    pub fn store(&self) -> SocketAddr {
        let address = self.s3_url.trim_start_matches("http://").parse();
        address.expect("the address of the store")
    }

    /// Takes the object store away, with every connection to it.
    pub async fn take_store_away(&mut self) {
        if let Some(s3) = self.s3.take() {
            s3.stop().await;
        }
    }

    /// Gives the object store back, with what it held.
    pub async fn give_store_back(&mut self) {
        self.s3 = Some(build::store(self.dir.path(), self.store()).await);
    }

    /// The keys of everything in the object store.
    pub fn blobs(&self) -> Vec<String> {
        let bucket = self.dir.path().join("s3/warren");
        let mut keys = Vec::new();
        for folder in ["services", "snapshots", "transfers"] {
            let entries = std::fs::read_dir(bucket.join(folder));
            let names = entries.into_iter().flatten().flatten();
            keys.extend(names.map(|entry| format!("{folder}/{}", entry.file_name().display())));
        }
        keys
    }

    /// The object store as the programs see it.
    pub fn object_store(&self) -> Blobs {
        Blobs::new(&BlobConfig {
            endpoint: self.s3_url.clone(),
            region: crate::s3::REGION.to_owned(),
            bucket: "warren".to_owned(),
            access_key: Secret::new("warren"),
            secret_key: Secret::new("secret"),
            transfer_seconds: 60,
        })
    }

    /// The broker as a node of its own sees it.
    ///
    /// # Panics
    ///
    /// When it does not answer.
    pub async fn broker(&self) -> Broker {
        let config = QueueConfig {
            url: Secret::new(self.amqp.clone()),
            prefix: self.prefix.clone(),
        };
        let topology = Topology {
            prefix: self.prefix.clone(),
            role: Role::Api(ApiId::new()),
        };
        let broker = Broker::start(
            &config,
            topology,
            "test",
            tokio_util::sync::CancellationToken::new(),
        )
        .expect("the address is a good one");
        tokio::time::timeout(wait::LIMIT, broker.connected())
            .await
            .expect("RabbitMQ answers");
        broker
    }

    /// Where RabbitMQ is, and what stands in front of this house's queue names.
    pub fn queues(&self) -> (&str, &str) {
        (&self.amqp, &self.prefix)
    }

    /// The working directory of the only session whose R process has one with this file in it.
    ///
    /// # Panics
    ///
    /// When none appears.
    pub async fn working_dir_with(&self, file: &str) -> PathBuf {
        wait::until(&format!("a session has made {file}"), async || {
            let dirs = self
                .workers
                .iter()
                .flat_map(|worker| working_dirs(&worker.work_dir));
            dirs.into_iter().find(|dir| dir.join(file).exists())
        })
        .await
    }

    fn log(&mut self, name: &str) -> PathBuf {
        self.started += 1;
        self.dir.path().join(format!("{}-{name}.log", self.started))
    }
}

/// The working directories of every session of every worker of the house in this folder, of dead workers too.
pub(crate) fn working_dirs_below(house: &Path) -> Vec<PathBuf> {
    let entries = std::fs::read_dir(house).into_iter().flatten().flatten();
    let workers =
        entries.filter(|entry| entry.file_name().to_string_lossy().starts_with("worker-"));
    workers
        .flat_map(|worker| working_dirs(&worker.path()))
        .collect()
}

/// The working directories of every session and every call below a worker's directory.
fn working_dirs(work_dir: &Path) -> Vec<PathBuf> {
    let below = |dir: &Path| -> Vec<PathBuf> {
        std::fs::read_dir(dir)
            .map(|entries| entries.flatten().map(|entry| entry.path()).collect())
            .unwrap_or_default()
    };
    let children = below(work_dir)
        .iter()
        .flat_map(|worker| below(worker))
        .collect::<Vec<_>>();
    let calls = children
        .iter()
        .flat_map(|child| below(&child.join("calls")));
    let all = children.iter().cloned().chain(calls);
    all.map(|dir| dir.join("work")).collect()
}

impl Drop for House {
    fn drop(&mut self) {
        self.workers.clear();
        self.apis.clear();
        drop(self.s3.take());
        if self.own_database && !std::thread::panicking() {
            postgres::drop_database_now(&self.server, &self.database);
        }
    }
}
