//! A VM's findings, the worst first: what, where, its sentence, what it breaks, who did it.

use std::cmp::Reverse;

use ratatui::text::{Line, Span};

use super::{paper::wrapped, theme::Theme};
use crate::{
    escape::escape_line,
    message::{Finding, Vm, meaning},
    sink::phrase,
};

pub(super) fn lines(vm: &Vm, width: u16, theme: Theme) -> Vec<Line<'static>> {
    if vm.findings.is_empty() {
        return vec![Line::styled(" None.", theme.quiet())];
    }
    let mut findings: Vec<&Finding> = vm.findings.iter().collect();
    findings.sort_by_key(|finding| Reverse(meaning::severity(finding)));
    findings
        .into_iter()
        .flat_map(|finding| lines_of(finding, width, theme))
        .collect()
}

fn lines_of(finding: &Finding, width: u16, theme: Theme) -> Vec<Line<'static>> {
    let severity = meaning::severity(finding);
    let slots: Vec<_> = finding.slots.iter().copied().map(meaning::slot).collect();
    let mut head = vec![
        Span::raw(" "),
        Span::styled(
            format!("{:<8}", escape_line(&finding.severity)),
            theme.severity(severity),
        ),
        Span::styled(format!(" {}", escape_line(&finding.rule)), theme.strong()),
    ];
    let mut more = |words: String| head.push(Span::raw(format!("  {words}")));
    if let Some(slots) = phrase::slots(&slots) {
        more(slots);
    }
    if let Some(words) = phrase::told_reservation(finding) {
        more(format!("[{words}]"));
    }
    if let Some(since) = &finding.since {
        more(format!("since {}", escape_line(since)));
    }
    let mut lines = vec![Line::from(head)];
    let mut say = |label: &str, words: &str, style| {
        lines.extend(wrapped(
            &format!("   {label}"),
            3 + label.len(),
            words,
            width,
            style,
        ));
    };
    let plain = ratatui::style::Style::new();
    say("", &format!("{}.", escape_line(&finding.summary)), plain);
    say(
        "effect: ",
        &phrase::effect(&meaning::effect(&finding.effect)),
        theme.quiet(),
    );
    if let Some(cause) = finding.cause.as_ref().and_then(meaning::cause) {
        say("cause:  ", &phrase::cause(&cause), theme.quiet());
    }
    lines
}
