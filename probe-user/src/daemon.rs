//! What makes ldrscope a daemon: the outputs that an operator's own tools read.
//!
//! One single-threaded loop feeds them all, so none may ever wait: what cannot be written at once is kept within bounds
//! or lost, and what is lost is counted and said. Time comes in as an argument; nothing here asks for it.

pub mod config;
pub mod endpoint;
pub mod event_log;
pub mod evidence;
pub mod exposition;
pub mod journal;
pub mod limiter;
pub mod metrics;
#[cfg(test)]
mod namespace;
pub mod notify;
pub mod opening;
pub mod outlets;
pub mod shelf;
pub mod station;
pub mod textfile;
