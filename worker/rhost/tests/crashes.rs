//! Compiled code: its output, its faults, its memory.

mod driver;

use driver::{Parent, Session};
use warren_rhost::control::Exit;

const C: &str = r#"
#include <stdio.h>
void say(void) { printf("from C\n"); }
void fault(void) { volatile int *nowhere = 0; *nowhere = 1; }
static int deeper(volatile int n) { volatile char room[4096]; room[0] = (char) n; return deeper(n + 1) + room[0]; }
void overflow(void) { deeper(0); }
"#;

/// A session with the code above loaded; none where there is no compiler.
fn with_c(parent: &mut Parent) -> Option<Session> {
    let mut session = parent.fork();
    std::fs::write(session.work().join("code.c"), C).ok()?;
    let built = session.console_of("cat(system('R CMD SHLIB code.c >build.log 2>&1'))");
    if built != "0" {
        return None;
    }
    session.console_of("invisible(dyn.load('code.so'))");
    Some(session)
}

#[test]
fn c_prints_in_order_with_r() {
    let mut parent = Parent::start();
    let Some(mut session) = with_c(&mut parent) else {
        return;
    };
    let printed = session.console_of("cat('a\\n'); invisible(.C('say')); cat('b\\n')");
    assert_eq!(printed, "a\nfrom C\nb\n");
}

#[test]
fn a_fault_in_c_ends_the_session_and_no_other() {
    let mut parent = Parent::start();
    let mut neighbour = parent.fork();
    for call in ["fault", "overflow"] {
        let Some(mut session) = with_c(&mut parent) else {
            return;
        };
        session.start(&format!("cat('before\\n'); .C('{call}')"), &[], &[]);
        assert!(session.answer().is_none());
        assert_eq!(session.console(), "before\n");
        assert_eq!(
            parent.exit_of(&session),
            Exit::Signal {
                signal: 11,
                out_of_memory: false
            }
        );
    }
    assert_eq!(neighbour.console_of("1"), "[1] 1\n");
}
