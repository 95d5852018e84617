//! `print`: manual pages and completions for packages, from the definitions of the command line.
//!
//! The same binary prints the same bytes on any day: a page has a date only where `SOURCE_DATE_EPOCH` gives one.

use std::{
    env,
    io::{self, Write},
};

use anyhow::Result;
use clap::{CommandFactory as _, Parser as _};
use clap_mangen::Man;
use jiff::{Timestamp, tz::TimeZone};

use crate::{
    cli::{Cli, Print, What},
    exit::Exit,
    sink::OutputError,
};

const SECTION: &str = "1";
const MANUAL: &str = "User Commands";

/// A verb that has no manual page.
#[derive(Debug, thiserror::Error)]
#[error("`{wanted}` is no verb with a manual page; there are {}", .present.join(", "))]
pub struct NoSuchPage {
    wanted: String,
    present: Vec<String>,
}

/// Words that are no command line.
#[derive(Debug, thiserror::Error)]
#[error("{0}")]
pub struct NotParsed(clap::Error);

/// Prints.
///
/// # Errors
/// A verb without a page, words that are no command line, or an output that fails.
pub fn run(arguments: &Print) -> Result<Exit> {
    let text = match &arguments.what {
        What::Man { verb: None } => page(Cli::command())?,
        What::Man { verb: Some(verb) } => page(verb_of(verb)?)?,
        What::Completions { shell } => {
            let mut command = Cli::command();
            let mut text = Vec::new();
            clap_complete::generate(*shell, &mut command, "ldrscope", &mut text);
            text
        }
        What::Parsed { words } => parsed(words)?,
        What::Verbs => verbs()
            .map(|verb| format!("{}\n", verb.get_name()))
            .collect::<String>()
            .into_bytes(),
    };
    let mut out = io::stdout().lock();
    out.write_all(&text)
        .and_then(|()| out.flush())
        .map_err(OutputError)?;
    Ok(Exit::Done)
}

/// A confirmation; asking for help or the version is a command line, too.
fn parsed(words: &[String]) -> Result<Vec<u8>, NotParsed> {
    let words = ["ldrscope"].into_iter().chain(words.iter().map(String::as_str));
    match Cli::try_parse_from(words) {
        Err(error) if error.use_stderr() => Err(NotParsed(error)),
        _ => Ok(b"ok\n".to_vec()),
    }
}

/// The verbs that people use, in the order of the help.
fn verbs() -> impl Iterator<Item = clap::Command> {
    let mut cli = Cli::command();
    // Without this the verbs lack the options that they share.
    cli.build();
    let verbs: Vec<_> = cli
        .get_subcommands()
        .filter(|verb| !verb.is_hide_set() && verb.get_name() != "help")
        .cloned()
        .collect();
    verbs.into_iter()
}

fn verb_of(name: &str) -> Result<clap::Command, NoSuchPage> {
    let found = verbs().find(|verb| verb.get_name() == name);
    found.ok_or_else(|| NoSuchPage {
        wanted: name.to_owned(),
        present: verbs().map(|verb| verb.get_name().to_owned()).collect(),
    })
}

fn page(command: clap::Command) -> Result<Vec<u8>> {
    let name = command
        .get_display_name()
        .unwrap_or_else(|| command.get_name())
        .to_owned();
    let mut page = Vec::new();
    Man::new(command)
        .title(name.to_uppercase())
        .section(SECTION)
        .manual(MANUAL)
        .source(concat!("ldrscope ", env!("CARGO_PKG_VERSION")))
        .date(date(env::var("SOURCE_DATE_EPOCH").ok().as_deref()))
        .render(&mut page)?;
    Ok(page)
}

/// The day of `epoch`, in seconds of Unix time; without one, or with nonsense, a blank: a word left out would make the next
/// one the date.
fn date(epoch: Option<&str>) -> String {
    let second = epoch.and_then(|text| Timestamp::from_second(text.parse().ok()?).ok());
    second
        .map(|second| second.to_zoned(TimeZone::UTC).date().to_string())
        .unwrap_or_else(|| " ".to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_verb_has_a_page_that_names_it_and_its_options() {
        let names: Vec<_> = verbs().map(|verb| verb.get_name().to_owned()).collect();
        assert!(names.contains(&"watch".to_owned()), "{names:?}");
        assert!(!names.contains(&"print".to_owned()), "{names:?}");
        for name in names {
            let page = String::from_utf8(page(verb_of(&name).unwrap()).unwrap()).unwrap();
            assert!(
                page.contains(&format!("LDRSCOPE\\-{}", name.to_uppercase()))
                    || page.contains(&format!("LDRSCOPE-{}", name.to_uppercase())),
                "{page}"
            );
            assert!(page.contains("\\-\\-verbose"), "{page}");
        }
    }

    #[test]
    fn every_shell_completes_every_verb() {
        use clap_complete::Shell;
        for shell in [Shell::Bash, Shell::Zsh, Shell::Fish] {
            let mut script = Vec::new();
            clap_complete::generate(shell, &mut Cli::command(), "ldrscope", &mut script);
            let script = String::from_utf8(script).unwrap();
            for verb in verbs() {
                assert!(script.contains(verb.get_name()), "{shell}: {}", verb.get_name());
            }
        }
    }

    #[test]
    fn a_command_line_is_judged_and_not_run() {
        let judge = |text: &str| {
            let words: Vec<String> = text.split(' ').map(str::to_owned).collect();
            parsed(&words)
        };
        for good in ["watch --vm web", "--help", "deliver --dest 0x10-0x1f", "replay -"] {
            assert!(judge(good).is_ok(), "{good}");
        }
        for bad in [
            "watch --wm web",
            "dance",
            "snapshot --at 1s",
            "deliver --dest x",
            "diff one",
        ] {
            assert!(judge(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn an_unknown_verb_is_named_with_those_that_are() {
        let error = verb_of("dance").unwrap_err().to_string();
        assert!(
            error.starts_with("`dance` is no verb") && error.contains("snapshot"),
            "{error}"
        );
    }

    #[test]
    fn a_page_is_dated_by_the_sources_or_not_at_all() {
        assert_eq!(date(Some("1700000000")), "2023-11-14");
        assert_eq!(date(None), " ");
        assert_eq!(date(Some("today")), " ");
    }
}
