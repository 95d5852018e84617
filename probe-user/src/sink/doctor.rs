//! `doctor`'s output, for people and as `ldrscope.doctor.v1`.

use std::io::{self, Write};

use serde::Serialize;

use super::{json, terminal::Style};
use crate::escape::escape_line;
use crate::kernel::diagnosis::{Check, is_able};

/// `ldrscope.doctor.v1`.
#[derive(Debug, Serialize)]
struct Report<'a> {
    schema: &'static str,
    /// Whether the main job can run.
    able: bool,
    checks: Vec<Entry<'a>>,
}

#[derive(Debug, Serialize)]
struct Entry<'a> {
    check: &'a str,
    /// `ok`, `degraded` or `blocked`.
    state: &'static str,
    /// The cause word, where it is blocked.
    word: Option<&'a str>,
    detail: &'a str,
    remedy: Option<&'a str>,
}

/// Writes one JSON document.
///
/// # Errors
/// When `out` cannot be written.
pub fn write_json(out: &mut dyn Write, checks: &[Check]) -> io::Result<()> {
    let entries = checks.iter().map(|check| Entry {
        check: &check.name,
        state: check.state.name(),
        word: check.word,
        detail: &check.detail,
        remedy: check.remedy.as_deref(),
    });
    let report = Report {
        schema: "ldrscope.doctor.v1",
        able: is_able(checks),
        checks: entries.collect(),
    };
    json::write_line(out, &report)?;
    out.flush()
}

/// Writes a line a check, remedies below.
///
/// # Errors
/// When `out` cannot be written.
pub fn write_text(out: &mut dyn Write, checks: &[Check], style: Style) -> io::Result<()> {
    const HANGING: &str = "            ";
    for check in checks {
        let word = check.word.map(|word| format!("[{word}] ")).unwrap_or_default();
        let line = format!("{}: {word}{}", check.name, check.detail);
        let label = format!("{:<8}  ", check.state.name());
        write!(out, "{}", style.paragraph(&label, HANGING, &escape_line(&line)))?;
        if let Some(remedy) = &check.remedy {
            write!(out, "{}", style.paragraph("          remedy: ", HANGING, remedy))?;
        }
    }
    let verdict = if is_able(checks) {
        "This host can be watched."
    } else {
        "This host cannot be watched until what is blocked has been remedied."
    };
    writeln!(out, "\n{verdict}")?;
    out.flush()
}
