//! Parents that were forked from a parent.

mod driver;

use std::time::Duration;

use driver::{PATIENCE, Parent, killed_by, readable};
use rustix::process::{Pid, Signal, kill_process};
use warren_rhost::control::Exit;

fn kill(parent: &Parent) {
    let pid = Pid::from_raw(parent.pid().cast_signed()).expect("a parent has a process id");
    kill_process(pid, Signal::KILL).expect("the parent lives");
}

#[test]
fn a_twin_serves_as_the_first_one_does() {
    let mut first = Parent::start();
    let mut elder = first.fork();
    let mut twin = first.twin();
    assert_eq!(twin.hello.protections, first.hello.protections);
    assert_ne!(twin.pid(), first.pid());
    let mut sessions = [twin.fork(), first.fork(), twin.fork()];
    let drawn = sessions.each_mut().map(|session| {
        session.console_of("cat(runif(2), Sys.info()[['effective_user']], tempdir())")
    });
    for (at, one) in drawn.iter().enumerate() {
        assert!(!drawn[..at].contains(one), "{drawn:?}");
    }
    let [one, other, killed] = sessions;
    drop(one);
    twin.kill(&killed);
    assert_eq!(twin.exit_of(&killed), killed_by(libc::SIGKILL));
    assert_eq!(twin.fork().console_of("cat('on')"), "on");
    drop(other);
    assert_eq!(elder.console_of("cat('still')"), "still");
}

#[test]
fn sessions_of_a_twin_are_kept_apart_from_those_of_the_first_one() {
    let mut first = Parent::start();
    let mut twin = first.twin();
    let mut one = first.fork();
    let mut other = twin.fork();
    one.console_of("cat('secret', file = 'file')");
    let path = one.work().join("file");
    let answer = other.run(&format!("readLines('{}')", path.display()));
    assert!(answer.console.contains("Permission denied"), "{answer:?}");
}

#[test]
fn a_killed_twin_takes_its_sessions_along_and_nobody_elses() {
    let mut first = Parent::start();
    let mut twin = first.twin();
    let mut spared = first.twin();
    let mut kept = spared.fork();
    let mut session = twin.fork();
    session.start(
        "system('setsid sleep 600 >/dev/null 2>&1 &'); cat('go'); system('sleep 600')",
        &[],
        &[],
    );
    session.console_until("go");
    kill(&twin);
    assert_eq!(first.exit_of_twin(), killed_by(libc::SIGKILL));
    assert!(
        readable(&session.pidfd, Duration::ZERO),
        "the session lives on"
    );
    assert_eq!(kept.console_of("cat('kept')"), "kept");
    assert_eq!(first.twin().fork().console_of("cat('new')"), "new");
}

#[test]
fn twins_end_with_the_first_one() {
    let mut first = Parent::start();
    let mut twin = first.twin();
    let session = twin.fork();
    let process = twin.process();
    kill(&first);
    assert!(readable(&process, PATIENCE), "the twin lives on");
    assert!(readable(&session.pidfd, PATIENCE), "its session lives on");
}

#[test]
fn a_twin_ends_with_its_control_socket_and_is_told() {
    let mut first = Parent::start();
    let mut twin = first.twin();
    let session = twin.fork();
    twin.hang_up();
    assert!(
        readable(&session.pidfd, Duration::ZERO),
        "its session lives on"
    );
    assert!(matches!(first.exit_of_twin(), Exit::Status { .. }));
}

#[test]
fn a_twin_without_ticks_ends() {
    let mut first = Parent::start_program(&["--tick-limit-ms", "1000"], &[]).unwrap();
    let twin = first.twin();
    let process = twin.process();
    assert!(readable(&process, PATIENCE), "the twin lives on");
}
