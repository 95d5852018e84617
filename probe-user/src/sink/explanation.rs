//! `explain`'s output: a rule's text as it is written, in Markdown, or as paragraphs for a terminal.

use std::io::{self, Write};

use probe_apic::finding::Rule;
use pulldown_cmark::{Event, Parser, Tag, TagEnd};

use super::terminal::Style;
use crate::explain;

/// The width of the column of rules.
const RULE_COLUMN: usize = 20;

/// Writes a line a rule.
///
/// # Errors
/// When `out` cannot be written.
pub fn write_list(out: &mut dyn Write, style: Style) -> io::Result<()> {
    let hanging = " ".repeat(RULE_COLUMN);
    for rule in Rule::ALL {
        let label = format!("{:<RULE_COLUMN$}", rule.name());
        out.write_all(style.prose(&label, &hanging, explain::gist(rule)).as_bytes())?;
    }
    out.flush()
}

/// Writes a Markdown list of the rules.
///
/// # Errors
/// When `out` cannot be written.
pub fn write_markdown_list(out: &mut dyn Write) -> io::Result<()> {
    for rule in Rule::ALL {
        writeln!(out, "- `{rule}`: {}", explain::gist(rule))?;
    }
    out.flush()
}

/// Writes a rule's text as it is.
///
/// # Errors
/// When `out` cannot be written.
pub fn write_markdown(out: &mut dyn Write, rule: Rule) -> io::Result<()> {
    out.write_all(explain::text(rule).as_bytes())?;
    out.flush()
}

/// Writes a rule's text in paragraphs, each on one line where the style has no width.
///
/// # Errors
/// When `out` cannot be written.
pub fn write_text(out: &mut dyn Write, rule: Rule, style: Style) -> io::Result<()> {
    out.write_all(paragraphs(explain::text(rule), style).as_bytes())?;
    out.flush()
}

/// What the texts are made of: headings, paragraphs, tight lists; in them code, which keeps its marks, and emphasis,
/// which loses them. Blocks stand apart, but close under a heading.
fn paragraphs(markdown: &str, style: Style) -> String {
    let mut text = String::new();
    let mut words = String::new();
    let mut close = true;
    for event in Parser::new(markdown) {
        match event {
            Event::Text(part) => words.push_str(&part),
            Event::Code(part) => words.push_str(&format!("`{part}`")),
            Event::SoftBreak | Event::HardBreak => words.push(' '),
            Event::Start(Tag::Heading { .. }) if !text.is_empty() => text.push('\n'),
            Event::Start(Tag::Paragraph | Tag::List(_)) if !close => text.push('\n'),
            Event::End(TagEnd::Heading(_)) => {
                text.push_str(&style.heading(&std::mem::take(&mut words)));
                text.push('\n');
                close = true;
            }
            Event::End(TagEnd::Paragraph) => {
                text.push_str(&style.prose("  ", "  ", &std::mem::take(&mut words)));
                close = false;
            }
            Event::End(TagEnd::Item) => {
                text.push_str(&style.prose("  - ", "    ", &std::mem::take(&mut words)));
                close = false;
            }
            _ => {}
        }
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn blocks_stand_apart_and_close_under_their_heading() {
        let markdown = "# a-b\n\nOne\ntwo.\n\n## Part\n\n- **`x` (y):** z\n  z.\n- w\n\nEnd.\n";
        assert_eq!(
            paragraphs(markdown, Style::default()),
            "a-b\n  One two.\n\nPart\n  - `x` (y): z z.\n  - w\n\n  End.\n"
        );
    }

    #[test]
    fn nothing_of_any_text_is_lost_on_the_way_to_the_terminal() {
        let narrow = Style {
            colour: false,
            width: Some(40),
        };
        let letters = |text: &str| -> String { text.chars().filter(|one| one.is_alphanumeric()).collect() };
        for rule in Rule::ALL {
            let text = paragraphs(explain::text(rule), narrow);
            assert_eq!(letters(&text), letters(explain::text(rule)), "{rule}");
            assert!(text.lines().all(|line| line.chars().count() <= 40), "{text}");
        }
    }
}
