//! Clients that call again as soon as they are answered, all at once, for a bounded time.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use tokio::sync::Barrier;
use tokio::task::JoinSet;

use super::BenchError;
use super::plan::Plan;
use super::series::Sample;

/// One client.
pub(super) trait Caller: Send + 'static {
    /// Asks once, and waits for the answer.
    fn call(&mut self) -> impl Future<Output = Result<(), BenchError>> + Send;
}

/// What all clients share.
struct Race {
    start: Barrier,
    left: AtomicU64,
    span: Duration,
}

/// What one client saw.
struct Lap {
    nanos: Vec<u64>,
    began: Instant,
    ended: Instant,
}

/// Lets the clients call. Each calls once before it counts.
pub(super) async fn run<C: Caller>(callers: Vec<C>, plan: &Plan) -> Result<Sample, BenchError> {
    let clients = callers.len() as u64;
    let race = Arc::new(Race {
        start: Barrier::new(callers.len()),
        left: AtomicU64::new(plan.most_calls),
        span: plan.span(),
    });
    let mut tasks = JoinSet::new();
    for caller in callers {
        tasks.spawn(lap(caller, Arc::clone(&race)));
    }
    let mut laps = Vec::new();
    // The first error ends the others: they stop when the set is dropped.
    while let Some(done) = tasks.join_next().await {
        laps.push(done.map_err(|_died| BenchError::Died)??);
    }
    let began = laps.iter().map(|lap| lap.began).min();
    let ended = laps.iter().map(|lap| lap.ended).max();
    let elapsed = match (began, ended) {
        (Some(began), Some(ended)) => ended - began,
        _ => Duration::ZERO,
    };
    let nanos: Vec<u64> = laps.into_iter().flat_map(|lap| lap.nanos).collect();
    let calls = nanos.len() as u64 + clients;
    Ok(Sample::new(nanos, elapsed, calls))
}

async fn lap<C: Caller>(mut caller: C, race: Arc<Race>) -> Result<Lap, BenchError> {
    caller.call().await?;
    race.start.wait().await;
    let began = Instant::now();
    let mut nanos = Vec::with_capacity(4096);
    let mut ended = began;
    while ended - began < race.span && race.take() {
        let sent = Instant::now();
        caller.call().await?;
        ended = Instant::now();
        nanos.push(super::series::nanos(ended - sent));
    }
    Ok(Lap {
        nanos,
        began,
        ended,
    })
}

impl Race {
    /// Takes one of the calls that are left.
    fn take(&self) -> bool {
        let one_less = |left: u64| left.checked_sub(1);
        self.left
            .fetch_update(Ordering::Relaxed, Ordering::Relaxed, one_less)
            .is_ok()
    }
}
