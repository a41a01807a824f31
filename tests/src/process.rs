//! A program of Warren as a process: started, signalled and stopped by its id.

use std::fs::File;
use std::path::{Path, PathBuf};
use std::process::{ExitStatus, Stdio};

use tokio::process::{Child, Command};

use crate::wait;

/// Where the programs of this build are.
///
/// # Panics
///
/// When the program was not built; `./dev test` builds it.
pub fn program(name: &str) -> PathBuf {
    let here = std::env::current_exe().expect("this program has a path");
    let found = here
        .ancestors()
        .skip(1)
        .map(|dir| dir.join(name))
        .find(|path| path.is_file());
    found.unwrap_or_else(|| {
        panic!("{name} is not built: run ./dev test, or cargo build --workspace --bins")
    })
}

/// A running program.
pub struct Process {
    name: String,
    log: PathBuf,
    child: Child,
}

impl Process {
    /// Starts `program` with nothing in its environment but `env` and what finding R needs.
    ///
    /// # Panics
    ///
    /// When it cannot be started.
    pub fn start(
        name: &str,
        program: &Path,
        args: &[&str],
        env: &[(String, String)],
        log: &Path,
    ) -> Self {
        let output = File::options()
            .create(true)
            .append(true)
            .open(log)
            .expect("the log can be written");
        let kept = ["PATH", "HOME", "LANG", "USER"];
        let child = Command::new(program)
            .args(args)
            .env_clear()
            .envs(std::env::vars_os().filter(|(name, _)| kept.iter().any(|kept| name == kept)))
            .envs(env.iter().map(|(name, value)| (name, value)))
            .stdin(Stdio::null())
            .stdout(output.try_clone().expect("the log can be shared"))
            .stderr(output)
            .kill_on_drop(true)
            .spawn()
            .unwrap_or_else(|error| panic!("{} cannot be started: {error}", program.display()));
        Self {
            name: name.to_owned(),
            log: log.to_owned(),
            child,
        }
    }

    /// Its process id.
    ///
    /// # Panics
    ///
    /// When it has ended.
    pub fn pid(&self) -> u32 {
        self.child
            .id()
            .unwrap_or_else(|| panic!("{} has ended:\n{}", self.name, self.log()))
    }

    /// Sends a signal by name, for example `STOP`.
    ///
    /// # Panics
    ///
    /// When `kill` fails.
    pub async fn signal(&self, signal: &str) {
        let status = Command::new("kill")
            .args([&format!("-{signal}"), &self.pid().to_string()])
            .status()
            .await
            .expect("kill runs");
        assert!(status.success(), "{} could not be sent {signal}", self.name);
    }

    /// Kills it and waits until it is gone.
    ///
    /// # Panics
    ///
    /// When it was gone already.
    pub async fn kill(&mut self) {
        self.child
            .kill()
            .await
            .unwrap_or_else(|error| panic!("{} cannot be killed: {error}", self.name));
    }

    /// Waits until it ends by itself.
    ///
    /// # Panics
    ///
    /// When it does not.
    pub async fn ended(&mut self) -> ExitStatus {
        tokio::time::timeout(wait::LIMIT, self.child.wait())
            .await
            .unwrap_or_else(|_elapsed| panic!("{} does not end:\n{}", self.name, self.log_text()))
            .expect("a child can be waited for")
    }

    /// True while it runs.
    pub fn is_running(&mut self) -> bool {
        matches!(self.child.try_wait(), Ok(None))
    }

    /// What it printed so far.
    pub fn log_text(&self) -> String {
        std::fs::read_to_string(&self.log).unwrap_or_default()
    }

    fn log(&self) -> String {
        self.log_text()
    }
}

impl Drop for Process {
    #[expect(
        clippy::print_stderr,
        reason = "the runner shows it beside the failed test"
    )]
    fn drop(&mut self) {
        if std::thread::panicking() {
            eprintln!("--- what {} printed\n{}", self.name, self.log_text());
        }
    }
}
