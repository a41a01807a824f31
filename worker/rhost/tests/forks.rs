//! What a fork must not share, and what must not outlive it.

mod driver;

use std::collections::BTreeSet;
use std::time::{Duration, Instant};

use driver::{PATIENCE, Parent, readable};
use warren_rhost::control::Exit;

#[test]
fn children_have_their_own_places() {
    let mut parent = Parent::start();
    let mut session = parent.fork();
    let dir = session.dir().to_str().unwrap().to_owned();
    let printed = session.console_of(
        "cat(getwd(), tempdir(), tempfile(), Sys.getenv(c('HOME', 'TMPDIR', 'XDG_CACHE_HOME', 'R_LIBS_USER')), \
         .libPaths()[1], system('pwd', intern = TRUE), sep = '\\n')",
    );
    assert_eq!(printed.lines().count(), 9);
    for line in printed.lines() {
        assert!(line.starts_with(&dir), "{line}");
    }
    assert!(session.work().is_dir());
}

#[test]
fn the_session_s_library_is_there_when_somebody_asks_for_it() {
    let mut parent = Parent::start();
    let mut session = parent.fork();
    let library = session.work().join(".library");
    assert_eq!(session.console_of("1"), "[1] 1\n");
    assert!(!library.exists());
    let code = "stopifnot(dir.exists(.libPaths()[1]), .libPaths()[-1] == c(.Library.site, .Library)); \
                cat(.libPaths()[1])";
    assert_eq!(session.console_of(code), library.to_str().unwrap());
    session.console_of("dir.create('mine'); .libPaths('mine')");
    assert_eq!(session.console_of("cat(basename(.libPaths()[1]))"), "mine");
}

#[test]
fn r_makes_another_temporary_directory_when_code_removed_the_first() {
    let mut parent = Parent::start();
    let mut session = parent.fork();
    let dir = session.dir().to_str().unwrap().to_owned();
    let code = "unlink(tempdir(), recursive = TRUE); new <- tempdir(check = TRUE); \
                cat(1, file = tempfile()); cat(dir.exists(new), new)";
    let printed = session.console_of(code);
    assert!(printed.starts_with(&format!("TRUE {dir}")), "{printed}");
}

#[test]
fn the_worker_is_not_in_the_environment() {
    let mut parent = Parent::start();
    let mut session = parent.fork();
    let printed = session.console_of("cat(names(Sys.getenv()), sep = '\\n'); system('env')");
    assert!(!printed.contains("WARREN"), "{printed}");
    assert!(!printed.contains("GLIBC_TUNABLES"), "{printed}");
}

#[test]
fn random_numbers_differ_unless_a_seed_is_set() {
    let mut parent = Parent::start();
    let mut sessions = [parent.fork(), parent.fork(), parent.fork()];
    let drawn: BTreeSet<String> = sessions
        .iter_mut()
        .map(|session| session.console_of("cat(runif(2), tempfile())"))
        .collect();
    assert_eq!(drawn.len(), 3, "{drawn:?}");
    let seeded: BTreeSet<String> = sessions
        .iter_mut()
        .map(|session| session.console_of("set.seed(1); cat(runif(2))"))
        .collect();
    assert_eq!(seeded.len(), 1, "{seeded:?}");
}

#[test]
fn a_fresh_session_is_empty() {
    let mut parent = Parent::start();
    let mut session = parent.fork();
    let printed = session.console_of("ls(all.names = TRUE); dev.list(); warnings(); list.files()");
    assert_eq!(printed, "character(0)\nNULL\ncharacter(0)\n");
    assert_eq!(
        session.console_of("head(search(), 2)"),
        "[1] \".GlobalEnv\"    \"package:stats\"\n"
    );
}

#[test]
fn a_siblings_end_takes_nothing_away() {
    let mut parent = Parent::start();
    let (mut one, mut other) = (parent.fork(), parent.fork());
    one.console_of("x <- tempfile(); cat('a', file = x)");
    other.run("q()");
    other.hang_up();
    parent.exit_of(&other);
    assert_eq!(one.console_of("readLines(x, warn = FALSE)"), "[1] \"a\"\n");
}

#[test]
fn programs_and_forks_of_user_code_work() {
    let mut parent = Parent::start();
    let mut session = parent.fork();
    assert_eq!(session.console_of("system('exit 3')"), "");
    assert_eq!(session.console_of("print(system('exit 3'))"), "[1] 3\n");
    let code = "unlist(parallel::mclapply(1:4, function(i) i^2, mc.cores = 2))";
    assert_eq!(session.console_of(code), "[1]  1  4  9 16\n");
    // A fork that falls back to the prompt must not take the session's next line.
    session.run("invisible(parallel:::mcfork()); invokeRestart('abort')");
    // It may print only now.
    assert_eq!(session.output("x <- 1", "x"), "[1]");
}

