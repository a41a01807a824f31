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

/// The process that started this one, or took it over.
///
/// # Panics
///
/// When there is no such process.
pub fn parent_of(pid: u32) -> u32 {
    field(pid, "PPid:").unwrap_or_else(|| panic!("process {pid} is gone"))
}

/// The processes that this one started or took over.
///
/// # Panics
///
/// When `/proc` cannot be read.
pub fn children_of(pid: u32) -> Vec<u32> {
    let entries = fs::read_dir("/proc").expect("/proc can be read");
    let pids = entries.filter_map(|entry| entry.ok()?.file_name().to_str()?.parse().ok());
    pids.filter(|child| field(*child, "PPid:") == Some(pid))
        .collect()
}

/// The R hosts of a worker: the one that has R, and the parents that are forks of it.
///
/// # Panics
///
/// When `/proc` cannot be read.
pub fn hosts_of(worker: u32) -> Vec<u32> {
    let origins = children_of(worker);
    let parents = origins.iter().flat_map(|origin| children_of(*origin));
    parents.chain(origins.iter().copied()).collect()
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
