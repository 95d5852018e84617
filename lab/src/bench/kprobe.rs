//! BPF programs that do nothing, attached to kernel functions by kprobe: `bpf(2)` and `perf_event_open(2)` as they are, so
//! that nothing of a loader's making is measured.

use std::ffi::CString;
use std::fs;
use std::io;
use std::os::fd::{AsRawFd, FromRawFd, OwnedFd};

use crate::outside::bpf;

/// Attached as long as it lives.
#[derive(Debug)]
pub(super) struct EmptyKprobes {
    _attached: Vec<OwnedFd>,
}

/// `r0 = 0; exit` (Documentation/bpf/standardization/instruction-set.rst).
const NOTHING: [u64; 2] = [0xB7, 0x95];

const BPF_PROG_TYPE_KPROBE: u32 = 2;
const PERF_FLAG_FD_CLOEXEC: u64 = 1 << 3;
const PERF_EVENT_IOC_ENABLE: libc::c_ulong = 0x2400;
const PERF_EVENT_IOC_SET_BPF: libc::c_ulong = 0x4004_2408;

/// The start of `union bpf_attr` for BPF_PROG_LOAD (include/uapi/linux/bpf.h).
#[repr(C)]
#[derive(Default)]
struct LoadProgram {
    kind: u32,
    instruction_count: u32,
    instructions: u64,
    license: u64,
    log_level: u32,
    log_size: u32,
    log: u64,
    kernel_version: u32,
    flags: u32,
}

/// `struct perf_event_attr`, first version (include/uapi/linux/perf_event.h).
#[repr(C)]
#[derive(Default)]
struct Event {
    kind: u32,
    size: u32,
    config: u64,
    sample_period: u64,
    sample_type: u64,
    read_format: u64,
    flags: u64,
    wakeup_events: u32,
    breakpoint_type: u32,
    /// `kprobe_func`
    function: u64,
    /// `probe_offset`
    offset: u64,
}

impl EmptyKprobes {
    /// One program on each of `functions`.
    pub(super) fn attach(functions: &[&str]) -> io::Result<Self> {
        let kind = fs::read_to_string("/sys/bus/event_source/devices/kprobe/type")?;
        let kind = kind.trim().parse().map_err(io::Error::other)?;
        let program = load()?;
        let mut attached = Vec::new();
        for function in functions {
            attached.push(attach(kind, function, &program)?);
        }
        attached.push(program);
        Ok(Self { _attached: attached })
    }
}

fn load() -> io::Result<OwnedFd> {
    let mut attributes = LoadProgram {
        kind: BPF_PROG_TYPE_KPROBE,
        instruction_count: NOTHING.len() as u32,
        instructions: NOTHING.as_ptr().addr() as u64,
        license: c"Dual MIT/GPL".as_ptr().addr() as u64,
        ..LoadProgram::default()
    };
    bpf::call(bpf::command::PROG_LOAD, &mut attributes).and_then(|program| descriptor(program.into()))
}

fn attach(kind: u32, function: &str, program: &OwnedFd) -> io::Result<OwnedFd> {
    let name = CString::new(function)?;
    let attributes = Event {
        kind,
        size: size_of::<Event>() as u32,
        function: name.as_ptr().addr() as u64,
        ..Event::default()
    };
    // SAFETY: the kernel reads `attributes`, whose size it holds, and the name that it points to; both live until the call
    // is over. Any process (-1) on CPU 0: a kprobe's program runs on all CPUs.
    let event = descriptor(unsafe {
        libc::syscall(
            libc::SYS_perf_event_open,
            &raw const attributes,
            -1i64,
            0i64,
            -1i64,
            PERF_FLAG_FD_CLOEXEC,
        )
    })?;
    for (request, argument) in [
        (PERF_EVENT_IOC_SET_BPF, program.as_raw_fd()),
        (PERF_EVENT_IOC_ENABLE, 0),
    ] {
        // SAFETY: the descriptors are ours, and neither request takes a pointer.
        if unsafe { libc::ioctl(event.as_raw_fd(), request, argument) } != 0 {
            return Err(io::Error::last_os_error());
        }
    }
    Ok(event)
}

fn descriptor(answer: i64) -> io::Result<OwnedFd> {
    match i32::try_from(answer) {
        // SAFETY: the kernel has just given it to us, and nobody else has it.
        Ok(fd @ 0..) => Ok(unsafe { OwnedFd::from_raw_fd(fd) }),
        _ => Err(io::Error::last_os_error()),
    }
}
