//! What is measured.

use std::fmt;

/// How many clients call at the same moment, one figure each.
pub(super) const CLIENTS: [usize; 3] = [1, 16, 64];

/// One row of the table.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Figure {
    /// Starting R and ending it.
    StartR,
    /// `POST /sessions`.
    Open,
    /// `POST /sessions`, and `1+1` in it.
    OpenAndExecute,
    /// `1+1` in open sessions, each client in its own.
    Execute(usize),
    /// The floor, a statement and a commit for every row.
    FloorByRow(usize),
    /// The floor, rows that wait at the same moment sharing both.
    FloorGrouped(usize),
}

impl Figure {
    /// Its name for machines.
    pub(super) const fn name(self) -> &'static str {
        match self {
            Self::StartR => "start_r",
            Self::Open => "open",
            Self::OpenAndExecute => "open_and_execute",
            Self::Execute(_) => "execute",
            Self::FloorByRow(_) => "floor_by_row",
            Self::FloorGrouped(_) => "floor_grouped",
        }
    }

    /// Its name for people.
    pub(super) const fn title(self) -> &'static str {
        match self {
            Self::StartR => "start R --vanilla",
            Self::Open => "open session",
            Self::OpenAndExecute => "open session + first 1+1",
            Self::Execute(_) => "execute 1+1",
            Self::FloorByRow(_) => "floor, row by row",
            Self::FloorGrouped(_) => "floor, grouped",
        }
    }

    /// Clients at the same moment.
    pub(super) const fn clients(self) -> usize {
        match self {
            Self::StartR | Self::Open | Self::OpenAndExecute => 1,
            Self::Execute(clients) | Self::FloorByRow(clients) | Self::FloorGrouped(clients) => {
                clients
            }
        }
    }
}

impl fmt::Display for Figure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}, {} at once", self.title(), self.clients())
    }
}
