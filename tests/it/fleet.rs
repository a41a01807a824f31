//! Several nodes and workers: every node answers for everything, and every worker takes its share.

use warren_tests::load::{Load, Nodes, Plan};
use warren_tests::{Builder, WorkerOptions, wait};

#[tokio::test]
async fn three_nodes_with_one_two_and_four_workers_do_the_same_work() {
    let mut house = Builder::new().apis(3).workers(0).build().await;
    let nodes = Nodes::of(&house);
    let client = house.admin().await;
    for workers in [1, 2, 4] {
        while house.workers.len() < workers {
            house.add_worker(WorkerOptions::default()).await;
        }
        let holders = "SELECT count(DISTINCT worker_id) FROM sessions WHERE state = 'open'";
        wait::until(
            &format!("each of {workers} workers holds a session"),
            async || {
                client.open_session().await;
                (house.sql_value(holders).await == workers.to_string()).then_some(())
            },
        )
        .await;
        let plan = Plan {
            clients: 9,
            jobs: 6,
            pause_ms: 10,
        };
        let load = Load::start(&house, &nodes, plan).await;
        let summary = load.seen().await.check(&house).await;
        assert_eq!(
            (summary.lost(), summary.succeeded()),
            (0, 9 * 6),
            "{summary}"
        );
    }
}
