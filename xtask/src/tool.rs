//! Runs other programs: one that fails is an error with its command line and what it said.
//!
//! Four ways, by what happens to the output: [`capture`] returns it, [`said_by`] both streams of it, [`quiet`] keeps it for
//! the error, [`stream`] shows it on standard error, since standard output belongs to xtask's own results.

use std::{
    env,
    io::{self, Write as _},
    path::{Path, PathBuf},
    process::{Command, Output, Stdio},
};

use anyhow::{Context as _, Result, bail};

use crate::paths;

/// The cargo that runs xtask, in the workspace.
pub(crate) fn cargo(subcommand: &str) -> Command {
    let mut cargo = Command::new(env!("CARGO"));
    cargo.current_dir(paths::workspace()).arg(subcommand);
    cargo
}

/// Runs `command` without input and returns its standard output.
pub(crate) fn capture(command: &mut Command) -> Result<String> {
    let output = finish(command)?;
    String::from_utf8(output.stdout)
        .with_context(|| format!("the output of `{}` is not UTF-8", line_of(command)))
}

/// Runs `command` without input; its output appears only if it fails.
pub(crate) fn quiet(command: &mut Command) -> Result<()> {
    finish(command).map(drop)
}

/// Runs `command` without input and returns all that it said on either stream, for programs that warn and succeed.
pub(crate) fn said_by(command: &mut Command) -> Result<String> {
    let output = finish(command)?;
    Ok([&output.stdout, &output.stderr]
        .map(|bytes| String::from_utf8_lossy(bytes).trim().to_owned())
        .concat())
}

/// Runs `command` without input and shows all its output on standard error as it comes.
pub(crate) fn stream(command: &mut Command) -> Result<()> {
    let status = command
        .stdin(Stdio::null())
        .stdout(io::stderr())
        .status()
        .with_context(|| format!("cannot start `{}`", line_of(command)))?;
    if !status.success() {
        bail!("`{}` failed ({status}); its output is above", line_of(command));
    }
    Ok(())
}

/// Runs `command` with `input` and returns its standard output's bytes.
pub(crate) fn filter(command: &mut Command, input: Vec<u8>) -> Result<Vec<u8>> {
    let context = format!("cannot start `{}`", line_of_name(command));
    let mut child = command
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .context(context)?;
    let mut pipe = child
        .stdin
        .take()
        .context("a piped child has no standard input")?;
    // Fed from a thread: a filter that writes before it has read everything would block both sides.
    let feeder = std::thread::spawn(move || pipe.write_all(&input));
    let output = child
        .wait_with_output()
        .with_context(|| format!("`{}` was lost", line_of(command)))?;
    let fed = feeder
        .join()
        .map_err(|_| anyhow::anyhow!("the feeder of `{}` panicked", line_of(command)))?;
    if !output.status.success() {
        bail!(failure(command, &output));
    }
    fed.with_context(|| format!("cannot feed `{}`", line_of(command)))?;
    Ok(output.stdout)
}

/// Where `program` is: on `PATH`, or where administrators' programs are, which others' `PATH` often leaves out.
pub(crate) fn find(program: &str) -> Option<PathBuf> {
    let path = env::var_os("PATH").unwrap_or_default();
    let administrators = ["/usr/sbin", "/sbin"].map(PathBuf::from);
    env::split_paths(&path)
        .chain(administrators)
        .map(|directory| directory.join(program))
        .find(|path| path.is_file())
}

/// A command of `program`, wherever [`find`] finds it.
pub(crate) fn command(program: &str) -> Command {
    Command::new(find(program).unwrap_or_else(|| PathBuf::from(program)))
}

fn finish(command: &mut Command) -> Result<Output> {
    let output = command
        .stdin(Stdio::null())
        .output()
        .with_context(|| format!("cannot start `{}`", line_of_name(command)))?;
    if !output.status.success() {
        bail!(failure(command, &output));
    }
    Ok(output)
}

fn failure(command: &Command, output: &Output) -> String {
    let said = [&output.stdout, &output.stderr]
        .map(|bytes| String::from_utf8_lossy(bytes).trim().to_owned())
        .join("\n");
    format!(
        "`{}` failed ({}):\n{}",
        line_of(command),
        output.status,
        said.trim()
    )
}

/// The program's name without its directory: what it does matters in a message, and is said by the arguments.
fn line_of_name(command: &Command) -> String {
    let program = Path::new(command.get_program());
    program
        .file_name()
        .unwrap_or(program.as_os_str())
        .to_string_lossy()
        .into_owned()
}

fn line_of(command: &Command) -> String {
    let words = command.get_args().map(|word| word.to_string_lossy());
    std::iter::once(command.get_program().to_string_lossy())
        .chain(words)
        .collect::<Vec<_>>()
        .join(" ")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_failure_names_the_command_and_quotes_it() {
        let error = quiet(Command::new("sh").args(["-c", "echo one; echo two >&2; exit 3"]))
            .unwrap_err()
            .to_string();
        assert!(
            error.contains("sh -c echo one") && error.contains("one\ntwo") && error.contains("3"),
            "{error}"
        );
    }

    #[test]
    fn a_missing_program_is_named() {
        let error = capture(&mut Command::new("no-such-program"))
            .unwrap_err()
            .to_string();
        assert!(error.contains("no-such-program"), "{error}");
    }

    #[test]
    fn a_filter_may_answer_before_it_has_read_all() {
        let input = vec![b'x'; 1 << 20];
        assert_eq!(filter(&mut Command::new("cat"), input.clone()).unwrap(), input);
    }
}
