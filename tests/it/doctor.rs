//! What protects a machine from user code, as its operators see it.

use std::os::unix::fs::MetadataExt;
use std::process::{Command, Output};

use serde_json::Value;
use warren_tests::process::program;
use warren_tests::{Builder, WorkerOptions};

/// The doctor of a worker with a working directory of its own.
fn doctor(arguments: &[&str]) -> Output {
    let dir = tempfile::tempdir().unwrap();
    Command::new(program("warren-worker"))
        .arg("doctor")
        .args(arguments)
        .env("WARREN_WORK_DIR", dir.path().join("sessions"))
        .output()
        .unwrap()
}

fn is_root() -> bool {
    std::fs::metadata("/proc/self").unwrap().uid() == 0
}

#[test]
fn the_doctor_names_every_protection_and_what_the_weaker_ones_need() {
    let output = doctor(&["--json"]);
    assert!(
        output.status.success(),
        "{}",
        String::from_utf8_lossy(&output.stderr)
    );
    let findings: Value = serde_json::from_slice(&output.stdout).unwrap();
    let protections = findings["protections"].as_array().unwrap();
    let state = |name: &str| {
        let found = protections.iter().find(|one| one["name"] == name);
        found.unwrap_or_else(|| panic!("{name} is missing: {findings}"))["state"].clone()
    };
    for required in [
        "privileges",
        "files",
        "system calls",
        "resources",
        "network",
    ] {
        assert_eq!(state(required), "active", "{required}");
    }
    assert_eq!(state("own user") == "active", is_root());
    for protection in protections {
        assert_eq!(
            protection["state"] != "active",
            protection["needs"].is_string()
        );
    }
    let table = String::from_utf8(doctor(&["--session-uids", "off"]).stdout).unwrap();
    assert!(table.contains("own user                 weaker"), "{table}");
    assert!(
        table.contains("needs: a range of users in WARREN_SESSION_UIDS"),
        "{table}"
    );
}

#[test]
fn the_doctor_says_why_no_session_could_live() {
    let dir = tempfile::tempdir().unwrap();
    std::fs::write(dir.path().join("file"), "").unwrap();
    let output = doctor(&["--work-dir", dir.path().join("file/x").to_str().unwrap()]);
    assert!(!output.status.success());
    let message = String::from_utf8(output.stderr).unwrap();
    assert!(message.contains("WARREN_WORK_DIR"), "{message}");
    let message = String::from_utf8(doctor(&["--r", "/nonexistent/R"]).stderr).unwrap();
    assert!(message.contains("R was not found"), "{message}");
}

#[test]
fn sessions_can_live_below_a_worker_that_keeps_its_files_to_itself() {
    let dir = tempfile::tempdir().unwrap();
    let output = Command::new("sh")
        .args(["-c", "umask 077; exec \"$0\" doctor"])
        .arg(program("warren-worker"))
        .env("WARREN_WORK_DIR", dir.path().join("sessions"))
        .output()
        .unwrap();
    let message = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{message}");
}

#[tokio::test]
async fn the_status_names_what_is_weaker_on_a_worker() {
    let mut house = Builder::new().workers(0).build().await;
    house
        .add_worker(WorkerOptions {
            env: vec![("WARREN_SESSION_UIDS".to_owned(), "off".to_owned())],
            ..WorkerOptions::default()
        })
        .await;
    let status = house.admin().await.get("/status").await.expect(200);
    let workers = status["components"]["backends"]["components"]
        .as_object()
        .unwrap();
    let worker = workers.values().next().unwrap();
    let weaker = worker["details"]["weakerProtections"].as_array().unwrap();
    let own_user = weaker.iter().find(|one| one["name"] == "own user").unwrap();
    assert!(
        own_user["needs"]
            .as_str()
            .unwrap()
            .contains("WARREN_SESSION_UIDS")
    );
    assert_eq!(status["statusCode"], "pass");
}
