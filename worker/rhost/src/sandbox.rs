//! What user code cannot do: Landlock for paths, seccomp for system calls, limits for resources.
//!
//! Prepared once in the parent, which refuses to serve when something required is missing; entered by each child
//! before its first line of user code. Nothing here needs root.

use std::io;
use std::path::{Path, PathBuf};

use landlock::{
    ABI, Access, AccessFs, AccessNet, BitFlags, NetPort, PathBeneath, PathFd, Ruleset, RulesetAttr,
    RulesetCreatedAttr, RulesetStatus, Scope,
};
use seccompiler::BpfProgram;

use warren_rhost::control::{Protection, ProtectionState};

use crate::args::Limits;
use crate::identity::{SESSIONS_OF_A_SERVICE, SHARED_PROCESSES};
use crate::seccomp;

/// Readable and executable: what R, its packages and a compiler need.
const READ: [&str; 21] = [
    "/usr",
    "/lib",
    "/lib64",
    "/bin",
    "/sbin",
    "/etc/R",
    "/etc/fonts",
    "/etc/localtime",
    "/etc/timezone",
    "/etc/ssl",
    "/etc/ld.so.cache",
    "/etc/alternatives",
    "/etc/passwd",
    "/etc/group",
    "/etc/nsswitch.conf",
    "/etc/resolv.conf",
    "/etc/hosts",
    "/var/cache/fontconfig",
    "/sys/devices/system/cpu",
    // Landlock itself keeps environment, memory and descriptors of processes outside the session shut.
    "/proc",
    "/dev/random",
];

/// Readable and writable.
const WRITE: [&str; 4] = ["/dev/null", "/dev/zero", "/dev/urandom", "/dev/tty"];

/// Both bounds of each resource, never above what holds for the parent.
type Bounds = [(libc::__rlimit_resource_t, libc::rlimit); 5];

/// What may be done below a path.
struct Rule {
    path: PathBuf,
    file: PathFd,
    access: BitFlags<AccessFs>,
}

/// Everything that does not depend on the child.
pub(crate) struct Sandbox {
    limits: Limits,
    bounds: Bounds,
    /// Of the parent of a service's calls, who share its user.
    service_bounds: Bounds,
    /// Processes of the user that a child runs as.
    processes: u64,
    abi: ABI,
    rules: Vec<Rule>,
    filters: Vec<BpfProgram>,
}

impl Sandbox {
    /// Opens the paths and compiles the filters. The message names the protection that is missing.
    pub(crate) fn prepare(limits: &Limits, r_home: &Path, own_users: bool) -> Result<Self, String> {
        let abi = landlock_abi(limits.landlock_abi)?;
        seccomp::available()?;
        let filters = seccomp::filters(&limits.connect_ports, abi)?;
        let mut rules = Vec::new();
        let read = READ
            .iter()
            .map(PathBuf::from)
            .chain([r_home.to_owned()])
            .chain(libraries());
        for path in outermost(read) {
            rules.extend(rule(&path, AccessFs::from_read(abi), abi));
        }
        for path in WRITE {
            rules.extend(rule(Path::new(path), AccessFs::from_all(abi), abi));
        }
        let processes = if own_users {
            limits.processes
        } else {
            SHARED_PROCESSES.max(limits.processes)
        };
        let of_a_service = if own_users {
            processes.saturating_mul(SESSIONS_OF_A_SERVICE)
        } else {
            processes
        };
        let bounds = |processes| {
            bounds(limits, processes)
                .map_err(|error| format!("the limits of this process cannot be read: {error}"))
        };
        Ok(Self {
            bounds: bounds(processes)?,
            service_bounds: bounds(of_a_service)?,
            limits: limits.clone(),
            processes,
            abi,
            rules,
            filters,
        })
    }

    /// What the operator set.
    pub(crate) fn limits(&self) -> &Limits {
        &self.limits
    }

    /// What holds on this machine besides what the identities of the sessions give.
    pub(crate) fn protections(&self) -> Vec<Protection> {
        let abi = self.abi as i32;
        let ports = &self.limits.connect_ports;
        let active = |name: &str, how: String| Protection {
            name: name.to_owned(),
            state: ProtectionState::Active,
            how,
            needs: None,
        };
        let mut list = vec![
            active("privileges", "no new ones, and none of root's".to_owned()),
            active(
                "files",
                format!("its own directory, and reading what R needs (Landlock ABI {abi})"),
            ),
            active(
                "system calls",
                "none that R never needs (seccomp)".to_owned(),
            ),
            active(
                "resources",
                format!(
                    "of a process {} MiB of memory and {} open files, of a file {} MiB, no core dumps",
                    self.limits.memory_bytes >> 20,
                    self.limits.open_files,
                    self.limits.file_bytes >> 20
                ),
            ),
        ];
        list.push(match (ports.is_empty(), self.abi >= ABI::V4) {
            (true, _) => active("network", "no sockets (seccomp)".to_owned()),
            (false, true) => active(
                "network",
                format!("TCP to the ports {ports:?} (Landlock), and UDP for names"),
            ),
            (false, false) => Protection {
                name: "network".to_owned(),
                state: ProtectionState::Weaker,
                how:
                    "TCP to every port, not only to those of WARREN_SANDBOX_CONNECT_PORTS, and UDP"
                        .to_owned(),
                needs: Some(format!("Landlock ABI 4 (Linux 6.7); this kernel has {abi}")),
            },
        });
        list.push(if self.abi >= ABI::V6 {
            active(
                "signals",
                "to processes of the session only (Landlock)".to_owned(),
            )
        } else if self.processes == self.limits.processes {
            active(
                "signals",
                "to processes of the session's user only".to_owned(),
            )
        } else {
            Protection {
                name: "signals".to_owned(),
                state: ProtectionState::Weaker,
                how: "sessions can signal processes of the worker's user".to_owned(),
                needs: Some(format!(
                    "Landlock ABI 6 (Linux 6.12), or a user for each session; this kernel has ABI {abi}"
                )),
            }
        });
        list
    }

