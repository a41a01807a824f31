//! Building a house, and adding to it.

use std::net::SocketAddr;
use std::time::Duration;

use reqwest::{Method, StatusCode};
use tempfile::TempDir;
use warren_common::config::BlobConfig;

use super::{Api, House, PASSWORD, STORE_KEY, STORE_SECRET, Worker};
use crate::client::Client;
use crate::postgres::{self, Address, free_port, setting};
use crate::process::{Process, program};
use crate::s3::{S3Config, S3Server};
use crate::wait;

/// What a house is to have.
pub struct Builder {
    apis: usize,
    workers: usize,
    lease_seconds: f64,
    server: Option<Address>,
    amqp: Option<String>,
    as_shipped: bool,
    env: Vec<(String, String)>,
}

impl Default for Builder {
    fn default() -> Self {
        Self::new()
    }
}

/// How one worker differs.
#[derive(Debug, Default, Clone)]
pub struct WorkerOptions {
    /// By way of this link to PostgreSQL.
    pub database_via: Option<SocketAddr>,
    /// By way of this link to RabbitMQ.
    pub amqp_via: Option<SocketAddr>,
    /// More settings.
    pub env: Vec<(String, String)>,
}

impl Builder {
    /// One API node and one worker, with leases short enough for a test to see their end.
    pub fn new() -> Self {
        Self {
            apis: 1,
            workers: 1,
            lease_seconds: 3.0,
            server: None,
            amqp: None,
            as_shipped: false,
            env: Vec::new(),
        }
    }

    /// With another value of a setting, for every program of the house.
    #[must_use]
    pub fn env(mut self, name: &str, value: &str) -> Self {
        self.env.push((name.to_owned(), value.to_owned()));
        self
    }

    /// This many API nodes.
    #[must_use]
    pub fn apis(self, apis: usize) -> Self {
        Self { apis, ..self }
    }

    /// This many workers.
    #[must_use]
    pub fn workers(self, workers: usize) -> Self {
        Self { workers, ..self }
    }

    /// Leases of this length; heartbeats come four times as often.
    #[must_use]
    pub fn lease(self, lease: Duration) -> Self {
        Self {
            lease_seconds: lease.as_secs_f64(),
            ..self
        }
    }

    /// With the defaults of the product where a test would have others, and logs of what goes wrong only.
    #[must_use]
    pub fn as_shipped(self) -> Self {
        Self {
            as_shipped: true,
            ..self
        }
    }

    /// With another object store than that of the house.
    #[must_use]
    pub fn storing_in(self, store: &BlobConfig) -> Self {
        let house = self.env("WARREN_S3_ENDPOINT", &store.endpoint);
        let house = house.env("WARREN_S3_REGION", &store.region);
        let house = house.env("WARREN_S3_BUCKET", &store.bucket);
        let house = house.env("WARREN_S3_ACCESS_KEY", store.access_key.reveal());
        house.env("WARREN_S3_SECRET_KEY", store.secret_key.reveal())
    }

    /// On another PostgreSQL server than the shared one.
    #[must_use]
    pub fn on(self, server: Address) -> Self {
        Self {
            server: Some(server),
            ..self
        }
    }

    /// With another RabbitMQ server than the shared one.
    #[must_use]
    pub fn hearing(self, amqp: String) -> Self {
        Self {
            amqp: Some(amqp),
            ..self
        }
    }

    /// Starts everything and waits until it is ready.
    ///
    /// # Panics
    ///
    /// When something does not start.
    pub async fn build(self) -> House {
        let dir = TempDir::with_prefix("warren-test-").expect("a folder can be made");
        let own_database = self.server.is_none();
        let server = self.server.unwrap_or_else(Address::shared);
        let database = postgres::create_database(&server).await;
        let s3 = store(dir.path(), SocketAddr::from(([127, 0, 0, 1], 0))).await;
        let prefix = format!("{}.", database.name);
        let mut house = House {
            apis: Vec::new(),
            workers: Vec::new(),
            database,
            server,
            own_database,
            amqp: self.amqp.unwrap_or_else(|| setting("WARREN_TEST_AMQP_URL")),
            prefix,
            s3_url: format!("http://{}", s3.addr()),
            s3: Some(s3),
            lease_seconds: self.lease_seconds.to_string(),
            as_shipped: self.as_shipped,
            env: self.env,
            dir,
            started: 0,
        };
        // Workers wait for the schema, and a house may have one before it has an API node.
        warren_common::store::migrate::migrate(&house.db())
            .await
            .expect("the schema can be made");
        for _ in 0..self.apis {
            house.add_api().await;
        }
        for _ in 0..self.workers {
            house.add_worker(WorkerOptions::default()).await;
        }
        house
    }
}

