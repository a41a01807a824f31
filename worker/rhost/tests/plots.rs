//! Plots: files of the working directory, without anybody asking for them.

#![allow(
    clippy::unwrap_used,
    reason = "a test that cannot go on should stop here"
)]

mod driver;

use driver::Parent;
use warren_rhost::session::Ending;

#[test]
fn every_page_is_a_png_of_the_agreed_size() {
    let mut parent = Parent::start();
    let mut session = parent.fork();
    let answer = session.run("plot(1:10); hist(rnorm(10)); lines(1, 1)");
    assert_eq!(answer.console, "");
    assert_eq!(
        answer.changed_files,
        ["unnamedplot001.png", "unnamedplot002.png"]
    );
    let png = std::fs::read(session.work().join("unnamedplot001.png")).unwrap();
    // Width and height stand big-endian behind the header of the first chunk.
    assert_eq!(png[..8], *b"\x89PNG\r\n\x1a\n");
    assert_eq!(png[16..24], [0, 0, 1, 144, 0, 0, 1, 144]);
    assert!(
        png.ends_with(b"IEND\xaeB`\x82"),
        "the unfinished page was not closed"
    );
}

#[test]
fn later_plots_get_the_next_numbers_until_the_old_ones_are_cleared() {
    let mut parent = Parent::start();
    let mut session = parent.fork();
    assert_eq!(session.run("plot(1)").changed_files, ["unnamedplot001.png"]);
    assert_eq!(
        session.run("plot(2); plot(3)").changed_files,
        ["unnamedplot002.png", "unnamedplot003.png"]
    );
    assert_eq!(
        session.run("plot(4); dev.off()").changed_files,
        ["unnamedplot004.png"]
    );
    session.run("unlink(list.files())");
    assert_eq!(session.run("plot(5)").changed_files, ["unnamedplot001.png"]);
}

#[test]
fn a_device_of_the_users_own_is_left_alone() {
    let mut parent = Parent::start();
    let mut session = parent.fork();
    session.console_of("pdf('own.pdf'); plot(1)");
    let answer = session.run("plot(2); names(dev.cur()); invisible(dev.off())");
    assert_eq!(answer.console, "[1] \"pdf\"\n");
    assert_eq!(answer.changed_files, ["own.pdf"]);
}

#[test]
fn a_plot_before_an_error_is_kept() {
    let mut parent = Parent::start();
    let mut session = parent.fork();
    assert_eq!(
        session.run("plot(1); stop('no')").changed_files,
        ["unnamedplot001.png"]
    );
}

#[test]
fn ggplot2_objects_print_themselves() {
    let mut parent = Parent::start();
    let mut session = parent.fork();
    let loaded = session.run("library(ggplot2)");
    assert_eq!(
        loaded.ending,
        Ending::Succeeded,
        "Debian: apt-get install r-cran-ggplot2: {}",
        loaded.console
    );
    let answer = session.run(
        "p <- ggplot(mtcars, aes(wt, mpg)) + geom_point()\np\np + ggtitle('two')\ninvisible(p)",
    );
    assert_eq!(answer.ending, Ending::Succeeded, "{}", answer.console);
    assert_eq!(
        answer.changed_files,
        ["unnamedplot001.png", "unnamedplot002.png"]
    );
    for name in answer.changed_files {
        let png = std::fs::read(session.work().join(name)).unwrap();
        assert!(png.ends_with(b"IEND\xaeB`\x82"));
        assert!(png.len() > 2_000, "an empty page: {} bytes", png.len());
    }
}

#[test]
fn the_user_may_close_the_device_in_the_middle_of_a_run() {
    let mut parent = Parent::start();
    let mut session = parent.fork();
    let answer =
        session.run("plot(1); invisible(dev.off()); plot(2); plot(3); graphics.off(); plot(4)");
    assert_eq!(answer.ending, Ending::Succeeded, "{}", answer.console);
    let names: Vec<String> = (1..=4)
        .map(|number| format!("unnamedplot{number:03}.png"))
        .collect();
    assert_eq!(answer.changed_files, names);
    assert_eq!(session.console_of("dev.list()"), "NULL\n");
}

#[test]
fn nothing_asks_for_a_display() {
    let mut parent = Parent::start();
    let mut session = parent.fork();
    let answer = session.run(
        "nzchar(Sys.getenv('DISPLAY'))\npng('own.png'); plot(1); invisible(dev.off())\nSys.setenv(DISPLAY = ':9'); plot(2)",
    );
    assert_eq!(answer.console, "[1] FALSE\n");
    assert_eq!(answer.changed_files, ["own.png", "unnamedplot001.png"]);
}
