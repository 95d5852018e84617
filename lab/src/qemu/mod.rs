//! Guests under the machine's own QEMU: the VMM that people really migrate. The firmware is ours and does nothing but
//! write local APIC registers (`firmware`); QEMU is driven over its monitor (`monitor`), saved into a file and
//! started again from one (`machine`). Which registers a guest writes is for `cases`, stepping a vCPU for `guest`.

mod error;
mod firmware;
mod machine;
mod monitor;

pub use error::QemuError;
pub use firmware::{Cpu, Firmware, Pin};
pub(crate) use machine::PROGRAM;
pub use machine::{Identity, Machine};
pub(crate) use monitor::Monitor;
