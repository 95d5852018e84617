//! `bpf(2)` as it is, for whoever looks at the kernel from outside.

use std::io;

/// Commands (include/uapi/linux/bpf.h, `enum bpf_cmd`).
pub(crate) mod command {
    pub(crate) const PROG_LOAD: i64 = 5;
    pub(crate) const PROG_GET_NEXT_ID: i64 = 11;
    pub(crate) const MAP_GET_NEXT_ID: i64 = 12;
    pub(crate) const PROG_GET_FD_BY_ID: i64 = 13;
    pub(crate) const OBJ_GET_INFO_BY_FD: i64 = 15;
    pub(crate) const LINK_GET_NEXT_ID: i64 = 31;
}

/// The start of `union bpf_attr` for the commands that go by ids: `start_id` or `prog_id`, `next_id`, `open_flags`.
#[repr(C)]
pub(super) struct ById {
    id: u32,
    next: u32,
    flags: u32,
}

impl ById {
    pub(super) const fn new(id: u32) -> Self {
        Self {
            id,
            next: 0,
            flags: 0,
        }
    }
}

/// The id after `id`, 0 for the first, as one of the commands that walk ids tells it.
pub(super) fn next_id(walk: i64, id: u32) -> io::Result<Option<u32>> {
    let mut by_id = ById::new(id);
    let found = unless_gone(call(walk, &mut by_id))?;
    Ok(found.map(|_| by_id.next))
}

/// `None` in place of ENOENT.
pub(super) fn unless_gone(answer: io::Result<i32>) -> io::Result<Option<i32>> {
    match answer {
        Err(error) if error.raw_os_error() == Some(libc::ENOENT) => Ok(None),
        answer => answer.map(Some),
    }
}

/// One call; its answer is not negative.
pub(crate) fn call<A>(command: i64, attr: &mut A) -> io::Result<i32> {
    // SAFETY: `attr` is the beginning of `union bpf_attr` for `command`, alive and as long as said; what it points to outlives
    // the call, and the kernel keeps no pointer.
    let answer = unsafe { libc::syscall(libc::SYS_bpf, command, attr, size_of::<A>()) };
    if answer < 0 {
        return Err(io::Error::last_os_error());
    }
    i32::try_from(answer).map_err(io::Error::other)
}
