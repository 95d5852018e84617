//! The offsets userspace resolved for the running kernel, as constants the verifier can see.

use probe_common::layout::Layout;

/// Overridden by the loader before the programs are loaded.
#[unsafe(no_mangle)]
pub(crate) static LAYOUT: Layout = Layout::UNSET;

/// 1 where the precise hooks are attached too. Overridden by the loader.
#[unsafe(no_mangle)]
pub(crate) static PRECISE: u32 = 0;

/// Reads one member of [`LAYOUT`].
///
/// Volatile, since the compiler would otherwise fold the placeholder into the programs.
macro_rules! offset {
    ($member:ident) => {{
        // SAFETY: a static of plain integers, read through its own address.
        unsafe { core::ptr::read_volatile(&raw const crate::layout::LAYOUT.$member) }
    }};
}
pub(crate) use offset;

/// Whether the precise hooks are attached.
#[inline(always)]
pub(crate) fn precise() -> bool {
    // SAFETY: a static integer, read through its own address.
    unsafe { core::ptr::read_volatile(&raw const PRECISE) != 0 }
}
