//! System calls that R never needs, and sockets that it may not have.
//!
//! Three filters, for a filter knows one answer only: what is forbidden says `EPERM`; `clone3`, whose flags no filter can
//! see, says `ENOSYS`, so that the C library takes `clone`; numbers of the x32 ABI, which would pass by the first filter, say
//! `ENOSYS`, too. Calls of the i386 ABI end the process.

use std::collections::BTreeMap;

use landlock::ABI;
use seccompiler::{
    BackendError, BpfProgram, SeccompAction, SeccompCmpArgLen, SeccompCmpOp, SeccompCondition,
    SeccompFilter, SeccompRule, TargetArch, sock_filter,
};

/// Refused whatever the arguments.
const FORBIDDEN: &[i64] = &[
    // Other processes.
    libc::SYS_ptrace,
    libc::SYS_process_vm_readv,
    libc::SYS_process_vm_writev,
    libc::SYS_pidfd_getfd,
    libc::SYS_perf_event_open,
    libc::SYS_userfaultfd,
    // Mounts, roots and namespaces.
    libc::SYS_mount,
    libc::SYS_umount2,
    libc::SYS_pivot_root,
    libc::SYS_chroot,
    libc::SYS_move_mount,
    libc::SYS_open_tree,
    libc::SYS_fsopen,
    libc::SYS_fsconfig,
    libc::SYS_fsmount,
    libc::SYS_fspick,
    libc::SYS_mount_setattr,
    libc::SYS_unshare,
    libc::SYS_setns,
    libc::SYS_open_by_handle_at,
    libc::SYS_name_to_handle_at,
    // Memory, queues and semaphores that outlive the session, and that the next one with its user could open.
    libc::SYS_shmget,
    libc::SYS_msgget,
    libc::SYS_semget,
    libc::SYS_mq_open,
    // The kernel.
    libc::SYS_bpf,
    libc::SYS_keyctl,
    libc::SYS_add_key,
    libc::SYS_request_key,
    libc::SYS_kexec_load,
    libc::SYS_kexec_file_load,
    libc::SYS_init_module,
    libc::SYS_finit_module,
    libc::SYS_delete_module,
    libc::SYS_reboot,
    libc::SYS_swapon,
    libc::SYS_swapoff,
    libc::SYS_acct,
    libc::SYS_quotactl,
    libc::SYS_syslog,
    libc::SYS_sethostname,
    libc::SYS_setdomainname,
    libc::SYS_settimeofday,
    libc::SYS_clock_settime,
    libc::SYS_clock_adjtime,
    libc::SYS_adjtimex,
    libc::SYS_fanotify_init,
    libc::SYS_vhangup,
    // Ways around the filter, and servers.
    libc::SYS_io_uring_setup,
    libc::SYS_io_uring_enter,
    libc::SYS_io_uring_register,
    libc::SYS_listen,
];

/// Each asks `clone` for a namespace.
const NAMESPACES: [i32; 7] = [
    libc::CLONE_NEWNS,
    libc::CLONE_NEWCGROUP,
    libc::CLONE_NEWUTS,
    libc::CLONE_NEWIPC,
    libc::CLONE_NEWUSER,
    libc::CLONE_NEWPID,
    libc::CLONE_NEWNET,
];

/// Whether the kernel filters system calls.
pub(crate) fn available() -> Result<(), String> {
    // SAFETY: reads the mode of this process, no memory.
    if unsafe { libc::prctl(libc::PR_GET_SECCOMP) } >= 0 {
        return Ok(());
    }
    Err("the sandbox needs seccomp, which this kernel was built without (CONFIG_SECCOMP_FILTER); `--sandbox=off` runs \
         user code without protection"
        .to_owned())
}

/// The filters, in the order in which they are applied. They refuse what Landlock of this version lets pass.
pub(crate) fn filters(connect_ports: &[u16], landlock: ABI) -> Result<Vec<BpfProgram>, String> {
    compile(connect_ports, landlock)
        .map_err(|error| format!("the seccomp filter cannot be built: {error}"))
}

