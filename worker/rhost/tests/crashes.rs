//! Compiled code: its output, its faults, its errors.

mod driver;

use driver::{Parent, Session, killed_by, native};
use warren_rhost::control::Exit;
use warren_rhost::session::Ending;

fn with_native(parent: &mut Parent) -> Session {
    let mut session = parent.fork();
    native::install(&mut session);
    session.console_of("library(native)");
    session
}

#[test]
fn c_prints_in_order_with_r() {
    let mut parent = Parent::start();
    let mut session = with_native(&mut parent);
    let printed = session.console_of(
        "cat('a\\n'); say_printf('b'); message('c'); say_stderr('d'); say_rprintf('e'); say_puts('f'); cat('g\\n')",
    );
    assert_eq!(printed, "a\nb\nc\nd\ne\nf\ng\n");
}

#[test]
fn an_error_that_c_code_raises_is_an_error_like_any_other() {
    let mut parent = Parent::start();
    let mut session = with_native(&mut parent);
    let answer = session.run("say_number(-1)");
    assert_eq!(
        answer.ending,
        Ending::Error {
            message: "in say_number(-1) : -1 is less than nothing".to_owned()
        }
    );
    assert_eq!(session.console_of("1"), "[1] 1\n");
}

#[test]
fn a_fault_in_c_ends_the_session_and_no_other() {
    let mut parent = Parent::start();
    let mut neighbour = parent.fork();
    for (call, signal) in [("null_dereference()", 11), ("abort_process()", 6)] {
        let mut session = with_native(&mut parent);
        session.start(&format!("cat('before\\n'); {call}"), &[], &[]);
        assert!(session.answer().is_none());
        assert_eq!(session.console(), "before\n");
        assert_eq!(parent.exit_of(&session), killed_by(signal));
    }
    assert_eq!(neighbour.console_of("1"), "[1] 1\n");
}

#[test]
fn a_full_c_stack_is_told_from_other_faults() {
    let mut parent = Parent::start();
    let mut session = with_native(&mut parent);
    session.start("cat('before\\n'); endless_recursion()", &[], &[]);
    assert!(session.answer().is_none());
    assert_eq!(
        session.console(),
        "before\nError: segfault from C stack overflow\n"
    );
    assert_eq!(
        parent.exit_of(&session),
        Exit::Signal {
            signal: 11,
            out_of_memory: false,
            stack_overflow: true
        }
    );
    // Neither a fork of the session's nor its children take part in the note.
    let mut session = with_native(&mut parent);
    session
        .run("p <- parallel::mcparallel(endless_recursion()); invisible(parallel::mccollect(p))");
    session.start("null_dereference()", &[], &[]);
    assert!(session.answer().is_none());
    assert_eq!(parent.exit_of(&session), killed_by(11));
}

#[test]
fn r_code_that_c_calls_endlessly_is_an_error_and_the_session_lives() {
    let mut parent = Parent::start();
    let mut session = with_native(&mut parent);
    let answer = session.run("f <- function() call_back(f); f()");
    let Ending::Error { message } = answer.ending else {
        panic!("{:?}", answer.ending)
    };
    assert!(
        message.contains("stack usage") || message.contains("nested too deeply"),
        "{message}"
    );
    assert_eq!(session.console_of("1"), "[1] 1\n");
}
