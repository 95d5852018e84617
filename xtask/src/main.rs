//! ldrscope's chores, as `cargo xtask COMMAND`: the only entry point that building, trying and testing it need.
//!
//! This file only names the commands and turns their ends into exit statuses; each command is a module.

mod bench;
mod build;
mod commit;
mod demo;
mod dist;
mod fuzz;
mod kernels;
mod lab;
mod licences;
mod lint;
mod matrix;
mod oracle;
mod paths;
mod progress;
mod remap;
mod setup;
mod soak;
mod tally;
mod test;
mod tidy;
mod tool;

use std::process::ExitCode;

use clap::Parser;

/// Set up, build, fetch kernels, boot the lab, lint and test.
#[derive(Debug, Parser)]
#[command(name = "cargo xtask", bin_name = "cargo xtask")]
enum Command {
    /// Install what building and the lab need; `--check` only looks
    Setup(setup::Arguments),
    /// Build the eBPF object and the static binaries; the last line on standard output is ldrscope's path
    Build(build::Arguments),
    /// Fetch, verify and cache the kernels of the matrix
    Kernels(kernels::Arguments),
    /// Boot a KVM host, run a command in it, and return its status
    Lab(lab::Arguments),
    /// Show the 2019 kdump failure in the lab, guest and tool side by side
    Demo(demo::Arguments),
    /// Make the release: tarball, .deb and .rpm in target/dist; prints their paths
    Dist(dist::Arguments),
    /// Fuzz the BTF reader, the records and the rules
    Fuzz(fuzz::Arguments),
    /// Count what watching costs guests, and what ldrscope takes, in instructions; writes docs/performance
    Bench(bench::Arguments),
    /// Hold ldrscope against KVM itself, over random register states; ends with a count of mismatches
    Oracle(oracle::Arguments),
    /// Run lints, unit tests and the lab's suites; ends with `N passed, N failed`
    Test(test::Arguments),
    /// Write docs/kernels.md: which kernels were tested, of what runs of `test` left behind
    Matrix,
    /// Run what takes too long for `test`, whole; ends with `N passed, N failed`
    Soak(soak::Arguments),
    /// Check format, clippy for both targets, licences and the tree's own rules
    Lint,
}

/// Wrong usage, or a machine that is not set up: nothing was tried.
const NOT_TRIED: u8 = 2;

fn main() -> ExitCode {
    let done = |result: anyhow::Result<()>| result.map(|()| ExitCode::SUCCESS);
    let result = match Command::parse() {
        Command::Setup(arguments) => done(setup::run(&arguments)),
        Command::Build(arguments) => done(build::run(&arguments)),
        Command::Kernels(arguments) => done(kernels::run(&arguments)),
        Command::Lab(arguments) => lab::run(arguments),
        Command::Demo(arguments) => demo::run(&arguments),
        Command::Dist(arguments) => done(dist::run(&arguments)),
        Command::Fuzz(arguments) => fuzz::run(&arguments),
        Command::Bench(arguments) => bench::run(&arguments),
        Command::Oracle(arguments) => oracle::run(&arguments),
        Command::Test(arguments) => test::run(&arguments),
        Command::Matrix => done(matrix::run()),
        Command::Soak(arguments) => soak::run(&arguments),
        Command::Lint => lint::run(),
    };
    result.unwrap_or_else(|error| {
        progress::note(format_args!("error: {error:#}"));
        if error.is::<setup::NotReady>() {
            ExitCode::from(NOT_TRIED)
        } else {
            ExitCode::FAILURE
        }
    })
}
