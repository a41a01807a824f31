//! What `/proc` says of processes: our threads, our children.

use std::fs;

use rustix::process::{Pid, Signal};

/// A fork copies one thread only; a lock that another one holds stays locked for ever.
pub(crate) fn single_threaded(preload: &[String]) -> Result<(), String> {
    let threads = fs::read_dir("/proc/self/task")
        .map_err(|error| format!("/proc/self/task cannot be read: {error}"))?
        .count();
    if threads == 1 {
        return Ok(());
    }
    Err(format!(
        "R has {threads} threads after loading its BLAS and the packages [{}], so it cannot be forked safely. Leave out \
         the package that starts threads, or use a BLAS without them.",
        preload.join(", ")
    ))
}

/// The processes whose parent is this one.
pub(crate) fn own_children() -> Vec<Pid> {
    match fs::read_to_string("/proc/thread-self/children") {
        Ok(list) => list.split_whitespace().filter_map(pid).collect(),
        // A kernel without that list.
        Err(_) => children_by_scan(),
    }
}

fn children_by_scan() -> Vec<Pid> {
    let own = rustix::process::getpid().as_raw_pid().to_string();
    fs::read_dir("/proc")
        .into_iter()
        .flatten()
        .flatten()
        .filter_map(|entry| {
            let stat = fs::read_to_string(entry.path().join("stat")).ok()?;
            // The command's name stands in parentheses and may hold anything; state and parent follow it.
            let (_, behind) = stat.rsplit_once(')')?;
            let parent = behind.split_whitespace().nth(1)?;
            (parent == own).then(|| pid(entry.file_name().to_str()?))?
        })
        .collect()
}

fn pid(text: &str) -> Option<Pid> {
    Pid::from_raw(text.parse().ok()?)
}

/// Kills a child and its process group, as long as it has not been reaped.
pub(crate) fn kill(child: Pid) {
    // Both may be gone already, and then there is nothing to do.
    let _ = rustix::process::kill_process_group(child, Signal::KILL);
    let _ = rustix::process::kill_process(child, Signal::KILL);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_child_is_found_in_both_ways() {
        let mut child = std::process::Command::new("sleep")
            .arg("60")
            .spawn()
            .unwrap();
        let pid = Pid::from_child(&child);
        let scanned = children_by_scan();
        child.kill().unwrap();
        child.wait().unwrap();
        assert!(scanned.contains(&pid));
    }
}
