//! The compiled package of the tests, `tests/native`.

use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::OnceLock;

use tempfile::TempDir;

use super::Session;

/// A library with the package in it. Without a compiler the test fails and says what to install.
pub(crate) fn library() -> &'static Path {
    static LIBRARY: OnceLock<TempDir> = OnceLock::new();
    LIBRARY
        .get_or_init(|| {
            let library = tempfile::tempdir().unwrap();
            let source = library.path().join("source");
            copy(
                &Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/native"),
                &source,
            );
            let built = Command::new("R")
                .args(["CMD", "INSTALL", "--no-docs", "--no-test-load", "-l"])
                .args([library.path(), &source])
                .output()
                .unwrap();
            assert!(
                built.status.success(),
                "tests/native does not build (Debian: apt-get install r-base-dev):\n{}{}",
                String::from_utf8_lossy(&built.stdout),
                String::from_utf8_lossy(&built.stderr)
            );
            library
        })
        .path()
}

/// Puts the package into the session's own library.
pub(crate) fn install(session: &mut Session) {
    // It is made when it is asked for.
    session.console_of("invisible(.libPaths())");
    let own: PathBuf = session.work().join(".library/native");
    copy(&library().join("native"), &own);
}

fn copy(from: &Path, to: &Path) {
    let copied = Command::new("cp")
        .arg("-R")
        .args([from, to])
        .status()
        .unwrap();
    assert!(copied.success(), "{} cannot be copied", from.display());
    // A session may have a user of its own, and the tests a strict umask.
    let opened = Command::new("chmod")
        .args(["-R", "a+rX"])
        .arg(to)
        .status()
        .unwrap();
    assert!(opened.success(), "{} cannot be opened", to.display());
}
