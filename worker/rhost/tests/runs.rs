//! Runs at the child's door: what is printed, how they end, what they leave.

mod driver;

use std::time::Instant;

use driver::{PATIENCE, Parent, Session, killed_by};
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
    for (code, expected) in [
        ("1 +", "<text>:2:0: unexpected end of input\n1: 1 +\n   ^"),
        (
            "x <- 'open\ny",
            "<text>:1:6: unexpected INCOMPLETE_STRING\n1: x <- 'open\n2: y\n        ^",
        ),
        (
            "f(é, 日本 5)",
            "<text>:1:9: unexpected numeric constant\n1: f(é, 日本 5\n            ^",
        ),
        // R 4.2 itself does not say where.
        (
            "x <- 1\ny <- 'é\\q' # and more",
            "<text>:2:9: '\\q' is an unrecognized escape in character string starting \"'é\\q\"\n2: y <- 'é\\q\n           ^",
        ),
        (
            "a\r\nb c",
            "<text>:2:3: unexpected symbol\n1: a\n2: b c\n     ^",
        ),
    ] {
        let answer = session.run(code);
        let Ending::ParseError { message } = answer.ending else {
            panic!("{code}: {:?}", answer.ending)
        };
        assert_eq!(message, expected, "{code}");
        assert_eq!(answer.console, format!("Error: {message}\n"));
    }
    // The place in long code is told, and the text around it, not all of it.
    let answer = session.run(&format!("{}x y\n", "cat('no')\n".repeat(2_000)));
    let Ending::ParseError { message } = answer.ending else {
        panic!("{:?}", answer.ending)
    };
    assert!(
        message.starts_with("<text>:2001:3: unexpected symbol\n2000: cat('no')\n2001: x y\n"),
        "{message}"
    );
    assert!(message.len() < 200, "{message}");
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
fn what_is_written_is_there_before_the_run_ends() {
    let (_parent, mut session) = session();
    session.start(
        "for (i in 1:3) cat('.'); message('and', appendLF = FALSE); while (!file.exists('go')) Sys.sleep(0.01)",
        &[],
        &[],
    );
    session.console_until("...and");
    std::fs::write(session.work().join("go"), "").unwrap();
    assert_eq!(session.answer().unwrap().ending, Ending::Succeeded);
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
fn an_interrupt_of_what_an_output_has_yet_to_compute_is_one_like_any_other() {
    let (_parent, mut session) = session();
    let code = "kept <- 3; delayedAssign('late', { cat('', file = 'here'); repeat {} })";
    session.start(code, &[], &[("late", None)]);
    let deadline = Instant::now() + PATIENCE;
    while !session.work().join("here").exists() {
        assert!(Instant::now() < deadline, "nobody asked for the output");
        std::thread::yield_now();
    }
    session.interrupt();
    assert_eq!(session.answer().unwrap().ending, Ending::Interrupted);
    assert_eq!(session.console_of("kept"), "[1] 3\n");
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
    for signal in [9, 11, 15] {
        let mut session = parent.fork();
        session.start(&format!("tools::pskill(Sys.getpid(), {signal})"), &[], &[]);
        assert!(session.answer().is_none());
        assert_eq!(parent.exit_of(&session), killed_by(signal));
    }
}

#[test]
fn files_that_a_run_made_or_changed_are_named() {
    let (_parent, mut session) = session();
    let answer = session.run(
        "cat(1, file = 'b'); cat(1, file = 'a'); cat(1, file = '.c'); dir.create('d'); cat(1, file = 'd/e')",
    );
    assert_eq!(answer.changed_files, ["a", "b"]);
    // Other content at once, of the same length, and with the old times put back.
    let answer = session.run("cat(2, file = 'b')");
    assert_eq!(answer.changed_files, ["b"]);
    let answer = session
        .run("old <- file.mtime('b'); cat(3, file = 'b'); invisible(Sys.setFileTime('b', old))");
    assert_eq!(answer.changed_files, ["b"]);
    // Gone files are not named, nor what happens below a directory.
    let answer =
        session.run("unlink('a'); cat(2, file = 'd/e'); cat(2, file = 'd/f'); cat(2, file = '.c')");
    assert!(
        answer.changed_files.is_empty(),
        "{:?}",
        answer.changed_files
    );
    let answer = session.run("file.rename('b', 'g'); file.symlink('g', 'link'); plot(1)");
    assert_eq!(answer.changed_files, ["g", "unnamedplot001.png"]);
    // Reading changes nothing, and what failed is told all the same.
    assert!(
        session
            .run("readLines('g', warn = FALSE)")
            .changed_files
            .is_empty()
    );
    let answer = session.run("cat(1, file = 'é 日本.txt'); stop('no')");
    assert_eq!(answer.changed_files, ["é 日本.txt"]);
}

#[test]
fn messages_of_errors_are_those_of_r() {
    let (_parent, mut session) = session();
    for (code, expected) in [
        ("stop('plain')", "plain"),
        ("f <- function(x) stop('no'); f(1)", "in f(1) : no"),
        ("stop('a\nb')", "a\nb"),
        (
            "sqrt('a')",
            "in sqrt(\"a\") : non-numeric argument to mathematical function",
        ),
        ("f <- function() stop('x', call. = FALSE); f()", "x"),
        (
            "options(warn = 2); as.integer('x')",
            "(converted from warning) NAs introduced by coercion",
        ),
        (
            "options(warn = 0); stop(structure(class = c('own', 'error', 'condition'), list(message = 'm', call = NULL)))",
            "m",
        ),
        // The error that counts is the user's, not that of the code that was to run after it.
        ("options(error = quote(stop('again'))); f()", "x"),
        (
            "options(error = NULL, show.error.messages = FALSE); stop('unseen')",
            "unseen",
        ),
        (
            "options(show.error.messages = TRUE); try(stop('seen'), silent = TRUE); stop('last')",
            "last",
        ),
        (
            "nothing_of_this_name",
            "object 'nothing_of_this_name' not found",
        ),
    ] {
        assert_eq!(session.run(code).ending, error(expected), "{code}");
    }
    // R leaves out what makes a call too long to be helpful.
    let answer = session.run(&format!(
        "g <- function(...) stop('no'); g({})",
        vec!["'a long argument'"; 100].join(", ")
    ));
    let Ending::Error { message } = answer.ending else {
        panic!("{:?}", answer.ending)
    };
    assert!(
        message.starts_with("in g(\"a long argument\", "),
        "{message}"
    );
    assert!(message.ends_with("no"), "{message}");
    assert!(message.len() < 400, "{message}");
}

#[test]
fn a_download_of_the_session_does_not_make_it_answer_for_its_user() {
    let (_parent, mut session) = session();
    // R says after a download that it is not busy, as it does at its prompt.
    let code = "try(download.file('http://127.0.0.1:1/', 'f', quiet = TRUE), silent = TRUE)\n";
    let one_line = code.trim_end();
    let printed = session.console_of(&format!(
        "options(warn = -1); {{ {one_line}; interactive() }}"
    ));
    assert_eq!(printed, "[1] FALSE\n");
    let answer = session.run(&format!("{{ {one_line}; scan() }}\ncat('eaten\\n')"));
    assert!(
        matches!(&answer.ending, Ending::Error { message } if message.contains("nobody can answer")),
        "{:?}",
        answer.ending
    );
    assert_eq!(session.console_of("'alive'"), "[1] \"alive\"\n");
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
