//! The bpf(2) calls that Aya has no public way to make over a bare descriptor.
//!
//! UNSAFETY: system calls with structures of the kernel's ABI (include/uapi/linux/bpf.h, `union bpf_attr`). The kernel takes
//! a shorter structure than its own as one whose rest is zero.

use std::{
    io,
    os::fd::{AsRawFd as _, BorrowedFd, FromRawFd as _, OwnedFd},
};

use aya_obj::generated::{bpf_cmd, bpf_prog_info, bpf_prog_type};

/// Words of a raw tracepoint's context.
pub(super) const WORDS: usize = 4;

/// The member `test` of `union bpf_attr`, as far as it is used.
#[repr(C)]
#[derive(Default)]
struct TestRun {
    prog_fd: u32,
    retval: u32,
    data_size_in: u32,
    data_size_out: u32,
    data_in: u64,
    data_out: u64,
    repeat: u32,
    duration: u32,
    ctx_size_in: u32,
    ctx_size_out: u32,
    ctx_in: u64,
    ctx_out: u64,
}

/// The beginning of what `BPF_PROG_LOAD` takes.
#[repr(C)]
struct ProgramLoad {
    kind: u32,
    instructions: u32,
    code: u64,
    license: u64,
    log_level: u32,
    log_size: u32,
    log: u64,
    kernel_version: u32,
    flags: u32,
}

/// The member `info`.
#[repr(C)]
struct Info {
    bpf_fd: u32,
    info_len: u32,
    info: u64,
}

/// The member `enable_stats`.
#[repr(C)]
struct EnableStats {
    kind: u32,
}

/// Runs a raw-tracepoint program once on this CPU with `context`: `BPF_PROG_TEST_RUN`. Its answer is in maps.
pub(super) fn run(program: BorrowedFd<'_>, context: &[u64; WORDS]) -> io::Result<()> {
    let mut attr = TestRun {
        prog_fd: number(program),
        ctx_size_in: size::<[u64; WORDS]>(),
        ctx_in: context.as_ptr() as u64,
        ..TestRun::default()
    };
    call(bpf_cmd::BPF_PROG_TEST_RUN, &mut attr).map(drop)
}

/// Loads a program of the kind that is for nothing but to be run on demand (`BPF_PROG_TYPE_SYSCALL`, 5.14 on), made of the
/// kernel's instructions of eight bytes.
pub(super) fn load_on_demand(code: &[u64]) -> io::Result<OwnedFd> {
    const SLEEPABLE: u32 = 1 << 4;
    let mut attr = ProgramLoad {
        kind: bpf_prog_type::BPF_PROG_TYPE_SYSCALL as u32,
        instructions: u32::try_from(code.len()).map_err(io::Error::other)?,
        code: code.as_ptr() as u64,
        license: c"Dual MIT/GPL".as_ptr() as u64,
        log_level: 0,
        log_size: 0,
        log: 0,
        kernel_version: 0,
        // Programs of this kind must be.
        flags: SLEEPABLE,
    };
    let descriptor = call(bpf_cmd::BPF_PROG_LOAD, &mut attr)?;
    // SAFETY: the kernel has just made it for this call alone.
    Ok(unsafe { OwnedFd::from_raw_fd(descriptor) })
}

/// Runs such a program once with `context`, which it may change.
pub(super) fn run_on_demand(program: BorrowedFd<'_>, context: &mut [u64]) -> io::Result<()> {
    let mut attr = TestRun {
        prog_fd: number(program),
        ctx_size_in: u32::try_from(size_of_val(context)).map_err(io::Error::other)?,
        ctx_in: context.as_mut_ptr() as u64,
        ..TestRun::default()
    };
    call(bpf_cmd::BPF_PROG_TEST_RUN, &mut attr).map(drop)
}

/// What the kernel tells about a program: `BPF_OBJ_GET_INFO_BY_FD`.
pub(super) fn program_info(program: BorrowedFd<'_>) -> io::Result<bpf_prog_info> {
    // SAFETY: a structure of plain integers, for which zero is a value.
    let mut info: bpf_prog_info = unsafe { std::mem::zeroed() };
    let mut attr = Info {
        bpf_fd: number(program),
        info_len: size::<bpf_prog_info>(),
        info: (&raw mut info) as u64,
    };
    call(bpf_cmd::BPF_OBJ_GET_INFO_BY_FD, &mut attr)?;
    Ok(info)
}

/// Has the kernel time every run of every program for as long as the descriptor is open: `BPF_ENABLE_STATS` (5.8 on).
pub(super) fn enable_stats() -> io::Result<OwnedFd> {
    // `BPF_STATS_RUN_TIME`
    let mut attr = EnableStats { kind: 0 };
    let descriptor = call(bpf_cmd::BPF_ENABLE_STATS, &mut attr)?;
    // SAFETY: the kernel has just made it for this call alone.
    Ok(unsafe { OwnedFd::from_raw_fd(descriptor) })
}

fn call<A>(command: bpf_cmd, attr: &mut A) -> io::Result<i32> {
    // SAFETY: `attr` is a member of `union bpf_attr` that goes with `command`, alive and as long as said; what it points to
    // outlives the call.
    let result = unsafe { libc::syscall(libc::SYS_bpf, command as libc::c_long, attr, size_of::<A>()) };
    if result < 0 {
        return Err(io::Error::last_os_error());
    }
    i32::try_from(result).map_err(io::Error::other)
}

fn number(descriptor: BorrowedFd<'_>) -> u32 {
    descriptor.as_raw_fd().cast_unsigned()
}

const fn size<T>() -> u32 {
    size_of::<T>() as u32
}
