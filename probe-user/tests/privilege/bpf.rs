//! A map, a ring and a program, made while that is allowed and used when nothing else is.
//!
//! UNSAFETY: bpf(2) with structures of include/uapi/linux/bpf.h, of which the kernel takes the rest as zero.

use std::{
    io,
    os::fd::{AsFd as _, AsRawFd as _, FromRawFd as _, OwnedFd},
    ptr,
};

use rustix::mm::{MapFlags, ProtFlags, mmap};

const MAP_CREATE: i64 = 0;
const MAP_LOOKUP_ELEM: i64 = 1;
const PROG_LOAD: i64 = 5;
const PROG_TEST_RUN: i64 = 10;
const OBJ_GET_INFO_BY_FD: i64 = 15;

const ARRAY: u32 = 2;
const RING: u32 = 27;
const RAW_TRACEPOINT: u32 = 17;

/// `mov r0, 0` and `exit`.
const INSTRUCTIONS: [u64; 2] = [0xb7, 0x95];
const PAGE: u32 = 4096;

/// What the broker would hand over.
pub(crate) struct Handed {
    array: OwnedFd,
    ring: OwnedFd,
    program: OwnedFd,
}

impl Handed {
    /// Makes them, with privileges.
    pub(crate) fn make() -> io::Result<Self> {
        let licence = c"GPL";
        let words: [u64; 4] = [
            u64::from(RAW_TRACEPOINT) | (INSTRUCTIONS.len() as u64) << 32,
            INSTRUCTIONS.as_ptr() as u64,
            licence.as_ptr() as u64,
            0,
        ];
        Ok(Self {
            array: made(MAP_CREATE, &[ARRAY, 4, 8, 1])?,
            ring: made(MAP_CREATE, &[RING, 0, 0, PAGE])?,
            program: made(PROG_LOAD, &words)?,
        })
    }

    /// Looks the map's value up, maps the ring, asks about the program and runs it.
    pub(crate) fn use_all(&self) -> io::Result<()> {
        let (key, mut value) = (0_u32, u64::MAX);
        let words = [
            number(&self.array),
            (&raw const key) as u64,
            (&raw mut value) as u64,
            0,
        ];
        call(MAP_LOOKUP_ELEM, &words)?;
        if value != 0 {
            return Err(io::Error::other("the map's value was not read"));
        }
        // SAFETY: a new mapping, which nothing points into.
        unsafe {
            mmap(
                ptr::null_mut(),
                PAGE as usize,
                ProtFlags::READ | ProtFlags::WRITE,
                MapFlags::SHARED,
                self.ring.as_fd(),
                0,
            )
        }?;
        let mut info = [0_u8; 64];
        let words = [number(&self.program) | 64 << 32, info.as_mut_ptr() as u64];
        call(OBJ_GET_INFO_BY_FD, &words)?;
        let mut words = [0_u64; 10];
        words[0] = number(&self.program);
        call(PROG_TEST_RUN, &words).map(drop)
    }
}

fn number(descriptor: &OwnedFd) -> u64 {
    u64::from(descriptor.as_raw_fd().cast_unsigned())
}

fn made<T, const N: usize>(command: i64, attr: &[T; N]) -> io::Result<OwnedFd> {
    let descriptor = call(command, attr)?;
    // SAFETY: the kernel has just made it for this call alone.
    Ok(unsafe { OwnedFd::from_raw_fd(descriptor) })
}

fn call<T, const N: usize>(command: i64, attr: &[T; N]) -> io::Result<i32> {
    // SAFETY: `attr` is laid out as the member of the union that goes with `command`; what it points to outlives the call.
    let result = unsafe { libc::syscall(libc::SYS_bpf, command, attr.as_ptr(), size_of_val(attr)) };
    if result < 0 {
        return Err(io::Error::last_os_error());
    }
    i32::try_from(result).map_err(io::Error::other)
}
