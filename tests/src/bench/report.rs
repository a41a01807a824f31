//! What a run found, for machines as it is and for people as a table.

use std::collections::BTreeMap;
use std::fmt;

use serde::{Serialize, Serializer};

use super::figure::{Figure, Quantity};
use super::machine::Machine;
use super::plan::Plan;
use super::ratio::{self, Bound, Ratio};
use super::series::{Round, Series};
use super::stage::Found;
use super::table::Table;

/// What all rounds found.
#[derive(Default)]
pub(super) struct Measured {
    pub(super) times: BTreeMap<Figure, Series>,
    /// One of each round.
    pub(super) amounts: BTreeMap<Quantity, Vec<f64>>,
}

impl Measured {
    /// Adds what a round found.
    pub(super) fn add(&mut self, found: &Found) {
        match found {
            Found::Times(figure, sample) => self.times.entry(*figure).or_default().add(sample),
            Found::Amount(quantity, amount) => {
                self.amounts.entry(*quantity).or_default().push(*amount);
            }
        }
    }
}

/// Everything a run found.
#[derive(Debug, Clone, Serialize)]
pub struct Report {
    machine: Machine,
    plan: Plan,
    figures: Vec<Row>,
    amounts: Vec<Amount>,
    ratios: Vec<Ratio>,
}

/// One figure.
#[derive(Debug, Clone, Serialize)]
struct Row {
    name: &'static str,
    #[serde(skip)]
    title: &'static str,
    clients: usize,
    p50_ms: f64,
    p99_ms: f64,
    rate_per_s: f64,
    samples: u64,
    rounds: Vec<Round>,
    /// CPU time a call, by who spent it.
    #[serde(skip_serializing_if = "Vec::is_empty", serialize_with = "as_map")]
    cpu_ms_per_call: Vec<(&'static str, f64)>,
}

/// One amount.
#[derive(Debug, Clone, Serialize)]
struct Amount {
    name: String,
    unit: &'static str,
    /// Median of the rounds, or the worst.
    value: f64,
    rounds: Vec<f64>,
}

impl Amount {
    fn new(quantity: Quantity, rounds: &[f64]) -> Self {
        Self {
            name: quantity.to_string(),
            unit: quantity.unit(),
            value: quantity.over(rounds).unwrap_or_default(),
            rounds: rounds.to_vec(),
        }
    }
}

/// Pairs as an object, in their own order.
fn as_map<S: Serializer>(pairs: &[(&'static str, f64)], serializer: S) -> Result<S::Ok, S::Error> {
    serializer.collect_map(pairs.iter().copied())
}

impl Row {
    fn new(figure: Figure, series: &Series) -> Self {
        Self {
            name: figure.name(),
            title: figure.title(),
            clients: figure.clients(),
            p50_ms: series.quantile_ms(0.5),
            p99_ms: series.quantile_ms(0.99),
            rate_per_s: series.rate_per_s(),
            samples: series.samples(),
            rounds: series.rounds().to_vec(),
            cpu_ms_per_call: series.cpu_ms_per_call(),
        }
    }
}

impl Report {
    /// Puts together what was measured.
    pub(super) fn new(plan: &Plan, machine: Machine, measured: &Measured) -> Self {
        let rows = measured.times.iter();
        let amounts = measured.amounts.iter();
        Self {
            machine,
            plan: plan.clone(),
            figures: rows
                .map(|(figure, series)| Row::new(*figure, series))
                .collect(),
            amounts: amounts
                .map(|(quantity, rounds)| Amount::new(*quantity, rounds))
                .collect(),
            ratios: ratio::all(measured),
        }
    }

    fn figures(&self) -> Table {
        let mut table = Table::new(&["", "clients", "p50 ms", "p99 ms", "per s", "calls"]);
        for row in &self.figures {
            table.row(vec![
                row.title.to_owned(),
                row.clients.to_string(),
                format!("{:.2}", row.p50_ms),
                format!("{:.2}", row.p99_ms),
                format!("{:.0}", row.rate_per_s),
                row.samples.to_string(),
            ]);
        }
        table
    }

    /// Nothing when no group has amounts.
    fn amounts(&self) -> Option<Table> {
        self.amounts.first()?;
        let mut table = Table::new(&["", "median", ""]);
        for amount in &self.amounts {
            table.row(vec![
                amount.name.clone(),
                format!("{:.2}", amount.value),
                amount.unit.to_owned(),
            ]);
        }
        Some(table)
    }

    fn ratios(&self) -> Table {
        let mut table = Table::new(&["ratio", "measured", "bound", ""]);
        for ratio in &self.ratios {
            let bound = match ratio.bound {
                Bound::AtMost(most) => format!("at most {most}"),
                Bound::AtLeast(least) => format!("at least {least}"),
                Bound::Between(least, most) => format!("{least} to {most}"),
            };
            let verdict = if ratio.holds { "holds" } else { "missed" };
            table.row(vec![
                ratio.title.to_owned(),
                format!("{:.3}", ratio.value),
                bound,
                verdict.to_owned(),
            ]);
        }
        table
    }

    /// CPU time; nothing when nobody could be found.
    fn cpu(&self) -> Option<Table> {
        let rows = || {
            self.figures
                .iter()
                .filter(|row| !row.cpu_ms_per_call.is_empty())
        };
        let parts = rows().next()?.cpu_ms_per_call.iter();
        let mut heads = vec!["CPU ms a call", "clients"];
        heads.extend(parts.map(|(part, _)| *part));
        heads.push("all");
        let mut table = Table::new(&heads);
        for row in rows() {
            let mut cells = vec![row.title.to_owned(), row.clients.to_string()];
            let spent = row.cpu_ms_per_call.iter().map(|(_, ms)| *ms);
            cells.extend(spent.clone().map(|ms| format!("{ms:.2}")));
            cells.push(format!("{:.2}", spent.sum::<f64>()));
            table.row(cells);
        }
        Some(table)
    }
}

impl fmt::Display for Machine {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(
            f,
            "{} UTC, {} cores, {}, Linux {}",
            self.date, self.cores, self.cpu, self.kernel
        )?;
        write!(
            f,
            "R {}, PostgreSQL {}, RabbitMQ {}",
            self.r, self.postgresql, self.rabbitmq
        )?;
        if !self.durable {
            write!(f, "\nPostgreSQL does not wait for the disk: not comparable")?;
        }
        if !self.release {
            write!(f, "\nThese programs are not optimised: not comparable")?;
        }
        Ok(())
    }
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "{}", self.machine)?;
        writeln!(
            f,
            "{} rounds; p50 and p99 of all calls, rates and ratios as medians of the rounds",
            self.plan.rounds
        )?;
        write!(f, "\n{}", self.figures())?;
        if let Some(amounts) = self.amounts() {
            write!(f, "\n{amounts}")?;
        }
        write!(f, "\n{}", self.ratios())?;
        match self.cpu() {
            Some(cpu) => write!(f, "\n{cpu}"),
            None => Ok(()),
        }
    }
}
