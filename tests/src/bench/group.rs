//! What can be measured by itself.

use std::fmt;

use clap::ValueEnum;

/// Figures that are compared with each other.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum Group {
    /// The R host at its own door: forks, answers, values, console, memory
    Host,
    /// Through the API, beside the floor and a start of R
    Api,
    /// Calls of published services, beside plumber with the same functions
    Services,
    /// A file of 1 GiB up and down, beside the object store alone; needs 5 GB of disk
    Files,
    /// A worker with 1,000 open sessions beside one with a single session; needs about 2 GB
    Sessions,
    /// Snapshots of a session with a data frame of 100 MB, beside R's own save and load
    Snapshots,
    /// A table with a great many finished jobs (--rows) beside an empty one
    Rows,
    /// Three API nodes with one, two and four workers
    Fleet,
    /// Two API nodes: what authenticating costs, how soon a revoked token is refused, whether a sign-in tells who exists
    Auth,
}

impl fmt::Display for Group {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Host => "host",
            Self::Api => "api",
            Self::Services => "services",
            Self::Files => "files",
            Self::Sessions => "sessions",
            Self::Snapshots => "snapshots",
            Self::Rows => "rows",
            Self::Fleet => "fleet",
            Self::Auth => "auth",
        })
    }
}
