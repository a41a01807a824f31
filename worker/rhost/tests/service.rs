//! The parent of a service's calls: what they have of it, and what none has of another.

mod driver;

use std::path::Path;

use driver::{PATIENCE, Parent, Service, Session, killed_by, native, readable};
use warren_rhost::control::{Exit, ProtectionState};
use warren_rhost::session::Ending;

/// A service whose code is run as a publisher's.
fn service(parent: &mut Parent, code: &str) -> Service {
    let mut session = parent.fork_for_service();
    session.console_of(code);
    session
        .serve()
        .unwrap_or_else(|refused| panic!("refused: {}", refused.1))
}

/// A session that may become a service's parent and has the tests' package in its library.
fn with_native(parent: &mut Parent) -> Session {
    let mut session = parent.fork_for_service();
    native::install(&mut session);
    session
}

/// How a protection works here, if it does.
fn protection<'a>(parent: &'a Parent, name: &str) -> Option<&'a str> {
    let mut protections = parent.hello.protections.iter();
    let found = protections.find(|protection| protection.name == name)?;
    (found.state == ProtectionState::Active).then_some(found.how.as_str())
}

#[test]
fn a_call_has_the_objects_packages_and_files_of_its_service() {
    let mut parent = Parent::start();
    let mut service = service(
        &mut parent,
        "library(splines); f <- function(x) x + k; k <- 41; options(mine = 'set'); Sys.setenv(MINE = 'e')
        writeLines('text', 'data.txt'); dir.create('folder'); writeLines('deep', 'folder/file'); invisible(.libPaths())",
    );
    let code = "cat(f(1), getOption('mine'), Sys.getenv('MINE'), 'package:splines' %in% search(), readLines('data.txt'),
        readLines('folder/file'), basename(dirname(dirname(.libPaths()[1]))) == basename(dirname(dirname(getwd()))))";
    for _ in 0..3 {
        let mut call = service.call();
        let answer = call.run(code);
        assert_eq!(answer.ending, Ending::Succeeded, "{}", answer.console);
        assert_eq!(answer.console, "42 set e TRUE text deep FALSE");
        assert_eq!(answer.changed_files, Vec::<String>::new());
    }
    let library = service.console_of("cat(.libPaths()[1], Sys.getenv('R_LIBS_USER'))");
    let own = service.session.work().join(".library");
    assert_eq!(library, format!("{0} {0}", own.display()));
}

#[test]
fn nothing_that_a_call_does_is_seen_by_the_next() {
    let mut parent = Parent::start();
    let mut service = service(&mut parent, "x <- 1; e <- new.env(); e$n <- 0");
    let mut first = service.call();
    first.console_of(
        "x <- 2; y <- 3; e$n <- 1; options(digits = 3); Sys.setenv(A = 'b'); attach(list(z = 1)); writeLines('a', 'a.txt')
        dir.create('sub'); setwd('sub'); f <- file('b.txt', 'w'); pdf('c.pdf'); set.seed(1); sink('d.txt')",
    );
    let code = "cat(x, exists('y'), e$n, getOption('digits'), nzchar(Sys.getenv('A')), exists('z'), basename(getwd()), length(dir()),
        nrow(showConnections()), length(dev.list()), exists('.Random.seed'), sink.number())";
    let untouched = "1 FALSE 0 7 FALSE FALSE work 0 0 0 FALSE 0";
    assert_eq!(service.console_of(code), untouched);
    for code in ["q()", "stop('no')", "base::quit(status = 3)"] {
        assert!(matches!(
            service.call().run(code).ending,
            Ending::Error { .. }
        ));
    }
    assert_eq!(service.console_of(code), untouched);
}

