//! The words between the outer machine and the lab: `xtask` on one side, the lab's PID 1 and its test cases on the other.
//!
//! This crate owns seven things: the [`Order`] that PID 1 finds in its initramfs, the names of the virtio-serial
//! [`port`]s, the lines that travel over them ([`Report`] from PID 1, [`CaseLine`] from the test cases), the [`Boot`]s
//! and [`Journey`]s that test cases ask for, the [`Scale`] of a run, the [`KvmBuild`] of a machine, and the [`Seed`] of
//! random states.
//! Starting QEMU is left to `xtask`, carrying an order out to `lab-init`, judging case lines to `cargo xtask test`.

pub mod boot;
pub mod case;
pub mod journey;
pub mod kvm_build;
pub mod order;
pub mod port;
pub mod report;
pub mod scale;
pub mod seed;

pub use boot::Boot;
pub use case::{CaseLine, Verdict};
pub use journey::{Journey, Leg};
pub use kvm_build::KvmBuild;
pub use order::{Module, Order, Terminal, Userland};
pub use report::Report;
pub use scale::Scale;
pub use seed::Seed;
