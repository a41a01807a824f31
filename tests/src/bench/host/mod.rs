//! The R host by itself, at its own door: no HTTP, no queue, no database.
//!
//! Every step starts the parents that it needs and ends them, so that none is measured beside the others' memory, and
//! each round has parents of its own.

mod codec;
mod driver;
mod forks;
mod memory;
mod runs;

use std::fs::{self, Permissions};
use std::io;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::thread::available_parallelism;

use tempfile::TempDir;

use self::driver::{Forks, Parent};
use super::BenchError;
use super::figure::{Figure, Quantity};
use super::plan::Plan;
use super::stage::{Found, Stage};

/// How many sessions are alive while their memory is measured.
const ALIVE: [usize; 2] = [10, 100];

/// What is measured in one go.
#[derive(Debug, Clone, Copy)]
pub(super) enum Step {
    /// Children, from the fork to their end.
    Forks(Forks),
    /// Sessions that are there.
    Runs,
    /// A data frame, both ways: the host's, then jsonlite's.
    Codec,
    /// An R of its own, then sessions.
    Memory,
}

/// A place for directories of children.
pub(super) struct HostStage {
    dir: TempDir,
}

impl HostStage {
    /// Makes the place.
    pub(super) fn set_up() -> Result<Self, BenchError> {
        let made = || {
            let dir = TempDir::with_prefix("warren-bench-")?;
            // Open to pass through, as the worker's is: sessions may be users of their own.
            fs::set_permissions(dir.path(), Permissions::from_mode(0o711))?;
            Ok(dir)
        };
        let dir = made().map_err(BenchError::Host)?;
        Ok(Self { dir })
    }
}

impl Stage for HostStage {
    type Step = Step;

    fn steps() -> Vec<Step> {
        vec![
            Step::Forks(Forks::Bare),
            Step::Forks(Forks::Sessions),
            Step::Runs,
            Step::Codec,
            Step::Memory,
        ]
    }

    async fn measure(&self, step: Step, plan: &Plan) -> Result<Vec<Found>, BenchError> {
        let (dir, plan) = (self.dir.path().to_owned(), plan.clone());
        // All of a step on one thread: parents die with the thread that started them.
        tokio::task::spawn_blocking(move || measure(step, &plan, &dir))
            .await
            .map_err(|_died| BenchError::Died)?
            .map_err(BenchError::Host)
    }
}

fn measure(step: Step, plan: &Plan, dir: &Path) -> io::Result<Vec<Found>> {
    match step {
        Step::Forks(forks) => {
            let mut parents = Parent::start(cores(), forks, dir)?;
            let answers = forks::answers(&mut parents[0], forks, plan)?;
            let rate = forks::rate(&mut parents, plan)?;
            let (answer, lives) = match forks {
                Forks::Bare => (Figure::BareFork, Figure::BareLives),
                Forks::Sessions => (Figure::Fork, Figure::Lives),
            };
            Ok(vec![
                Found::Times(answer, answers),
                Found::Times(lives, rate),
            ])
        }
        Step::Runs => {
            let mut parents = Parent::start(1, Forks::Sessions, dir)?;
            let parent = &mut parents[0];
            Ok(vec![
                Found::Times(Figure::FirstAnswer, runs::firsts(parent, plan)?),
                Found::Times(Figure::WarmAnswer, runs::warm(parent, plan)?),
                Found::Amount(Quantity::Console, runs::console(parent, plan)?),
            ])
        }
        Step::Codec => {
            let file = text_file(dir);
            let mut parents = Parent::start(1, Forks::Sessions, dir)?;
            let (to, from) = codec::of_host(&mut parents[0], plan, &file)?.samples();
            drop(parents);
            let (lite_to, lite_from) = codec::of_jsonlite(plan, &file)?.samples();
            Ok(vec![
                Found::Times(Figure::ToJson, to),
                Found::Times(Figure::FromJson, from),
                Found::Times(Figure::JsonliteTo, lite_to),
                Found::Times(Figure::JsonliteFrom, lite_from),
            ])
        }
        Step::Memory => {
            let mut found = vec![Found::Amount(Quantity::PlainR, memory::of_plain_r()?)];
            for count in ALIVE {
                let sessions = memory::of_sessions(cores(), count, dir)?;
                found.push(Found::Amount(Quantity::Idle(count), sessions.idle));
                found.push(Found::Amount(Quantity::Fitted(count), sessions.fitted));
            }
            Ok(found)
        }
    }
}

fn text_file(dir: &Path) -> PathBuf {
    dir.join("frame.json")
}

/// A parent for each, as the worker starts them.
fn cores() -> usize {
    available_parallelism().map_or(1, usize::from)
}
