//! What became of findings: raised ones first, each with its sentence; of changed ones what they were as well.

use std::cmp::Reverse;

use crate::{
    escape::escape_line,
    message::{
        Finding,
        diff::{FindingChange, FindingDiff},
        meaning,
    },
    sink::{phrase, terminal::Style},
};

pub(super) fn write(text: &mut String, findings: &[FindingDiff], style: Style) {
    let mut sorted: Vec<&FindingDiff> = findings.iter().collect();
    sorted.sort_by_key(|diff| {
        (
            order(diff.change),
            Reverse(latest(diff).and_then(meaning::severity)),
        )
    });
    for diff in sorted {
        if let Some(finding) = latest(diff) {
            write_one(text, diff, finding, style);
        }
    }
}

/// What it is, or was last.
fn latest(diff: &FindingDiff) -> Option<&Finding> {
    diff.after.as_ref().or(diff.before.as_ref())
}

const fn order(change: FindingChange) -> u8 {
    match change {
        FindingChange::Raised => 0,
        FindingChange::Changed => 1,
        FindingChange::Cleared => 2,
    }
}

const fn word(change: FindingChange) -> &'static str {
    match change {
        FindingChange::Raised => "raised",
        FindingChange::Changed => "changed",
        FindingChange::Cleared => "cleared",
    }
}

fn write_one(text: &mut String, diff: &FindingDiff, finding: &Finding, style: Style) {
    let painted = match meaning::severity(finding) {
        Some(severity) => style.severity(severity).to_string(),
        None => escape_line(&finding.severity).into_owned(),
    };
    let slots: Vec<_> = finding.slots.iter().copied().map(meaning::slot).collect();
    let slots = phrase::slots(&slots).map_or_else(String::new, |slots| format!(", {slots}"));
    // A painted word has no width that could be counted, so this line is not wrapped.
    text.push_str(&format!(
        "  {:<7}  {painted} {}{slots}\n",
        word(diff.change),
        escape_line(&finding.rule)
    ));
    let mut say = |label: &str, words: &str| {
        let hanging = if label.is_empty() { "    " } else { "      " };
        text.push_str(&style.prose(&format!("    {label}"), hanging, words));
    };
    say("", &escape_line(&finding.summary));
    let effect = phrase::effect(&meaning::effect(&finding.effect));
    match diff.before.as_ref().filter(|_| diff.after.is_some()) {
        None => say("effect: ", &effect),
        Some(before) => {
            if diff.differs.contains(&"severity") {
                say("severity was: ", &escape_line(&before.severity));
            }
            if diff.differs.contains(&"summary") {
                say("was: ", &escape_line(&before.summary));
            }
            let was = phrase::effect(&meaning::effect(&before.effect));
            if was != effect {
                say("effect: ", &format!("{effect}; was: {was}"));
            }
        }
    }
    let cause = finding.cause.as_ref().filter(|_| diff.after.is_some());
    if let Some(cause) = cause.and_then(meaning::cause) {
        say("cause: ", &phrase::cause(&cause));
    }
}
