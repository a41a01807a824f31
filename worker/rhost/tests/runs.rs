//! Runs at the child's door: what is printed, how they end, what they leave.

mod driver;

use driver::{Parent, Session};
use warren_rhost::control::Exit;
use warren_rhost::session::Ending;

fn session() -> (Parent, Session) {
    let mut parent = Parent::start();
    let session = parent.fork();
    (parent, session)
}

fn error(message: &str) -> Ending {
    Ending::Error {
        message: message.to_owned(),
    }
}

#[test]
fn one_and_one_is_two() {
    let (parent, mut session) = session();
    assert!(
        parent
            .hello
            .r_version
            .starts_with(|first: char| first.is_ascii_digit())
    );
    assert_eq!(session.console_of("1+1"), "[1] 2\n");
}

#[test]
fn values_print_by_themselves_unless_they_are_invisible() {
    let (_parent, mut session) = session();
    let printed = session.console_of("x <- 1; x\ninvisible(2)\n(y <- 3); if (FALSE) 1");
    assert_eq!(printed, "[1] 1\n[1] 3\n");
}

#[test]
fn line_ends_of_every_kind_are_taken() {
    let (_parent, mut session) = session();
    assert_eq!(
        session.console_of("1\r\n2\r3\n'a\r\nb'"),
        "[1] 1\n[1] 2\n[1] 3\n[1] \"a\\nb\"\n"
    );
}

#[test]
fn an_error_ends_the_run_and_not_the_session() {
    let (_parent, mut session) = session();
    let answer =
        session.run("cat('before\\n'); f <- function(x) stop('no')\nf(1)\ncat('after\\n')");
    assert_eq!(answer.console, "before\nError in f(1) : no\n");
    assert_eq!(answer.ending, error("in f(1) : no"));
    assert_eq!(session.console_of("exists('f')"), "[1] TRUE\n");
}

#[test]
fn code_that_does_not_parse_runs_nothing() {
    let (_parent, mut session) = session();
    let answer = session.run("cat('no\\n')\nx y");
    let message = "<text>:2:3: unexpected symbol\n1: cat('no\\n')\n2: x y\n     ^".to_owned();
    assert_eq!(answer.console, format!("Error: {message}\n"));
    assert_eq!(answer.ending, Ending::ParseError { message });
    let answer = session.run("1 +");
    assert!(matches!(answer.ending, Ending::ParseError { .. }));
}

#[test]
fn warnings_come_after_their_expression() {
    let (_parent, mut session) = session();
    let printed = session.console_of("f <- function() { warning('w'); 1 }; f()\n2");
    assert_eq!(printed, "[1] 1\nWarning message:\nIn f() : w\n[1] 2\n");
}

#[test]
fn output_of_r_c_and_programs_is_in_order() {
    let (_parent, mut session) = session();
    let printed = session.console_of(
        "cat('a\\n'); message('b'); system('echo c; echo d >&2'); cat('e'); system('echo f'); print(1)",
    );
    assert_eq!(printed, "a\nb\nc\nd\nef\n[1] 1\n");
}

#[test]
fn nobody_is_asked_and_nothing_is_eaten() {
    let (_parent, mut session) = session();
    let questions = [
        "readline('name? ')",
        "scan(stdin())",
        "scan()",
        "readLines(stdin())",
        "browser()",
        "f <- function() { browser(); 1 }; for (i in 1:3) tryCatch(f(), error = stop)",
        "g <- function() 1; debug(g); g()",
    ];
    for question in questions {
        let answer = session.run(&format!("{question}\ncat('eaten\\n')"));
        assert!(
            matches!(answer.ending, Ending::Error { .. }),
            "{question}: {:?}",
            answer.ending
        );
        assert!(
            !answer.console.contains("eaten"),
            "{question}: {}",
            answer.console
        );
        assert_eq!(
            session.console_of("'alive'"),
            "[1] \"alive\"\n",
            "after {question}"
        );
    }
}

#[test]
fn user_code_is_told_that_nobody_is_there() {
    let (_parent, mut session) = session();
    // Often enough that R compiles the function and asks without a look-up.
    let code = "f <- function() interactive(); any(vapply(1:10, function(i) f(), NA))";
    assert_eq!(session.console_of(code), "[1] FALSE\n");
    session.run("stop('no')");
    assert_eq!(session.console_of("f()"), "[1] FALSE\n");
}

#[test]
fn quitting_is_an_error_that_says_what_to_do() {
    let (_parent, mut session) = session();
    for quit in [
        "q()",
        "quit('no')",
        "base::q(status = 3)",
        "base::quit(save = 'yes')",
    ] {
        let answer = session.run(quit);
        let Ending::Error { message } = answer.ending else {
            panic!("{quit}: {:?}", answer.ending)
        };
        assert!(message.contains("close the session instead"), "{message}");
    }
    assert_eq!(session.console_of("1"), "[1] 1\n");
}

#[test]
fn an_interrupt_unwinds_and_keeps_the_objects() {
    let (_parent, mut session) = session();
    for endless in [
        "repeat {}",
        "Sys.sleep(600)",
        "try(stop('a')); while (TRUE) 1",
    ] {
        session.start(&format!("x <- 42; cat('go\\n'); {endless}"), &[], &[]);
        session.console_until("go");
        session.interrupt();
        let answer = session.answer().unwrap();
        assert_eq!(
            answer.ending,
            Ending::Interrupted,
            "{endless}: {}",
            answer.console
        );
        assert_eq!(session.console_of("x"), "[1] 42\n");
    }
}