#[test]
fn calls_that_crash_or_run_for_ever_end_alone() {
    let mut parent = Parent::start();
    let mut service = service(&mut parent, "x <- 1");
    let mut other = service.call();
    let mut crashing = service.call();
    crashing.start("tools::pskill(Sys.getpid(), 11); Sys.sleep(60)", &[], &[]);
    assert!(crashing.answer().is_none());
    assert_eq!(service.exit_of(&crashing), killed_by(11));
    let mut looping = service.call();
    looping.start("system('sleep 600 & echo $!'); repeat {}", &[], &[]);
    looping.console_until("\n");
    let left = looping.console();
    service.kill(&looping);
    assert_eq!(service.exit_of(&looping), killed_by(9));
    // It is told only when nothing of the call is left.
    assert!(!Path::new(&format!("/proc/{}", left.trim())).exists());
    let mut leaving = service.call();
    leaving.hang_up();
    assert_eq!(service.exit_of(&leaving), Exit::Status { code: 0 });
    assert_eq!(other.console_of("x"), "[1] 1\n");
}

#[test]
fn a_full_stack_of_c_code_is_told_of_a_call_too() {
    let mut parent = Parent::start();
    // Its package is in the library of the service.
    let mut service = with_native(&mut parent)
        .serve()
        .unwrap_or_else(|_| panic!("refused"));
    let mut call = service.call();
    call.start("library(native); endless_recursion()", &[], &[]);
    assert!(call.answer().is_none());
    let exit = service.exit_of(&call);
    let told = matches!(
        exit,
        Exit::Signal {
            stack_overflow: true,
            ..
        }
    );
    assert!(told, "{exit:?}");
}

#[test]
fn calls_draw_different_numbers_unless_they_set_the_seed() {
    let mut parent = Parent::start();
    let mut service = service(
        &mut parent,
        "RNGkind('Wichmann-Hill'); set.seed(1); x <- runif(1)",
    );
    let draw = "cat(runif(1), RNGkind()[1])";
    let (one, other) = (service.console_of(draw), service.console_of(draw));
    assert_ne!(one, other);
    assert!(one.ends_with(" Wichmann-Hill"), "{one}");
    let draw = "set.seed(7); cat(runif(1))";
    assert_eq!(service.console_of(draw), service.console_of(draw));
    // C code has a generator of its own, and `tempfile` asks it.
    let name = "cat(basename(tempfile('')))";
    assert_ne!(service.console_of(name), service.console_of(name));
}

#[test]
fn a_call_has_places_of_its_own() {
    let mut parent = Parent::start();
    let mut service = service(&mut parent, "old <- tempdir()");
    let mut call = service.call();
    let code = "writeLines('t', file.path(tempdir(), 't')); invisible(file.create('new'))
        cat(getwd(), tempdir(), Sys.getenv('HOME'), Sys.getenv('TMPDIR'), system('pwd', intern = TRUE), tempdir() == old)";
    let answer = call.run(code);
    let dir = call.dir().to_owned();
    let (work, tmp) = (dir.join("work"), dir.join("tmp"));
    let (work, tmp) = (work.display(), tmp.display());
    assert_eq!(
        answer.console,
        format!("{work} {tmp} {work} {tmp} {work} FALSE")
    );
    assert_eq!(answer.changed_files, ["new"]);
    assert!(dir.join("tmp/t").exists());
}

#[test]
fn a_call_writes_to_no_file_of_its_service_and_reads_none_of_another_call() {
    let mut parent = Parent::start();
    let mut service = service(
        &mut parent,
        "writeLines('text', 'data.txt'); home <- getwd()",
    );
    let mut one = service.call();
    one.console_of("writeLines('mine', 'secret.txt')");
    let mut other = service.call();
    for code in [
        "writeLines('x', 'data.txt')",
        "writeLines('x', file.path(home, 'new'))",
        "invisible(file.remove(file.path(home, 'data.txt')) || stop('kept'))",
        "file.rename(home, paste0(home, '2')) || stop('kept')",
        &format!("readLines('{}')", one.work().join("secret.txt").display()),
        &format!(
            "length(dir('{}')) || stop('empty')",
            one.dir().parent().unwrap().display()
        ),
    ] {
        let ending = other.run(code).ending;
        assert!(matches!(ending, Ending::Error { .. }), "{code}: {ending:?}");
    }
    // Before Landlock knew of signals, those of one user reach each other.
    if protection(&parent, "signals").is_some_and(|how| how.contains("Landlock")) {
        for pid in [service.session.pid, one.pid] {
            let signalled = other.console_of(&format!("cat(tools::pskill({pid}, 0L))"));
            assert_eq!(signalled, "FALSE");
        }
    }
    // A link is the call's own.
    let answer = other.run("invisible(file.remove('data.txt')); writeLines('other', 'data.txt'); cat(readLines('data.txt'))");
    assert_eq!(
        (answer.console.as_str(), &answer.changed_files[..]),
        ("other", &["data.txt".to_owned()][..])
    );
    assert_eq!(service.console_of("cat(readLines('data.txt'))"), "text");
    // The service's own code was not locked up so.
    assert_eq!(one.console_of("cat(readLines('secret.txt'))"), "mine");
}

