//! `check`: its arguments, and how to know that it was meant where they are wrong.

use std::ffi::OsString;

use clap::Args;

use super::{Place, Subject};

const EXIT_CODES: &str = "\
Exit codes, worst first:
  2  CRITICAL  an interrupt that is in use cannot arrive as it should
  1  WARNING   some destinations are broken or slow, but nothing is known to use them
  3  UNKNOWN   not every VM could be seen, or ldrscope could not look at all; also wrong usage
  0  OK        none of these: no VM is fine, and so are findings of severity notice and info
VMs whose VMM emulates the local APICs cannot be observed; they are named, and change nothing.";

/// `check`.
#[derive(Debug, Args)]
#[command(after_help = EXIT_CODES)]
pub struct Check {
    /// Which VMs, and by whose rules.
    #[command(flatten)]
    pub subject: Subject,

    /// Where to look, and how.
    #[command(flatten)]
    pub place: Place,
}

impl Check {
    /// Whether a command line, the program's name first, asks for this verb, however wrong the rest of it is. What may
    /// stand before a verb takes no value.
    pub fn is_meant_by(arguments: impl IntoIterator<Item = OsString>) -> bool {
        let mut words = arguments.into_iter().skip(1);
        let verb = words.find(|word| !word.as_encoded_bytes().starts_with(b"-"));
        verb.is_some_and(|verb| verb == "check")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_verb_is_found_whatever_stands_around_it() {
        let meant = |line: &str| Check::is_meant_by(line.split(' ').map(OsString::from));
        assert!(meant("ldrscope check --vm"));
        assert!(meant("ldrscope -vv -q check --no-such-option"));
        assert!(!meant("ldrscope watch --vm check"));
        assert!(!meant("check"));
    }
}
