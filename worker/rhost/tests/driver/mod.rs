//! Drives the real program over a real socket pair, as the worker does.
#![allow(
    dead_code,
    unused_imports,
    reason = "each test binary uses a part of it"
)]
#![allow(
    clippy::unwrap_used,
    reason = "a test that cannot go on should stop here"
)]

pub(crate) mod native;
mod parent;
mod service;
mod session;

use std::os::fd::{AsFd, OwnedFd};
use std::time::Duration;

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use warren_rhost::control::Exit;

pub(crate) use parent::Parent;
pub(crate) use service::Service;
pub(crate) use session::{Answer, Session};

/// No wait of a test is longer.
pub(crate) const PATIENCE: Duration = Duration::from_secs(30);

const MAX_FRAME: usize = 1 << 30;

/// The R expressions of the value tests.
pub(crate) fn corpus() -> Vec<&'static str> {
    include_str!("../values.R")
        .lines()
        .filter(|line| !line.is_empty() && !line.starts_with('#'))
        .collect()
}

/// Equal, with `1` and `1.0` the same number, and members in the same order. Numbers may differ by this much of themselves.
pub(crate) fn same(one: &serde_json::Value, other: &serde_json::Value, tolerance: f64) -> bool {
    use serde_json::Value::{Array, Number, Object};
    match (one, other) {
        (Number(a), Number(b)) => {
            let (a, b) = (a.as_f64().unwrap(), b.as_f64().unwrap());
            (a - b).abs() <= tolerance * a.abs()
        }
        (Array(a), Array(b)) => {
            a.len() == b.len() && a.iter().zip(b).all(|(a, b)| same(a, b, tolerance))
        }
        (Object(a), Object(b)) => {
            a.len() == b.len()
                && a.iter()
                    .zip(b)
                    .all(|((m, a), (n, b))| m == n && same(a, b, tolerance))
        }
        _ => one == other,
    }
}

/// The end of a child by a signal, for no reason that the host knows.
pub(crate) fn killed_by(signal: i32) -> Exit {
    Exit::Signal {
        signal,
        out_of_memory: false,
        stack_overflow: false,
    }
}

/// Reading end and writing end.
pub(crate) fn pipe() -> (OwnedFd, OwnedFd) {
    rustix::pipe::pipe_with(rustix::pipe::PipeFlags::CLOEXEC).unwrap()
}

/// Whether the descriptor has something to say within the time.
pub(crate) fn readable(descriptor: impl AsFd, within: Duration) -> bool {
    let mut ready = [PollFd::new(&descriptor, PollFlags::IN)];
    let within = Timespec::try_from(within).unwrap();
    poll(&mut ready, Some(&within)).unwrap() > 0
        && ready[0]
            .revents()
            .intersects(PollFlags::IN | PollFlags::HUP)
        && !(ready[0].revents() == PollFlags::HUP)
}
