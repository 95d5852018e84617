//! `cargo xtask oracle`: random register states on real KVM, kernel by kernel, and whether ldrscope says of each what KVM
//! itself says. What a state is and how it is judged is the lab crate's; here only machines are booted for it.

use std::{
    hash::{BuildHasher as _, RandomState},
    process::ExitCode,
};

use anyhow::Result;
use lab_protocol::{KvmBuild, Seed};

use crate::{
    build::{self, Binaries, Profile},
    kernels::{self, MATRIX, Series},
    lab::{Channels, Host, Input, Session},
    progress, setup,
};

/// `cargo xtask oracle`.
#[derive(Debug, clap::Args)]
pub(crate) struct Arguments {
    /// Kernel series, several with commas [default: all of the matrix]
    #[arg(long, value_name = "SERIES", value_delimiter = ',')]
    kernel: Vec<Series>,
    /// Build of KVM: the kernel's own, or `keep-disabled` with --kernel 6.1
    #[arg(long, value_name = "BUILD", default_value_t)]
    kvm: KvmBuild,
    /// How many random states on each; 39063, or 7813 thoroughly, are ten million pairs of a state and a destination
    #[arg(long, default_value_t = 1000)]
    states: u64,
    /// Which states, as an earlier run printed it [default: others every time]
    #[arg(long)]
    seed: Option<Seed>,
    /// Try every state with all kinds of destinations, not one batch in four
    #[arg(long)]
    thorough: bool,
    /// Put a fault into what KVM did, to see that it is found
    #[arg(long, hide = true)]
    plant: bool,
}

/// Boots the kernels one after the other; succeeds if ldrscope was right about every state on all of them.
pub(crate) fn run(arguments: &Arguments) -> Result<ExitCode> {
    setup::lab()?;
    let binaries = build::build(Profile::Release)?;
    let seed = arguments
        .seed
        .unwrap_or_else(|| Seed(RandomState::new().hash_one(())));
    let series = if arguments.kernel.is_empty() {
        &MATRIX[..]
    } else {
        &arguments.kernel
    };
    let mut all_agree = true;
    for &series in series {
        all_agree &= consult(series, arguments, seed, &binaries)?;
    }
    Ok(if all_agree {
        ExitCode::SUCCESS
    } else {
        ExitCode::FAILURE
    })
}

/// Whether ldrscope was right about every state on `series`.
fn consult(series: Series, arguments: &Arguments, seed: Seed, binaries: &Binaries) -> Result<bool> {
    let kernel = kernels::with_kvm(kernels::ensure(series)?, arguments.kvm)?;
    let step = progress::step(
        "oracle",
        format_args!("{} states on kernel {kernel}", arguments.states),
    );
    let mut argv = ["lab-case", "oracle", "--states"].map(str::to_owned).to_vec();
    argv.extend([
        arguments.states.to_string(),
        "--seed".to_owned(),
        seed.to_string(),
        "--kvm".to_owned(),
        arguments.kvm.to_string(),
    ]);
    argv.extend(arguments.thorough.then(|| "--thorough".to_owned()));
    argv.extend(arguments.plant.then(|| "--plant".to_owned()));
    let session = Session {
        host: Host::plain(series),
        kernel,
        binaries: binaries.clone(),
        argv,
        directory: "/".to_owned(),
        timeout: None,
    };
    let agrees = match session.run(Input::Empty, Channels::to_standard_streams()) {
        Ok(status) => status == 0,
        Err(error) => {
            progress::note(&error);
            false
        }
    };
    step.done(if agrees { "no mismatch" } else { "FAILED" });
    Ok(agrees)
}
