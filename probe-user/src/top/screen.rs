//! Drawing: a model and a place become text, and nothing else happens.
//!
//! All is plain ASCII but for the names of others, so that it looks the same in any locale and over any line. Whatever a guest or an operator named
//! passes [`crate::escape`] on its way.

mod findings;
mod host;
mod map;
mod overlay;
mod paper;
mod theme;
mod timeline;
mod vcpus;
mod vm;

use ratatui::{
    buffer::Buffer,
    layout::{Constraint, Layout, Rect},
    text::{Line, Span},
    widgets::{Paragraph, Widget as _, Wrap},
};

pub use self::theme::Theme;
use super::model::{Model, Source, State, detail::Detail, place::Sight};
use crate::escape::escape_line;

/// The least that anything can be laid out on.
pub const LEAST: (u16, u16) = (60, 16);

/// Draws the model on `area` of `buffer`, and says what of it was to be seen.
pub fn draw(model: &Model, theme: Theme, area: Rect, buffer: &mut Buffer) -> Sight {
    if area.width < LEAST.0 || area.height < LEAST.1 {
        let words = format!(
            "ldrscope top needs at least {}x{} characters; this terminal has {}x{}. q ends it.",
            LEAST.0, LEAST.1, area.width, area.height
        );
        Paragraph::new(words)
            .wrap(Wrap { trim: true })
            .render(area, buffer);
        return Sight::default();
    }
    let [title, rest] = vm::below(area, 1);
    let [body, notice, keys] =
        Layout::vertical([Constraint::Fill(1), Constraint::Length(1), Constraint::Length(1)]).areas(rest);
    let mut sight = match &model.detail {
        Some(detail) => draw_vm(model, detail, theme, title, body, buffer),
        None => draw_host(model, theme, title, body, buffer),
    };
    draw_notice(model, theme, notice, buffer);
    draw_keys(model, theme, keys, buffer);
    if let Some(what) = model.overlay {
        sight.overlay = Some(overlay::draw(model, what, theme, body, buffer));
    }
    sight
}

fn draw_host(model: &Model, theme: Theme, title: Rect, body: Rect, buffer: &mut Buffer) -> Sight {
    let facts = model.facts.as_ref().map_or_else(String::new, |facts| {
        let mut words = format!(
            " kernel {}  kvm {}  map rules {}  hooks {}",
            escape_line(&facts.kernel),
            escape_line(&facts.kvm_vendor),
            facts.map_rules,
            facts.hooks
        );
        if let Some(rules) = facts.as_kvm {
            words.push_str(&format!("  judged as {rules}"));
        }
        words
    });
    paper::bar(
        Line::raw(" ldrscope top"),
        Line::raw(going(model)),
        theme.bar(),
        title,
        buffer,
    );
    let [host, rest] = vm::below(body, 1);
    let [summary, list] = vm::below(rest, 1);
    let plain = ratatui::style::Style::new();
    let facts = Line::raw(facts);
    let room = usize::from(host.width).saturating_sub(facts.width());
    paper::bar(facts, host::losses(model, theme, room), plain, host, buffer);
    let (left, right) = host::summary(model, theme);
    let is_room = left.width() + right.width() < usize::from(summary.width);
    let right = if is_room { right } else { Line::default() };
    paper::bar(left, right, plain, summary, buffer);
    Sight {
        list: Some(host::rows(model, theme, list, buffer)),
        ..Sight::default()
    }
}

fn draw_vm(
    model: &Model,
    detail: &Detail,
    theme: Theme,
    title: Rect,
    body: Rect,
    buffer: &mut Buffer,
) -> Sight {
    paper::bar(
        Line::raw(vm::title(&detail.vm, title.width)),
        Line::raw(going(model)),
        theme.bar(),
        title,
        buffer,
    );
    let caveats = vm::caveats(detail, body.width, theme);
    let [summary, rest] = vm::below(body, 1);
    let [above, panes] = vm::below(rest, u16::try_from(caveats.len()).unwrap_or(0));
    vm::summary(&detail.vm, theme).render(summary, buffer);
    for (line, row) in caveats.into_iter().zip(above.rows()) {
        line.render(row, buffer);
    }
    vm::panes(model, detail, theme, panes, buffer)
}

/// Where what is shown comes from, and how that is going.
fn going(model: &Model) -> String {
    let state = match (&model.source, &model.state) {
        (Source::Live, State::Opening) => "opening ".to_owned(),
        (Source::Live, State::Watching) => "live ".to_owned(),
        (Source::Live, _) => "waiting ".to_owned(),
        (Source::Tape { name, speed }, state) => {
            let how = match state {
                State::Opening | State::Watching | State::Waiting(_) => speed.as_str(),
                State::Paused => "PAUSED",
                State::Ended(_) => "END",
            };
            format!(
                "{}  {how}  {} ",
                escape_line(name),
                model.wall.time_of_day(model.now)
            )
        }
    };
    format!(" {state}")
}

fn draw_notice(model: &Model, theme: Theme, area: Rect, buffer: &mut Buffer) {
    let line = match (&model.notice, &model.state) {
        (Some(notice), _) => {
            let style = if notice.is_error {
                theme.bad()
            } else {
                theme.strong()
            };
            Line::styled(format!(" {}", escape_line(&notice.text)), style)
        }
        (None, State::Ended(how)) => Line::styled(format!(" {}", escape_line(how)), theme.strong()),
        (None, State::Waiting(why)) => {
            Line::styled(format!(" waiting: {}", escape_line(why)), theme.strong())
        }
        (None, _) => return,
    };
    line.render(area, buffer);
}

fn draw_keys(model: &Model, theme: Theme, area: Rect, buffer: &mut Buffer) {
    if model.is_typing || (!model.filter.is_empty() && model.detail.is_none()) {
        let cursor = if model.is_typing { "_" } else { "" };
        let hint = if model.is_typing {
            "Enter keeps it, Esc drops it"
        } else {
            "/ changes it, Esc drops it"
        };
        let left = Line::from(vec![
            Span::styled(" filter: ", theme.strong()),
            Span::raw(format!("{}{cursor}", escape_line(&model.filter))),
        ]);
        let count = format!("{} of {}  {hint} ", model.listed().len(), model.rows.len());
        paper::bar(left, Line::raw(count), theme.bar(), area, buffer);
        return;
    }
    let is_tape = matches!(model.source, Source::Tape { .. });
    let mut hints = match model.detail {
        Some(_) => vec!["Esc back", "Tab part", "1-4"],
        None => vec!["Enter open", "/ filter", "s sort"],
    };
    if is_tape {
        hints.push("Space pause");
    }
    hints.extend(["S snapshot", "l log", "? help", "q quit"]);
    let width = usize::from(area.width);
    let mut text = format!(" {}", hints.join("   "));
    // Help tells of all of them, so that the others can go for its sake, the last first.
    while text.len() > width && hints.len() > 3 {
        text = format!(" {}", hints.join("  "));
        if text.len() > width {
            hints.remove(hints.len() - 3);
        }
    }
    paper::bar(Line::raw(text), Line::default(), theme.bar(), area, buffer);
}