fn compile(connect_ports: &[u16], landlock: ABI) -> Result<Vec<BpfProgram>, BackendError> {
    let mut rules: BTreeMap<i64, Vec<SeccompRule>> =
        FORBIDDEN.iter().map(|call| (*call, Vec::new())).collect();
    rules.insert(libc::SYS_clone, namespaces()?);
    rules.insert(libc::SYS_prlimit64, limits_of_others()?);
    rules.insert(libc::SYS_ioctl, keystrokes()?);
    rules.insert(libc::SYS_socket, sockets(connect_ports)?);
    rules.insert(libc::SYS_socketpair, datagram_pairs()?);
    for (call, flags) in [
        (libc::SYS_sendto, 3),
        (libc::SYS_sendmsg, 2),
        (libc::SYS_sendmmsg, 3),
    ] {
        rules.insert(call, connecting_writes(flags)?);
    }
    if landlock < ABI::V3 {
        rules.extend(truncation()?);
    }
    let forbidden = filter(rules, libc::EPERM)?;
    let mut unseen = BTreeMap::from([(libc::SYS_clone3, Vec::new())]);
    if landlock < ABI::V3 {
        // Its flags are not to be seen either.
        unseen.insert(libc::SYS_openat2, Vec::new());
    }
    let mut filters = vec![forbidden, filter(unseen, libc::ENOSYS)?];
    if cfg!(target_arch = "x86_64") {
        filters.push(no_x32());
    }
    Ok(filters)
}

fn filter(rules: BTreeMap<i64, Vec<SeccompRule>>, errno: i32) -> Result<BpfProgram, BackendError> {
    let architecture = TargetArch::try_from(std::env::consts::ARCH)?;
    let answer = SeccompAction::Errno(errno.cast_unsigned());
    SeccompFilter::new(rules, SeccompAction::Allow, answer, architecture)?.try_into()
}

/// Holds for a call whose argument, of 32 bits, compares so. All conditions of a rule must hold.
fn when(
    argument: u8,
    operator: SeccompCmpOp,
    value: i32,
) -> Result<SeccompCondition, BackendError> {
    let value = u64::from(value.cast_unsigned());
    SeccompCondition::new(argument, SeccompCmpArgLen::Dword, operator, value)
}

fn namespaces() -> Result<Vec<SeccompRule>, BackendError> {
    NAMESPACES
        .into_iter()
        .map(|flag| {
            let flag = u64::from(flag.cast_unsigned());
            SeccompRule::new(vec![SeccompCondition::new(
                0,
                SeccompCmpArgLen::Qword,
                SeccompCmpOp::MaskedEq(flag),
                flag,
            )?])
        })
        .collect()
}

/// A limit on its time or its files ends another process of the same user as surely as a signal.
fn limits_of_others() -> Result<Vec<SeccompRule>, BackendError> {
    Ok(vec![SeccompRule::new(vec![when(0, SeccompCmpOp::Ne, 0)?])?])
}

/// Input that the worker's terminal would take for typed.
fn keystrokes() -> Result<Vec<SeccompRule>, BackendError> {
    /// `TIOCLINUX` pastes the selection of a console.
    const PASTE: i32 = 0x541C;
    /// `TIOCSTI`
    const TYPE: i32 = 0x5412;

    [TYPE, PASTE]
        .into_iter()
        .map(|request| SeccompRule::new(vec![when(1, SeccompCmpOp::Eq, request)?]))
        .collect()
}

/// The type of a socket without its flags.
const SOCKET_TYPE: SeccompCmpOp = SeccompCmpOp::MaskedEq(0xF);

