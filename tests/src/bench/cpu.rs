//! Who spends how much CPU time, from `/proc`. Whoever cannot be found is left out.

use std::collections::HashMap;
use std::fs;
use std::net::SocketAddr;
use std::path::Path;
use std::time::Duration;

/// The unit of CPU times in `/proc`: a hundredth of a second on every architecture that Rust knows Linux on.
const TICK: Duration = Duration::from_millis(10);

/// CPU time by part, in the order of [`Meter::new`].
#[derive(Debug, Clone, Default)]
pub(super) struct Spent(Vec<(&'static str, Duration)>);

impl Spent {
    /// Adds what was spent in another span.
    pub(super) fn add(&mut self, other: &Self) {
        if self.0.is_empty() {
            self.0.clone_from(&other.0);
            return;
        }
        for ((_, mine), (_, more)) in self.0.iter_mut().zip(&other.0) {
            *mine += *more;
        }
    }

    /// Each part with its time.
    pub(super) fn parts(&self) -> impl Iterator<Item = (&'static str, Duration)> {
        self.0.iter().copied()
    }
}

/// Which processes make a part.
#[derive(Debug, Clone, Copy)]
pub(super) enum Who {
    /// This one alone.
    Alone(u32),
    /// Everything below this one.
    Below(u32),
    /// This one and everything below.
    Tree(u32),
}

/// Reads what some parts have spent so far.
pub(super) struct Meter {
    parts: Vec<(&'static str, Who)>,
}

impl Meter {
    /// For these parts.
    pub(super) fn new(parts: Vec<(&'static str, Who)>) -> Self {
        Self { parts }
    }

    /// What was spent so far.
    pub(super) fn read(&self) -> Vec<Duration> {
        let table = table();
        let read = |&(_, who): &(_, Who)| match who {
            Who::Alone(pid) => table
                .get(&pid)
                .map_or(Duration::ZERO, |process| process.own),
            Who::Below(pid) => below(&table, pid),
            Who::Tree(pid) => {
                table
                    .get(&pid)
                    .map_or(Duration::ZERO, |process| process.own)
                    + below(&table, pid)
            }
        };
        self.parts.iter().map(read).collect()
    }

    /// What was spent since an earlier reading.
    pub(super) fn since(&self, before: &[Duration]) -> Spent {
        let now = self.read();
        let parts = self.parts.iter().zip(now.iter().zip(before));
        let spent = parts.map(|((part, _), (now, before))| (*part, now.saturating_sub(*before)));
        Spent(spent.collect())
    }
}

/// One line of the process table.
struct Process {
    parent: u32,
    own: Duration,
    /// Of children that ended and were waited for.
    gone_children: Duration,
}

fn table() -> HashMap<u32, Process> {
    let stats = pids().filter_map(|pid| {
        let stat = fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
        Some((pid, parse(&stat)?))
    });
    stats.collect()
}

fn pids() -> impl Iterator<Item = u32> {
    let entries = fs::read_dir("/proc").into_iter().flatten().flatten();
    entries.filter_map(|entry| entry.file_name().to_str()?.parse().ok())
}

/// Reads a line of `/proc/PID/stat`; the name in it may hold anything, also parentheses.
fn parse(stat: &str) -> Option<Process> {
    let (_, rest) = stat.rsplit_once(") ")?;
    let fields: Vec<&str> = rest.split_ascii_whitespace().collect();
    let ticks = |index: usize| -> Option<Duration> {
        let ticks: u32 = fields.get(index)?.parse().ok()?;
        Some(TICK * ticks)
    };
    Some(Process {
        parent: fields.get(1)?.parse().ok()?,
        own: ticks(11)? + ticks(12)?,
        gone_children: ticks(13)? + ticks(14)?,
    })
}

/// Of all processes below one, those that ended included.
fn below(table: &HashMap<u32, Process>, root: u32) -> Duration {
    let mut parents = vec![root];
    let mut spent = Duration::ZERO;
    while let Some(parent) = parents.pop() {
        if let Some(process) = table.get(&parent) {
            spent += process.gone_children;
        }
        for (pid, _) in table.iter().filter(|(_, process)| process.parent == parent) {
            spent += table[pid].own;
            parents.push(*pid);
        }
    }
    spent
}

/// Every process below one.
pub(super) fn descendants(root: u32) -> Vec<u32> {
    let table = table();
    let mut found = vec![root];
    let mut at = 0;
    while let Some(parent) = found.get(at).copied() {
        let children = table.iter().filter(|(_, process)| process.parent == parent);
        found.extend(children.map(|(pid, _)| *pid));
        at += 1;
    }
    found.split_off(1)
}

/// The process that listens on a port of this machine: the one that others inherited the socket from.
pub(super) fn listener(server: SocketAddr) -> Option<u32> {
    let inodes: Vec<String> = ["/proc/net/tcp", "/proc/net/tcp6"]
        .iter()
        .filter_map(|path| fs::read_to_string(path).ok())
        .flat_map(|sockets| listening(&sockets, server.port()))
        .collect();
    let holders: Vec<u32> = pids().filter(|pid| holds(*pid, &inodes)).collect();
    let table = table();
    let inherited = |pid: &u32| {
        table
            .get(pid)
            .is_some_and(|process| holders.contains(&process.parent))
    };
    holders.iter().copied().find(|pid| !inherited(pid))
}

/// Inodes of the sockets that listen on a port, out of `/proc/net/tcp`.
fn listening(sockets: &str, port: u16) -> Vec<String> {
    let port = format!(":{port:04X}");
    let sockets = sockets.lines().skip(1).filter_map(|line| {
        let fields: Vec<&str> = line.split_ascii_whitespace().collect();
        let listens = fields.get(1)?.ends_with(&port) && *fields.get(3)? == "0A";
        listens.then(|| format!("socket:[{}]", fields.get(9).copied().unwrap_or_default()))
    });
    sockets.collect()
}

fn holds(pid: u32, inodes: &[String]) -> bool {
    let open = fs::read_dir(format!("/proc/{pid}/fd"))
        .into_iter()
        .flatten();
    open.flatten()
        .filter_map(|entry| fs::read_link(entry.path()).ok())
        .any(|target| inodes.iter().any(|inode| target == Path::new(inode)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_with_parentheses_does_not_confuse() {
        let stat = "7 (R (x) y) S 3 7 7 0 -1 0 0 0 0 0 5 6 70 80 20 0 1 0 1";
        let process = parse(stat).unwrap();
        assert_eq!(process.parent, 3);
        assert_eq!(process.own, TICK * 11);
        assert_eq!(process.gone_children, TICK * 150);
    }

    #[test]
    fn the_holder_of_a_port_is_found() {
        let socket = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        assert_eq!(
            listener(socket.local_addr().unwrap()),
            Some(std::process::id())
        );
    }

    #[test]
    fn work_shows() {
        let meter = Meter::new(vec![("me", Who::Tree(std::process::id()))]);
        let before = meter.read();
        let began = std::time::Instant::now();
        while meter
            .since(&before)
            .parts()
            .all(|(_, spent)| spent.is_zero())
        {
            assert!(began.elapsed() < Duration::from_secs(60));
        }
    }
}
