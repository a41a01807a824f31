//! What user code does to its own R, and the session goes on.

mod driver;

use driver::{Parent, Session};
use warren_rhost::session::Ending;

fn session() -> (Parent, Session) {
    let mut parent = Parent::start();
    let session = parent.fork();
    (parent, session)
}

#[test]
fn a_sink_ends_with_its_run() {
    let (_parent, mut session) = session();
    assert_eq!(session.console_of("sink('a.txt'); sink('b.txt'); 1"), "");
    assert_eq!(session.console_of("2"), "[1] 2\n");
    session.run("sink('c.txt'); 3; debug(sink)");
    assert_eq!(session.console_of("4"), "[1] 4\n");
}

#[test]
fn what_the_host_asks_of_r_is_not_stopped_by_the_sessions_debugging() {
    let (_parent, mut session) = session();
    session.run(
        "f <- function() 7; debug(f); delayedAssign('promised', f()); delayedAssign('asked', scan())
         time <- as.POSIXlt('2017-01-31 12:00:00', tz = 'UTC'); debug(as.POSIXct); debug(parse); debug(tryCatch)",
    );
    let answer = session.run_with("1", &[], &[("promised", None), ("time", None)]);
    assert_eq!(answer.outputs, ["[7]", "[\"2017-01-31T12:00:00.000Z\"]"]);
    assert_eq!(answer.console, "[1] 1\n");
    assert_eq!(session.output("2", "asked"), "[]");
    assert!(matches!(
        session.run("x y").ending,
        Ending::ParseError { .. }
    ));
    assert_eq!(session.console_of("3"), "[1] 3\n");
    // What user code calls itself still says that nobody can answer.
    assert!(matches!(session.run("f()").ending, Ending::Error { .. }));
    assert_eq!(session.console_of("'alive'"), "[1] \"alive\"\n");
}

#[test]
fn a_session_survives_what_user_code_does_to_it() {
    let mut parent = Parent::start();
    let damage = [
        "closeAllConnections()",
        "rm(list = ls(all = TRUE))",
        "rm(list = ls(all.names = TRUE), envir = globalenv())",
        "sink('a.txt'); sink('b.txt')",
        "sink(file('m.txt', 'w'), type = 'message')",
        "sink(tempfile()); stop('with a sink open')",
        "c <- print <- cat <- sink <- eval <- parse <- list <- quote <- function(...) stop('mine')",
        "print <- function(...) stop('mine'); print.default <- print",
        "`(` <- `{` <- function(...) stop('mine')",
        "options(error = quote(stop('again')), warn = 1, prompt = 'Browse[1]> ', echo = TRUE)",
        "options(error = function() q(), continue = '', warning.expression = quote(stop('w')))",
        "options(error = recover)",
        "options(expressions = 25)",
        "options(expressions = 500000)",
        "options(show.error.messages = FALSE)",
        "options(warn = 2)",
        "options(device = NULL)",
        "options(device = 'nonsense')",
        "options(encoding = 'latin1', keep.source = TRUE, useFancyQuotes = FALSE)",
        "detach('package:stats'); detach('package:utils'); detach('package:methods')",
        "for (name in search()[-1]) try(detach(name, character.only = TRUE), silent = TRUE); library(graphics)",
        "for (name in rev(loadedNamespaces())) try(unloadNamespace(name), silent = TRUE)",
        "debug(sink); debug(parse); debug(tryCatch); debug(grDevices::dev.off)",
        "try(close(stdin()), silent = TRUE); try(close(stderr()), silent = TRUE); system('exec 1>&-')",
        "for (i in 1:120) textConnection('x')",
        "Sys.setlocale('LC_ALL', 'C')",
        "setTimeLimit(elapsed = 0.001)",
        "setMethod('show', 'numeric', function(object) stop('S4')); registerS3method('print', 'numeric', function(x, ...) 'S3')",
        "attach(list(c = 1, print = 2, cat = 3))",
        "setwd(tempdir()); unlink(getwd(), recursive = TRUE)",
        "Sys.setenv(HOME = 'x', R_HOME = 'y', TMPDIR = 'z', TZ = 'nonsense'); Sys.unsetenv('PATH')",
        "addTaskCallback(function(...) stop('callback'))",
        "globalCallingHandlers(error = function(e) stop('nested'))",
        "trace(print, quote(stop('traced')), print = FALSE)",
        "for (i in 1:200) try(file(tempfile(), 'w'), silent = TRUE)",
        "while (!is.null(dev.list())) dev.off(); .Random.seed <- 'x'",
        "unlockBinding('print', baseenv()); assign('print', function(...) stop('b'), baseenv())",
    ];
    let value = "{\"a\":[1,2.5],\"b\":[\"é\",null]}";
    for code in damage {
        let mut session = parent.fork();
        session.run(code);
        let answer = session.run("1 + 1");
        assert_eq!(
            (answer.console.as_str(), answer.ending),
            ("[1] 2\n", Ending::Succeeded),
            "after {code}"
        );
        let answer = session.run_with("y <- x", &[("x", None, value)], &[("y", None)]);
        assert_eq!(answer.outputs, [value], "after {code}");
        let answer = session.run("plot(1:3)");
        assert_eq!(
            answer.changed_files,
            ["unnamedplot001.png"],
            "after {code}: {}",
            answer.console
        );
        let answer = session.run("f <- function(x) stop('no'); f(1)");
        let Ending::Error { message } = answer.ending else {
            panic!("after {code}: {:?}", answer.ending)
        };
        assert!(
            message == "in f(1) : no" || code.contains("nested"),
            "after {code}: {message}"
        );
        let answer = session.run("x y");
        assert!(
            matches!(answer.ending, Ending::ParseError { .. }),
            "after {code}: {:?}",
            answer.ending
        );
    }
}

#[test]
fn long_code_prints_the_same_whatever_the_session_calls_last_value() {
    let (_parent, mut session) = session();
    let long = format!("{}2\ninvisible(3)\n4\n", "\n".repeat(1_000));
    for damage in [
        ".Last.value <- 'mine'",
        "rm(.Last.value); attach(list(.Last.value = 'mine')); detach(2)",
        "lockBinding('.Last.value', baseenv())",
    ] {
        session.run(damage);
        assert_eq!(
            session.console_of(&long),
            "[1] 2\n[1] 4\n",
            "after {damage}"
        );
    }
    // A line that is longer than R's buffer, and code that wants the last value itself.
    let (_parent, mut session) = self::session();
    let wide = format!("x <- 1{}+ 1; x\n.Last.value + 1", " ".repeat(5_000));
    assert_eq!(session.console_of(&wide), "[1] 2\n[1] 3\n");
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
