//! `check` in one line, as monitoring plugins are read: a word, a sentence, and behind the bar the figures.
//!
//! A bar, a line end or an escape sequence in a VM's name would break or forge it: none is left raw. The line is bounded
//! however many VMs there are, since agents cut long ones.

use std::{borrow::Cow, fmt::Write as _, time::Duration};

use probe_apic::map_rules::MapRules;

use super::phrase;
use crate::{
    engine::{
        health::{Grade, Health, worst},
        view::VmView,
    },
    escape::escape_line,
};

/// VMs that a clause names.
const NAMED: usize = 5;
/// Characters of a name, and of a sentence.
const LONGEST_NAME: usize = 64;
const LONGEST_SENTENCE: usize = 240;

/// The line of a look that took `took`; `as_kvm` are the rules by which VMs were judged in place of their host's.
#[must_use]
pub fn of(health: &Health<'_>, as_kvm: Option<MapRules>, took: Duration) -> String {
    let mut clauses = Vec::new();
    clauses.extend(affected(&health.critical, health.vms, None));
    clauses.extend(affected(
        &health.warning,
        health.vms,
        (!health.critical.is_empty()).then_some("with warnings"),
    ));
    clauses.extend(unseen(health));
    if clauses.is_empty() {
        clauses.push(in_order(health));
    }
    if !health.unobservable.is_empty() {
        clauses.push(format!(
            "not observable, since the VMM emulates the local APICs: {}",
            names(&health.unobservable)
        ));
    }
    if let Some(rules) = as_kvm {
        clauses.push(format!("judged by the map rules {rules}"));
    }
    let mut line = format!("LDRSCOPE {} - {}", word(health.grade()), clauses.join("; "));
    // Writing to a String cannot fail.
    let _ = write!(line, " | {}", figures(health, took));
    line
}

/// The line where there was no look.
#[must_use]
pub fn failure(cause: &str, sentence: &str) -> String {
    let sentence = shortened(sentence, LONGEST_SENTENCE);
    format!("LDRSCOPE UNKNOWN - error[{cause}]: {}", harmless(&sentence))
}

const fn word(grade: Grade) -> &'static str {
    match grade {
        Grade::Ok => "OK",
        Grade::Warning => "WARNING",
        Grade::Critical => "CRITICAL",
        Grade::Unknown => "UNKNOWN",
    }
}

/// Counts, with the ranges beyond which they alarm, and seconds.
fn figures(health: &Health<'_>, took: Duration) -> String {
    format!(
        "critical={};;0;0 warning={};0;;0 notice={};;;0 info={};;;0 vms={};;;0 unseen={};;;0 unobservable={};;;0 \
         time={:.3}s;;;0",
        health.critical.len(),
        health.warning.len(),
        health.notice,
        health.info,
        health.vms,
        health.unseen(),
        health.unobservable.len(),
        took.as_secs_f64(),
    )
}

/// `1 of 12 VMs: web (pid 123): ldr-collision: ...`: the first with what is wrong with it, the others by name.
fn affected(vms: &[&VmView<'_>], of: usize, with: Option<&str>) -> Option<String> {
    let (first, others) = vms.split_first()?;
    let mut clause = format!("{} of {}", vms.len(), vm_count(of));
    if let Some(with) = with {
        let _ = write!(clause, " {with}");
    }
    let _ = write!(clause, ": {}", name(first));
    if let Some(finding) = worst(first) {
        let _ = write!(clause, ": {}", finding.key.rule);
        if let Some(reservation) = phrase::reservation(finding) {
            let _ = write!(clause, " [{reservation}]");
        }
        let _ = write!(
            clause,
            ": {}",
            harmless(&shortened(&finding.summary, LONGEST_SENTENCE))
        );
        match first.findings.len() {
            0 | 1 => {}
            more => {
                let _ = write!(clause, " (its worst of {more} findings)");
            }
        }
    }
    if !others.is_empty() {
        let _ = write!(clause, ", and {}", names(others));
    }
    Some(clause)
}

fn unseen(health: &Health<'_>) -> Vec<String> {
    let mut clauses = Vec::new();
    if !health.uncertain.is_empty() {
        clauses.push(format!(
            "{} of {} changed under every read: {}",
            health.uncertain.len(),
            vm_count(health.vms),
            names(&health.uncertain)
        ));
    }
    if health.unread > 0 {
        clauses.push(format!(
            "{} of {} not read yet",
            health.unread,
            vm_count(health.vms)
        ));
    }
    if !health.list_is_whole {
        clauses.push("KVM's list of VMs changed during every walk, so there may be more".to_owned());
    }
    clauses
}

fn in_order(health: &Health<'_>) -> String {
    let words = match (health.notice, health.info) {
        (0, 0) => "nothing broken or slow",
        (0, _) => "no warning, but findings of severity info",
        _ => "no warning, but findings of severity notice",
    };
    match health.vms {
        0 => "no VM".to_owned(),
        vms => format!("{}, {words}", vm_count(vms)),
    }
}

fn vm_count(vms: usize) -> String {
    match vms {
        1 => "1 VM".to_owned(),
        vms => format!("{vms} VMs"),
    }
}

fn names(vms: &[&VmView<'_>]) -> String {
    let named: Vec<_> = vms.iter().take(NAMED).map(|view| name(view)).collect();
    match vms.len().saturating_sub(NAMED) {
        0 => named.join(", "),
        more => format!("{} and {more} more", named.join(", ")),
    }
}

/// `web (pid 123)`, short and harmless.
fn name(view: &VmView<'_>) -> String {
    let mut identity = view.identity.clone();
    identity.name = shortened(&identity.name, LONGEST_NAME).into_owned();
    harmless(&phrase::vm(&identity)).into_owned()
}

fn shortened(text: &str, most: usize) -> Cow<'_, str> {
    match text.char_indices().nth(most) {
        Some((end, _)) => Cow::Owned(format!("{}...", &text[..end])),
        None => Cow::Borrowed(text),
    }
}

fn harmless(text: &str) -> Cow<'_, str> {
    let line = escape_line(text);
    if line.contains('|') {
        Cow::Owned(line.replace('|', "\\x7c"))
    } else {
        line
    }
}
