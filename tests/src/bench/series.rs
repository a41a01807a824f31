//! Samples of one round, and what becomes of them over the rounds.

use std::fmt;
use std::time::Duration;

use hdrhistogram::Histogram;
use serde::Serialize;

use super::cpu::Spent;

/// The shortest and the longest time that are told apart, in nanoseconds.
const BOUNDS: (u64, u64) = (100, 120_000_000_000);
/// Digits that are kept of a time.
const DIGITS: u8 = 3;

/// A time as nanoseconds.
pub(super) fn nanos(time: Duration) -> u64 {
    u64::try_from(time.as_nanos()).unwrap_or(u64::MAX)
}

/// Nanoseconds as milliseconds.
pub(super) fn millis(nanos: u64) -> f64 {
    Duration::from_nanos(nanos).as_secs_f64() * 1e3
}

/// The middle one; the mean of both when there are two.
pub(super) fn median(values: &[f64]) -> Option<f64> {
    let mut sorted = values.to_vec();
    sorted.sort_by(f64::total_cmp);
    let upper = *sorted.get(sorted.len() / 2)?;
    let lower = *sorted.get((sorted.len() - 1) / 2)?;
    Some(f64::midpoint(lower, upper))
}

/// One figure in one round.
pub(super) struct Sample {
    /// Every time, sorted.
    nanos: Vec<u64>,
    elapsed: Duration,
    calls: u64,
    /// CPU time of everybody meanwhile.
    pub(super) spent: Spent,
}

impl Sample {
    /// Times of calls that took `elapsed` together; `calls` counts those that were not timed as well.
    pub(super) fn new(mut nanos: Vec<u64>, elapsed: Duration, calls: u64) -> Self {
        nanos.sort_unstable();
        Self {
            nanos,
            elapsed,
            calls,
            spent: Spent::default(),
        }
    }

    /// Times of calls one after another, with something else between them.
    pub(super) fn in_turn(times: Vec<Duration>) -> Self {
        let elapsed = times.iter().sum();
        let calls = times.len() as u64;
        Self::new(times.into_iter().map(nanos).collect(), elapsed, calls)
    }

    fn round(&self) -> Round {
        Round {
            p50_ms: self
                .nanos
                .get(self.nanos.len() / 2)
                .copied()
                .map_or(0.0, millis),
            longest_ms: self.nanos.last().copied().map_or(0.0, millis),
            rate_per_s: whole(self.nanos.len() as u64) / self.elapsed.as_secs_f64().max(1e-9),
        }
    }
}

impl fmt::Display for Sample {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Round {
            p50_ms, rate_per_s, ..
        } = self.round();
        write!(f, "p50 {p50_ms:.3} ms, {rate_per_s:.0} /s")
    }
}

/// One figure in one round, in short.
#[derive(Debug, Clone, Copy, Serialize)]
pub(super) struct Round {
    /// Median time.
    pub(super) p50_ms: f64,
    /// Longest time.
    pub(super) longest_ms: f64,
    /// Calls a second.
    pub(super) rate_per_s: f64,
}

/// One figure over the rounds.
pub(super) struct Series {
    pooled: Histogram<u64>,
    rounds: Vec<Round>,
    calls: u64,
    spent: Spent,
}

impl Default for Series {
    fn default() -> Self {
        let (low, high) = BOUNDS;
        Self {
            pooled: Histogram::new_with_bounds(low, high, DIGITS)
                .expect("these bounds make a histogram"),
            rounds: Vec::new(),
            calls: 0,
            spent: Spent::default(),
        }
    }
}

impl Series {
    /// Adds a round.
    pub(super) fn add(&mut self, sample: &Sample) {
        for nanos in &sample.nanos {
            self.pooled.saturating_record(*nanos);
        }
        self.rounds.push(sample.round());
        self.calls += sample.calls;
        self.spent.add(&sample.spent);
    }

    /// The time that this share of all calls stayed below.
    pub(super) fn quantile_ms(&self, quantile: f64) -> f64 {
        millis(self.pooled.value_at_quantile(quantile))
    }

    /// Calls that were timed.
    pub(super) fn samples(&self) -> u64 {
        self.pooled.len()
    }

    /// Calls a second, median of the rounds.
    pub(super) fn rate_per_s(&self) -> f64 {
        let rates: Vec<f64> = self.rounds.iter().map(|round| round.rate_per_s).collect();
        median(&rates).unwrap_or_default()
    }

    /// Every round.
    pub(super) fn rounds(&self) -> &[Round] {
        &self.rounds
    }

    /// CPU time a call, in milliseconds, of everybody who could be found.
    pub(super) fn cpu_ms_per_call(&self) -> Vec<(&'static str, f64)> {
        let calls = whole(self.calls.max(1));
        self.spent
            .parts()
            .map(|(part, spent)| (part, spent.as_secs_f64() * 1e3 / calls))
            .collect()
    }
}

/// A count as a number that can be divided; exact far beyond any count of a bench.
#[expect(clippy::cast_precision_loss, reason = "counts stay far below 2^52")]
fn whole(count: u64) -> f64 {
    count as f64
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_median_needs_no_order() {
        assert_eq!(median(&[3.0, 1.0, 2.0]), Some(2.0));
        assert_eq!(median(&[4.0, 1.0, 2.0, 3.0]), Some(2.5));
        assert_eq!(median(&[]), None);
    }

    #[test]
    fn rounds_are_pooled_for_quantiles_and_kept_for_rates() {
        let mut series = Series::default();
        for (ms, calls) in [(1, 10), (3, 30)] {
            let times = vec![Duration::from_millis(ms); calls];
            series.add(&Sample::in_turn(times));
        }
        assert_eq!(series.samples(), 40);
        assert!((series.quantile_ms(0.5) - 3.0).abs() < 0.01);
        assert!((series.quantile_ms(0.2) - 1.0).abs() < 0.01);
        assert!((series.rate_per_s() - f64::midpoint(1000.0, 1000.0 / 3.0)).abs() < 1.0);
    }
}
