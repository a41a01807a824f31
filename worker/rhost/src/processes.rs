//! Processes that nobody watches over any more: finding them in `/proc` and ending them.
//!
//! Used on both sides. A parent ends what a dead session left behind, the worker what a dead parent left. Both are
//! subreapers, so that whatever loses its parent becomes their child.

use std::collections::HashSet;
use std::fs;

use rustix::process::{Pid, PidfdFlags, Signal, getpid, pidfd_open, pidfd_send_signal};

/// Rounds of looking for processes that were started while others were being stopped. Something that forks faster than
/// that is stopped in the next call, when less of it is left.
const ROUNDS: usize = 100;

/// The processes whose parent is this one, whichever of its threads started them.
pub fn own_children() -> Vec<Pid> {
    children_of(getpid())
}

/// Ends children of this process and everything that descends from them.
///
/// All of them are stopped first, because what is stopped cannot start anything: so a process that forks without end is
/// caught, too, within the limits that hold it. Reaping what has ended is left to the caller.
pub fn end_trees(roots: &[Pid]) {
    let own = getpid();
    let mut known = HashSet::new();
    let mut members = Vec::new();
    for _ in 0..ROUNDS {
        let before = members.len();
        let mut ahead: Vec<Member> = roots
            .iter()
            .map(|root| Member {
                pid: *root,
                parent: own,
            })
            .collect();
        while let Some(member) = ahead.pop() {
            if known.insert(member.pid) {
                member.signal(Signal::STOP);
                members.push(member);
            }
            ahead.extend(children_of(member.pid).into_iter().map(|pid| Member {
                pid,
                parent: member.pid,
            }));
        }
        if members.len() == before {
            break;
        }
    }
    // From the leaves up: the death of a process gives its children another parent.
    for member in members.iter().rev() {
        member.signal(Signal::KILL);
    }
}

/// A process as it was found: below this parent.
#[derive(Clone, Copy)]
struct Member {
    pid: Pid,
    parent: Pid,
}

impl Member {
    /// Sends a signal unless the process has gone; the number may belong to a stranger by now, whose parent is another.
    fn signal(self, signal: Signal) {
        if let Ok(process) = pidfd_open(self.pid, PidfdFlags::empty())
            && parent_of(self.pid) == Some(self.parent)
        {
            let _ = pidfd_send_signal(process, signal);
        }
    }
}

/// The living children of a process and those that wait to be reaped.
fn children_of(process: Pid) -> Vec<Pid> {
    let tasks = format!("/proc/{process}/task");
    let mut children = Vec::new();
    for task in fs::read_dir(tasks).into_iter().flatten().flatten() {
        match fs::read_to_string(task.path().join("children")) {
            Ok(list) => children.extend(list.split_whitespace().filter_map(pid)),
            Err(_) if process == getpid() || task.path().exists() => {
                return children_by_scan(process);
            }
            Err(_gone) => {}
        }
    }
    children
}

/// For a kernel without the lists of children.
fn children_by_scan(process: Pid) -> Vec<Pid> {
    fs::read_dir("/proc")
        .into_iter()
        .flatten()
        .flatten()
        .filter_map(|entry| pid(entry.file_name().to_str()?))
        .filter(|candidate| parent_of(*candidate) == Some(process))
        .collect()
}

fn parent_of(process: Pid) -> Option<Pid> {
    let stat = fs::read_to_string(format!("/proc/{process}/stat")).ok()?;
    // The command's name stands in parentheses and may hold anything; state and parent follow it.
    let (_, behind) = stat.rsplit_once(')')?;
    pid(behind.split_whitespace().nth(1)?)
}

fn pid(text: &str) -> Option<Pid> {
    Pid::from_raw(text.parse().ok()?)
}

#[cfg(test)]
mod tests {
    use std::io::{BufRead, BufReader};
    use std::process::{Command, Stdio};

    use super::*;

    #[test]
    fn a_child_is_found_in_both_ways() {
        let mut child = Command::new("sleep").arg("60").spawn().unwrap();
        let pid = Pid::from_child(&child);
        let (listed, scanned) = (own_children(), children_by_scan(getpid()));
        child.kill().unwrap();
        child.wait().unwrap();
        assert!(listed.contains(&pid) && scanned.contains(&pid));
    }

    #[test]
    fn a_tree_ends_with_its_root() {
        let mut shell = Command::new("sh")
            .args(["-c", "sh -c 'sleep 600 & echo $!; wait' & wait"])
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let mut line = String::new();
        BufReader::new(shell.stdout.take().unwrap())
            .read_line(&mut line)
            .unwrap();
        let leaf = pid(line.trim()).unwrap();
        let leaf = pidfd_open(leaf, PidfdFlags::empty()).unwrap();
        end_trees(&[Pid::from_child(&shell)]);
        shell.wait().unwrap();
        let mut ended = [rustix::event::PollFd::new(
            &leaf,
            rustix::event::PollFlags::IN,
        )];
        let limit = rustix::event::Timespec {
            tv_sec: 30,
            tv_nsec: 0,
        };
        assert_eq!(rustix::event::poll(&mut ended, Some(&limit)), Ok(1));
    }

    #[test]
    fn a_stranger_under_the_same_number_is_left_alone() {
        let mut child = Command::new("sleep").arg("60").spawn().unwrap();
        let stranger = Member {
            pid: Pid::from_child(&child),
            parent: Pid::INIT,
        };
        stranger.signal(Signal::KILL);
        assert!(child.try_wait().unwrap().is_none());
        child.kill().unwrap();
        child.wait().unwrap();
    }
}