impl House {
    /// Settings that every program of this house shares, with PostgreSQL at `server`.
    pub fn shared_env(&self, server: SocketAddr) -> Vec<(String, String)> {
        let pairs = [
            ("WARREN_DATABASE_URL", self.database.url_via(server)),
            ("WARREN_AMQP_URL", self.amqp.clone()),
            ("WARREN_QUEUE_PREFIX", self.prefix.clone()),
            ("WARREN_S3_ENDPOINT", self.s3_url.clone()),
            ("WARREN_S3_REGION", crate::s3::REGION.to_owned()),
            ("WARREN_S3_BUCKET", "warren".to_owned()),
            ("WARREN_S3_ACCESS_KEY", STORE_KEY.to_owned()),
            ("WARREN_S3_SECRET_KEY", STORE_SECRET.to_owned()),
        ];
        let own = if self.as_shipped {
            vec![("WARREN_LOG", "warn".to_owned())] // and the default lease
        } else {
            vec![
                ("WARREN_LEASE_SECONDS", self.lease_seconds.clone()),
                ("WARREN_LOG", "info".to_owned()),
            ]
        };
        let all = pairs.into_iter().chain(own);
        let all = all.map(|(name, value)| (name.to_owned(), value));
        all.chain(self.env.clone()).collect()
    }

    /// Starts another API node and waits until it is ready; returns its place in [`House::apis`].
    pub async fn add_api(&mut self) -> usize {
        self.add_api_via(self.database.server, &[]).await
    }

    /// The same with PostgreSQL at `database`, and more settings.
    pub async fn add_api_via(&mut self, database: SocketAddr, env: &[(&str, &str)]) -> usize {
        self.add_api_heard_by(Client::anonymous, database, env)
            .await
    }

    /// The same with TLS as `env` sets it up; `certificate` is what it shows.
    pub async fn add_api_over_tls(&mut self, certificate: &str, env: &[(&str, &str)]) -> usize {
        let client = |node| Client::over_tls(node, certificate);
        self.add_api_heard_by(client, self.database.server, env)
            .await
    }

    /// Starts an API node and waits until `client` finds it ready.
    ///
    /// # Panics
    ///
    /// When it does not get ready.
    async fn add_api_heard_by(
        &mut self,
        client: impl Fn(SocketAddr) -> Client,
        database: SocketAddr,
        env: &[(&str, &str)],
    ) -> usize {
        // Somebody else may take the port between the look and the start: then another one is tried.
        loop {
            let place = self.start_api_via(database, env).await;
            let Api { addr, process } = &mut self.apis[place];
            let client = client(*addr);
            let ready = tokio::time::timeout(wait::LIMIT, client.ready());
            tokio::select! {
                done = ready => {
                    assert!(done.is_ok(), "the API does not get ready:\n{}", process.log_text());
                    return place;
                }
                _ = process.ended() => {
                    let log = process.log_text();
                    assert!(log.contains("in use"), "the API ended:\n{log}");
                    self.apis.pop();
                }
            }
        }
    }

    /// Starts another API node and does not wait until it is ready; returns its place in [`House::apis`].
    pub async fn start_api_via(&mut self, database: SocketAddr, env: &[(&str, &str)]) -> usize {
        let addr = SocketAddr::from(([127, 0, 0, 1], free_port().await));
        let mut settings = self.shared_env(database);
        settings.push(("WARREN_LISTEN".to_owned(), addr.to_string()));
        settings.push(("WARREN_ADMIN_PASSWORD".to_owned(), PASSWORD.to_owned()));
        // One user does the work of many here.
        settings.push(("WARREN_SESSIONS_PER_USER".to_owned(), "10000".to_owned()));
        settings.extend(
            env.iter()
                .map(|(name, value)| ((*name).to_owned(), (*value).to_owned())),
        );
        let log = self.log("api");
        let process = Process::start(
            "warren-api",
            &program("warren-api"),
            &["serve"],
            &settings,
            &log,
        );
        self.apis.push(Api { addr, process });
        self.apis.len() - 1
    }

