//! `explain`: tells what a rule's finding means. Looks at nothing.

use std::io::{self, BufWriter};

use anyhow::Result;

use crate::{
    cli::{Explain, ExplainFormat},
    exit::Exit,
    sink::{OutputError, explanation, terminal::Style},
};

/// Prints.
///
/// # Errors
/// An output that fails.
pub fn run(arguments: &Explain) -> Result<Exit> {
    let mut out = BufWriter::new(io::stdout().lock());
    let style = Style::of_stdout();
    match (arguments.rule, arguments.format) {
        (Some(rule), ExplainFormat::Text) => explanation::write_text(&mut out, rule, style),
        (Some(rule), ExplainFormat::Markdown) => explanation::write_markdown(&mut out, rule),
        (None, ExplainFormat::Text) => explanation::write_list(&mut out, style),
        (None, ExplainFormat::Markdown) => explanation::write_markdown_list(&mut out),
    }
    .map_err(OutputError)?;
    Ok(Exit::Done)
}
