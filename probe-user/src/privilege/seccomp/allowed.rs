//! Calls of the steady state: one thread around epoll, files under a few directories, sockets that were opened before, reads
//! of VMs through descriptors of bpf(2). Threads may be started, processes not.

use SeccompCmpArgLen::{Dword, Qword};
use SeccompCmpOp::{Eq, MaskedEq};
use seccompiler::{BackendError, SeccompCmpArgLen, SeccompCmpOp, SeccompCondition, SeccompRule};

use super::{Calls, unbuilt};
use crate::privilege::PrivilegeError;

/// Allowed whatever their arguments.
const CALLS: &[i64] = &[
    // Descriptors and files.
    libc::SYS_read,
    libc::SYS_readv,
    libc::SYS_pread64,
    libc::SYS_preadv,
    libc::SYS_write,
    libc::SYS_writev,
    libc::SYS_pwrite64,
    libc::SYS_pwritev,
    libc::SYS_close,
    libc::SYS_close_range,
    libc::SYS_lseek,
    libc::SYS_dup,
    libc::SYS_dup3,
    libc::SYS_fcntl,
    libc::SYS_flock,
    libc::SYS_pipe2,
    libc::SYS_memfd_create,
    libc::SYS_openat,
    libc::SYS_stat,
    libc::SYS_lstat,
    libc::SYS_fstat,
    libc::SYS_newfstatat,
    libc::SYS_statx,
    libc::SYS_statfs,
    libc::SYS_fstatfs,
    libc::SYS_access,
    libc::SYS_faccessat,
    libc::SYS_faccessat2,
    libc::SYS_readlink,
    libc::SYS_readlinkat,
    libc::SYS_getdents64,
    libc::SYS_getcwd,
    libc::SYS_rename,
    libc::SYS_renameat,
    libc::SYS_renameat2,
    libc::SYS_unlink,
    libc::SYS_unlinkat,
    libc::SYS_mkdir,
    libc::SYS_mkdirat,
    libc::SYS_fchmod,
    libc::SYS_ftruncate,
    libc::SYS_fallocate,
    libc::SYS_fsync,
    libc::SYS_fdatasync,
    libc::SYS_umask,
    // Memory, but none that could be executed: those with a condition are below.
    libc::SYS_munmap,
    libc::SYS_mremap,
    libc::SYS_madvise,
    libc::SYS_brk,
    // Waiting.
    libc::SYS_epoll_create1,
    libc::SYS_epoll_ctl,
    libc::SYS_epoll_wait,
    libc::SYS_epoll_pwait,
    libc::SYS_epoll_pwait2,
    libc::SYS_poll,
    libc::SYS_ppoll,
    libc::SYS_eventfd2,
    libc::SYS_timerfd_create,
    libc::SYS_timerfd_settime,
    libc::SYS_timerfd_gettime,
    libc::SYS_signalfd4,
    libc::SYS_futex,
    libc::SYS_sched_yield,
    libc::SYS_restart_syscall,
    // Clocks.
    libc::SYS_clock_gettime,
    libc::SYS_clock_getres,
    libc::SYS_clock_nanosleep,
    libc::SYS_nanosleep,
    libc::SYS_gettimeofday,
    // Sockets, once they are made.
    libc::SYS_bind,
    libc::SYS_listen,
    libc::SYS_accept,
    libc::SYS_accept4,
    libc::SYS_connect,
    libc::SYS_shutdown,
    libc::SYS_getsockname,
    libc::SYS_getpeername,
    libc::SYS_getsockopt,
    libc::SYS_setsockopt,
    libc::SYS_sendto,
    libc::SYS_sendmsg,
    libc::SYS_sendmmsg,
    libc::SYS_recvfrom,
    libc::SYS_recvmsg,
    libc::SYS_recvmmsg,
    // Signals that come.
    libc::SYS_rt_sigaction,
    libc::SYS_rt_sigprocmask,
    libc::SYS_rt_sigreturn,
    libc::SYS_rt_sigtimedwait,
    libc::SYS_sigaltstack,
    // What the process is.
    libc::SYS_getpid,
    libc::SYS_getppid,
    libc::SYS_gettid,
    libc::SYS_getuid,
    libc::SYS_geteuid,
    libc::SYS_getgid,
    libc::SYS_getegid,
    libc::SYS_getrlimit,
    libc::SYS_getrusage,
    libc::SYS_times,
    libc::SYS_uname,
    libc::SYS_sysinfo,
    libc::SYS_getcpu,
    libc::SYS_getrandom,
    libc::SYS_sched_getaffinity,
    // Threads that begin and end.
    libc::SYS_set_robust_list,
    libc::SYS_rseq,
    libc::SYS_exit,
    libc::SYS_exit_group,
];

