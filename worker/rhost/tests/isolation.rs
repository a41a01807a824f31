//! What a session takes and leaves behind: its own user, bounds for all its processes together, and their end.

mod driver;

use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::path::Path;

use driver::{PATIENCE, Parent, Session};
use warren_rhost::control::{Exit, Protection, ProtectionState};
use warren_rhost::session::Ending;

fn protection<'a>(parent: &'a Parent, name: &str) -> &'a Protection {
    let found = parent
        .hello
        .protections
        .iter()
        .find(|protection| protection.name == name);
    found.unwrap_or_else(|| panic!("no protection is called {name}"))
}

fn is_active(parent: &Parent, name: &str) -> bool {
    protection(parent, name).state == ProtectionState::Active
}

/// Says why a test has nothing to look at on this machine.
#[expect(clippy::print_stderr, reason = "whoever reads the test's output")]
fn skipped(parent: &Parent, name: &str) {
    let needs = protection(parent, name).needs.as_deref();
    eprintln!("skipped, {name}: {}", needs.unwrap_or_default());
}

fn is_root() -> bool {
    rustix::process::geteuid().is_root()
}

/// Waits until a process has ended, whoever reaps it.
fn ended(pid: &str) -> bool {
    let deadline = std::time::Instant::now() + PATIENCE;
    while Path::new(&format!("/proc/{}", pid.trim())).exists() {
        if std::time::Instant::now() > deadline {
            return false;
        }
        std::thread::yield_now();
    }
    true
}

/// What the session printed of a number, once it is there.
fn number_in(session: &mut Session, file: &str) -> String {
    session.console_of(&format!(
        "while (!file.exists('{file}') || !length(readLines('{file}'))) Sys.sleep(0.01); cat(readLines('{file}'))"
    ))
}

#[test]
fn every_protection_is_named_and_what_is_weaker_says_what_it_needs() {
    let parent = Parent::start();
    let names: Vec<&str> = parent
        .hello
        .protections
        .iter()
        .map(|p| p.name.as_str())
        .collect();
    for name in [
        "privileges",
        "files",
        "system calls",
        "network",
        "signals",
        "own user",
        "memory of a session",
        "processes of a session",
    ] {
        assert!(names.contains(&name), "{name}: {names:?}");
    }
    for protection in &parent.hello.protections {
        let weaker = protection.state != ProtectionState::Active;
        assert_eq!(weaker, protection.needs.is_some(), "{protection:?}");
    }
    if !is_root() {
        let needs = protection(&parent, "own user").needs.clone().unwrap();
        assert!(needs.contains("root"), "{needs}");
    }
    let off = Parent::start_with(&["--sandbox=off"]).unwrap();
    assert_eq!(off.hello.protections[0].state, ProtectionState::Off);
}

#[test]
fn each_session_has_a_user_of_its_own() {
    let mut parent = Parent::start();
    if !is_active(&parent, "own user") {
        return skipped(&parent, "own user");
    }
    let (mut one, mut other) = (parent.fork(), parent.fork());
    let uid = |session: &mut Session| session.console_of("system('id -u; id -g; id -G')");
    let (first, second) = (uid(&mut one), uid(&mut other));
    let ids: Vec<&str> = first.lines().collect();
    assert!(
        ids.len() == 3 && ids[0] != "0" && ids.iter().all(|id| *id == ids[0]),
        "{ids:?}"
    );
    assert_ne!(first, second);
    let data = std::fs::metadata(one.dir()).unwrap();
    assert_eq!(data.uid().to_string(), ids[0]);
    // What R and programs do by name with their own descriptors and processes still works.
    let printed = one.console_of("system('echo a > /dev/stdout; echo b > /dev/stderr'); length(readLines('/proc/self/environ', warn = FALSE)) > 0");
    assert_eq!(printed, "a\nb\n[1] TRUE\n");
    // Even what Landlock does not cover: a neighbour's files cannot be looked at.
    let code = format!("is.na(file.info('{}')$size)", other.work().display());
    assert_eq!(one.console_of(&code), "[1] TRUE\n");
}

