//! What breaks, by the throw of dice that a seed decides.

use std::time::{SystemTime, UNIX_EPOCH};

/// A fault; one that lasts does so for as many turns as it says.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Fault {
    /// A worker is killed.
    KillWorker,
    /// A worker stands still for longer than its lease, and wakes up.
    FreezeWorker,
    /// A worker stands still for a moment.
    PauseWorker,
    /// A worker is told to stop.
    DrainWorker,
    /// An R host, the parent of sessions' processes, is killed.
    KillParent,
    /// An API node is killed.
    KillApi,
    /// Nobody reaches RabbitMQ.
    CutBroker(usize),
    /// Nobody reaches PostgreSQL.
    CutPostgres(usize),
    /// Workers do not reach PostgreSQL, API nodes do.
    CutWorkersOff(usize),
    /// Statements arrive at PostgreSQL, and their answers get lost.
    MutePostgres,
}

impl Fault {
    /// One of them.
    pub(super) fn thrown(dice: &mut Dice) -> Self {
        let turns = 1 + dice.throw(2);
        match dice.throw(13) {
            0 => Self::KillWorker,
            1 => Self::FreezeWorker,
            2 => Self::PauseWorker,
            3 => Self::DrainWorker,
            4 => Self::KillParent,
            5 | 6 => Self::KillApi,
            7 | 8 => Self::CutBroker(turns),
            9 => Self::CutPostgres(turns),
            10 => Self::CutWorkersOff(turns),
            _ => Self::MutePostgres,
        }
    }
}

/// Numbers that look thrown and follow from a seed (xorshift).
pub(super) struct Dice {
    seed: u64,
    state: u64,
}

impl Dice {
    /// The seed of `WARREN_TEST_SEED`, or another one every time.
    pub(super) fn from_environment() -> Self {
        let given = std::env::var("WARREN_TEST_SEED").ok();
        let seed = match given {
            Some(text) => text.parse().expect("WARREN_TEST_SEED is a number"),
            None => SystemTime::now()
                .duration_since(UNIX_EPOCH)
                .map_or(1, |now| u64::from(now.subsec_nanos())),
        };
        // Zero would stay zero.
        let state = seed.wrapping_mul(0x9E37_79B9_7F4A_7C15) | 1;
        Self { seed, state }
    }

    pub(super) const fn seed(&self) -> u64 {
        self.seed
    }

    /// A number below `sides`.
    pub(super) fn throw(&mut self, sides: usize) -> usize {
        self.state ^= self.state << 13;
        self.state ^= self.state >> 7;
        self.state ^= self.state << 17;
        usize::try_from(self.state >> 33).unwrap_or_default() % sides
    }
}
