//! The wire between ldrscope's kernel side (eBPF) and its userspace.
//!
//! Everything here is `repr(C)`, of fixed-width integers, without padding, and shared by both sides, so
//! that there is one definition of every record. What a value means is said here; what to make of it is
//! not: the analysis lives in `probe-apic`, which never sees these types.
#![cfg_attr(not(feature = "user"), no_std)]
#![forbid(unsafe_op_in_unsafe_fn)]

pub mod counts;
pub mod event;
pub mod interrupts;
pub mod layout;
pub mod regs;
pub mod speaking;
pub mod window;

#[cfg(feature = "user")]
pub mod decode;

/// Version of every record in this crate. Userspace refuses records of another version.
pub const ABI_VERSION: u16 = 1;

/// Asserts at compile time that a record has exactly the size its fields add up to: no hidden padding.
macro_rules! assert_size {
    ($record:ty, $bytes:expr) => {
        const _: () = assert!(core::mem::size_of::<$record>() == $bytes);
    };
}
pub(crate) use assert_size;

/// The integers of a record, for both sides: plain old data, all bit patterns valid.
macro_rules! record {
    ($(#[$meta:meta])* pub struct $name:ident { $($body:tt)* }) => {
        $(#[$meta])*
        #[repr(C)]
        #[derive(Clone, Copy, Debug, PartialEq, Eq)]
        #[cfg_attr(feature = "user", derive(bytemuck::Pod, bytemuck::Zeroable))]
        pub struct $name { $($body)* }
    };
}
pub(crate) use record;
