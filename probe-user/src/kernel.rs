//! What the host's kernel is, allows and forbids.
//!
//! [`support`] collects facts without an opinion, [`preflight`] decides on them, [`obstacle`] says in plain
//! words why ldrscope cannot look. [`btf`] and [`layout`] find where this kernel keeps what is read, [`inhibits`] what
//! one of its masks means,
//! [`symbols`] which functions and variables it has, [`hook`] which of them are hooked and why; [`status`] what this process
//! may do there.

pub mod btf;
pub mod diagnosis;
pub mod hook;
pub mod inhibits;
pub mod layout;
pub mod obstacle;
pub mod preflight;
pub mod status;
pub mod support;
pub mod symbols;
pub mod types;
