//! The bench: how long Warren takes, beside the least that the same promises cost on the same machine.
//!
//! Everything is measured in one run, group by group: those of a [`Group`] that are compared with each other are measured
//! round by round, each once a round, so that what the machine does meanwhile touches all of them alike. Ratios are made
//! within a round, and the median over the rounds counts. The `floor` keeps what Warren promises of a job (durable rows,
//! confirmed messages) and has neither HTTP nor R. The R host is measured at its own door, beside forks of the same parents
//! that do nothing, jsonlite, and an R of its own.

mod api;
mod auth;
mod cpu;
mod error;
mod figure;
mod files;
mod fleet;
mod floor;
mod group;
mod host;
mod http;
mod load;
mod machine;
mod memory;
mod plan;
mod ratio;
mod report;
mod rows;
mod series;
mod services;
mod sessions;
mod snapshots;
mod stage;
mod start_r;
mod table;
mod warren;

pub use error::BenchError;
pub use group::Group;
pub use plan::Plan;
pub use report::Report;

use api::ApiStage;
use auth::AuthStage;
use files::FilesStage;
use fleet::FleetStage;
use host::HostStage;
use machine::Machine;
use report::Measured;
use rows::RowsStage;
use services::ServicesStage;
use sessions::SessionsStage;
use snapshots::SnapshotsStage;
use stage::{Found, Stage};

/// Hears what is going on, a line at a time.
type Progress<'a> = &'a dyn Fn(&str);

/// Runs these groups, one after another.
pub async fn run(
    plan: &Plan,
    groups: &[Group],
    progress: Progress<'_>,
) -> Result<Report, BenchError> {
    let machine = Machine::look().await;
    let mut measured = Measured::default();
    for group in groups {
        progress(&format!("starting what `{group}` needs"));
        match group {
            Group::Host => rounds(HostStage::set_up()?, plan, progress, &mut measured).await?,
            Group::Api => rounds(ApiStage::set_up().await?, plan, progress, &mut measured).await?,
            Group::Services => {
                let stage = ServicesStage::set_up().await?;
                if !stage.has_plumber() {
                    progress(
                        "plumber is not installed (r-cran-plumber): services are measured alone",
                    );
                }
                rounds(stage, plan, progress, &mut measured).await?;
            }
            Group::Files => {
                let stage = FilesStage::set_up().await?;
                rounds(stage, plan, progress, &mut measured).await?;
            }
            Group::Sessions => {
                let stage = SessionsStage::set_up().await?;
                rounds(stage, plan, progress, &mut measured).await?;
            }
            Group::Snapshots => {
                let stage = SnapshotsStage::set_up().await?;
                rounds(stage, plan, progress, &mut measured).await?;
            }
            Group::Rows => {
                let stage = RowsStage::set_up(plan.rows).await?;
                rounds(stage, plan, progress, &mut measured).await?;
            }
            Group::Fleet => {
                rounds(FleetStage::set_up().await?, plan, progress, &mut measured).await?;
            }
            Group::Auth => {
                rounds(AuthStage::set_up().await?, plan, progress, &mut measured).await?;
            }
        }
    }
    Ok(Report::new(plan, machine, &measured))
}

async fn rounds<S: Stage>(
    stage: S,
    plan: &Plan,
    progress: Progress<'_>,
    measured: &mut Measured,
) -> Result<(), BenchError> {
    progress("warming up");
    for step in S::steps() {
        stage.measure(step, &plan.warm_up()).await?;
    }
    for round in 0..plan.rounds {
        progress(&format!("round {} of {}", round + 1, plan.rounds));
        for step in steps_of::<S>(round) {
            for found in stage.measure(step, plan).await? {
                match &found {
                    Found::Times(figure, sample) => progress(&format!("  {figure}: {sample}")),
                    Found::Amount(quantity, amount) => {
                        progress(&format!("  {quantity}: {amount:.2} {}", quantity.unit()));
                    }
                }
                measured.add(&found);
            }
        }
    }
    Ok(())
}

/// Forwards and backwards in turn, so that nothing always comes right after the same neighbour.
fn steps_of<S: Stage>(round: u32) -> Vec<S::Step> {
    let mut steps = S::steps();
    if round % 2 == 1 {
        steps.reverse();
    }
    steps
}