#[test]
fn only_the_sessions_own_descriptors_are_open() {
    let mut parent = Parent::start();
    let _sibling = parent.fork();
    let mut session = parent.fork();
    let printed = session.console_of(
        "for (f in list.files('/proc/self/fd', full.names = TRUE)) cat(Sys.readlink(f), '\\n')",
    );
    let open: Vec<&str> = printed
        .lines()
        .map(str::trim)
        .filter(|line| !matches!(*line, "" | "NA"))
        .collect();
    // /dev/null, the console twice, the frame socket, and the directory being listed (gone by the time it is read).
    assert_eq!(open.len(), 4, "{open:?}");
    assert_eq!(open[0], "/dev/null");
    assert_eq!(open[1], open[2]);
    assert!(open[3].starts_with("socket:"), "{open:?}");
    // And a program that it starts has not even the socket.
    let printed = session.console_of("system('ls /proc/self/fd')");
    assert_eq!(printed, "0\n1\n2\n3\n");
}

#[test]
fn on_exit_and_finalizers_run_once() {
    let mut parent = Parent::start();
    let mut session = parent.fork();
    session.console_of(
        "e <- new.env(); reg.finalizer(e, function(e) cat('final\\n', file = 'log', append = TRUE), onexit = TRUE)
         f <- function() { on.exit(cat('exit\\n', file = 'log', append = TRUE)); \
         parallel::mclapply(1:2, identity, mc.cores = 2); invisible() }; f(); rm(e); invisible(gc())",
    );
    let log = std::fs::read_to_string(session.work().join("log")).unwrap();
    assert_eq!(log, "exit\nfinal\n");
}

#[test]
fn what_a_dead_child_left_is_killed_before_its_end_is_told() {
    let mut parent = Parent::start();
    let mut session = parent.fork();
    session.console_of("system('setsid sleep 600 & echo $! > one; sleep 600 & echo $! > two')");
    let pids: Vec<String> = ["one", "two"]
        .map(|name| {
            std::fs::read_to_string(session.work().join(name))
                .unwrap()
                .trim()
                .to_owned()
        })
        .to_vec();
    assert!(pids.iter().all(|pid| lives(pid)));
    parent.kill(&session);
    assert_eq!(
        parent.exit_of(&session),
        Exit::Signal {
            signal: 9,
            out_of_memory: false,
            stack_overflow: false
        }
    );
    assert!(!pids.iter().any(|pid| lives(pid)), "{pids:?}");
}

fn lives(pid: &str) -> bool {
    std::path::Path::new(&format!("/proc/{pid}")).exists()
}

#[test]
fn a_parent_without_a_worker_takes_its_children_along() {
    let mut parent = Parent::start();
    let mut session = parent.fork();
    session.start("cat('go'); system('sleep 600')", &[], &[]);
    session.console_until("go");
    parent.hang_up();
    assert!(
        readable(&session.pidfd, Duration::ZERO),
        "the child lives on"
    );
}

#[test]
fn a_parent_that_somebody_stopped_ends_with_its_worker() {
    // The kernel takes the end of the thread that started it for the end of the worker.
    let starting = std::thread::spawn(|| {
        let parent = Parent::start();
        let pid = rustix::process::Pid::from_raw(parent.pid().cast_signed()).unwrap();
        rustix::process::kill_process(pid, rustix::process::Signal::STOP).unwrap();
        parent
    });
    starting.join().unwrap().hang_up();
}

#[test]
fn a_parent_without_ticks_ends() {
    let began = Instant::now();
    let mut parent = Parent::start_program(&["--tick-limit-ms", "200"], &[]).unwrap();
    let session = parent.fork_unready();
    assert!(readable(&session.pidfd, PATIENCE), "the child lives on");
    assert!(began.elapsed() >= Duration::from_millis(200));
}

#[test]
fn what_hinders_the_start_is_told() {
    let missing = Parent::start_with(&["--r", "/nonexistent/R"])
        .err()
        .unwrap();
    assert!(
        missing.contains("/nonexistent/R") && missing.contains("Install R"),
        "{missing}"
    );
    let false_r = Parent::start_with(&["--r", "/bin/true"]).err().unwrap();
    assert!(false_r.contains("did not answer as R does"), "{false_r}");
    let package = Parent::start_with(&["--preload", "no.such.package"])
        .err()
        .unwrap();
    assert!(package.contains("no.such.package"), "{package}");
}

#[test]
fn preloaded_packages_are_loaded_but_not_attached() {
    let mut parent = Parent::start_with(&["--preload", "splines,parallel"]).unwrap();
    let mut session = parent.fork();
    let code = "cat('splines' %in% loadedNamespaces(), 'package:splines' %in% search())";
    assert_eq!(session.console_of(code), "TRUE FALSE");
}

#[test]
fn a_directory_that_is_not_there_is_told_and_the_next_child_lives() {
    let mut parent = Parent::start();
    let dir = tempfile::tempdir().unwrap();
    let missing = dir.path().join("missing");
    let message = parent.fork_failure(&missing);
    assert!(message.contains(missing.to_str().unwrap()), "{message}");
    assert_eq!(parent.fork().console_of("1"), "[1] 1\n");
}