/// Which `socket()` calls are refused: all of them, or, with ports, all but TCP and UDP (for names) over IP. Landlock knows the
/// ports of TCP itself only, so that nothing else may speak it (MPTCP, for one).
fn sockets(connect_ports: &[u16]) -> Result<Vec<SeccompRule>, BackendError> {
    /// Without a name in the C library.
    const SOCK_PACKET: i32 = 10;

    if connect_ports.is_empty() {
        return Ok(Vec::new());
    }
    let ne = || SeccompCmpOp::Ne;
    let mut rules = vec![
        SeccompRule::new(vec![
            when(0, ne(), libc::AF_INET)?,
            when(0, ne(), libc::AF_INET6)?,
        ])?,
        SeccompRule::new(vec![
            when(2, ne(), libc::IPPROTO_IP)?,
            when(2, ne(), libc::IPPROTO_TCP)?,
            when(2, ne(), libc::IPPROTO_UDP)?,
        ])?,
    ];
    for refused in [
        libc::SOCK_RAW,
        libc::SOCK_RDM,
        libc::SOCK_SEQPACKET,
        libc::SOCK_DCCP,
        SOCK_PACKET,
    ] {
        rules.push(SeccompRule::new(vec![when(1, SOCKET_TYPE, refused)?])?);
    }
    Ok(rules)
}

/// An end of a pair of datagram sockets can write to any other that has a path, the system's log among them.
fn datagram_pairs() -> Result<Vec<SeccompRule>, BackendError> {
    Ok(vec![SeccompRule::new(vec![when(
        1,
        SOCKET_TYPE,
        libc::SOCK_DGRAM,
    )?])?])
}

/// A write that connects first: Landlock only looks at `connect()`.
fn connecting_writes(flags: u8) -> Result<Vec<SeccompRule>, BackendError> {
    let fast_open = u64::from(libc::MSG_FASTOPEN.cast_unsigned());
    Ok(vec![SeccompRule::new(vec![when(
        flags,
        SeccompCmpOp::MaskedEq(fast_open),
        libc::MSG_FASTOPEN,
    )?])?])
}

/// Calls that open a file, and which argument has the flags.
#[cfg(target_arch = "x86_64")]
const OPENS: &[(i64, u8)] = &[(libc::SYS_open, 1), (libc::SYS_openat, 2)];
#[cfg(not(target_arch = "x86_64"))]
const OPENS: &[(i64, u8)] = &[(libc::SYS_openat, 2)];

/// Before ABI 3 Landlock lets files be emptied that cannot be written: by their path, or when they are opened for reading.
fn truncation() -> Result<BTreeMap<i64, Vec<SeccompRule>>, BackendError> {
    const EMPTIED: i32 = libc::O_RDONLY | libc::O_TRUNC;

    let mask = u64::from((libc::O_ACCMODE | libc::O_TRUNC).cast_unsigned());
    let mut rules = BTreeMap::from([(libc::SYS_truncate, Vec::new())]);
    for (call, flags) in OPENS {
        let emptied = when(*flags, SeccompCmpOp::MaskedEq(mask), EMPTIED)?;
        rules.insert(*call, vec![SeccompRule::new(vec![emptied])?]);
    }
    Ok(rules)
}

/// Refuses every number with the x32 bit.
fn no_x32() -> BpfProgram {
    /// Loads the system call's number, which is the first word of what a filter sees.
    const LOAD: u16 = 0x20;
    const JUMP_IF_AT_LEAST: u16 = 0x35;
    const RETURN: u16 = 0x06;
    const X32: u32 = 0x4000_0000;
    const ALLOW: u32 = 0x7FFF_0000;
    const ERRNO: u32 = 0x0005_0000;

    let step = |code, jt, k| sock_filter { code, jt, jf: 0, k };
    vec![
        step(LOAD, 0, 0),
        step(JUMP_IF_AT_LEAST, 1, X32),
        step(RETURN, 0, ALLOW),
        step(RETURN, 0, ERRNO | libc::ENOSYS.cast_unsigned()),
    ]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_filters_compile_with_and_without_ports_for_every_landlock() {
        for landlock in [ABI::V1, ABI::V2, ABI::V3, ABI::V6] {
            for ports in [&[][..], &[443]] {
                assert!(filters(ports, landlock).unwrap().len() >= 2);
            }
        }
    }
}
