//! The console against R's own: every script of `tests/console` prints, byte for byte, what R prints for it.
//!
//! R is given `options(error = expression(NULL))` so that it goes on after an error, as a session does; a run does
//! not, so each run of a script has an error at its end only. A line `#---` begins the next run of the session. Both sides have
//! the compiled package of `tests/native`.

#![allow(
    clippy::unwrap_used,
    reason = "a test that cannot go on should stop here"
)]

mod driver;

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use driver::{Parent, native};

/// What R prints, with both streams on one pipe.
fn reference(script: &str) -> String {
    let directory = tempfile::tempdir().unwrap();
    let file = directory.path().join("script.R");
    fs::write(
        &file,
        format!("options(error = expression(NULL))\n{script}"),
    )
    .unwrap();
    let output = Command::new("sh")
        .args([
            "-c",
            "exec R --vanilla --no-echo --no-readline < script.R 2>&1",
        ])
        .current_dir(&directory)
        .env("LC_ALL", "C.UTF-8")
        .env("R_LIBS", native::library())
        .env("LANGUAGE", "en")
        .stdin(Stdio::null())
        .output()
        .unwrap();
    String::from_utf8(output.stdout).unwrap()
}

fn references(scripts: &[(String, PathBuf)]) -> Vec<String> {
    scripts
        .iter()
        .map(|(script, _)| reference(script))
        .collect()
}

#[test]
fn every_script_prints_what_r_prints() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/console");
    let mut scripts: Vec<_> = fs::read_dir(folder)
        .unwrap()
        .map(|entry| entry.unwrap().path())
        .collect();
    scripts.sort();
    assert!(scripts.len() >= 40);
    let mut parent = Parent::start();
    let mut wrong = Vec::new();
    let scripts: Vec<_> = scripts
        .into_iter()
        .map(|path| (fs::read_to_string(&path).unwrap(), path))
        .collect();
    // R takes most of the time: two at once.
    let half = scripts.len() / 2;
    let expected: Vec<String> = std::thread::scope(|scope| {
        let second = scope.spawn(|| references(&scripts[half..]));
        let mut all = references(&scripts[..half]);
        all.extend(second.join().unwrap());
        all
    });
    for ((script, path), expected) in scripts.into_iter().zip(expected) {
        let mut session = parent.fork();
        native::install(&mut session);
        let runs = script.split("#---\n");
        let printed: String = runs.map(|run| session.run(run).console).collect();
        if printed != expected {
            let name = path.file_stem().unwrap_or_default().display().to_string();
            wrong.push(format!(
                "== {name}: the session\n{printed}== and R\n{expected}"
            ));
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}
