//! The bpf(2) calls that Aya has no public way to make over a bare descriptor.
//!
//! UNSAFETY: system calls with structures of the kernel's ABI (include/uapi/linux/bpf.h, `union bpf_attr`). The kernel takes
//! a shorter structure than its own as one whose rest is zero.

use std::{
    ffi::CStr,
    io,
    os::fd::{AsFd as _, AsRawFd as _, BorrowedFd, FromRawFd as _, OwnedFd},
};

use aya_obj::generated::{bpf_attach_type, bpf_btf_info, bpf_cmd, bpf_insn, bpf_prog_info, bpf_prog_type};

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

/// The start of the member that loads a program.
#[repr(C)]
#[derive(Default)]
struct LoadProgram {
    prog_type: u32,
    insn_cnt: u32,
    insns: u64,
    license: u64,
    log_level: u32,
    log_size: u32,
    log_buf: u64,
    kern_version: u32,
    prog_flags: u32,
    prog_name: [u8; 16],
    prog_ifindex: u32,
    expected_attach_type: u32,
    prog_btf_fd: u32,
    func_info_rec_size: u32,
    func_info: u64,
    func_info_cnt: u32,
    line_info_rec_size: u32,
    line_info: u64,
    line_info_cnt: u32,
    attach_btf_id: u32,
    attach_btf_obj_fd: u32,
    /// 0; named, since the compiler's padding in its place need not be.
    core_relo_cnt: u32,
}

/// The member `raw_tracepoint`.
#[repr(C)]
struct RawTracepoint {
    name: u64,
    prog_fd: u32,
    reserved: u32,
}

/// The members that walk ids and turn them into descriptors.
#[repr(C)]
#[derive(Default)]
struct Id {
    id: u32,
    next_id: u32,
    open_flags: u32,
}

/// A kernel function as bpf(2) names it.
#[derive(Clone, Copy, Debug)]
pub(super) struct Function<'fd> {
    /// The module's BTF; `None` for the kernel's own.
    pub(super) module: Option<BorrowedFd<'fd>>,
    /// The function's type id.
    pub(super) id: u32,
}

/// Loads a program to be entered with `function`: `BPF_PROG_LOAD` of type tracing. The kernel's reason for a refusal is in its
/// verifier's words, where it gave any.
pub(super) fn load_fentry(
    name: &str,
    instructions: &[bpf_insn],
    license: &CStr,
    function: Function<'_>,
) -> io::Result<OwnedFd> {
    const LOG_BYTES: usize = 64 << 10;
    let mut prog_name = [0; 16];
    // One byte stays zero: it ends the name.
    for (to, from) in prog_name[..15].iter_mut().zip(name.bytes()) {
        *to = from;
    }
    let mut attr = LoadProgram {
        prog_type: bpf_prog_type::BPF_PROG_TYPE_TRACING as u32,
        insn_cnt: u32::try_from(instructions.len()).map_err(io::Error::other)?,
        insns: instructions.as_ptr() as u64,
        license: license.as_ptr() as u64,
        prog_name,
        expected_attach_type: bpf_attach_type::BPF_TRACE_FENTRY as u32,
        attach_btf_id: function.id,
        attach_btf_obj_fd: function.module.map_or(0, number),
        ..LoadProgram::default()
    };
    open(bpf_cmd::BPF_PROG_LOAD, &mut attr).or_else(|refusal| {
        // Once more for the reason: a log that does not fit fails a load by itself, so it is not asked for at first.
        let mut log = vec![0u8; LOG_BYTES];
        attr.log_level = 1;
        attr.log_size = LOG_BYTES as u32;
        attr.log_buf = log.as_mut_ptr() as u64;
        let reason = |_| io::Error::new(refusal.kind(), format!("{refusal}{}", last_words(&log)));
        open(bpf_cmd::BPF_PROG_LOAD, &mut attr).map_err(reason)
    })
}

/// The last lines of a verifier's log, in which its objection is.
fn last_words(log: &[u8]) -> String {
    const LINES: usize = 6;
    let text = String::from_utf8_lossy(log.split(|byte| *byte == 0).next().unwrap_or_default()).into_owned();
    let lines: Vec<_> = text.lines().collect();
    let last = &lines[lines.len().saturating_sub(LINES)..];
    last.iter().map(|line| format!("; {}", line.trim())).collect()
}

/// Attaches a loaded program to the function that it was loaded for, for as long as the descriptor is open:
/// `BPF_RAW_TRACEPOINT_OPEN` without a name.
pub(super) fn attach_fentry(program: BorrowedFd<'_>) -> io::Result<OwnedFd> {
    let mut attr = RawTracepoint {
        name: 0,
        prog_fd: number(program),
        reserved: 0,
    };
    open(bpf_cmd::BPF_RAW_TRACEPOINT_OPEN, &mut attr)
}

/// The BTF that the kernel holds of the module `name`; `None` where it holds none. Asks for CAP_SYS_ADMIN.
pub(super) fn module_btf(name: &str) -> io::Result<Option<OwnedFd>> {
    let mut id = Id::default();
    loop {
        match call(bpf_cmd::BPF_BTF_GET_NEXT_ID, &mut id) {
            Ok(_) => id.id = id.next_id,
            Err(end) if end.raw_os_error() == Some(libc::ENOENT) => return Ok(None),
            Err(error) => return Err(error),
        }
        let mut by_id = Id {
            id: id.id,
            ..Id::default()
        };
        // Gone between the two calls.
        let Ok(btf) = open(bpf_cmd::BPF_BTF_GET_FD_BY_ID, &mut by_id) else {
            continue;
        };
        if btf_name(btf.as_fd())? == name.as_bytes() {
            return Ok(Some(btf));
        }
    }
}

/// The name of a BTF that the kernel made itself; empty for one of a user's.
fn btf_name(btf: BorrowedFd<'_>) -> io::Result<Vec<u8>> {
    let mut name = [0u8; 64];
    // SAFETY: a structure of plain integers, for which zero is a value.
    let mut info: bpf_btf_info = unsafe { std::mem::zeroed() };
    info.name = name.as_mut_ptr() as u64;
    info.name_len = name.len() as u32;
    let mut attr = Info {
        bpf_fd: number(btf),
        info_len: size::<bpf_btf_info>(),
        info: (&raw mut info) as u64,
    };
    call(bpf_cmd::BPF_OBJ_GET_INFO_BY_FD, &mut attr)?;
    if info.kernel_btf == 0 {
        return Ok(Vec::new());
    }
    Ok(name.split(|byte| *byte == 0).next().unwrap_or_default().to_vec())
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
    let mut attr = LoadProgram {
        prog_type: bpf_prog_type::BPF_PROG_TYPE_SYSCALL as u32,
        insn_cnt: u32::try_from(code.len()).map_err(io::Error::other)?,
        insns: code.as_ptr() as u64,
        license: c"Dual MIT/GPL".as_ptr() as u64,
        // Programs of this kind must be.
        prog_flags: SLEEPABLE,
        ..LoadProgram::default()
    };
    open(bpf_cmd::BPF_PROG_LOAD, &mut attr)
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
    open(bpf_cmd::BPF_ENABLE_STATS, &mut attr)
}

/// A command whose answer is a descriptor.
fn open<A>(command: bpf_cmd, attr: &mut A) -> io::Result<OwnedFd> {
    let descriptor = call(command, attr)?;
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
