//! What sessions cost in memory, page tables included, beside an R of its own. Nothing else may have R in memory while this
//! looks: pages of R's own files are shared, and counted by shares.

use std::io::{self, BufRead, BufReader, Write};
use std::path::Path;
use std::process::{Command, Stdio};

use super::driver::{Forks, Parent, Session, Values};
use super::forks::CODE;
use crate::bench::memory::{megabytes, of_process};

/// What sessions do that work a little.
const FIT: &str = "fit <- lm(mpg ~ wt, mtcars); coef(fit)";

/// Megabytes a session.
pub(super) struct Sessions {
    /// After a first `1+1`.
    pub(super) idle: f64,
    /// After a linear model.
    pub(super) fitted: f64,
}

/// Of an R that waits for its first line.
pub(super) fn of_plain_r() -> io::Result<f64> {
    let mut child = Command::new("R")
        .args(["--vanilla", "--no-echo"])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()?;
    let (Some(mut stdin), Some(stdout)) = (child.stdin.take(), child.stdout.take()) else {
        return Err(io::ErrorKind::BrokenPipe.into());
    };
    // It waits for its next line when it has answered this one.
    stdin.write_all(b"cat('ready\\n')\n")?;
    BufReader::new(stdout).read_line(&mut String::new())?;
    let kibibytes = of_process(child.id())?;
    drop(stdin);
    child.wait()?;
    Ok(megabytes(kibibytes))
}

/// Of so many sessions and the parents that they come from, a session's share.
pub(super) fn of_sessions(parents: usize, count: usize, dir: &Path) -> io::Result<Sessions> {
    let mut parents = Parent::start(parents, Forks::Sessions, dir)?;
    let mut sessions = Vec::new();
    for number in 0..count {
        let place = number % parents.len();
        sessions.push(parents[place].fork_ahead()?);
    }
    run_all(&mut sessions, CODE)?;
    let idle = share(&parents, &sessions)?;
    run_all(&mut sessions, FIT)?;
    let fitted = share(&parents, &sessions)?;
    Ok(Sessions { idle, fitted })
}

fn run_all(sessions: &mut [Session], code: &str) -> io::Result<()> {
    for session in sessions {
        session.run(code, Values::default())?;
    }
    Ok(())
}

fn share(parents: &[Parent], sessions: &[Session]) -> io::Result<f64> {
    let children = sessions.iter().map(|session| session.pid.unsigned_abs());
    let pids = Parent::pids(parents).into_iter().chain(children);
    let all: u64 = pids.map(of_process).sum::<io::Result<u64>>()?;
    #[expect(clippy::cast_precision_loss, reason = "far below 2^52")]
    let count = sessions.len() as f64;
    Ok(megabytes(all) / count)
}
