//! Ratios and the bounds that issue 2 sets them. The bench says whether they hold, and judges nothing.

use std::collections::BTreeMap;

use serde::Serialize;

use super::figure::Figure;
use super::series::{Round, Series, median};

/// Where a ratio should be.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
#[serde(rename_all = "snake_case")]
pub(super) enum Bound {
    /// Not above.
    AtMost(f64),
    /// Not below.
    AtLeast(f64),
}

impl Bound {
    /// Whether a value is there.
    pub(super) fn holds(self, value: f64) -> bool {
        match self {
            Self::AtMost(most) => value <= most,
            Self::AtLeast(least) => value >= least,
        }
    }
}

/// Two figures of the same rounds, one divided by the other.
#[derive(Debug, Clone, Serialize)]
pub(super) struct Ratio {
    /// What is divided by what.
    pub(super) title: &'static str,
    /// Median over the rounds.
    pub(super) value: f64,
    /// Of each round.
    pub(super) rounds: Vec<f64>,
    /// Where it should be.
    pub(super) bound: Bound,
    /// Whether it is there.
    pub(super) holds: bool,
}

/// A ratio to be made.
struct Wanted {
    title: &'static str,
    of: Figure,
    to: Figure,
    what: fn(&Round) -> f64,
    bound: Bound,
}

const P50: fn(&Round) -> f64 = |round| round.p50_ms;
const RATE: fn(&Round) -> f64 = |round| round.rate_per_s;

const WANTED: [Wanted; 4] = [
    Wanted {
        title: "p50 of open session / start R",
        of: Figure::Open,
        to: Figure::StartR,
        what: P50,
        bound: Bound::AtMost(1.0 / 50.0),
    },
    Wanted {
        title: "p50 of execute / floor row by row, 1 client",
        of: Figure::Execute(1),
        to: Figure::FloorByRow(1),
        what: P50,
        bound: Bound::AtMost(1.3),
    },
    Wanted {
        title: "rate of execute / floor row by row, 16 clients",
        of: Figure::Execute(16),
        to: Figure::FloorByRow(16),
        what: RATE,
        bound: Bound::AtLeast(0.75),
    },
    Wanted {
        title: "rate of execute / floor grouped, 64 clients (next goal)",
        of: Figure::Execute(64),
        to: Figure::FloorGrouped(64),
        what: RATE,
        bound: Bound::AtLeast(0.6),
    },
];

/// Every ratio whose figures were measured.
pub(super) fn all(measured: &BTreeMap<Figure, Series>) -> Vec<Ratio> {
    WANTED
        .iter()
        .filter_map(|wanted| ratio(wanted, measured))
        .collect()
}

fn ratio(wanted: &Wanted, measured: &BTreeMap<Figure, Series>) -> Option<Ratio> {
    let of = measured.get(&wanted.of)?.rounds();
    let to = measured.get(&wanted.to)?.rounds();
    let divide = |(of, to)| (wanted.what)(of) / (wanted.what)(to);
    let rounds: Vec<f64> = of.iter().zip(to).map(divide).collect();
    let value = median(&rounds)?;
    Some(Ratio {
        title: wanted.title,
        value,
        rounds,
        bound: wanted.bound,
        holds: wanted.bound.holds(value),
    })
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::super::series::Sample;
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
        let measured = BTreeMap::from([
            (Figure::Execute(1), series(&[2, 1, 2])),
            (Figure::FloorByRow(1), series(&[2, 2, 20])),
        ]);
        let ratios = all(&measured);
        assert_eq!(ratios.len(), 1);
        assert!((ratios[0].value - 0.5).abs() < 0.001);
        assert!(ratios[0].holds);
    }

    #[test]
    fn bounds_include_their_end() {
        assert!(Bound::AtMost(1.3).holds(1.3));
        assert!(!Bound::AtMost(1.3).holds(1.31));
        assert!(Bound::AtLeast(0.6).holds(0.6));
        assert!(!Bound::AtLeast(0.6).holds(0.59));
    }
}
