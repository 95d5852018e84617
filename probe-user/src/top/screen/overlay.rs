//! What lies over a screen: what the keys do, and the last lines of the log.

use ratatui::{
    buffer::Buffer,
    layout::Rect,
    style::Style,
    text::{Line, Span},
    widgets::{Clear, Widget as _},
};

use super::{
    paper::{self, whereabouts, wrapped},
    theme::Theme,
};
use crate::{
    escape::escape_line,
    top::{
        keys::HELP,
        model::{
            Model,
            place::{Extent, Overlay},
        },
    },
};

/// Columns of what a key is called.
const KEYS: usize = 17;

pub(super) fn draw(model: &Model, what: Overlay, theme: Theme, area: Rect, buffer: &mut Buffer) -> Extent {
    let width = match what {
        Overlay::Help => 82.min(area.width),
        Overlay::Log => area.width,
    };
    let (title, lines) = match what {
        Overlay::Help => (" Keys", help(width, theme)),
        Overlay::Log => (" The last lines of the log", log(model, width, theme)),
    };
    let wanted = u16::try_from(lines.len() + 1).unwrap_or(u16::MAX);
    let height = wanted.min(area.height);
    let place = Rect {
        x: area.x + (area.width - width) / 2,
        y: area.y + (area.height - height) / 2,
        width,
        height,
    };
    Clear.render(place, buffer);
    let [head, body] = super::vm::below(place, 1);
    let scroll = model.place().overlay;
    let extent = paper::lines(lines.len(), |at| lines[at].clone(), scroll, body, buffer);
    let right = format!("{}any other key closes ", whereabouts(scroll, extent));
    paper::bar(Line::raw(title), Line::raw(right), theme.bar(), head, buffer);
    extent
}

fn help(width: u16, theme: Theme) -> Vec<Line<'static>> {
    let mut lines: Vec<Line<'static>> = HELP
        .iter()
        .map(|(key, does)| {
            Line::from(vec![
                Span::styled(format!(" {key:<KEYS$}"), theme.strong()),
                Span::raw(*does),
            ])
        })
        .collect();
    lines.push(Line::default());
    let marks = "In a map: ! several vCPUs claim the slot, x its owner does not claim it, ? nobody has it, - free. \
                 In counts: c critical, w warning, n notice, i info. `ldrscope explain RULE` tells what a finding means.";
    lines.extend(wrapped(" ", 1, marks, width, theme.quiet()));
    lines
}

fn log(model: &Model, width: u16, theme: Theme) -> Vec<Line<'static>> {
    if model.log.is_empty() {
        return vec![Line::styled(" Nothing was logged.", theme.quiet())];
    }
    model
        .log
        .iter()
        .flat_map(|line| wrapped(" ", 3, &escape_line(line), width, Style::new()))
        .collect()
}
