//! Ratios and the bounds that the project sets them. The bench says whether they hold, and judges nothing.

use serde::Serialize;

use super::figure::{Figure, Program, Quantity, Table, Way};
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

/// Two things of the same rounds, one divided by the other; or one alone, beside a bound of its own.
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

/// What a ratio is made of.
#[derive(Debug, Clone, Copy)]
enum Term {
    /// Median time, in milliseconds.
    P50(Figure),
    /// Calls a second.
    Rate(Figure),
    /// An amount.
    Amount(Quantity),
    /// Of a bound that is no ratio: 1.
    Unit,
}

use Term::{Amount, P50, Rate, Unit};

/// 32 MiB in megabytes.
const MIB_32: f64 = 33.554_432;

/// Title, what is divided, by what, and where it should be.
type Wanted = (&'static str, Term, Term, Bound);

const WANTED: [Wanted; 37] = [
    (
        "rate of fork, 1+1, end / bare fork, all parents",
        Rate(Figure::Lives),
        Rate(Figure::BareLives),
        Bound::AtLeast(0.6),
    ),
    (
        "p50 of fork on demand + 1+1 / bare fork",
        P50(Figure::Fork),
        P50(Figure::BareFork),
        Bound::AtMost(2.0),
    ),
    (
        "p50 of the first 1+1 of a ready child, ms",
        P50(Figure::FirstAnswer),
        Unit,
        Bound::AtMost(0.5),
    ),
    (
        "p50 of a warm 1+1, ms",
        P50(Figure::WarmAnswer),
        Unit,
        Bound::AtMost(0.15),
    ),
    (
        "p50 of R to JSON, ms",
        P50(Figure::ToJson),
        Unit,
        Bound::AtMost(1000.0),
    ),
    (
        "p50 of JSON to R, ms",
        P50(Figure::FromJson),
        Unit,
        Bound::AtMost(1000.0),
    ),
    (
        "p50 of R to JSON / jsonlite",
        P50(Figure::ToJson),
        P50(Figure::JsonliteTo),
        Bound::AtMost(1.0),
    ),
    (
        "p50 of JSON to R / jsonlite",
        P50(Figure::FromJson),
        P50(Figure::JsonliteFrom),
        Bound::AtMost(1.0),
    ),
    (
        "console text, MB/s",
        Amount(Quantity::Console),
        Unit,
        Bound::AtLeast(50.0),
    ),
    (
        "memory of an idle session / plain R, 10 alive",
        Amount(Quantity::Idle(10)),
        Amount(Quantity::PlainR),
        Bound::AtMost(1.0 / 40.0),
    ),
    (
        "memory of an idle session / plain R, 100 alive",
        Amount(Quantity::Idle(100)),
        Amount(Quantity::PlainR),
        Bound::AtMost(1.0 / 40.0),
    ),
    (
        "memory after an lm / plain R, 10 alive",
        Amount(Quantity::Fitted(10)),
        Amount(Quantity::PlainR),
        Bound::AtMost(1.0 / 10.0),
    ),
    (
        "memory after an lm / plain R, 100 alive",
        Amount(Quantity::Fitted(100)),
        Amount(Quantity::PlainR),
        Bound::AtMost(1.0 / 10.0),
    ),
    (
        "p50 of open session / start R",
        P50(Figure::Open),
        P50(Figure::StartR),
        Bound::AtMost(1.0 / 50.0),
    ),
    (
        "p50 of open session + first 1+1 / start R",
        P50(Figure::OpenAndExecute),
        P50(Figure::StartR),
        Bound::AtMost(1.0 / 50.0),
    ),
    (
        "p50 of execute / floor row by row, 1 client",
        P50(Figure::Execute(1)),
        P50(Figure::FloorByRow(1)),
        Bound::AtMost(1.3),
    ),
    (
        "rate of execute / floor row by row, 16 clients",
        Rate(Figure::Execute(16)),
        Rate(Figure::FloorByRow(16)),
        Bound::AtLeast(0.75),
    ),
    (
        "rate of execute / floor grouped, 64 clients (next goal)",
        Rate(Figure::Execute(64)),
        Rate(Figure::FloorGrouped(64)),
        Bound::AtLeast(0.6),
    ),
    (
        "rate of call add / plumber, 16 clients",
        Rate(Figure::Add(16)),
        Rate(Figure::PlumberAdd(16)),
        Bound::AtLeast(2.5),
    ),
    (
        "rate of call add / plumber, 64 clients",
        Rate(Figure::Add(64)),
        Rate(Figure::PlumberAdd(64)),
        Bound::AtLeast(3.5),
    ),
    (
        "rate of call predict / plumber, 16 clients",
        Rate(Figure::Predict(16)),
        Rate(Figure::PlumberPredict(16)),
        Bound::AtLeast(1.25),
    ),
    (
        "p50 of call add / plumber, 1 client",
        P50(Figure::Add(1)),
        P50(Figure::PlumberAdd(1)),
        Bound::AtMost(0.9),
    ),
    (
        "p50 of call predict / plumber, 1 client",
        P50(Figure::Predict(1)),
        P50(Figure::PlumberPredict(1)),
        Bound::AtMost(0.9),
    ),
    (
        "p50 of a call with a model of 200 MB / call add, 1 client",
        P50(Figure::CallLarge),
        P50(Figure::Add(1)),
        Bound::AtMost(4.0),
    ),
    (
        "records of a batch / rate of call add, 16 clients",
        Amount(Quantity::Records),
        Rate(Figure::Add(16)),
        Bound::AtLeast(1.0),
    ),
    (
        "throughput of a file up / PUT to the store",
        Amount(Quantity::File(Way::Up)),
        Amount(Quantity::Store(Way::Up)),
        Bound::AtLeast(0.4),
    ),
    (
        "throughput of a file down / GET from the store",
        Amount(Quantity::File(Way::Down)),
        Amount(Quantity::Store(Way::Down)),
        Bound::AtLeast(0.4),
    ),
    (
        "growth of the API, file up, MB",
        Amount(Quantity::Growth(Program::Api, Way::Up)),
        Unit,
        Bound::AtMost(MIB_32),
    ),
    (
        "growth of the API, file down, MB",
        Amount(Quantity::Growth(Program::Api, Way::Down)),
        Unit,
        Bound::AtMost(MIB_32),
    ),
    (
        "growth of the worker, file up, MB",
        Amount(Quantity::Growth(Program::Worker, Way::Up)),
        Unit,
        Bound::AtMost(MIB_32),
    ),
    (
        "growth of the worker, file down, MB",
        Amount(Quantity::Growth(Program::Worker, Way::Down)),
        Unit,
        Bound::AtMost(MIB_32),
    ),
    (
        "p50 of execute, 1,000 sessions open / one",
        P50(Figure::ExecuteBeside(1000)),
        P50(Figure::ExecuteBeside(1)),
        Bound::AtMost(2.0),
    ),
    (
        "create and load snapshot / R's save and load + copies",
        P50(Figure::CreateAndLoadSnapshot),
        P50(Figure::SaveLoadAndCopy),
        Bound::AtMost(1.5),
    ),
    (
        "R's save.image() and zip / create snapshot",
        P50(Figure::SaveImageAndZip),
        P50(Figure::CreateSnapshot),
        Bound::AtLeast(5.0),
    ),
    (
        "p50 of execute, many finished jobs / empty table",
        P50(Figure::ExecuteAmong(Table::Full)),
        P50(Figure::ExecuteAmong(Table::Empty)),
        Bound::AtMost(1.2),
    ),
    (
        "p50 of the first page of GET /jobs, many finished jobs / empty table",
        P50(Figure::ListAmong(Table::Full)),
        P50(Figure::ListAmong(Table::Empty)),
        Bound::AtMost(1.2),
    ),
    (
        "p50 of the same of an owner of few, many finished jobs / empty table",
        P50(Figure::ListOfFew(Table::Full)),
        P50(Figure::ListOfFew(Table::Empty)),
        Bound::AtMost(1.2),
    ),
];

/// Every ratio whose parts were measured.
pub(super) fn all(measured: &Measured) -> Vec<Ratio> {
    WANTED
        .iter()
        .filter_map(|wanted| ratio(wanted, measured))
        .collect()
}

fn ratio((title, of, to, bound): &Wanted, measured: &Measured) -> Option<Ratio> {
    let of = of.rounds(measured)?;
    let to = match to {
        Unit => vec![1.0; of.len()],
        peer => peer.rounds(measured)?,
    };
    let rounds: Vec<f64> = of.iter().zip(to).map(|(of, to)| of / to).collect();
    let value = median(&rounds)?;
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
            P50(figure) => of(figure, |round| round.p50_ms),
            Rate(figure) => of(figure, |round| round.rate_per_s),
            Amount(quantity) => measured.amounts.get(&quantity).cloned(),
            Unit => None,
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
    }
}
