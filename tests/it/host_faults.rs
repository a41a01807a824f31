//! An R host, the parent of sessions' processes, that is killed.

use serde_json::json;
use tokio::time::Instant;
use warren_tests::client::{Client, Session};
use warren_tests::{Builder, House, WorkerOptions, processes, wait};

/// Starts a child of R and a daemon that R knows nothing of; each says who it is.
const COMPANY: &str = "
    system('(sh -c \"echo \\\\$\\\\$ > child.new; mv child.new child; exec sleep 1000\" >/dev/null 2>&1 &)')
    system('(setsid sh -c \"echo \\\\$\\\\$ > daemon.new; mv daemon.new daemon; exec sleep 1000\" >/dev/null 2>&1 &)')
    while (!all(file.exists('child', 'daemon'))) Sys.sleep(0.01)
    cat(readLines('child'), readLines('daemon'))
";

/// A house whose worker has this many parents.
async fn house(parents: usize) -> House {
    let mut house = Builder::new().workers(0).build().await;
    house
        .add_worker(WorkerOptions {
            env: vec![("WARREN_PARENTS".to_owned(), parents.to_string())],
            ..WorkerOptions::default()
        })
        .await;
    house
}

/// The process of a session's R, and its parent.
async fn family(session: &Session) -> (u32, u32) {
    let pid = session.prints("cat(Sys.getpid())").await.parse().unwrap();
    (pid, processes::parent_of(pid))
}

/// Two sessions of different parents.
async fn two_families(client: &Client) -> [(Session, u32, u32); 2] {
    let first = client.open_session().await;
    let (first_pid, first_parent) = family(&first).await;
    loop {
        let second = client.open_session().await;
        let (pid, parent) = family(&second).await;
        if parent != first_parent {
            return [(first, first_pid, first_parent), (second, pid, parent)];
        }
    }
}

/// Opens sessions until one works: the first may be given a child of the host that is dying at this moment.
async fn a_new_session_works(client: &Client) {
    wait::until("a new session works", async || {
        let answer = client.open_session().await.execute("cat('fresh')").await;
        match answer.status.as_u16() {
            410 => None,
            _ => (answer.expect(200)["consoleOutput"] == "fresh").then_some(()),
        }
    })
    .await;
}

#[tokio::test]
async fn a_killed_host_takes_its_own_sessions_and_no_others_and_leaves_no_orphan() {
    let house = house(2).await;
    let client = house.admin().await;
    let [(session, pid, parent), (spared, spared_pid, _)] = two_families(&client).await;
    spared.prints("kept <- 7").await;
    let company = session.prints(COMPANY).await;
    let mut pids: Vec<u32> = company.split(' ').map(|pid| pid.parse().unwrap()).collect();
    pids.extend([pid, parent]);
    assert!(pids.iter().all(|pid| processes::exists(*pid)), "{pids:?}");
    let running = session.submit("repeat Sys.sleep(0.01)").await;
    client.job_is(&running, "running").await;
    let waiting = session.submit("1").await;
    processes::kill(parent);
    let begun = Instant::now();
    a_new_session_works(&client).await;
    told("the other parent served a new session", begun);
    for job in [&running, &waiting] {
        let job = client.job_end(job).await;
        assert_eq!(
            (&job["state"], &job["cancel"], &job["attempt"]),
            (&json!("lost"), &json!(null), &job["attempt"]),
            "{job}"
        );
        assert!(job["reason"].as_str().unwrap().contains("R host"), "{job}");
    }
    let reason = session.gone().await;
    assert!(reason.contains("the R host"), "{reason}");
    let refused = session.execute("1").await.error(410);
    assert!(refused.contains("the R host"), "{refused}");
    let state = format!("SELECT state FROM sessions WHERE id = '{}'", session.id);
    assert_eq!(house.sql_value(&state).await, "lost");
    wait::until(&format!("none of {pids:?} is left"), async || {
        pids.iter()
            .all(|pid| !processes::exists(*pid))
            .then_some(())
    })
    .await;
    assert_eq!(spared.prints("cat(kept)").await, "7");
    assert_eq!(family(&spared).await.0, spared_pid);
    // Both parents serve again.
    two_families(&client).await;
}

#[tokio::test]
async fn a_caller_whose_run_is_lost_with_its_host_is_told_so_at_once() {
    let house = house(2).await;
    let client = house.admin().await;
    let session = client.open_session().await;
    let (_, parent) = family(&session).await;
    let call = {
        let session = session.clone();
        tokio::spawn(async move {
            session
                .execute("cat('begun'); invisible(file.create('here')); repeat Sys.sleep(0.01)")
                .await
        })
    };
    house.working_dir_with("here").await;
    processes::kill(parent);
    let told = call.await.unwrap().error(410);
    assert!(told.contains("the R host"), "{told}");
    assert!(told.contains("nobody knows how far it came"), "{told}");
}

#[tokio::test]
async fn the_only_host_is_started_again_and_again() {
    let house = house(1).await;
    let client = house.admin().await;
    for _ in 0..3 {
        let session = client.open_session().await;
        let (_, parent) = family(&session).await;
        processes::kill(parent);
        let begun = Instant::now();
        a_new_session_works(&client).await;
        told("a new session worked", begun);
        session.gone().await;
    }
    assert_eq!(client.open_session().await.prints("cat('on')").await, "on");
}

#[tokio::test]
async fn when_the_process_that_started_r_is_killed_r_is_started_again() {
    let house = house(2).await;
    let client = house.admin().await;
    let [(first, first_pid, parent), (second, second_pid, other)] = two_families(&client).await;
    let origin = processes::parent_of(parent);
    assert_eq!(origin, processes::parent_of(other));
    processes::kill(origin);
    let begun = Instant::now();
    a_new_session_works(&client).await;
    told("R was started again", begun);
    for session in [first, second] {
        let reason = session.gone().await;
        assert!(reason.contains("the R host"), "{reason}");
    }
    let pids = [origin, parent, other, first_pid, second_pid];
    wait::until(&format!("none of {pids:?} is left"), async || {
        pids.iter()
            .all(|pid| !processes::exists(*pid))
            .then_some(())
    })
    .await;
    two_families(&client).await;
}

/// How long it took is for people: no test depends on the machine's speed.
#[expect(
    clippy::print_stderr,
    reason = "a person reads it in the runner's output"
)]
fn told(what: &str, begun: Instant) {
    eprintln!("{what} after {:?}", begun.elapsed());
}
