//! Warren as its callers see it, beside both floors and a start of R.

use super::cpu::{Meter, Who, listener};
use super::figure::{CLIENTS, Figure};
use super::floor::{Floor, Mode};
use super::load::{self, Caller};
use super::plan::Plan;
use super::series::Sample;
use super::stage::{Found, Stage};
use super::warren::Warren;
use super::{BenchError, start_r};

/// What is measured in one go.
#[derive(Debug, Clone, Copy)]
pub(super) enum Step {
    /// Starting R.
    StartR,
    /// Opening sessions, and executing in them.
    Open,
    /// Clients that call.
    Load(Figure),
}

/// Warren, both floors, and the meter.
pub(super) struct ApiStage {
    warren: Warren,
    by_row: Floor,
    grouped: Floor,
    meter: Meter,
}

impl ApiStage {
    /// Starts everything.
    pub(super) async fn set_up() -> Result<Self, BenchError> {
        let sessions = CLIENTS.into_iter().max().unwrap_or_default();
        let warren = Warren::start(sessions).await?;
        let meter = Meter::new(parts(&warren));
        Ok(Self {
            warren,
            by_row: Floor::start(Mode::ByRow).await?,
            grouped: Floor::start(Mode::Grouped).await?,
            meter,
        })
    }

    async fn load<C: Caller>(&self, clients: Vec<C>, plan: &Plan) -> Result<Sample, BenchError> {
        let before = self.meter.read();
        let mut sample = load::run(clients, plan).await?;
        sample.spent = self.meter.since(&before);
        Ok(sample)
    }
}

impl Stage for ApiStage {
    type Step = Step;

    fn steps() -> Vec<Step> {
        let loads = CLIENTS.into_iter().flat_map(|clients| {
            [
                Step::Load(Figure::Execute(clients)),
                Step::Load(Figure::FloorByRow(clients)),
                Step::Load(Figure::FloorGrouped(clients)),
            ]
        });
        [Step::StartR, Step::Open]
            .into_iter()
            .chain(loads)
            .collect()
    }

    async fn measure(&self, step: Step, plan: &Plan) -> Result<Vec<Found>, BenchError> {
        match step {
            Step::StartR => {
                let times = start_r::times(plan.starts).await?;
                Ok(vec![Found::Times(Figure::StartR, Sample::in_turn(times))])
            }
            Step::Open => {
                let (opened, answered) = self.warren.opens(plan.opens).await?;
                Ok(vec![
                    Found::Times(Figure::Open, Sample::in_turn(opened)),
                    Found::Times(Figure::OpenAndExecute, Sample::in_turn(answered)),
                ])
            }
            Step::Load(figure) => {
                let count = figure.clients();
                let sample = match figure {
                    Figure::FloorByRow(_) => self.load(self.by_row.clients(count), plan).await?,
                    Figure::FloorGrouped(_) => self.load(self.grouped.clients(count), plan).await?,
                    _ => self.load(self.warren.clients(count).await?, plan).await?,
                };
                Ok(vec![Found::Times(figure, sample)])
            }
        }
    }
}

/// Who the meter looks at.
pub(super) fn parts(warren: &Warren) -> Vec<(&'static str, Who)> {
    let house = &warren.house;
    let mut parts = Vec::new();
    if let Some(pid) = listener(house.database.server) {
        parts.push(("postgres", Who::Tree(pid)));
    }
    if let Some(pid) = listener(house.amqp_server()) {
        parts.push(("rabbitmq", Who::Tree(pid)));
    }
    let (api, worker) = (house.apis[0].process.pid(), house.workers[0].process.pid());
    parts.extend([
        ("api", Who::Tree(api)),
        ("worker", Who::Alone(worker)),
        ("R", Who::Below(worker)),
        ("bench", Who::Alone(std::process::id())),
    ]);
    parts
}
