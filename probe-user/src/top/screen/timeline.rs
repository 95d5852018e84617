//! What became of a VM's registers, the latest change first.

use ratatui::{style::Style, text::Line};

use super::{paper::wrapped, theme::Theme};
use crate::{
    sink::phrase,
    top::model::{Model, detail::Detail, timeline::BOUND},
};

pub(super) fn lines(model: &Model, detail: &Detail, width: u16, theme: Theme) -> Vec<Line<'static>> {
    let mut lines = Vec::new();
    let mut count = 0;
    for change in model.timelines.of(detail.id) {
        count += 1;
        let time = format!(" {}  ", model.wall.time_of_day(change.at));
        let style = if change.certain {
            Style::new()
        } else {
            theme.quiet()
        };
        lines.extend(wrapped(&time, time.len(), &phrase::cause(change), width, style));
    }
    match count {
        0 => lines.push(Line::styled(
            " No register has changed since ldrscope knows this VM.",
            theme.quiet(),
        )),
        BOUND => lines.push(Line::styled(
            format!(" Changes before the last {BOUND} are not kept."),
            theme.quiet(),
        )),
        _ => {}
    }
    lines
}
