//! `cargo xtask demo`: from a bare machine to the 2019 kdump failure called out live, in one command.

use std::process::ExitCode;

use anyhow::Result;

use crate::{
    build::{self, Profile},
    kernels::{self, Series},
    lab::{self, Channels, Host, Input, Session},
    progress, setup,
};

/// What the lab runs; the scenario and its telling are the lab crate's.
const COMMAND: [&str; 2] = ["lab-case", "demo"];

/// `cargo xtask demo`.
#[derive(Debug, clap::Args)]
pub(crate) struct Arguments {
    /// Kernel series of the host; the interrupt is lost on 6.1, and comes by a scan on 6.12 and later
    #[arg(long, value_name = "SERIES", default_value_t = Series::V6_1)]
    kernel: Series,
}

/// Sets up, builds, boots and runs the scenario; succeeds if it went as told.
pub(crate) fn run(arguments: &Arguments) -> Result<ExitCode> {
    setup::lab()?;
    let binaries = build::build(Profile::Release)?;
    let kernel = kernels::ensure(arguments.kernel)?;
    progress::note(format_args!(
        "demo: booting a KVM host with kernel {kernel}, emulated: about 10 s"
    ));
    let session = Session {
        host: Host::plain(arguments.kernel),
        kernel,
        binaries,
        argv: COMMAND.map(str::to_owned).to_vec(),
        directory: "/".to_owned(),
        timeout: Some(lab::DEFAULT_TIMEOUT),
    };
    let status = match session.run(Input::Empty, Channels::to_standard_streams()) {
        Ok(status) => status,
        Err(error) => {
            progress::note(&error);
            error.status()
        }
    };
    progress::note(if status == 0 {
        "demo: success"
    } else {
        "demo: FAILURE"
    });
    Ok(ExitCode::from(status))
}