#[test]
fn a_service_has_what_several_sessions_may_have() {
    let mut parent = Parent::start();
    if protection(&parent, "own user").is_none() {
        return;
    }
    let processes = "cat(scan(text = grep('Max processes', readLines('/proc/self/limits'), value = TRUE), what = '', quiet = TRUE)[3])";
    assert_eq!(parent.fork().console_of(processes), "256");
    let mut service = service(&mut parent, "x <- 1");
    assert_eq!(service.console_of(processes), "4096");
    if protection(&parent, "memory of a session").is_none() {
        return;
    }
    // Its calls are in its group, and the bound is that of the group.
    let groups = |pid: i32| std::fs::read_to_string(format!("/proc/{pid}/cgroup")).unwrap();
    let (call, session) = (service.call(), parent.fork());
    assert_eq!(groups(call.pid), groups(service.session.pid));
    assert_ne!(groups(call.pid), groups(session.pid));
}

#[test]
fn a_call_has_no_descriptor_but_its_own() {
    let mut parent = Parent::start();
    let mut service = service(
        &mut parent,
        "writeLines('text', 'data.txt'); left <- file('data.txt', 'r'); system('sleep 600 &')",
    );
    let mut other = service.call();
    let mut call = service.call();
    let listed = call.console_of("cat(sort(as.integer(dir('/proc/self/fd'))))");
    let listed: Vec<u32> = listed.split(' ').map(|fd| fd.parse().unwrap()).collect();
    // The fourth is that of the listing.
    assert_eq!(listed[..4], [0, 1, 2, 3]);
    assert!(listed.len() == 5 && listed[4] >= 200, "{listed:?}");
    assert!(matches!(
        call.run("readLines(left)").ending,
        Ending::Error { .. }
    ));
    assert_eq!(other.console_of("1"), "[1] 1\n");
}

#[test]
fn calls_end_with_their_parent() {
    let mut parent = Parent::start();
    let mut service = service(&mut parent, "x <- 1");
    let mut call = service.call();
    call.start("system('sleep 600 & echo $!'); Sys.sleep(600)", &[], &[]);
    call.console_until("\n");
    let left = call.console();
    parent.kill(&service.session);
    assert_eq!(parent.exit_of(&service.session), killed_by(9));
    assert!(readable(&call.pidfd, PATIENCE));
    assert!(!Path::new(&format!("/proc/{}", left.trim())).exists());

    // At the end of either socket the parent goes, too.
    let mut service = self::service(&mut parent, "x <- 1");
    let call = service.call();
    let mut session = service.hang_up();
    assert_eq!(parent.exit_of(&session), Exit::Status { code: 0 });
    assert!(readable(&call.pidfd, PATIENCE));
    session = parent.fork_for_service();
    let mut service = session.serve().unwrap_or_else(|_| panic!("refused"));
    service.session.hang_up();
    assert_eq!(parent.exit_of(&service.session), Exit::Status { code: 0 });
}

