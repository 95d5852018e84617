//! The BPF programs that anybody has loaded, as the kernel tells about them. Needs root.

use std::io;
use std::os::fd::{AsRawFd as _, FromRawFd as _, OwnedFd};

/// One program.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ProgramInfo {
    /// Its id, never given twice before the number overflows.
    pub id: u32,
    /// Its name, of which the kernel keeps fifteen characters.
    pub name: String,
    /// Instructions that the verifier walked through; `None` on kernels that do not tell (before 5.16).
    pub verified_instructions: Option<u32>,
    /// Instructions of eight bytes, as the verifier left them.
    pub instructions: u32,
    /// Bytes of machine code.
    pub jited_bytes: u32,
}

/// Every program that is loaded, in the order of their loading.
pub fn loaded() -> io::Result<Vec<ProgramInfo>> {
    let mut programs = Vec::new();
    let mut id = 0;
    while let Some(next) = next_id(id)? {
        id = next;
        // One that is gone by now is none.
        programs.extend(open(id)?.map(|program| describe(&program)).transpose()?);
    }
    Ok(programs)
}

/// Commands of `bpf(2)` (include/uapi/linux/bpf.h, `enum bpf_cmd`).
mod command {
    pub(super) const PROG_GET_NEXT_ID: i64 = 11;
    pub(super) const PROG_GET_FD_BY_ID: i64 = 13;
    pub(super) const OBJ_GET_INFO_BY_FD: i64 = 15;
}

/// The start of `union bpf_attr` for the first two: `start_id` or `prog_id`, `next_id`, `open_flags`.
#[repr(C)]
struct ById {
    id: u32,
    next: u32,
    flags: u32,
}

impl ById {
    const fn new(id: u32) -> Self {
        Self {
            id,
            next: 0,
            flags: 0,
        }
    }
}

/// The same for the third.
#[repr(C)]
struct InfoOf {
    descriptor: u32,
    length: u32,
    info: u64,
}

/// `struct bpf_prog_info` up to what is read of it.
#[repr(C)]
#[derive(Default)]
struct Info {
    kind: u32,
    id: u32,
    tag: [u8; 8],
    jited_bytes: u32,
    translated_bytes: u32,
    /// Addresses of code, time of the load, its user, maps.
    until_name: [u64; 5],
    name: [u8; 16],
    /// Device, licence, name space, types, lines.
    until_run_time: [u64; 14],
    run_time: u64,
    runs: u64,
    misses: u64,
    verified: u32,
    attached_to: u32,
}

fn next_id(id: u32) -> io::Result<Option<u32>> {
    let mut by_id = ById::new(id);
    let found = unless_gone(call(command::PROG_GET_NEXT_ID, &mut by_id))?;
    Ok(found.map(|_| by_id.next))
}

fn open(id: u32) -> io::Result<Option<OwnedFd>> {
    let descriptor = unless_gone(call(command::PROG_GET_FD_BY_ID, &mut ById::new(id)))?;
    // SAFETY: the kernel has just made it for this call alone.
    Ok(descriptor.map(|descriptor| unsafe { OwnedFd::from_raw_fd(descriptor) }))
}

fn unless_gone(answer: io::Result<i32>) -> io::Result<Option<i32>> {
    match answer {
        Err(error) if error.raw_os_error() == Some(libc::ENOENT) => Ok(None),
        answer => answer.map(Some),
    }
}

fn describe(program: &OwnedFd) -> io::Result<ProgramInfo> {
    let mut info = Info::default();
    let mut of = InfoOf {
        descriptor: program.as_raw_fd().cast_unsigned(),
        length: size_of::<Info>() as u32,
        info: (&raw mut info) as u64,
    };
    call(command::OBJ_GET_INFO_BY_FD, &mut of)?;
    let name = info.name.split(|byte| *byte == 0).next().unwrap_or_default();
    Ok(ProgramInfo {
        id: info.id,
        name: String::from_utf8_lossy(name).into_owned(),
        // Left zero by a kernel that does not tell: no program has none.
        verified_instructions: Some(info.verified).filter(|&verified| verified > 0),
        instructions: info.translated_bytes / 8,
        jited_bytes: info.jited_bytes,
    })
}

fn call<A>(command: i64, attr: &mut A) -> io::Result<i32> {
    // SAFETY: `attr` is the beginning of `union bpf_attr` for `command`, alive and as long as said; what it points to outlives
    // the call, and the kernel keeps no pointer.
    let answer = unsafe { libc::syscall(libc::SYS_bpf, command, attr, size_of::<A>()) };
    if answer < 0 {
        return Err(io::Error::last_os_error());
    }
    i32::try_from(answer).map_err(io::Error::other)
}

#[cfg(test)]
mod tests {
    use std::mem::offset_of;

    use super::Info;

    /// The places of include/uapi/linux/bpf.h.
    #[test]
    fn members_are_where_the_kernel_puts_them() {
        assert_eq!(offset_of!(Info, name), 64);
        assert_eq!(offset_of!(Info, run_time), 192);
        assert_eq!(offset_of!(Info, verified), 216);
    }
}
