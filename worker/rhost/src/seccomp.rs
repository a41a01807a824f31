//! System calls that R never needs, and sockets that it may not have.
//!
//! Three filters, for a filter knows one answer only: what is forbidden says `EPERM`; `clone3`, whose flags no filter can
//! see, says `ENOSYS`, so that the C library takes `clone`; numbers of the x32 ABI, which would pass by the first filter, say
//! `ENOSYS`, too. Calls of the i386 ABI end the process.

use std::collections::BTreeMap;

use seccompiler::{
    BpfProgram, SeccompAction, SeccompCmpArgLen, SeccompCmpOp, SeccompCondition, SeccompFilter,
    SeccompRule, TargetArch, sock_filter,
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

/// The filters, in the order in which they are applied.
pub(crate) fn filters(connect_ports: &[u16]) -> Result<Vec<BpfProgram>, String> {
    compile(connect_ports).map_err(|error| format!("the seccomp filter cannot be built: {error}"))
}

fn compile(connect_ports: &[u16]) -> Result<Vec<BpfProgram>, seccompiler::BackendError> {
    let mut rules: BTreeMap<i64, Vec<SeccompRule>> =
        FORBIDDEN.iter().map(|call| (*call, Vec::new())).collect();
    rules.insert(libc::SYS_clone, namespaces()?);
    rules.insert(libc::SYS_socket, sockets(connect_ports)?);
    let forbidden = filter(rules, libc::EPERM)?;
    let unseen = filter(
        BTreeMap::from([(libc::SYS_clone3, Vec::new())]),
        libc::ENOSYS,
    )?;
    let mut filters = vec![forbidden, unseen];
    if cfg!(target_arch = "x86_64") {
        filters.push(no_x32());
    }
    Ok(filters)
}

fn filter(
    rules: BTreeMap<i64, Vec<SeccompRule>>,
    errno: i32,
) -> Result<BpfProgram, seccompiler::BackendError> {
    let architecture = TargetArch::try_from(std::env::consts::ARCH)?;
    let answer = SeccompAction::Errno(errno.cast_unsigned());
    SeccompFilter::new(rules, SeccompAction::Allow, answer, architecture)?.try_into()
}

fn namespaces() -> Result<Vec<SeccompRule>, seccompiler::BackendError> {
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

/// Which `socket()` calls are refused: all of them, or, with ports, all but TCP and UDP (for names) over IP.
fn sockets(connect_ports: &[u16]) -> Result<Vec<SeccompRule>, seccompiler::BackendError> {
    /// The type without its flags.
    const TYPE: u64 = 0xF;

    if connect_ports.is_empty() {
        return Ok(Vec::new());
    }
    let is_not = |argument, operator: fn() -> SeccompCmpOp, value: i32| {
        SeccompCondition::new(
            argument,
            SeccompCmpArgLen::Dword,
            operator(),
            u64::from(value.cast_unsigned()),
        )
    };
    let mut rules = vec![SeccompRule::new(vec![
        is_not(0, || SeccompCmpOp::Ne, libc::AF_INET)?,
        is_not(0, || SeccompCmpOp::Ne, libc::AF_INET6)?,
    ])?];
    for refused in [libc::SOCK_RAW, libc::SOCK_RDM, libc::SOCK_SEQPACKET] {
        rules.push(SeccompRule::new(vec![is_not(
            1,
            || SeccompCmpOp::MaskedEq(TYPE),
            refused,
        )?])?);
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
    fn the_filters_compile_with_and_without_ports() {
        assert_eq!(filters(&[]).unwrap().len(), filters(&[443]).unwrap().len());
    }
}
