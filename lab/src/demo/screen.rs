//! Two speakers on one output: in two columns where it is at least 100 characters wide, else as prefixed lines.
//! Plain text without escapes: ldrscope, run into a pipe, colours nothing either.

use std::io::{self, Write};

use rustix::termios::tcgetwinsize;

/// The width from which two columns are readable.
const TWO_COLUMNS: usize = 100;
/// Share of the width that the guest's column gets, in percent.
const GUEST_SHARE: usize = 40;

/// Who says a line.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Speaker {
    Guest,
    Ldrscope,
}

/// An output of known width.
pub(super) struct Screen<'a> {
    out: &'a mut dyn Write,
    width: Option<usize>,
}

impl<'a> Screen<'a> {
    /// `out` with the width of the terminal that stdout is, else of `$COLUMNS`, else unknown.
    pub(super) fn new(out: &'a mut dyn Write) -> Self {
        let terminal = tcgetwinsize(io::stdout())
            .ok()
            .map(|size| usize::from(size.ws_col));
        let variable = || std::env::var("COLUMNS").ok()?.parse().ok();
        Self {
            out,
            width: terminal.filter(|width| *width > 0).or_else(variable),
        }
    }

    /// The heading of an act and, in two columns, of its speakers.
    pub(super) fn title(&mut self, title: &str) -> io::Result<()> {
        writeln!(self.out, "\n=== {title}\n")?;
        if let Some((left, right)) = self.columns() {
            writeln!(self.out, "{:left$} | ldrscope watch", "guest")?;
            writeln!(self.out, "{}-+-{}", "-".repeat(left), "-".repeat(right))?;
        }
        self.out.flush()
    }

    /// One line of one speaker, folded to its column.
    pub(super) fn line(&mut self, speaker: Speaker, line: &str) -> io::Result<()> {
        match self.columns() {
            Some((left, right)) => match speaker {
                Speaker::Guest => {
                    for part in fold(line, left) {
                        writeln!(self.out, "{part:left$} |")?;
                    }
                }
                Speaker::Ldrscope => {
                    for part in fold(line, right) {
                        writeln!(self.out, "{:left$} | {part}", "")?;
                    }
                }
            },
            None => {
                let name = match speaker {
                    Speaker::Guest => "guest",
                    Speaker::Ldrscope => "ldrscope",
                };
                writeln!(self.out, "{name:>8} | {line}")?;
            }
        }
        self.out.flush()
    }

    /// A block of text under a heading, as it is.
    pub(super) fn block(&mut self, heading: &str, text: &str) -> io::Result<()> {
        writeln!(self.out, "\n--- {heading}\n{}", text.trim_end())?;
        self.out.flush()
    }

    fn columns(&self) -> Option<(usize, usize)> {
        let width = self.width.filter(|width| *width >= TWO_COLUMNS)?;
        let left = width * GUEST_SHARE / 100;
        Some((left, width - left - 3))
    }
}

/// Breaks `line` into parts of at most `width` characters, between words where it can; continuations keep its indent.
fn fold(line: &str, width: usize) -> Vec<String> {
    let indent: String = line.chars().take_while(|c| *c == ' ').take(width / 2).collect();
    let mut parts = vec![indent.clone()];
    let mut length = indent.len();
    let mut fresh = true;
    for word in line.split_whitespace() {
        for piece in pieces(word, width - indent.len()) {
            let piece_length = piece.chars().count();
            if !fresh && length + 1 + piece_length > width {
                parts.push(indent.clone());
                length = indent.len();
                fresh = true;
            }
            if let Some(part) = parts.last_mut() {
                if !fresh {
                    part.push(' ');
                    length += 1;
                }
                part.push_str(&piece);
                length += piece_length;
                fresh = false;
            }
        }
    }
    parts
}

fn pieces(word: &str, width: usize) -> Vec<String> {
    let characters: Vec<char> = word.chars().collect();
    characters
        .chunks(width.max(1))
        .map(|chunk| chunk.iter().collect())
        .collect()
}

#[cfg(test)]
mod tests {
    use super::{Screen, Speaker, fold};

    fn shown(width: Option<usize>) -> String {
        let mut out = Vec::new();
        let mut screen = Screen { out: &mut out, width };
        screen.line(Speaker::Guest, "boots").unwrap();
        screen.line(Speaker::Ldrscope, "sees").unwrap();
        String::from_utf8(out).unwrap()
    }

    #[test]
    fn narrow_or_unknown_outputs_get_prefixes() {
        let prefixed = "   guest | boots\nldrscope | sees\n";
        assert_eq!(shown(None), prefixed);
        assert_eq!(shown(Some(80)), prefixed);
    }

    #[test]
    fn wide_ones_get_two_columns() {
        let lines: Vec<String> = shown(Some(100)).lines().map(str::to_owned).collect();
        assert_eq!(lines[0], format!("{:40} |", "boots"));
        assert_eq!(lines[1], format!("{:40} | sees", ""));
    }

    #[test]
    fn folding_keeps_the_indent_and_splits_only_what_it_must() {
        assert_eq!(fold("  one two three", 9), ["  one two", "  three"]);
        assert_eq!(fold("abcdefgh", 4), ["abcd", "efgh"]);
        assert_eq!(fold("", 4), [""]);
    }
}