#[test]
fn a_user_is_lent_again_only_when_nothing_of_it_is_left() {
    let mut parent = Parent::start_with(&["--uids", "69990-69990"]).unwrap();
    if !is_active(&parent, "own user") {
        return skipped(&parent, "own user");
    }
    let one = parent.fork();
    let dir = tempfile::tempdir().unwrap();
    let message = parent.fork_failure(dir.path());
    assert!(
        message.contains("69990 to 69990 are taken") && message.contains("WARREN_SESSION_UIDS"),
        "{message}"
    );
    // Another parent does not take it either.
    let mut second = Parent::start_with(&["--uids", "69990-69990"]).unwrap();
    assert!(second.fork_failure(dir.path()).contains("are taken"));
    parent.kill(&one);
    parent.exit_of(&one);
    assert_eq!(
        parent
            .fork()
            .console_of("cat(system('id -u', intern = TRUE))"),
        "69990"
    );
}

#[test]
fn a_program_with_root_s_bit_gains_nothing() {
    let mut parent = Parent::start();
    let mut session = parent.fork();
    let status = session.console_of("cat(grep('^(NoNewPrivs|CapPrm|CapEff)', readLines('/proc/self/status'), value = TRUE), sep = '\\n')");
    assert_eq!(
        status,
        "CapPrm:\t0000000000000000\nCapEff:\t0000000000000000\nNoNewPrivs:\t1\n"
    );
    if !is_root() {
        return skipped(&parent, "own user");
    }
    let program = session.work().join("id");
    std::fs::copy("/usr/bin/id", &program).unwrap();
    std::fs::set_permissions(&program, std::fs::Permissions::from_mode(0o4755)).unwrap();
    let printed = session
        .console_of("identical(system('./id -u', intern = TRUE), system('id -u', intern = TRUE))");
    assert_eq!(printed, "[1] TRUE\n");
    let bound = session.console_of(
        "cat(grep('^CapBnd', readLines('/proc/self/status'), value = TRUE), sep = '\\n')",
    );
    assert_eq!(bound, "CapBnd:\t0000000000000000\n");
}

#[test]
fn a_fork_bomb_hits_its_own_bound_and_neighbours_go_on() {
    let mut parent = Parent::start_with(&["--processes", "100"]).unwrap();
    if !is_active(&parent, "processes of a session") {
        return skipped(&parent, "processes of a session");
    }
    let (mut bomb, mut other) = (parent.fork(), parent.fork());
    bomb.start(
        "system('bomb() { bomb | bomb & }; bomb 2>/dev/null; for i in $(seq 400); do sleep 600 & done 2>/dev/null; echo full')
         repeat Sys.sleep(1)",
        &[],
        &[],
    );
    let printed = other.console_of("sum(unlist(parallel::mclapply(1:4, identity, mc.cores = 2)))");
    assert_eq!(printed, "[1] 10\n");
    parent.kill(&bomb);
    assert!(matches!(
        parent.exit_of(&bomb),
        Exit::Signal {
            signal: 9,
            out_of_memory: false,
            stack_overflow: false
        }
    ));
    assert_eq!(parent.fork().console_of("system('echo on')"), "on\n");
}

