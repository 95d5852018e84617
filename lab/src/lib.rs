//! Test-only: the guests, cases and demo with which ldrscope is tried inside the lab, a real KVM host under
//! emulation. `guest` is a VMM made for tests, `qemu` the one that people migrate with, `scenario` what guests do,
//! `exhibit` guests to look at, `load` guests that keep KVM busy, `outside` what anybody can see of a process and of the
//! kernel, `tool` runs ldrscope as a child, `fleet` the operator's tools around it, `contract` re-declares its output
//! strictly, `http` asks a server, `cases` holds the expectations, `suite` and `demo` drive them; `bench` counts what watching costs guests,
//! `measure` what ldrscope takes itself. Nothing here is shipped, and nothing of ldrscope's own code is used: it is judged
//! from outside.

pub mod bench;
pub mod cases;
pub mod contract;
pub mod demo;
pub mod exhibit;
pub mod fleet;
pub mod guest;
pub mod host;
pub mod http;
pub mod linux_guest;
pub mod load;
pub mod measure;
pub mod oracle;
pub mod outside;
pub mod qemu;
pub mod random;
pub mod reap;
pub mod scenario;
pub mod suite;
pub mod tool;
