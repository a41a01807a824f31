//! The bench: how long Warren takes, beside the least that the same promises cost on the same machine.
//!
//! Everything is measured in one run, round by round: each round measures each `Figure` once, so that what the machine
//! does meanwhile touches all of them alike. Ratios are made within a round, and the median over the rounds counts. The
//! `floor` keeps what Warren promises of a job (durable rows, confirmed messages) and has neither HTTP nor R.

mod cpu;
mod error;
mod figure;
mod floor;
mod http;
mod load;
mod machine;
mod plan;
mod ratio;
mod report;
mod series;
mod stage;
mod start_r;
mod table;
mod warren;

use std::collections::BTreeMap;

pub use error::BenchError;
pub use plan::Plan;
pub use report::Report;

use figure::Figure;
use machine::Machine;
use series::Series;
use stage::{Stage, Step};

/// Runs the whole bench. `progress` is told what is going on, a line at a time.
pub async fn run(plan: &Plan, progress: &dyn Fn(&str)) -> Result<Report, BenchError> {
    progress("starting Warren and the floor");
    let stage = Stage::set_up().await?;
    let machine = Machine::look(&stage).await;
    progress("warming up");
    for step in Step::all() {
        stage.measure(step, &plan.warm_up()).await?;
    }
    let mut measured: BTreeMap<Figure, Series> = BTreeMap::new();
    for round in 0..plan.rounds {
        progress(&format!("round {} of {}", round + 1, plan.rounds));
        for step in steps_of(round) {
            for (figure, sample) in stage.measure(step, plan).await? {
                progress(&format!("  {figure}: {sample}"));
                measured.entry(figure).or_default().add(&sample);
            }
        }
    }
    Ok(Report::new(plan, machine, &measured))
}

/// Forwards and backwards in turn, so that nothing always comes right after the same neighbour.
fn steps_of(round: u32) -> Vec<Step> {
    let mut steps = Step::all();
    if round % 2 == 1 {
        steps.reverse();
    }
    steps
}
