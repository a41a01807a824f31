//! A RabbitMQ server of one test, for those that stop it.

use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::Stdio;

use lapin::{Connection, ConnectionProperties};
use rustix::process::{Pid, Signal, kill_process_group};
use tokio::process::{Child, Command};

use crate::postgres::{free_port, setting};
use crate::wait;

/// A broker with a folder and ports of its own. Its port mapper is the one that `./dev test` started.
pub struct OwnBroker {
    dir: PathBuf,
    amqp: SocketAddr,
    distribution: u16,
    run_as: Option<String>,
    process: Option<Child>,
}

impl OwnBroker {
    /// Starts one below `dir`, and waits until it answers.
    ///
    /// # Panics
    ///
    /// When that fails.
    pub async fn start(dir: &Path) -> Self {
        let dir = dir.join("rabbitmq");
        std::fs::create_dir(&dir).expect("the folder can be made");
        let run_as = std::env::var("WARREN_TEST_RUN_AS").ok();
        let mut broker = Self {
            dir,
            amqp: SocketAddr::from(([127, 0, 0, 1], free_port().await)),
            distribution: free_port().await,
            run_as: run_as.filter(|user| !user.is_empty()),
            process: None,
        };
        broker.configure().await;
        broker.start_again().await;
        broker
    }

    /// Its address as a setting.
    pub fn url(&self) -> String {
        format!("amqp://warren:secret@{}/%2f", self.amqp)
    }

    /// Kills it: nobody is told, and nothing is written that was not.
    ///
    /// # Panics
    ///
    /// When it does not run.
    pub async fn crash(&mut self) {
        let mut process = self.process.take().expect("the broker runs");
        kill_group(&process);
        let ended = tokio::time::timeout(wait::LIMIT, process.wait()).await;
        ended.expect("it ends").expect("a child can be waited for");
    }

    /// Removes everything that it kept: queues, messages, users.
    ///
    /// # Panics
    ///
    /// When that fails.
    pub fn forget_everything(&self) {
        std::fs::remove_dir_all(self.dir.join("mnesia")).expect("its data can be removed");
    }

    /// Starts it, after it was killed.
    ///
    /// # Panics
    ///
    /// When it does not start.
    pub async fn start_again(&mut self) {
        let log = std::fs::File::options()
            .create(true)
            .append(true)
            .open(self.dir.join("output"))
            .expect("the log can be written");
        let mut command = match &self.run_as {
            Some(user) => {
                let mut command = Command::new("setpriv");
                command.args([
                    &format!("--reuid={user}"),
                    &format!("--regid={user}"),
                    "--init-groups",
                ]);
                command.arg(setting("WARREN_TEST_RABBITMQ"));
                command
            }
            None => Command::new(setting("WARREN_TEST_RABBITMQ")),
        };
        let path = std::env::var_os("PATH").unwrap_or_default();
        command
            .env_clear()
            .env("PATH", path)
            .envs(self.environment())
            .current_dir(&self.dir)
            .stdin(Stdio::null())
            .stdout(log.try_clone().expect("the log can be shared"))
            .stderr(log)
            // The server starts programs of its own; they end with it.
            .process_group(0);
        self.process = Some(command.spawn().expect("the broker can be started"));
        wait::until("RabbitMQ answers", async || {
            let url = self.url();
            let answer = Connection::connect(&url, ConnectionProperties::default()).await;
            answer.ok().map(drop)
        })
        .await;
    }

    async fn configure(&self) {
        let port = self.amqp.port();
        let files = [
            (".erlang.cookie", "ofonetestalone".to_owned()),
            ("enabled_plugins", "[].\n".to_owned()),
            ("rabbitmq-env.conf", String::new()),
            (
                "rabbitmq.conf",
                format!(
                    "listeners.tcp.local = 127.0.0.1:{port}\ndefault_user = warren\ndefault_pass = secret\n\
                     log.console = true\nlog.file = false\n"
                ),
            ),
        ];
        for (name, text) in files {
            std::fs::write(self.dir.join(name), text).expect("a file can be written");
        }
        let cookie = self.dir.join(".erlang.cookie");
        let secret = std::os::unix::fs::PermissionsExt::from_mode(0o400);
        std::fs::set_permissions(cookie, secret).expect("the cookie can be hidden");
        if let Some(user) = &self.run_as {
            let owned = Command::new("chown")
                .args(["-R", user])
                .arg(&self.dir)
                .status();
            let owned = owned.await.expect("chown runs");
            assert!(owned.success(), "the folder cannot be given to {user}");
        }
    }

    fn environment(&self) -> Vec<(&'static str, String)> {
        let below = |name: &str| self.dir.join(name).to_string_lossy().into_owned();
        vec![
            ("HOME", self.dir.to_string_lossy().into_owned()),
            ("LC_ALL", "C.UTF-8".to_owned()),
            ("ERL_EPMD_ADDRESS", "127.0.0.1".to_owned()),
            ("ERL_EPMD_PORT", setting("WARREN_TEST_EPMD_PORT")),
            ("RABBITMQ_CONF_ENV_FILE", below("rabbitmq-env.conf")),
            ("RABBITMQ_CONFIG_FILE", below("rabbitmq.conf")),
            ("RABBITMQ_ADVANCED_CONFIG_FILE", below("advanced.config")),
            ("RABBITMQ_ENABLED_PLUGINS_FILE", below("enabled_plugins")),
            ("RABBITMQ_GENERATED_CONFIG_DIR", below("config")),
            ("RABBITMQ_SCHEMA_DIR", below("schema")),
            ("RABBITMQ_MNESIA_BASE", below("mnesia")),
            ("RABBITMQ_LOG_BASE", below("log")),
            ("RABBITMQ_PID_FILE", below("pid")),
            (
                "RABBITMQ_NODENAME",
                format!("warren-{}@localhost", self.amqp.port()),
            ),
            ("RABBITMQ_DIST_PORT", self.distribution.to_string()),
            (
                "RABBITMQ_SERVER_ADDITIONAL_ERL_ARGS",
                "-kernel inet_dist_use_interface {127,0,0,1}".to_owned(),
            ),
        ]
    }
}

/// Kills everything that belongs to a server.
fn kill_group(process: &Child) {
    let pid = process.id().and_then(|pid| i32::try_from(pid).ok());
    if let Some(group) = pid.and_then(Pid::from_raw) {
        // It may have ended by itself.
        let _ = kill_process_group(group, Signal::KILL);
    }
}

impl Drop for OwnBroker {
    fn drop(&mut self) {
        if let Some(process) = &self.process {
            kill_group(process);
        }
    }
}
