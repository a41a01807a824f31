//! From the worker's exec to a process in which R can be loaded.
//!
//! The loader reads `LD_LIBRARY_PATH` and glibc its tunables only when a program starts, so the host finds R, builds R's
//! environment and executes itself once more.

use std::ffi::{OsStr, OsString};
use std::fs::File;
use std::io;
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::process::CommandExt;
use std::path::PathBuf;
use std::process::{Command, Stdio};

use rustix::process::{Pid, Signal};

use crate::args::Args;

/// Holds R's version during the second start and tells it from the first.
const STARTED: &str = "WARREN_RHOST_R_VERSION";

/// Of what `R CMD env` prints, what a process with libR needs.
const FROM_R: [&str; 7] = [
    "R_HOME",
    "R_SHARE_DIR",
    "R_INCLUDE_DIR",
    "R_DOC_DIR",
    "R_ARCH",
    "LD_LIBRARY_PATH",
    "PATH",
];

/// Of the operator's environment, what may decide where packages and times come from.
const FROM_OPERATOR: [&str; 4] = ["TZ", "TMPDIR", "R_LIBS", "R_LIBS_SITE"];

/// A process that is ready to load R.
pub(crate) struct Started {
    pub(crate) control: OwnedFd,
    pub(crate) r_home: PathBuf,
    pub(crate) r_version: String,
}

/// Ends this process when the worker ends, and right now when it has ended already.
pub(crate) fn die_with(worker: i32) -> Result<(), String> {
    rustix::process::set_parent_process_death_signal(Some(Signal::KILL))
        .map_err(|error| format!("the parent-death signal cannot be set: {error}"))?;
    // Set too late when the worker died in between: then somebody else is our parent by now.
    if rustix::process::getppid().map(Pid::as_raw_pid) == Some(worker) {
        Ok(())
    } else {
        Err(format!(
            "process {worker} is not the parent: the worker is gone"
        ))
    }
}

/// Leaves the terminal that the worker may have been started from: user code could write to it, and a key that is meant for the
/// worker would end every session.
pub(crate) fn leave_terminal() {
    // Refused to the leader of a process group, which is what somebody may have made of this process for the same end.
    let _ = rustix::process::setsid();
}

/// None in the first start, which must go on with [`restart`].
pub(crate) fn started() -> io::Result<Option<Started>> {
    let Some(version) = std::env::var_os(STARTED) else {
        return Ok(None);
    };
    // SAFETY: the process has one thread.
    unsafe { std::env::remove_var(STARTED) };
    let control = control_socket()?;
    Ok(Some(Started {
        control,
        r_home: std::env::var_os("R_HOME").unwrap_or_default().into(),
        r_version: version.to_string_lossy().into_owned(),
    }))
}

/// Moves the control socket away from standard input, where user code would look for one.
fn control_socket() -> io::Result<OwnedFd> {
    let control = rustix::io::fcntl_dupfd_cloexec(io::stdin().as_fd(), 100)?;
    let null = File::open("/dev/null")?;
    rustix::stdio::dup2_stdin(&null)?;
    Ok(control)
}

/// Executes this program again in R's environment. Returns only what went wrong.
pub(crate) fn restart(args: &Args) -> String {
    let environment = match r_environment(&args.r) {
        Ok(environment) => environment,
        Err(message) => return message,
    };
    let mut again = Command::new("/proc/self/exe");
    again.args(std::env::args_os().skip(1)).env_clear();
    for name in FROM_OPERATOR {
        again.envs(std::env::var_os(name).map(|value| (name, value)));
    }
    for name in FROM_R {
        again.envs(value_of(&environment, name).map(|value| (name, value)));
    }
    again
        .env(
            STARTED,
            value_of(&environment, "R_VERSION").unwrap_or("of an unknown version"),
        )
        .env("LANG", "C.UTF-8")
        .env("LC_ALL", "C.UTF-8")
        .env("LANGUAGE", "en")
        // Huge pages halve the time of a fork; one thread, or no fork would be safe.
        .env("GLIBC_TUNABLES", "glibc.malloc.hugetlb=1")
        .env("OMP_NUM_THREADS", "1")
        .env("OPENBLAS_NUM_THREADS", "1")
        .env("MKL_NUM_THREADS", "1");
    format!("the R host cannot execute itself again: {}", again.exec())
}

/// What R's own start script sets, from an environment that says nothing of the operator's R.
fn r_environment(r: &OsStr) -> Result<String, String> {
    let path =
        std::env::var_os("PATH").unwrap_or_else(|| OsString::from("/usr/local/bin:/usr/bin:/bin"));
    let output = Command::new(r)
        .args(["CMD", "env"])
        .env_clear()
        .env("PATH", &path)
        .stdin(Stdio::null())
        .stderr(Stdio::piped())
        .output()
        .map_err(|error| not_found(r, &path, &error))?;
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    if output.status.success() && value_of(&text, "R_HOME").is_some() {
        return Ok(text);
    }
    Err(format!(
        "`{} CMD env` did not answer as R does ({}): {}. Name R's executable with --r.",
        r.display(),
        output.status,
        String::from_utf8_lossy(&output.stderr).trim()
    ))
}

fn not_found(r: &OsStr, path: &OsStr, error: &io::Error) -> String {
    let looked = if r.as_encoded_bytes().contains(&b'/') {
        format!("at {}", r.display())
    } else {
        format!("for `{}` in PATH ({})", r.display(), path.display())
    };
    format!(
        "R was not found: looked {looked}: {error}. Install R (Debian: apt-get install r-base-core) or name its \
         executable with --r."
    )
}

fn value_of<'a>(environment: &'a str, name: &str) -> Option<&'a str> {
    environment
        .lines()
        .find_map(|line| line.strip_prefix(name)?.strip_prefix('='))
        .filter(|value| !value.is_empty())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_missing_r_says_where_it_was_looked_for_and_what_to_do() {
        let message = r_environment(OsStr::new("/nonexistent/R")).unwrap_err();
        assert!(message.contains("/nonexistent/R"), "{message}");
        assert!(message.contains("Install R"), "{message}");
    }

    #[test]
    fn variables_are_found_by_their_whole_name() {
        let environment = "R_HOME_X=1\nR_HOME=/usr/lib/R\nR_ARCH=\n";
        assert_eq!(value_of(environment, "R_HOME"), Some("/usr/lib/R"));
        assert_eq!(value_of(environment, "R_ARCH"), None);
    }
}