/// Commands of bpf(2) on a descriptor: `BPF_MAP_LOOKUP_ELEM`, `BPF_PROG_TEST_RUN`, `BPF_OBJ_GET_INFO_BY_FD`.
const BPF_COMMANDS: [u64; 3] = [1, 10, 15];

/// What the standard library does with ioctl(2): it asks whether something is a terminal, and makes sockets that do not
/// block.
const IOCTLS: [u64; 2] = [libc::TCGETS, libc::FIONBIO];

/// What a program does besides that draws on a terminal: it asks its size, and gives back the mode in which it found it.
const TERMINAL_IOCTLS: [u64; 4] = [libc::TIOCGWINSZ, libc::TCSETS, libc::TCGETS2, libc::TCSETS2];

const FAMILIES: [libc::c_int; 3] = [libc::AF_UNIX, libc::AF_INET, libc::AF_INET6];

/// `terminal` where the process draws on one.
pub(super) fn calls(terminal: bool) -> Result<Calls, PrivilegeError> {
    let mut calls: Calls = CALLS.iter().map(|&call| (call, Vec::new())).collect();
    calls.extend(conditional(terminal).map_err(unbuilt)?);
    if terminal {
        // Gives back the standard error.
        calls.insert(libc::SYS_dup2, Vec::new());
    }
    Ok(calls)
}

fn conditional(terminal: bool) -> Result<Vec<(i64, Vec<SeccompRule>)>, BackendError> {
    let no_code = || rule(2, Dword, MaskedEq(bits(libc::PROT_EXEC)), 0);
    let of_family = |family: &libc::c_int| rule(0, Dword, Eq, bits(*family));
    let is_thread = bits(libc::CLONE_THREAD);
    let mut ioctls = IOCTLS.to_vec();
    if terminal {
        ioctls.extend(TERMINAL_IOCTLS);
    }
    let this_process = u64::from(std::process::id());
    Ok(vec![
        (
            libc::SYS_bpf,
            any(&BPF_COMMANDS, |&command| rule(0, Dword, Eq, command))?,
        ),
        (libc::SYS_mmap, vec![no_code()?]),
        (libc::SYS_mprotect, vec![no_code()?]),
        (
            libc::SYS_ioctl,
            any(&ioctls, |&request| rule(1, Dword, Eq, request))?,
        ),
        (libc::SYS_socket, any(&FAMILIES, of_family)?),
        (libc::SYS_socketpair, vec![of_family(&libc::AF_UNIX)?]),
        // clone3 hides its flags behind a pointer; the C library does without it where it is not there.
        (
            libc::SYS_clone,
            vec![rule(0, Qword, MaskedEq(is_thread), is_thread)?],
        ),
        (
            libc::SYS_prctl,
            vec![rule(0, Dword, Eq, bits(libc::PR_SET_NAME))?],
        ),
        // To read limits, not to set them.
        (libc::SYS_prlimit64, vec![rule(2, Qword, Eq, 0)?]),
        // abort(3) raises a signal in this process. There is no call to signal another.
        (libc::SYS_tgkill, vec![rule(0, Dword, Eq, this_process)?]),
    ])
}

fn any<T>(
    values: &[T],
    rule: impl Fn(&T) -> Result<SeccompRule, BackendError>,
) -> Result<Vec<SeccompRule>, BackendError> {
    values.iter().map(rule).collect()
}

fn rule(
    argument: u8,
    length: SeccompCmpArgLen,
    comparison: SeccompCmpOp,
    value: u64,
) -> Result<SeccompRule, BackendError> {
    SeccompRule::new(vec![SeccompCondition::new(argument, length, comparison, value)?])
}

/// A constant of the C library, none of which is negative.
fn bits(constant: libc::c_int) -> u64 {
    u64::from(constant.cast_unsigned())
}
