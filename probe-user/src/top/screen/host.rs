//! The host's screen: its facts, what its VMs come to, and a row for each.

use std::fmt::Display;

use probe_apic::finding::{Confidence, Severity};
use ratatui::{
    buffer::Buffer,
    layout::Rect,
    text::{Line, Span},
    widgets::{Paragraph, Widget as _, Wrap},
};

use super::{
    paper::{self, fitted},
    theme::Theme,
};
use crate::{
    escape::escape_line,
    identity::VmIdentity,
    sink::phrase,
    top::model::{Model, State, host::Row, list::Sort, place::Extent},
};

/// Columns of a row beside the name, and the blanks between them: severity, vCPUs, map, agreement.
const FIXED: usize = 11 + 7 + 9 + 13;
/// Those of the counts and the last change, from a width on.
const USUAL: (u16, usize) = (76, 10 + 10);
/// Those of the UUID and the VMM, from a width on.
const ROOMY: (u16, usize) = (130, 37 + 17);

/// Whether anything was missed. That nothing was is said where there is `room` for it.
pub(super) fn losses(model: &Model, theme: Theme, room: usize) -> Line<'static> {
    const NOTHING: &str = "nothing lost ";
    match model.lost {
        0 if room <= NOTHING.len() => Line::default(),
        0 => Line::styled(NOTHING, theme.quiet()),
        lost => Line::styled(format!("{} lost ", counted(lost, "record")), theme.bad()),
    }
}

/// The line below the facts: what the VMs come to, and which are listed.
pub(super) fn summary(model: &Model, theme: Theme) -> (Line<'static>, Line<'static>) {
    let rows = &model.rows;
    let count = |is: &dyn Fn(&Row) -> bool| rows.iter().filter(|row| is(row)).count();
    let mut spans = vec![Span::raw(format!(" {}", counted(rows.len(), "VM")))];
    let mut part = |count: usize, words: &str, style| {
        if count > 0 {
            let before = if spans.len() == 1 { ": " } else { ", " };
            spans.push(Span::raw(before));
            spans.push(Span::styled(format!("{count} {words}"), style));
        }
    };
    for severity in Severity::ALL.into_iter().rev() {
        let worst = count(&|row| row.worst() == Some(severity));
        part(worst, severity.name(), theme.severity(Some(severity)));
    }
    part(
        count(&|row| row.worst().is_none() && row.confidence == Confidence::Certain),
        "without findings",
        theme.severity(None),
    );
    for confidence in [Confidence::Uncertain, Confidence::Unobservable] {
        part(
            count(&|row| row.confidence == confidence),
            confidence.name(),
            theme.strong(),
        );
    }
    part(
        model.facts.as_ref().map_or(0, |facts| facts.unread),
        "not read yet",
        theme.strong(),
    );
    let right = format!("by {} ", model.sort.name());
    (Line::from(spans), Line::styled(right, theme.quiet()))
}

/// The rows.
pub(super) fn rows(model: &Model, theme: Theme, area: Rect, buffer: &mut Buffer) -> Extent {
    let listed = model.listed();
    if listed.is_empty() {
        Paragraph::new(nothing(model))
            .wrap(Wrap { trim: true })
            .centered()
            .render(inner(area), buffer);
        return Extent::default();
    }
    let [heading_area, list_area] = split(area);
    heading(model.sort, area.width, theme).render(heading_area, buffer);
    let selected = model.selected();
    let extent = paper::lines(
        listed.len(),
        |at| row(listed[at], model, theme, area.width),
        model.place().list,
        list_area,
        buffer,
    );
    let first = model.place().list.first(extent);
    let in_sight = listed.iter().skip(first);
    for (row, place) in in_sight.zip(list_area.rows()) {
        if Some(row.id) == selected {
            buffer.set_style(place, theme.selected());
        }
    }
    extent
}

/// Why there is no row.
fn nothing(model: &Model) -> String {
    if !model.rows.is_empty() {
        return format!(
            "None of the VMs matches `{}`. Esc drops the filter.",
            escape_line(&model.filter)
        );
    }
    match &model.state {
        State::Opening => {
            "Opening KVM's kernel side and proving it with a VM of ldrscope's own ...".to_owned()
        }
        State::Waiting(why) => format!(
            "Nothing to watch for now: {}. ldrscope goes on as soon as it can.",
            escape_line(why)
        ),
        State::Watching if model.facts.as_ref().is_some_and(|facts| facts.unread > 0) => {
            "The VMs of this host are being read ...".to_owned()
        }
        State::Watching => "No VM runs on this host. One that starts shows up here at once.".to_owned(),
        State::Paused | State::Ended(_) => "No VM runs at this moment of the recording.".to_owned(),
    }
}

