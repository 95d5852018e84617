//! Whether this process may call bpf(2) on descriptors that it has, found out by trying: versions lie where distributions
//! port patches back, and a container's seccomp profile is in no version.

use std::io;

/// `BPF_OBJ_GET_INFO_BY_FD` of include/uapi/linux/bpf.h.
const OBJ_GET_INFO_BY_FD: libc::c_long = 15;

/// The member `info` of `union bpf_attr`.
#[repr(C)]
struct Info {
    fd: u32,
    length: u32,
    address: u64,
}

/// Asks about a descriptor that cannot exist. A kernel that lets the call through complains about that (`EBADFD`); one that
/// does not, or lies behind a filter, has these answers.
const REFUSALS: [libc::c_int; 3] = [libc::EPERM, libc::EACCES, libc::ENOSYS];

/// Whether the call gets through.
///
/// # Errors
///
/// The kernel's refusal.
pub(super) fn bpf_answers() -> io::Result<()> {
    let attr = Info {
        fd: u32::MAX,
        length: 0,
        address: 0,
    };
    // SAFETY: `attr` is the member of the union that goes with the command, and as long as said. There is no descriptor of
    // that number, so nothing is written anywhere.
    let result = unsafe {
        libc::syscall(
            libc::SYS_bpf,
            OBJ_GET_INFO_BY_FD,
            &raw const attr,
            size_of::<Info>(),
        )
    };
    let error = io::Error::last_os_error();
    match error.raw_os_error() {
        Some(errno) if result == -1 && REFUSALS.contains(&errno) => Err(error),
        _ => Ok(()),
    }
}