#[test]
fn an_interrupt_while_nothing_runs_is_forgotten() {
    let (_parent, mut session) = session();
    session.console_of("1");
    session.interrupt();
    assert_eq!(session.console_of("2"), "[1] 2\n");
}

#[test]
fn memory_that_is_not_there_is_an_ending_of_its_own() {
    let (_parent, mut session) = session();
    let answer = session.run("numeric(1e13)");
    assert!(
        matches!(answer.ending, Ending::OutOfMemory { .. }),
        "{:?}",
        answer.ending
    );
    assert_eq!(session.console_of("1"), "[1] 1\n");
}

#[test]
fn deep_recursion_is_an_error() {
    let (_parent, mut session) = session();
    let answer = session.run("f <- function() f(); f()");
    assert!(
        matches!(answer.ending, Ending::Error { .. }),
        "{:?}",
        answer.ending
    );
    let answer = session.run("options(expressions = 5e5); f()");
    assert!(
        matches!(answer.ending, Ending::Error { .. }),
        "{:?}",
        answer.ending
    );
    assert_eq!(session.console_of("1"), "[1] 1\n");
}

#[test]
fn the_death_of_the_process_is_told_with_its_signal() {
    let mut parent = Parent::start();
    for signal in [9, 11] {
        let mut session = parent.fork();
        session.start(&format!("tools::pskill(Sys.getpid(), {signal})"), &[], &[]);
        assert!(session.answer().is_none());
        assert_eq!(
            parent.exit_of(&session),
            Exit::Signal {
                signal,
                out_of_memory: false
            }
        );
    }
}

#[test]
fn a_sink_ends_with_its_run() {
    let (_parent, mut session) = session();
    assert_eq!(session.console_of("sink('a.txt'); sink('b.txt'); 1"), "");
    assert_eq!(session.console_of("2"), "[1] 2\n");
}

#[test]
fn files_that_a_run_made_or_changed_are_named() {
    let (_parent, mut session) = session();
    let answer =
        session.run("cat(1, file = 'b'); cat(1, file = 'a'); cat(1, file = '.c'); dir.create('d')");
    assert_eq!(answer.changed_files, ["a", "b"]);
    let answer = session.run("cat(2, file = 'b'); unlink('a')");
    assert_eq!(answer.changed_files, ["b"]);
    assert!(
        session
            .run("readLines('b', warn = FALSE)")
            .changed_files
            .is_empty()
    );
}

#[test]
fn a_session_survives_what_user_code_does_to_it() {
    let (_parent, mut session) = session();
    let damage = [
        "closeAllConnections()",
        "rm(list = ls(all.names = TRUE))",
        "c <- print <- cat <- sink <- eval <- parse <- function(...) stop('mine')",
        "options(error = quote(stop('again')), warn = 1, prompt = 'Browse[1]> ', echo = TRUE)",
        "detach('package:stats'); detach('package:utils'); detach('package:methods')",
        "setwd(tempdir()); Sys.setenv(HOME = 'x', R_HOME = 'y'); Sys.unsetenv('PATH')",
        "options(expressions = 25)",
    ];
    for code in damage {
        session.run(code);
        let answer = session.run("rm(list = ls()); 1 + 1");
        assert_eq!(answer.console, "[1] 2\n", "after {code}");
        let answer = session.run("stop('no')");
        assert!(
            matches!(answer.ending, Ending::Error { .. }),
            "after {code}: {:?}",
            answer.ending
        );
    }
}

#[test]
fn a_restart_of_user_code_is_not_the_end_of_the_run() {
    let (_parent, mut session) = session();
    let answer = session.run("withRestarts(stop('no'), abort = function() cat('caught\\n'))\n2");
    assert_eq!(answer.ending, Ending::Succeeded);
    assert!(
        answer.console.ends_with("caught\nNULL\n[1] 2\n")
            || answer.console.ends_with("caught\n[1] 2\n")
    );
    assert!(matches!(
        session.run("invokeRestart('abort'); 1").ending,
        Ending::Error { .. }
    ));
}

#[test]
fn long_code_prints_what_short_code_prints() {
    let (_parent, mut session) = session();
    let code = "x <- 1:3\n(x)\ninvisible(3)\nwarning('w')\nx[2] <- 9L; x\nfor (i in 1:2) print(i)\n\
                quote(a)\n'text'\nf <- function() stop('x')\nf()\n5";
    let short = session.run(code);
    let long = session.run(&format!("{}{code}", "\n".repeat(1_000)));
    assert_eq!(long.console, short.console);
    assert_eq!(long.ending, short.ending);

    let wide = format!("nchar('{}')", "é".repeat(10_000));
    assert_eq!(session.console_of(&wide), "[1] 10000\n");
}

#[test]
fn a_closed_frame_socket_ends_the_child() {
    let mut parent = Parent::start();
    let mut session = parent.fork();
    session.hang_up();
    assert_eq!(parent.exit_of(&session), Exit::Status { code: 0 });
}
