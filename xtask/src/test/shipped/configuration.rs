//! The example of the configuration: `ldrscope` takes it as it is and with every key in it put to work, and it has a key
//! for every flag.

use std::{collections::BTreeSet, fs, path::Path, process::Command};

use anyhow::{Context as _, Result, ensure};

use super::read;
use crate::tool;

const EXAMPLE: &str = "packaging/ldrscope.toml";

/// Flags that are no keys: they say where the file is, or nothing of the daemon.
const FLAGS_ALONE: [&str; 6] = ["check-config", "config", "help", "quiet", "verbose", "version"];
/// Keys whose examples name what this machine need not have.
const OF_A_HOST: [&str; 2] = ["btf", "user"];

/// Fails with what `ldrscope` says, or with the keys that are missing or too many.
pub(super) fn check(ldrscope: &Path) -> Result<()> {
    let example = read(EXAMPLE)?;
    judge(ldrscope, &example).context("as it ships")?;
    let keys = keys(&example);
    let all: String = keys
        .iter()
        .filter(|(key, _)| !OF_A_HOST.contains(key))
        .map(|(_, line)| format!("{line}\n"))
        .collect();
    judge(ldrscope, &all).context("with all of its keys")?;

    let keys: BTreeSet<&str> = keys.iter().map(|(key, _)| *key).collect();
    let help = tool::capture(Command::new(ldrscope).args(["serve", "--help"]))?;
    let flags = flags(&help);
    let difference: Vec<_> = keys.symmetric_difference(&flags).copied().collect();
    ensure!(
        difference.is_empty(),
        "{EXAMPLE} and the flags of `ldrscope serve` differ in {}",
        difference.join(", ")
    );
    Ok(())
}

fn judge(ldrscope: &Path, text: &str) -> Result<()> {
    let file = tempfile::NamedTempFile::new().context("cannot make a temporary file")?;
    fs::write(&file, text).context("cannot write the temporary file")?;
    tool::quiet(
        Command::new(ldrscope)
            .args(["serve", "--check-config", "--config"])
            .arg(file.path()),
    )
}

/// The keys that are commented out, each with its line.
fn keys(example: &str) -> Vec<(&str, &str)> {
    example
        .lines()
        .filter_map(|line| {
            let line = line.strip_prefix('#')?;
            let (key, _) = line.split_once(" = ")?;
            let is_key = key
                .chars()
                .all(|character| character.is_ascii_lowercase() || character == '-');
            is_key.then_some((key, line))
        })
        .collect()
}

/// The long flags of a help page that are keys of the file.
fn flags(help: &str) -> BTreeSet<&str> {
    help.lines()
        .filter_map(|line| {
            let (before, flag) = line.trim_start().split_once("--")?;
            let is_entry = before.is_empty() || before.ends_with(", ");
            let end = flag.find(|character: char| !(character.is_ascii_lowercase() || character == '-'));
            let flag = &flag[..end.unwrap_or(flag.len())];
            (is_entry && !FLAGS_ALONE.contains(&flag)).then_some(flag)
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_are_told_from_prose() {
        let example = "# A key = value in prose.\n#listen = \"a\"\n# listen = no\n\n#no-canary = false\n";
        assert_eq!(
            keys(example),
            [("listen", "listen = \"a\""), ("no-canary", "no-canary = false")]
        );
    }

    #[test]
    fn flags_are_read_off_the_help() {
        let help = "Options:\n  -v, --verbose...  More\n      --listen <ADDR>\n          Not --this one\n      --no-canary\n";
        assert_eq!(
            flags(help).into_iter().collect::<Vec<_>>(),
            ["listen", "no-canary"]
        );
    }

    #[test]
    fn the_example_names_each_key_once() {
        let example = read(EXAMPLE).unwrap();
        let keys = keys(&example);
        let once: BTreeSet<_> = keys.iter().map(|(key, _)| key).collect();
        assert_eq!(once.len(), keys.len());
        assert!(once.contains(&"snapshot-max-size"));
    }
}