    /// Starts another worker and waits until it is ready; returns its place in [`House::workers`].
    ///
    /// # Panics
    ///
    /// When it does not get ready.
    pub async fn add_worker(&mut self, options: WorkerOptions) -> usize {
        let (place, probe) = self.start_worker(options).await;
        let as_shipped = self.as_shipped;
        let process = &mut self.workers[place].process;
        wait::until("the worker is ready", async || {
            assert!(
                process.is_running(),
                "the worker ended:\n{}",
                process.log_text()
            );
            let ready = if as_shipped {
                let client = Client::anonymous(probe);
                let request = client.request(Method::GET, "/health/ready");
                let answer = client.try_send(request).await;
                answer.is_ok_and(|answer| answer.status == StatusCode::OK)
            } else {
                process.log_text().contains("Ready, with R")
            };
            ready.then_some(())
        })
        .await;
        place
    }

    /// Starts another worker and does not wait until it is ready; returns its place in [`House::workers`], and where a house
    /// with the defaults of the product can ask it whether it is.
    pub async fn start_worker(&mut self, options: WorkerOptions) -> (usize, SocketAddr) {
        let place = self.workers.len();
        let work_dir = self.dir().join(format!("worker-{place}"));
        let mut settings = self.shared_env(options.database_via.unwrap_or(self.database.server));
        if let Some(link) = options.amqp_via {
            settings.push(("WARREN_AMQP_URL".to_owned(), self.amqp_via(link)));
        }
        settings.push((
            "WARREN_WORK_DIR".to_owned(),
            work_dir.to_string_lossy().into_owned(),
        ));
        let probe = SocketAddr::from(([127, 0, 0, 1], free_port().await));
        settings.extend(self.worker_env(probe));
        settings.extend(options.env);
        let log = self.log("worker");
        let process = Process::start(
            "warren-worker",
            &program("warren-worker"),
            &["serve"],
            &settings,
            &log,
        );
        self.workers.push(Worker { process, work_dir });
        (place, probe)
    }

    /// Settings of a worker; `probe` is where it can be asked whether it is ready when its log does not say so.
    fn worker_env(&self, probe: SocketAddr) -> Vec<(String, String)> {
        let pairs = if self.as_shipped {
            vec![("WARREN_METRICS_LISTEN", probe.to_string())]
        } else {
            let heartbeat = self.lease_seconds.parse::<f64>().unwrap_or(3.0) / 4.0;
            vec![
                ("WARREN_HEARTBEAT_SECONDS", heartbeat.to_string()),
                ("WARREN_PARENTS", "1".to_owned()),
                ("WARREN_INTERRUPT_GRACE", "2".to_owned()),
            ]
        };
        let own = pairs.into_iter();
        own.map(|(name, value)| (name.to_owned(), value)).collect()
    }

    /// Where RabbitMQ is.
    ///
    /// # Panics
    ///
    /// When its address cannot be read.
    pub fn amqp_server(&self) -> SocketAddr {
        amqp_server(&self.amqp)
    }

    /// The address of RabbitMQ by way of a link.
    pub fn amqp_via(&self, link: SocketAddr) -> String {
        self.amqp
            .replacen(&self.amqp_server().to_string(), &link.to_string(), 1)
    }
}

/// The object store of the house in `dir`.
///
/// # Panics
///
/// When it does not start.
pub(super) async fn store(dir: &std::path::Path, listen: SocketAddr) -> S3Server {
    let config = S3Config {
        listen,
        dir: dir.join("s3"),
        access_key: STORE_KEY.to_owned(),
        secret_key: STORE_SECRET.to_owned(),
        buckets: vec!["warren".to_owned()],
    };
    S3Server::start(config).await.expect("the S3 server starts")
}

/// Where RabbitMQ is, out of its address.
///
/// # Panics
///
/// When the address cannot be read.
pub(crate) fn amqp_server(url: &str) -> SocketAddr {
    let address = url
        .rsplit('@')
        .next()
        .and_then(|rest| rest.split('/').next());
    address
        .and_then(|address| address.parse().ok())
        .expect("host and port of RabbitMQ")
}
