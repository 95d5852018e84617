//! What a libFuzzer binary does before it fuzzes: write the seeds where they are wanted, or show one input and end.
//!
//! Both are asked for by environment variables, since the command line is libFuzzer's.

use std::{env, fs, path::Path, process};

use crate::Target;

/// All that Rust's heap may hold at a time: far more than any input calls for.
pub const HEAP_BYTES: usize = 64 << 20;

/// Names a directory for the seeds.
const SEEDS: &str = "LDRSCOPE_FUZZ_SEEDS";
/// Names an input to show.
const SHOW: &str = "LDRSCOPE_FUZZ_SHOW";

/// Does what the environment asks for.
#[expect(
    clippy::print_stdout,
    clippy::exit,
    clippy::panic,
    reason = "this runs in place of a main function"
)]
pub fn begin(target: &Target) {
    if let Some(directory) = env::var_os(SEEDS) {
        for (number, seed) in (target.seeds)().iter().enumerate() {
            let path = Path::new(&directory).join(format!("seed-{number}"));
            fs::write(&path, seed).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
        }
    }
    if let Some(path) = env::var_os(SHOW) {
        let input = fs::read(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
        println!("{}", (target.show)(&input));
        process::exit(0);
    }
}