    /// Takes from the parent what neither it nor a child ever needs. Children inherit that, where each would otherwise pay for
    /// having its filters checked and compiled by the kernel.
    pub(crate) fn confine_parent(&self) -> io::Result<()> {
        bound_capabilities();
        for filter in &self.filters {
            seccompiler::apply_filter(filter).map_err(io::Error::other)?;
        }
        Ok(())
    }

    /// Locks this process, a child of a confined parent, and all it will start into `dir`. There is no way back.
    pub(crate) fn enter(&self, dir: &Path, service: bool) -> io::Result<()> {
        limit_resources(if service {
            &self.service_bounds
        } else {
            &self.bounds
        })?;
        give_up_capabilities()?;
        let ports = Some(&self.limits.connect_ports[..]);
        limit_paths(self.abi, &self.rules, dir, ports)
    }

    /// What a call is locked into, for a process that is locked into `dir` itself, and has closed what it had of this. Paths can
    /// be opened to make rules of them wherever they are.
    pub(crate) fn for_calls(&self, dir: &Path) -> CallSandbox {
        let abi = self.abi;
        let again = |known: &Rule| rule(&known.path, known.access, abi);
        let own = ["work", "tmp"].map(|own| rule(&dir.join(own), AccessFs::from_read(abi), abi));
        let rules = self.rules.iter().map(again).chain(own).flatten();
        CallSandbox {
            abi,
            rules: rules.collect(),
        }
    }
}

/// The second lock of a call: it reads what its service reads, without the directories of other calls, and writes to its own only.
pub(crate) struct CallSandbox {
    abi: ABI,
    rules: Vec<Rule>,
}

impl CallSandbox {
    /// Locks this process and all it will start into `dir`. Sockets and resources are bounded by the first lock.
    pub(crate) fn enter(&self, dir: &Path) -> io::Result<()> {
        limit_paths(self.abi, &self.rules, dir, None)
    }
}

fn limit_paths(abi: ABI, rules: &[Rule], dir: &Path, ports: Option<&[u16]>) -> io::Result<()> {
    let own = PathFd::new(dir).map_err(io::Error::other)?;
    let status = restrict(abi, rules, &own, ports).map_err(io::Error::other)?;
    if status == RulesetStatus::NotEnforced {
        return Err(io::Error::other("Landlock was not enforced"));
    }
    Ok(())
}

/// Asks for everything the ABI knows; what the kernel does not know is left out by the crate. Without ports none is looked at.
fn restrict(
    abi: ABI,
    rules: &[Rule],
    own: &PathFd,
    ports: Option<&[u16]>,
) -> Result<RulesetStatus, landlock::RulesetError> {
    let ports = ports.filter(|_| abi >= ABI::V4);
    let mut ruleset = Ruleset::default().handle_access(AccessFs::from_all(abi))?;
    if ports.is_some() {
        ruleset = ruleset.handle_access(AccessNet::from_all(abi))?;
    }
    if abi >= ABI::V6 {
        ruleset = ruleset.scope(Scope::from_all(abi))?;
    }
    let mut ruleset = ruleset.create()?;
    for Rule { file, access, .. } in rules {
        ruleset = ruleset.add_rule(PathBeneath::new(file, *access))?;
    }
    ruleset = ruleset.add_rule(PathBeneath::new(own, AccessFs::from_all(abi)))?;
    for port in ports.into_iter().flatten() {
        ruleset = ruleset.add_rule(NetPort::new(*port, AccessNet::ConnectTcp))?;
    }
    Ok(ruleset.restrict_self()?.ruleset)
}

fn limit_resources(bounds: &Bounds) -> io::Result<()> {
    for (resource, bound) in bounds {
        // SAFETY: the structure is valid and only read.
        if unsafe { libc::setrlimit(*resource, bound) } != 0 {
            return Err(io::Error::last_os_error());
        }
    }
    Ok(())
}

