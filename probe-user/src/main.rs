//! `ldrscope`: parse, log, dispatch, exit code. Everything else is in the library.

use std::{env, io, process::ExitCode};

use clap::Parser;
use ldrscope::{
    cli::{Check, Cli},
    command,
    exit::Exit,
    failure, logging,
};

fn main() -> ExitCode {
    let cli = match Cli::try_parse() {
        Ok(cli) => cli,
        Err(error) => {
            // Help and version are results; they go to stdout, and a closed pipe is nobody's error.
            let _ = error.print();
            return match error.use_stderr() {
                false => Exit::Done,
                true if Check::is_meant_by(env::args_os()) => command::check::refuse(&error),
                true => Exit::Usage,
            }
            .into();
        }
    };
    logging::start(cli.log_level());
    match command::run(&cli.command) {
        Ok(exit) => exit.into(),
        Err(error) => failure::report(&error, &mut io::stderr().lock()).into(),
    }
}
