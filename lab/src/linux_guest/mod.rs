//! A stock Debian kernel as a guest of the lab's KVM, in QEMU, driven step by step: what a healthy guest really does to its
//! local APICs. `lab-guest` is its init, `talk` what that and a case say to each other, `initramfs` what it boots from,
//! `machine` its QEMU, and `lapic` what that QEMU knows of the registers. Which steps there are, and what ldrscope may say of
//! each, is for `cases`.

mod error;
pub mod initramfs;
mod lapic;
mod machine;
pub mod talk;

pub use error::LinuxGuestError;
pub use lapic::Lapic;
pub use machine::{CPUS, LinuxGuest, Routing};
