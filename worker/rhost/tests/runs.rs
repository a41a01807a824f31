//! Runs at the child's door: endings, console, values, files.

mod driver;

use driver::Parent;
use warren_rhost::session::{Ending, RType};

#[test]
fn one_and_one_is_two() {
    let mut parent = Parent::start();
    assert!(parent.hello.r_version.starts_with("4."));
    let mut session = parent.fork();
    let answer = session.run("1+1");
    assert_eq!(answer.ending, Ending::Succeeded);
    assert_eq!(answer.console, "[1] 2\n");
}
