//! What must hold for any input: of the BTF reader, of what comes from the kernel side, of the analysis.
//!
//! Each target is a function from bytes to nothing that panics where something does not hold. libFuzzer drives it with
//! an eye on coverage (`cargo xtask fuzz`, the binaries in `bin/`); `cargo test` replays the seeds and every input
//! under `cases/`, where found bugs stay, and needs no fuzzer. Properties of single functions are tested beside them.
#![expect(
    clippy::expect_used,
    reason = "a check that does not hold is a panic: that is how a fuzzer is told"
)]

pub mod btf;
pub mod record;
pub mod recording;
pub mod rules;

/// One thing to fuzz.
#[derive(Clone, Copy, Debug)]
pub struct Target {
    /// Its name, on the command line and under `cases/`.
    pub name: &'static str,
    /// Panics where something does not hold for the input.
    pub check: fn(&[u8]),
    /// Inputs to begin with.
    pub seeds: fn() -> Vec<Vec<u8>>,
    /// What the input means, for a person.
    pub show: fn(&[u8]) -> String,
}

/// All targets.
pub const TARGETS: [Target; 4] = [btf::TARGET, record::TARGET, recording::TARGET, rules::TARGET];

/// A libFuzzer target: `main` comes from libFuzzer, the seeds go where it reads its corpus.
///
/// Rust's heap is bounded, so that an allocation by a damaged length is a finding even if nobody touches the memory.
#[cfg(feature = "libfuzzer")]
#[macro_export]
macro_rules! libfuzzer_target {
    ($target:expr) => {
        #[global_allocator]
        static HEAP: ::cap::Cap<::std::alloc::System> =
            ::cap::Cap::new(::std::alloc::System, $crate::engine::HEAP_BYTES);

        ::libfuzzer_sys::fuzz_target!(
            init: $crate::engine::begin(&$target),
            |input: &[u8]| ($target.check)(input)
        );
    };
}

#[cfg(feature = "libfuzzer")]
pub mod engine;
