//! What `/proc` says of processes that a test has not started itself.

use std::fs;
use std::process::Command;

/// True while there is such a process, be it a dead one that nobody has collected.
pub fn exists(pid: u32) -> bool {
    fs::exists(format!("/proc/{pid}")).unwrap_or(false)
}

/// Kills a process; one that is gone by now is no matter.
pub fn kill(pid: u32) {
    let pid = pid.to_string();
    let quiet = std::process::Stdio::null;
    let _ = Command::new("kill")
        .args(["-KILL", &pid])
        .stderr(quiet())
        .status();
}

/// The living processes that this one started, or took over, and that run this program.
pub fn children_of(pid: u32, program: &str) -> Vec<u32> {
    let entries = fs::read_dir("/proc").into_iter().flatten().flatten();
    let pids = entries.filter_map(|entry| entry.file_name().to_str()?.parse().ok());
    pids.filter(|child| {
        let name = fs::read_to_string(format!("/proc/{child}/comm")).unwrap_or_default();
        name.trim_end() == program && field(*child, "PPid:") == Some(pid)
    })
    .collect()
}

/// The process that started this one, or took it over.
///
/// # Panics
///
/// When there is no such process.
pub fn parent_of(pid: u32) -> u32 {
    field(pid, "PPid:").unwrap_or_else(|| panic!("process {pid} is gone"))
}

/// The memory that a process holds now, in KiB.
///
/// # Panics
///
/// When there is no such process.
pub fn resident_kib(pid: u32) -> u32 {
    field(pid, "VmRSS:").unwrap_or_else(|| panic!("process {pid} is gone"))
}

/// The most memory that a process has held so far, in KiB.
///
/// # Panics
///
/// When there is no such process.
pub fn peak_kib(pid: u32) -> u32 {
    field(pid, "VmHWM:").unwrap_or_else(|| panic!("process {pid} is gone"))
}

fn field(pid: u32, name: &str) -> Option<u32> {
    let status = fs::read_to_string(format!("/proc/{pid}/status")).ok()?;
    let line = status.lines().find_map(|line| line.strip_prefix(name))?;
    line.split_whitespace().next()?.parse().ok()
}