/// Takes every capability away from whatever this process will ever execute. Before it gives up its own.
fn bound_capabilities() {
    for capability in 0..64 {
        // Fails at the first number that is no capability, and at every one without the right to do it.
        // SAFETY: `prctl` with these arguments reads no memory.
        unsafe { libc::prctl(libc::PR_CAPBSET_DROP, capability, 0, 0, 0) };
    }
}

/// Gives up root's powers, so that what holds for an ordinary user holds for root, too. Some of them pass Landlock by: newer
/// kernels let `CAP_PERFMON` read any process's environment.
fn give_up_capabilities() -> io::Result<()> {
    /// `_LINUX_CAPABILITY_VERSION_3`: two words of each set.
    const VERSION: u32 = 0x2008_0522;
    #[repr(C)]
    struct Header {
        version: u32,
        pid: i32,
    }

    let header = Header {
        version: VERSION,
        pid: 0,
    };
    let nothing = [0_u32; 6];
    // SAFETY: `capset` reads a header and two words each of the effective, permitted and inheritable sets.
    let result = unsafe { libc::syscall(libc::SYS_capset, &raw const header, nothing.as_ptr()) };
    if result == 0 {
        Ok(())
    } else {
        Err(io::Error::last_os_error())
    }
}

/// What each child is held to. `processes`: of the user that it runs as.
fn bounds(limits: &Limits, processes: u64) -> io::Result<Bounds> {
    let mut bounds = [
        (libc::RLIMIT_CORE, 0),
        (libc::RLIMIT_AS, limits.memory_bytes),
        (libc::RLIMIT_FSIZE, limits.file_bytes),
        (libc::RLIMIT_NOFILE, limits.open_files),
        (libc::RLIMIT_NPROC, processes),
    ]
    .map(|(resource, wanted)| {
        let bound = libc::rlimit {
            rlim_cur: wanted,
            rlim_max: wanted,
        };
        (resource, bound)
    });
    for (resource, bound) in &mut bounds {
        let mut held = *bound;
        // SAFETY: the structure is valid, and filled by the call.
        if unsafe { libc::getrlimit(*resource, &raw mut held) } != 0 {
            return Err(io::Error::last_os_error());
        }
        bound.rlim_max = bound.rlim_max.min(held.rlim_max);
        bound.rlim_cur = bound.rlim_max;
    }
    Ok(bounds)
}

/// A path that does not exist needs no rule; a file takes no rights of directories.
fn rule(path: &Path, access: BitFlags<AccessFs>, abi: ABI) -> Option<Rule> {
    let file = PathFd::new(path).ok()?;
    let access = if path.is_dir() {
        access
    } else {
        access & AccessFs::from_file(abi)
    };
    let path = path.to_owned();
    Some(Rule { path, file, access })
}

/// Leaves out what does not exist, and what lies below another: a rule holds for everything below its path, and every
/// child pays for each rule. On systems where `/lib` is a link into `/usr` that is a third of them.
fn outermost(paths: impl Iterator<Item = PathBuf>) -> Vec<PathBuf> {
    let mut real: Vec<PathBuf> = paths.filter_map(|path| path.canonicalize().ok()).collect();
    real.sort();
    // Sorted by parts, a path comes before everything below it.
    real.dedup_by(|later, kept| later.starts_with(&*kept));
    real
}

/// Places of packages that the operator named.
fn libraries() -> Vec<PathBuf> {
    ["R_LIBS", "R_LIBS_SITE"]
        .into_iter()
        .filter_map(std::env::var_os)
        .flat_map(|list| std::env::split_paths(&list).collect::<Vec<_>>())
        .filter(|path| path.is_absolute())
        .collect()
}

fn landlock_abi(at_most: i32) -> Result<ABI, String> {
    /// Asks for the version instead of making a ruleset.
    const VERSION: u32 = 1;
    // SAFETY: with this flag the call reads no memory.
    let found = unsafe {
        libc::syscall(
            libc::SYS_landlock_create_ruleset,
            std::ptr::null::<u8>(),
            0_usize,
            VERSION,
        )
    };
    let abi = i32::try_from(found).unwrap_or(0).min(at_most);
    match abi {
        ..=0 => Err("the sandbox needs Landlock, which this kernel does not have or has switched off: it needs Linux 5.13 \
                     or later with `landlock` in the `lsm=` list; `--sandbox=off` runs user code without protection"
            .to_owned()),
        1 => Ok(ABI::V1),
        2 => Ok(ABI::V2),
        3 => Ok(ABI::V3),
        4 => Ok(ABI::V4),
        5 => Ok(ABI::V5),
        _ => Ok(ABI::V6),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_path_below_another_needs_no_rule() {
        let dir = tempfile::tempdir().unwrap();
        let root = dir.path().canonicalize().unwrap();
        for name in ["a/b", "ab"] {
            std::fs::create_dir_all(root.join(name)).unwrap();
        }
        std::os::unix::fs::symlink(root.join("a/b"), root.join("link")).unwrap();
        let paths = ["ab", "link", "a/b", "a", "missing"].map(|name| root.join(name));
        assert_eq!(
            outermost(paths.into_iter()),
            [root.join("a"), root.join("ab")]
        );
    }
}