fn heading(sort: Sort, width: u16, theme: Theme) -> Line<'static> {
    let mark = |by: Sort, name: &str| {
        if by == sort {
            format!("{name}*")
        } else {
            name.to_owned()
        }
    };
    let mut text = format!(
        " {:<9} {} {:>6} {:<8} {:<12}",
        mark(Sort::Severity, "severity"),
        fitted(&mark(Sort::Name, "VM"), name_width(width)),
        mark(Sort::Vcpus, "vCPUs"),
        "map",
        "maps agree",
    );
    if width >= USUAL.0 {
        text.push_str(&format!(
            " {:<9} {:<9}",
            "findings",
            mark(Sort::Changed, "changed")
        ));
    }
    if width >= ROOMY.0 {
        text.push_str(&format!(" {:<36} {}", "UUID", "VMM"));
    }
    Line::styled(text, theme.heading(false))
}

fn name_width(width: u16) -> usize {
    let more = [USUAL, ROOMY].into_iter().filter(|(from, _)| width >= *from);
    let taken = FIXED + more.map(|(_, columns)| columns).sum::<usize>();
    usize::from(width).saturating_sub(taken).max(8)
}

fn row(row: &Row, model: &Model, theme: Theme, width: u16) -> Line<'static> {
    let worst = row.worst();
    let word = match (worst, row.confidence) {
        (Some(worst), _) => worst.name(),
        (None, Confidence::Certain) => "ok",
        (None, _) => "-",
    };
    let agrees = match (row.confidence, row.agrees) {
        (Confidence::Uncertain, _) => ("uncertain", theme.strong()),
        (Confidence::Unobservable, _) => ("unobservable", theme.strong()),
        (_, Some(true)) => ("yes", ratatui::style::Style::new()),
        (_, Some(false)) => ("NO", theme.bad()),
        (_, None) => ("not compared", theme.quiet()),
    };
    let changed = row
        .changed
        .map_or_else(|| "before".to_owned(), |at| seconds(&model.wall.time_of_day(at)));
    let mut spans = vec![
        Span::raw(" "),
        Span::styled(format!("{word:<9}"), theme.severity(worst)),
        Span::raw(format!(
            " {} {:>6} {:<8} ",
            name(&row.identity, name_width(width)),
            row.vcpus,
            row.mode.unwrap_or("-"),
        )),
        Span::styled(format!("{:<12}", agrees.0), agrees.1),
    ];
    if width >= USUAL.0 {
        spans.push(Span::raw(format!(" {} {changed:<9}", fitted(&counts(row), 9))));
    }
    if width >= ROOMY.0 {
        let uuid = row.identity.uuid.as_deref().unwrap_or("-");
        spans.push(Span::raw(format!(
            " {} {}",
            fitted(&escape_line(uuid), 36),
            fitted(&escape_line(&row.identity.vmm), 16)
        )));
    }
    Line::from(spans)
}

/// The name in so many columns, with the process's id where both have room: a name is told apart by its end more often than not.
fn name(identity: &VmIdentity, width: usize) -> String {
    let full = phrase::vm(identity);
    if Span::raw(&*full).width() <= width {
        fitted(&full, width)
    } else {
        fitted(&escape_line(&identity.name), width)
    }
}

/// `1c 7w 2n`: the severities by their first letters.
fn counts(row: &Row) -> String {
    let counts = Severity::ALL.into_iter().zip(row.counts).rev();
    let words: Vec<String> = counts
        .filter(|(_, count)| *count > 0)
        .map(|(severity, count)| format!("{count}{}", &severity.name()[..1]))
        .collect();
    if words.is_empty() {
        "-".to_owned()
    } else {
        words.join(" ")
    }
}

/// `14:02:11.123Z` without what is below a second.
fn seconds(time_of_day: &str) -> String {
    let whole = time_of_day
        .split_once('.')
        .map_or(time_of_day, |(whole, _)| whole);
    format!("{whole}Z")
}

/// `1 VM`, `2 VMs`.
pub(super) fn counted<T: PartialEq + From<u8> + Display>(count: T, noun: &str) -> String {
    let plural = if count == T::from(1) { "" } else { "s" };
    format!("{count} {noun}{plural}")
}

fn split(area: Rect) -> [Rect; 2] {
    let heading = Rect {
        height: area.height.min(1),
        ..area
    };
    let rest = Rect {
        y: area.y + heading.height,
        height: area.height - heading.height,
        ..area
    };
    [heading, rest]
}

fn inner(area: Rect) -> Rect {
    let above = area.height / 3;
    Rect {
        x: area.x + area.width.min(4),
        y: area.y + above,
        width: area.width.saturating_sub(8),
        height: area.height - above,
    }
}
