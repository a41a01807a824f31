//! Everything at once: clients at work while something breaks every second.

mod faults;
mod fleet;

use std::time::Duration;

use tokio::time::{Instant, MissedTickBehavior, interval};
use warren_tests::load::{Load, Nodes, Plan};

use faults::{Dice, Fault};
use fleet::Fleet;

/// Something breaks this often.
const EVERY: Duration = Duration::from_secs(1);
/// Clients that are not done after so many faults never will be.
const MOST_FAULTS: usize = 200;

/// Each client knows what it saw; the table and R's own notes say what happened. `WARREN_TEST_SEED` repeats a schedule.
#[tokio::test]
#[expect(
    clippy::print_stderr,
    reason = "the runner shows it beside a failed test"
)]
async fn five_hundred_jobs_survive_a_fault_every_second() {
    let mut dice = Dice::from_environment();
    let begun = Instant::now();
    eprintln!("WARREN_TEST_SEED={}", dice.seed());
    let mut fleet = Fleet::build().await;
    let nodes = Nodes::of(&fleet.house);
    let plan = Plan {
        clients: 20,
        jobs: 25,
        pause_ms: 1000,
    };
    let load = Load::start(&fleet.house, &nodes, plan).await;
    let mut clock = interval(EVERY);
    clock.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let mut struck = 0;
    while !load.is_over() && struck < MOST_FAULTS {
        clock.tick().await;
        let fault = Fault::thrown(&mut dice);
        eprintln!("{:6.1} s: {fault:?}", begun.elapsed().as_secs_f64());
        fleet.strike(fault, &mut dice).await;
        nodes.set(fleet.tend().await);
        struck += 1;
    }
    fleet.heal().await;
    nodes.set(fleet.tend().await);
    let seen = load.seen().await;
    let summary = seen.check(&fleet.house).await;
    eprintln!("{struck} faults in {:?}: {summary}", begun.elapsed());
    fleet.is_whole().await;
}