#[test]
fn all_processes_of_a_session_together_are_held_to_its_memory() {
    let mut parent = Parent::start_with(&["--memory-bytes", "1200000000"]).unwrap();
    if !is_active(&parent, "memory of a session") {
        return skipped(&parent, "memory of a session");
    }
    let (mut greedy, mut other) = (parent.fork(), parent.fork());
    // One process may not have so much.
    assert!(matches!(
        greedy.run("x <- numeric(2e8)").ending,
        Ending::OutOfMemory { .. }
    ));
    // Each of these may, but not all of them; the kernel takes the largest, which is R itself.
    greedy.start(
        "x <- rep(0.5, 5e7)
         system('for i in 1 2 3; do dd bs=300M if=/dev/zero of=/dev/null 2>/dev/null & done; wait')",
        &[],
        &[],
    );
    let answer = greedy.answer();
    assert!(answer.is_none(), "{answer:?}");
    assert_eq!(
        parent.exit_of(&greedy),
        Exit::Signal {
            signal: 9,
            out_of_memory: true,
            stack_overflow: false
        }
    );
    assert_eq!(other.console_of("1"), "[1] 1\n");
    // The next session in the same group starts with a clean slate.
    let mut next = parent.fork();
    next.start("tools::pskill(Sys.getpid(), 9)", &[], &[]);
    assert!(next.answer().is_none());
    assert_eq!(
        parent.exit_of(&next),
        Exit::Signal {
            signal: 9,
            out_of_memory: false,
            stack_overflow: false
        }
    );
}

#[test]
fn a_daemon_ends_with_its_session_however_that_ends() {
    let mut parent = Parent::start();
    let daemon = "system('setsid sh -c \"setsid sleep 600 & echo \\\\$! > daemon\" </dev/null >/dev/null 2>&1 &')";
    // Killed.
    let mut session = parent.fork();
    session.console_of(daemon);
    let pid = number_in(&mut session, "daemon");
    parent.kill(&session);
    parent.exit_of(&session);
    assert!(
        !Path::new(&format!("/proc/{pid}")).exists(),
        "its end was told before the daemon's"
    );
    // By itself.
    let mut session = parent.fork();
    session.console_of(daemon);
    let pid = number_in(&mut session, "daemon");
    session.start("tools::pskill(Sys.getpid(), 11)", &[], &[]);
    assert!(session.answer().is_none());
    parent.exit_of(&session);
    assert!(
        !Path::new(&format!("/proc/{pid}")).exists(),
        "its end was told before the daemon's"
    );
    // With its worker.
    let mut session = parent.fork();
    session.console_of(daemon);
    let pid = number_in(&mut session, "daemon");
    parent.hang_up();
    assert!(ended(&pid));
}

#[test]
fn open_files_and_file_sizes_have_an_end() {
    let mut parent = Parent::start();
    let mut session = parent.fork();
    let code = "files <- list()
        for (i in 1:100000) files[[i]] <- file(paste0('/tmp/../', getwd(), '/f'), 'w')";
    assert!(matches!(session.run(code).ending, Ending::Error { .. }));
    assert_eq!(session.console_of("closeAllConnections(); 1"), "[1] 1\n");
    let script = session.work().join("open.sh");
    std::fs::write(&script, "ulimit -n 100000 2>/dev/null && echo raised; ulimit -c unlimited 2>/dev/null && echo raised; ulimit -n; ulimit -c\n").unwrap();
    assert_eq!(session.console_of("system('sh open.sh')"), "4096\n0\n");
    let answer = session.run("f <- file('big', 'wb'); seek(f, 2e9, rw = 'write'); writeBin(raw(1e6), f); close(f); file.size('big')");
    assert!(!answer.console.contains("2.001e+09"), "{}", answer.console);
    assert!(std::fs::metadata(session.work().join("big")).unwrap().len() <= 1 << 30);
    // A crash leaves no core.
    session.start("tools::pskill(Sys.getpid(), 6)", &[], &[]);
    assert!(session.answer().is_none());
    assert_eq!(
        parent.exit_of(&session),
        Exit::Signal {
            signal: 6,
            out_of_memory: false,
            stack_overflow: false
        }
    );
    let left: Vec<_> = std::fs::read_dir(session.work())
        .unwrap()
        .flatten()
        .map(|entry| entry.file_name())
        .collect();
    assert!(
        !left
            .iter()
            .any(|name| name.to_string_lossy().starts_with("core")),
        "{left:?}"
    );
}
