//! The BPF programs that anybody has loaded, as the kernel tells about them. Needs root.

use std::io;
use std::os::fd::{AsRawFd as _, FromRawFd as _, OwnedFd};

use super::bpf::{ById, call, command, next_id, unless_gone};

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
    while let Some(next) = next_id(command::PROG_GET_NEXT_ID, id)? {
        id = next;
        // One that is gone by now is none.
        programs.extend(open(id)?.map(|program| describe(&program)).transpose()?);
    }
    Ok(programs)
}

/// The start of `union bpf_attr` for BPF_OBJ_GET_INFO_BY_FD.
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

fn open(id: u32) -> io::Result<Option<OwnedFd>> {
    let descriptor = unless_gone(call(command::PROG_GET_FD_BY_ID, &mut ById::new(id)))?;
    // SAFETY: the kernel has just made it for this call alone.
    Ok(descriptor.map(|descriptor| unsafe { OwnedFd::from_raw_fd(descriptor) }))
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
