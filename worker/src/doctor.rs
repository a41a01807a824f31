//! `warren-worker doctor`: starts R as `serve` would, runs a session, and says what protects the machine from it.

use std::fmt;
use std::time::Duration;

use serde::Serialize;
use tokio_util::sync::CancellationToken;
use warren_common::id::WorkerId;
use warren_rhost::control::{Protection, ProtectionState};

use crate::WorkerError;
use crate::config::HostConfig;
use crate::host::{Directories, Pool};

/// R must not live on when the doctor is killed; nobody has to wait for that.
const TICK_LIMIT: Duration = Duration::from_secs(10);
/// What the left column of the table holds at most.
const NAME_WIDTH: usize = 24;

/// What the doctor found.
#[derive(Debug, Serialize)]
pub struct Findings {
    /// Version of R.
    pub r_version: String,
    /// What keeps user code in its place on this machine.
    pub protections: Vec<Protection>,
}

/// Starts one parent and one session. Fails when a required protection is missing, or anything else that keeps a worker
/// with these settings from starting R.
pub async fn examine(config: &HostConfig) -> Result<Findings, WorkerError> {
    let directories = Directories::open(&config.work_dir, WorkerId::new()).map_err(|source| {
        WorkerError::WorkDir {
            path: config.work_dir.clone(),
            source,
        }
    })?;
    let config = HostConfig {
        parents: Some(1),
        ready_children: 0,
        ..config.clone()
    };
    let life = CancellationToken::new();
    let _ends = life.clone().drop_guard();
    let pool = Pool::start(&config, TICK_LIMIT, directories, life.clone())
        .await
        .map_err(WorkerError::Host)?;
    let findings = Findings {
        r_version: pool.r_version(),
        protections: pool.protections(),
    };
    pool.close();
    Ok(findings)
}

/// The state as people read it.
pub(crate) fn word(state: ProtectionState) -> &'static str {
    match state {
        ProtectionState::Active => "active",
        ProtectionState::Weaker => "weaker",
        ProtectionState::Off => "off",
    }
}

impl fmt::Display for Findings {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(
            f,
            "R {} starts, and sessions can be forked.\n",
            self.r_version
        )?;
        for protection in &self.protections {
            let Protection {
                name,
                state,
                how,
                needs,
            } = protection;
            writeln!(f, "{name:NAME_WIDTH$} {:7} {how}", word(*state))?;
            if let Some(needs) = needs {
                writeln!(f, "{:NAME_WIDTH$} {:7} needs: {needs}", "", "")?;
            }
        }
        let weaker = self
            .protections
            .iter()
            .filter(|protection| protection.state != ProtectionState::Active)
            .count();
        match weaker {
            0 => writeln!(f, "\nEvery protection is active."),
            1 => writeln!(f, "\nOne protection is weaker than it could be."),
            more => writeln!(f, "\n{more} protections are weaker than they could be."),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_weaker_says_what_it_needs() {
        let protection = |name: &str, state, needs: Option<&str>| Protection {
            name: name.to_owned(),
            state,
            how: "so".to_owned(),
            needs: needs.map(str::to_owned),
        };
        let findings = Findings {
            r_version: "4.2.2".to_owned(),
            protections: vec![
                protection("files", ProtectionState::Active, None),
                protection("own user", ProtectionState::Weaker, Some("root")),
            ],
        };
        let text = findings.to_string();
        assert!(text.contains("needs: root"), "{text}");
        assert!(
            text.ends_with("One protection is weaker than it could be.\n"),
            "{text}"
        );
    }
}