#[test]
fn a_call_can_be_interrupted_and_its_output_comes_in_order() {
    let mut parent = Parent::start();
    let mut service = service(&mut parent, "x <- 1");
    let mut call = service.call();
    call.start(
        "cat('a\\n'); system('echo b; echo c >&2'); message('d'); system('echo e; exec sleep 600')",
        &[],
        &[],
    );
    call.console_until("e\n");
    service.interrupt(&call);
    let answer = call.answer().unwrap();
    assert!(
        answer.console.starts_with("a\nb\nc\nd\ne\n"),
        "{}",
        answer.console
    );
    assert_eq!(call.console_of("x"), "[1] 1\n");
    call.start("cat('in\\n'); repeat {}", &[], &[]);
    call.console_until("in\n");
    service.interrupt(&call);
    assert_eq!(call.answer().unwrap().ending, Ending::Interrupted);
    assert_eq!(service.console_of("x"), "[1] 1\n");
}

#[test]
fn what_cannot_be_forked_stays_a_session() {
    let mut parent = Parent::start();
    let mut threaded = with_native(&mut parent);
    threaded.console_of("native::start_thread()");
    let Err(refused) = threaded.serve() else {
        panic!("not refused");
    };
    let (mut session, message) = *refused;
    assert!(message.contains("2 threads"), "{message}");
    assert_eq!(session.console_of("1"), "[1] 1\n");
    // Nor is a session that was not meant for it.
    let Err(refused) = parent.fork().serve() else {
        panic!("not refused");
    };
    assert!(refused.1.contains("not forked to be"), "{}", refused.1);
}

/// Everything of a session that a rehearsal puts back.
const STATE: &str = "state <- function() list(ls(globalenv(), all.names = TRUE), x, get0('.Random.seed', globalenv()), RNGkind(),
    options(), search(), Sys.getenv(), getwd(), dir(home, all.files = TRUE, recursive = TRUE), dev.list(), nrow(showConnections()),
    .libPaths()); home <- getwd(); x <- list(1, 'a'); delayedAssign('lazy', stop('asked too early')); invisible(.libPaths())
    dir.create('kept'); before <- NULL; before <- state()";

fn is_as_before(session: &mut Session) {
    let code = "now <- state(); same <- mapply(identical, before, now); if (all(same)) cat('same') else str(list(before[!same], now[!same]))";
    // What it compares is not there the next time.
    let shown = session.console_of(&format!("local({{ {code} }})"));
    assert_eq!(shown, "same");
}

#[test]
fn a_rehearsal_is_undone_and_what_it_loaded_stays() {
    let mut parent = Parent::start();
    let mut session = parent.fork_for_service();
    session.console_of(STATE);
    let changes = "x[[1]] <- 2; y <- 3; lockBinding('y', globalenv()); .hidden <- 4; options(digits = 3, mine = 1, warn = 2)
        RNGkind('Wichmann-Hill', 'Box-Muller'); invisible(runif(1)); library(splines); attach(list(z = 1)); detach('package:datasets')
        Sys.setenv(A = 'multi\nline', HOME = '/'); Sys.unsetenv('TMP'); setwd('kept'); writeLines('a', '.a'); dir.create('../new/er', recursive = TRUE)
        f <- file('b', 'w'); sink('c'); png('d.png'); plot(1); .libPaths('/usr'); rm(home)";
    let answer = session.rehearse(&format!("cat('said\\n'); {changes}"));
    assert_eq!(answer.ending, Ending::Succeeded, "{}", answer.console);
    assert_eq!(answer.console, "said\n");
    is_as_before(&mut session);
    assert_eq!(
        session.console_of("cat(isNamespaceLoaded('splines'))"),
        "TRUE"
    );
    // Also when it fails.
    let answer = session.rehearse(&format!("{changes}\nstop('no')"));
    assert!(matches!(answer.ending, Ending::Error { message } if message.contains("no")));
    is_as_before(&mut session);
    let answer = session.rehearse("y <-");
    assert!(matches!(answer.ending, Ending::ParseError { .. }));
    is_as_before(&mut session);
    assert_eq!(session.output("z <- 1", "z"), "[1]");
}
