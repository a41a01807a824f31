//! Ratios and the bounds that the project sets them. The bench says whether they hold, and judges nothing.

mod wanted;

use serde::Serialize;

use self::wanted::{WANTED, Wanted};
use super::figure::{Figure, Quantity};
use super::report::Measured;
use super::series::{Round, median};

/// Where a ratio should be.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
#[serde(rename_all = "snake_case")]
pub(super) enum Bound {
    /// Not above.
    AtMost(f64),
    /// Not below.
    AtLeast(f64),
    /// Neither below nor above.
    Between(f64, f64),
}

impl Bound {
    /// Whether a value is there.
    pub(super) fn holds(self, value: f64) -> bool {
        match self {
            Self::AtMost(most) => value <= most,
            Self::AtLeast(least) => value >= least,
            Self::Between(least, most) => (least..=most).contains(&value),
        }
    }
}

/// Two things of the same rounds, one divided by the other; or one alone, beside a bound of its own.
#[derive(Debug, Clone, Serialize)]
pub(super) struct Ratio {
    /// What is divided by what.
    pub(super) title: &'static str,
    /// Median over the rounds, or the largest where none may be larger.
    pub(super) value: f64,
    /// Of each round.
    pub(super) rounds: Vec<f64>,
    /// Where it should be.
    pub(super) bound: Bound,
    /// Whether it is there.
    pub(super) holds: bool,
}

/// What a ratio is made of.
#[derive(Debug, Clone, Copy)]
enum Term {
    /// Median time, in milliseconds.
    P50(Figure),
    /// Longest time, in milliseconds.
    Longest(Figure),
    /// Calls a second.
    Rate(Figure),
    /// An amount.
    Amount(Quantity),
    /// Of a bound that is no ratio: 1.
    Unit,
}

/// Every ratio whose parts were measured.
pub(super) fn all(measured: &Measured) -> Vec<Ratio> {
    WANTED
        .iter()
        .filter_map(|wanted| ratio(wanted, measured))
        .collect()
}

fn ratio((title, of, to, bound): &Wanted, measured: &Measured) -> Option<Ratio> {
    let dividends = of.rounds(measured)?;
    let divisors = match to {
        Term::Unit => vec![1.0; dividends.len()],
        peer => peer.rounds(measured)?,
    };
    let pairs = dividends.iter().zip(divisors);
    let rounds: Vec<f64> = pairs.map(|(of, to)| of / to).collect();
    let value = of.over(&rounds)?;
    Some(Ratio {
        title,
        value,
        rounds,
        bound: *bound,
        holds: bound.holds(value),
    })
}

impl Term {
    /// Its value in each round; none when it was not measured.
    fn rounds(self, measured: &Measured) -> Option<Vec<f64>> {
        let of = |figure, what: fn(&Round) -> f64| {
            let series = measured.times.get(&figure)?;
            Some(series.rounds().iter().map(what).collect())
        };
        match self {
            Self::P50(figure) => of(figure, |round| round.p50_ms),
            Self::Longest(figure) => of(figure, |round| round.longest_ms),
            Self::Rate(figure) => of(figure, |round| round.rate_per_s),
            Self::Amount(quantity) => measured.amounts.get(&quantity).cloned(),
            Self::Unit => None,
        }
    }

    /// What counts of all rounds.
    fn over(self, rounds: &[f64]) -> Option<f64> {
        match self {
            Self::Longest(_) => rounds.iter().copied().reduce(f64::max),
            Self::Amount(quantity) => quantity.over(rounds),
            _ => median(rounds),
        }
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::super::series::{Sample, Series};
    use super::*;

    fn series(ms: &[u64]) -> Series {
        let mut series = Series::default();
        for ms in ms {
            series.add(&Sample::in_turn(vec![Duration::from_millis(*ms); 3]));
        }
        series
    }

    #[test]
    fn a_ratio_is_made_within_each_round() {
        // The medians of both are 2 ms; round by round the ratios are 1, 0.5 and 0.1.
        let mut measured = Measured::default();
        measured
            .times
            .insert(Figure::Execute(1), series(&[2, 1, 2]));
        measured
            .times
            .insert(Figure::FloorByRow(1), series(&[2, 2, 20]));
        let ratios = all(&measured);
        assert_eq!(ratios.len(), 1);
        assert!((ratios[0].value - 0.5).abs() < 0.001);
        assert!(ratios[0].holds);
    }

    #[test]
    fn a_bound_without_a_peer_is_held_against_the_thing_itself() {
        let mut measured = Measured::default();
        measured
            .times
            .insert(Figure::WarmAnswer, series(&[1, 2, 3]));
        measured
            .amounts
            .insert(Quantity::Console, vec![80.0, 40.0, 60.0]);
        let ratios = all(&measured);
        let values: Vec<f64> = ratios.iter().map(|ratio| ratio.value).collect();
        assert_eq!(values, [2.0, 60.0]);
        assert_eq!([ratios[0].holds, ratios[1].holds], [false, true]);
    }

    #[test]
    fn what_may_never_be_exceeded_is_judged_by_its_worst_round() {
        let mut measured = Measured::default();
        let series = series(&[1, 1200, 2]);
        measured.times.insert(Figure::RefusedElsewhere, series);
        let accepted = vec![0.0, 1.0, 0.0];
        measured.amounts.insert(Quantity::AcceptedHere, accepted);
        let ratios = all(&measured);
        let values: Vec<f64> = ratios.iter().map(|ratio| ratio.value).collect();
        assert_eq!(values, [1200.0, 1.0]);
        assert!(ratios.iter().all(|ratio| !ratio.holds));
    }

    #[test]
    fn what_is_divided_by_something_that_was_not_measured_is_left_out() {
        let mut measured = Measured::default();
        measured.times.insert(Figure::Fork, series(&[1]));
        assert!(all(&measured).is_empty());
    }

    #[test]
    fn bounds_include_their_end() {
        assert!(Bound::AtMost(1.3).holds(1.3));
        assert!(!Bound::AtMost(1.3).holds(1.31));
        assert!(Bound::AtLeast(0.6).holds(0.6));
        assert!(!Bound::AtLeast(0.6).holds(0.59));
        assert!(Bound::Between(0.8, 1.25).holds(0.8));
        assert!(Bound::Between(0.8, 1.25).holds(1.25));
        assert!(!Bound::Between(0.8, 1.25).holds(0.79));
        assert!(!Bound::Between(0.8, 1.25).holds(1.26));
    }
}
