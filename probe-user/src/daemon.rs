//! What `serve` adds to the watching: its outputs other than stdout, each on its own and none able to stop the loop.

pub mod endpoint;
pub mod metrics;
pub mod textfile;
