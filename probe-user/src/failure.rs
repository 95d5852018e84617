//! Why a run failed, in words on stderr, and the exit code that goes with them: the one place that knows every error.

use std::io::{self, Write};

use log::Level;

use crate::{
    command::{
        deliver::Untold,
        diff::BothFromStdin,
        print::{NoSuchPage, NotParsed},
        reproduce::AtOfSnapshot,
    },
    daemon::{config::ConfigError, opening::OpenError},
    escape::escape_line,
    exit::Exit,
    identity::filter::NoSuchVm,
    kernel::obstacle::Obstacle,
    logging,
    message::read::BadSnapshot,
    privilege::PrivilegeError,
    reproduce::Irreproducible,
    sink::OutputError,
    tape::TapeError,
    top::error::TopError,
};

/// Says on `err` why a command failed, as `error[word]: sentence` and a remedy, and decides the exit code.
pub fn report(error: &anyhow::Error, err: &mut dyn Write) -> Exit {
    let (word, remedy, exit) = judge(error);
    if exit == Exit::Done {
        return exit;
    }
    let sentence = sentence(error);
    // Nobody is left to tell when stderr itself is gone; the exit code remains.
    let _ = write_lines(err, &format!("error[{word}]: "), &sentence);
    let _ = write_lines(err, "  remedy: ", remedy);
    exit
}

/// The word and the sentence for why a command failed; not escaped.
#[must_use]
pub fn cause(error: &anyhow::Error) -> (&'static str, String) {
    let (word, ..) = judge(error);
    (word, sentence(error))
}

fn sentence(error: &anyhow::Error) -> String {
    let causes: Vec<String> = error.chain().map(ToString::to_string).collect();
    causes.join(": ")
}

/// The verifier's answer has many lines: each is escaped, the line ends stay.
fn write_lines(err: &mut dyn Write, prefix: &str, text: &str) -> io::Result<()> {
    for (i, line) in text.lines().enumerate() {
        writeln!(
            err,
            "{}{}{}",
            logging::prefix(Level::Error),
            if i == 0 { prefix } else { "    " },
            escape_line(line.trim_end())
        )?;
    }
    Ok(())
}

fn judge(error: &anyhow::Error) -> (&'static str, &str, Exit) {
    for cause in error.chain() {
        if let Some(obstacle) = cause.downcast_ref::<Obstacle>() {
            return (obstacle.word(), obstacle.remedy(), Exit::CouldNotLook);
        }
        if let Some(config) = cause.downcast_ref::<ConfigError>() {
            return ("config", config.remedy(), Exit::Usage);
        }
        if let Some(error) = cause.downcast_ref::<OpenError>() {
            return (error.word(), error.remedy(), Exit::CouldNotLook);
        }
        if let Some(error) = cause.downcast_ref::<PrivilegeError>() {
            let exit = match error {
                PrivilegeError::NoSuchUser { .. } => Exit::Usage,
                _ => Exit::CouldNotLook,
            };
            return (error.word(), error.remedy(), exit);
        }
        if cause.is::<NoSuchVm>() {
            return (
                "no-such-vm",
                "name one of them with `--vm NAME`, `--vm UUID` or `--vm PID`",
                Exit::Usage,
            );
        }
        if let Some(bad) = cause.downcast_ref::<BadSnapshot>() {
            return ("bad-snapshot", bad.remedy(), Exit::Usage);
        }
        if cause.is::<BothFromStdin>() {
            return ("usage", "put one of them in a file", Exit::Usage);
        }
        if cause.is::<AtOfSnapshot>() {
            return ("usage", "leave `--at` out", Exit::Usage);
        }
        if let Some(error) = cause.downcast_ref::<Irreproducible>() {
            let exit = if error.is_usage() {
                Exit::Usage
            } else {
                Exit::CouldNotLook
            };
            return ("not-reproducible", error.remedy(), exit);
        }
        if cause.is::<NotParsed>() {
            return ("usage", "`ldrscope --help` says what there is", Exit::Usage);
        }
        if cause.is::<NoSuchPage>() {
            return ("no-such-page", "`ldrscope print verbs` lists them", Exit::Usage);
        }
        if let Some(untold) = cause.downcast_ref::<Untold>() {
            return (untold.word(), untold.remedy(), Exit::CouldNotLook);
        }
        if let Some(error) = cause.downcast_ref::<TapeError>() {
            let exit = match error {
                TapeError::Write { source, .. } if source.kind() == io::ErrorKind::BrokenPipe => Exit::Done,
                _ if error.is_usage() => Exit::Usage,
                _ => Exit::CouldNotLook,
            };
            return (error.word(), error.remedy(), exit);
        }
        if let Some(error) = cause.downcast_ref::<TopError>() {
            let exit = match error {
                _ if error.is_closed_terminal() => Exit::Done,
                _ if error.is_usage() => Exit::Usage,
                _ => Exit::CouldNotLook,
            };
            return (error.word(), error.remedy(), exit);
        }
        if let Some(OutputError(source)) = cause.downcast_ref::<OutputError>() {
            let exit = if source.kind() == io::ErrorKind::BrokenPipe {
                Exit::Done
            } else {
                Exit::CouldNotLook
            };
            return (
                "output",
                "see that the target of standard output has space and can be written",
                exit,
            );
        }
    }
    (
        "internal",
        "start it again; if it happens again, please report this message",
        Exit::CouldNotLook,
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    fn reported(error: impl Into<anyhow::Error>) -> (Exit, String) {
        let mut err = Vec::new();
        let exit = report(&error.into(), &mut err);
        (exit, String::from_utf8(err).unwrap())
    }

    #[test]
    fn an_obstacle_is_told_with_its_word_source_and_remedy() {
        let (exit, text) = reported(Obstacle::LoadRefused {
            program: "marker".to_owned(),
            source: "Permission denied\nR1 type=\x1b".into(),
        });
        assert_eq!(exit, Exit::CouldNotLook);
        let lines: Vec<&str> = text.lines().collect();
        assert_eq!(
            lines[0],
            "error[load-refused]: the kernel refused to load the program `marker`: Permission denied"
        );
        assert_eq!(lines[1], "    R1 type=\\x1b");
        assert!(lines[2].starts_with("  remedy: "));
    }

    #[test]
    fn a_closed_pipe_is_no_error_and_a_full_disk_is() {
        let output = |kind| OutputError(io::Error::from(kind));
        assert_eq!(
            reported(output(io::ErrorKind::BrokenPipe)),
            (Exit::Done, String::new())
        );
        let (exit, text) = reported(output(io::ErrorKind::StorageFull));
        assert_eq!(exit, Exit::CouldNotLook);
        assert!(text.starts_with("error[output]: standard output cannot be written: "));
    }

    #[test]
    fn vms_of_which_nothing_can_be_told_are_no_success() {
        let (exit, text) = reported(Untold::NoVm);
        assert_eq!(exit, Exit::CouldNotLook);
        assert!(text.starts_with("error[unobservable]: "));
    }

    #[test]
    fn an_unknown_vm_is_wrong_usage() {
        let (exit, text) = reported(NoSuchVm {
            wanted: "db".to_owned(),
            present: Vec::new(),
        });
        assert_eq!(exit, Exit::Usage);
        assert!(text.starts_with("error[no-such-vm]: no VM matches `db`"));
    }
}
