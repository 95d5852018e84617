//! What standard output is, and what may therefore be done with it: colour and wrapping.

use std::{
    borrow::Cow,
    fmt,
    io::{self, IsTerminal},
};

use probe_apic::finding::Severity;
use textwrap::WordSplitter;

/// How to write text.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Style {
    /// Whether escape sequences for colour are allowed.
    pub colour: bool,
    /// Columns to wrap at; `None` for no wrapping, as suits a pipe into grep.
    pub width: Option<usize>,
}

/// Narrower than this nothing can be laid out.
const MIN_WIDTH: usize = 40;

impl Style {
    /// The style of the standard output. Colour needs a terminal and no `NO_COLOR` (any value but empty, see
    /// no-color.org).
    #[must_use]
    pub fn of_stdout() -> Self {
        let stdout = io::stdout();
        if !stdout.is_terminal() {
            return Self::default();
        }
        let width = rustix::termios::tcgetwinsize(&stdout)
            .ok()
            .map(|size| usize::from(size.ws_col))
            .filter(|columns| *columns > 0)
            .map(|columns| columns.max(MIN_WIDTH));
        let no_color = std::env::var_os("NO_COLOR").is_some_and(|value| !value.is_empty());
        let dumb = std::env::var_os("TERM").is_some_and(|term| term == "dumb");
        Self {
            colour: !no_color && !dumb,
            width,
        }
    }

    /// The word of a severity, padded to the longest, coloured by its weight.
    #[must_use]
    pub const fn severity(self, severity: Severity) -> Painted {
        Painted {
            severity,
            colour: self.colour,
        }
    }

    /// `text` on lines of its own, each behind `indent`, later ones behind `hanging`; wrapped where there is a
    /// width.
    #[must_use]
    pub fn paragraph(self, indent: &str, hanging: &str, text: &str) -> String {
        self.wrapped(indent, hanging, text, WordSplitter::HyphenSplitter)
    }

    /// The same for running text, in which names with hyphens stay whole.
    #[must_use]
    pub fn prose(self, indent: &str, hanging: &str, text: &str) -> String {
        self.wrapped(indent, hanging, text, WordSplitter::NoHyphenation)
    }

    /// `text` as a heading.
    #[must_use]
    pub fn heading(self, text: &str) -> String {
        if self.colour {
            format!("\x1b[1m{text}\x1b[0m")
        } else {
            text.to_owned()
        }
    }

    fn wrapped(self, indent: &str, hanging: &str, text: &str, splitter: WordSplitter) -> String {
        let lines: Vec<Cow<'_, str>> = match self.width {
            Some(width) => {
                let options = textwrap::Options::new(width)
                    .initial_indent(indent)
                    .subsequent_indent(hanging)
                    .word_splitter(splitter);
                textwrap::wrap(text, options)
            }
            None => vec![Cow::Owned(format!("{indent}{text}"))],
        };
        let mut paragraph = lines.join("\n");
        paragraph.push('\n');
        paragraph
    }
}

/// A severity on its way to the terminal.
#[derive(Clone, Copy, Debug)]
pub struct Painted {
    severity: Severity,
    colour: bool,
}

impl fmt::Display for Painted {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let word = self.severity.name();
        if !self.colour {
            return write!(f, "{word:<8}");
        }
        let code = match self.severity {
            Severity::Critical => "1;31",
            Severity::Warning => "33",
            Severity::Notice => "36",
            Severity::Info => "2",
        };
        write!(f, "\x1b[{code}m{word:<8}\x1b[0m")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn without_colour_there_is_no_escape_sequence() {
        assert_eq!(
            Style::default().severity(Severity::Critical).to_string(),
            "critical"
        );
        let colourful = Style {
            colour: true,
            width: None,
        };
        assert_eq!(
            colourful.severity(Severity::Warning).to_string(),
            "\x1b[33mwarning \x1b[0m"
        );
    }

    #[test]
    fn a_paragraph_is_wrapped_only_where_there_is_a_width() {
        let text = "one two three four five six seven eight nine ten";
        assert_eq!(
            Style::default().paragraph("  ", "    ", text),
            format!("  {text}\n")
        );
        let narrow = Style {
            colour: false,
            width: Some(20),
        };
        assert_eq!(
            narrow.paragraph("  ", "    ", text),
            "  one two three four\n    five six seven\n    eight nine ten\n"
        );
    }
}
