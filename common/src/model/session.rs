//! Sessions: where they stand.

use super::{IllegalMove, words};

words! {
    /// Where a session stands. `docs/STATES.md` has the picture, the table `sessions` the same words.
    SessionState, "session state" {
        /// Asked for; no worker holds it yet.
        Opening = "opening",
        /// A worker holds its R process.
        Open = "open",
        /// Asked to close; the worker has not confirmed yet.
        Closing = "closing",
        /// Ended on request or by a rule.
        Closed = "closed",
        /// Its R process or its worker vanished.
        Lost = "lost",
    }
}

impl SessionState {
    /// True while it may hold an R process.
    pub const fn is_live(self) -> bool {
        matches!(self, Self::Opening | Self::Open | Self::Closing)
    }

    /// The move to `next`, if the state machine has it.
    pub const fn to(self, next: Self) -> Result<Self, IllegalMove> {
        let legal = match self {
            Self::Opening => matches!(next, Self::Open | Self::Closed),
            Self::Open => matches!(next, Self::Closing | Self::Closed | Self::Lost),
            Self::Closing => matches!(next, Self::Closed | Self::Lost),
            Self::Closed | Self::Lost => false,
        };
        if legal {
            Ok(next)
        } else {
            Err(IllegalMove {
                from: self.word(),
                to: next.word(),
            })
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_ended_session_never_moves() {
        for next in SessionState::ALL {
            assert!(SessionState::Closed.to(*next).is_err());
            assert!(SessionState::Lost.to(*next).is_err());
        }
    }

    #[test]
    fn only_an_opening_session_opens() {
        let openers: Vec<_> = SessionState::ALL
            .iter()
            .filter(|state| state.to(SessionState::Open).is_ok())
            .collect();
        assert_eq!(openers, [&SessionState::Opening]);
    }
}
