//! `ldrscope`: parse, log, dispatch, exit code. Everything else is in the library.

use std::{io, process::ExitCode};

use clap::Parser;
use ldrscope::{
    cli::Cli,
    command,
    exit::{self, Exit},
    logging,
};

fn main() -> ExitCode {
    let cli = match Cli::try_parse() {
        Ok(cli) => cli,
        Err(error) => {
            // Help and version are results; they go to stdout, and a closed pipe is nobody's error.
            let _ = error.print();
            return if error.use_stderr() {
                Exit::Usage
            } else {
                Exit::Done
            }
            .into();
        }
    };
    logging::start(cli.log_level());
    match command::run(&cli.command) {
        Ok(exit) => exit.into(),
        Err(error) => exit::report(&error, &mut io::stderr().lock()).into(),
    }
}
