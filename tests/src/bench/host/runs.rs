//! What a session that is there does: its first answer, later ones, and how fast it prints.

use std::io;
use std::time::Instant;

use super::driver::{Parent, Values};
use super::forks::CODE;
use crate::bench::plan::Plan;
use crate::bench::series::Sample;

/// Children kept ready, as the worker's pool does.
const READY: usize = 4;
/// What one `cat` prints, in bytes.
const TEXT_BYTES: u64 = 1 << 20;

/// How long children that were ready take for the first thing that they are asked.
pub(super) fn firsts(parent: &mut Parent, plan: &Plan) -> io::Result<Sample> {
    let mut times = Vec::new();
    while times.len() < plan.forks as usize {
        let ready: io::Result<Vec<_>> = (0..READY).map(|_| parent.fork_ahead()).collect();
        for mut session in ready? {
            let began = Instant::now();
            session.run(CODE, Values::default())?;
            times.push(began.elapsed());
            parent.end(session)?;
        }
    }
    Ok(Sample::in_turn(times))
}

/// How long a session that has run something takes.
pub(super) fn warm(parent: &mut Parent, plan: &Plan) -> io::Result<Sample> {
    let mut session = parent.fork()?;
    session.run(CODE, Values::default())?;
    let mut times = Vec::new();
    for _ in 0..plan.evaluations {
        let began = Instant::now();
        session.run(CODE, Values::default())?;
        times.push(began.elapsed());
    }
    parent.end(session)?;
    Ok(Sample::in_turn(times))
}

/// Console text that arrives, in megabytes a second.
pub(super) fn console(parent: &mut Parent, plan: &Plan) -> io::Result<f64> {
    let mut session = parent.fork()?;
    session.run(
        "text <- strrep('a line of 16 b.\\n', 2^20 / 16)",
        Values::default(),
    )?;
    let (before, began) = (session.printed, Instant::now());
    let code = format!("for (i in 1:{}) cat(text)", plan.console_mib);
    session.run(&code, Values::default())?;
    let seconds = began.elapsed().as_secs_f64();
    let printed = session.printed - before;
    parent.end(session)?;
    if printed < u64::from(plan.console_mib) * TEXT_BYTES {
        return Err(io::Error::other("console text was lost"));
    }
    #[expect(clippy::cast_precision_loss, reason = "far below 2^52")]
    let megabytes = printed as f64 / 1e6;
    Ok(megabytes / seconds)
}
