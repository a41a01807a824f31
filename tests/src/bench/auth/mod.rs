//! What it costs to authenticate a request, how soon a revoked token is refused at another node, and whether the time of a
//! sign-in tells which names exist: a Warren of two nodes.

mod histogram;
mod revocations;
mod sign_ins;

use hyper::{Method, StatusCode};

use self::histogram::Histogram;
use super::BenchError;
use super::figure::{Figure, JOB_READERS, Quantity};
use super::http::{Connection, Target};
use super::load::{self, Caller};
use super::plan::Plan;
use super::series::Sample;
use super::stage::{Found, Stage};
use super::warren::{Size, Warren};

/// What a node tells of authentication.
const AUTHENTICATION: &str = "warren_authentication_seconds";

/// What is measured in one go.
#[derive(Debug, Clone, Copy)]
pub(super) enum Step {
    /// So many clients that read a finished job.
    Read(usize),
    /// Sign-ins that are revoked.
    Revoke,
    /// Sign-ins that are refused.
    Refuse,
}

/// A Warren with a finished job.
pub(super) struct AuthStage {
    warren: Warren,
    job: String,
}

impl AuthStage {
    /// Starts it, and has a job done.
    pub(super) async fn set_up() -> Result<Self, BenchError> {
        let (nodes, workers, sessions) = (2, 1, 0);
        let warren = Warren::of(Size {
            nodes,
            workers,
            sessions,
        })
        .await?;
        let session = warren.house.admin().await.open_session().await;
        let job = session.submit("1+1").await;
        session.client.job_end(&job).await;
        Ok(Self { warren, job })
    }

    /// How long clients wait for the job, and the median of what authenticating took of that, in microseconds.
    async fn read(&self, clients: usize, plan: &Plan) -> Result<(Sample, f64), BenchError> {
        let mut readers = Vec::new();
        for client in 0..clients {
            let connection = Connection::open(self.warren.target(client)).await?;
            readers.push(JobReader {
                connection,
                path: format!("/jobs/{}", self.job),
            });
        }
        let before = self.authentication().await?;
        let sample = load::run(readers, plan).await?;
        let spent = self.authentication().await?.since(&before);
        let median = spent.median().ok_or(BenchError::Metric(AUTHENTICATION))?;
        Ok((sample, median * 1e6))
    }

    /// How long authenticating took so far, at both nodes.
    async fn authentication(&self) -> Result<Histogram, BenchError> {
        let mut all: Option<Histogram> = None;
        for node in &self.warren.metrics {
            let mut connection = Connection::open(&Target::new(*node, "")?).await?;
            let what = "reading /metrics";
            let asked = connection.ask(what, Method::GET, "/metrics", "", StatusCode::OK);
            let text = String::from_utf8_lossy(&asked.await?).into_owned();
            let found = Histogram::find(&text, AUTHENTICATION);
            let found = found.ok_or(BenchError::Metric(AUTHENTICATION))?;
            all = Some(all.map_or_else(|| found.clone(), |all| all.and(&found)));
        }
        all.ok_or(BenchError::Metric(AUTHENTICATION))
    }
}

impl Stage for AuthStage {
    type Step = Step;

    fn steps() -> Vec<Step> {
        let reads = JOB_READERS.into_iter().map(Step::Read);
        reads.chain([Step::Revoke, Step::Refuse]).collect()
    }

    async fn measure(&self, step: Step, plan: &Plan) -> Result<Vec<Found>, BenchError> {
        match step {
            Step::Read(clients) => {
                let (sample, micros) = self.read(clients, plan).await?;
                Ok(vec![
                    Found::Times(Figure::ReadJob(clients), sample),
                    Found::Amount(Quantity::Authentication(clients), micros),
                ])
            }
            Step::Revoke => revocations::measure(&self.warren, plan.revocations).await,
            Step::Refuse => sign_ins::measure(&self.warren, plan.sign_ins).await,
        }
    }
}

/// A client that reads one job.
struct JobReader {
    connection: Connection,
    path: String,
}

impl Caller for JobReader {
    async fn call(&mut self) -> Result<(), BenchError> {
        let (what, status) = ("reading a job", StatusCode::OK);
        let asked = self
            .connection
            .ask(what, Method::GET, &self.path, "", status);
        asked.await.map(drop)
    }
}
