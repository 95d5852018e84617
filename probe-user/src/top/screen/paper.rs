//! What lines are drawn on: a place of the terminal, filled from above.

use ratatui::{
    buffer::Buffer,
    layout::Rect,
    style::Style,
    text::{Line, Span},
    widgets::Widget as _,
};
use textwrap::{Options, WordSplitter};

use crate::top::model::place::{Extent, Scroll};

/// A line of the terminal on which `left` begins and `right` ends. Where both have no room `left` is cut.
pub(super) fn bar(left: Line<'_>, right: Line<'_>, style: Style, area: Rect, buffer: &mut Buffer) {
    let Some(area) = area.rows().next() else { return };
    buffer.set_style(area, style);
    let width = u16::try_from(right.width()).unwrap_or(u16::MAX).min(area.width);
    let gap = if width == 0 { 0 } else { 1 };
    let [left_area, right_area] = [
        Rect {
            width: area.width.saturating_sub(width + gap),
            ..area
        },
        Rect {
            x: area.right() - width,
            width,
            ..area
        },
    ];
    left.render(left_area, buffer);
    right.render(right_area, buffer);
}

/// Of `count` lines those that are in sight, from `scroll` on.
pub(super) fn lines<'a>(
    count: usize,
    line: impl Fn(usize) -> Line<'a>,
    scroll: Scroll,
    area: Rect,
    buffer: &mut Buffer,
) -> Extent {
    let extent = Extent {
        page: area.height.into(),
        lines: count,
    };
    let first = scroll.first(extent);
    for (row, at) in area.rows().zip(first..count) {
        line(at).render(row, buffer);
    }
    extent
}

/// `text` on lines of `width`, the first behind `indent`, the others behind as many blanks as `hanging`; each in the style of `style`.
pub(super) fn wrapped(
    indent: &str,
    hanging: usize,
    text: &str,
    width: u16,
    style: Style,
) -> Vec<Line<'static>> {
    let blanks = " ".repeat(hanging);
    let options = Options::new(usize::from(width).max(hanging + 8))
        .initial_indent(indent)
        .subsequent_indent(&blanks)
        .word_splitter(WordSplitter::NoHyphenation);
    textwrap::wrap(text, options)
        .into_iter()
        .map(|line| Line::from(Span::styled(line.into_owned(), style)))
        .collect()
}

/// `text` in `width` columns, cut with two dots where it is longer.
pub(super) fn fitted(text: &str, width: usize) -> String {
    let too_long = Span::raw(text).width() > width;
    let room = if too_long { width.saturating_sub(2) } else { width };
    let mut fitted = String::new();
    let mut used = 0;
    for character in text.chars() {
        let wide = Span::raw(character.to_string()).width();
        if used + wide > room {
            break;
        }
        fitted.push(character);
        used += wide;
    }
    if too_long {
        fitted.push_str(&".."[..width.min(2)]);
        used += width.min(2);
    }
    fitted.push_str(&" ".repeat(width.saturating_sub(used)));
    fitted
}

/// Which lines are in sight, of how many; nothing where all are.
pub(super) fn whereabouts(scroll: Scroll, extent: Extent) -> String {
    let first = scroll.first(extent);
    if extent.lines <= extent.page {
        return String::new();
    }
    format!(
        "{}-{} of {} ",
        first + 1,
        (first + extent.page).min(extent.lines),
        extent.lines
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn text_is_cut_by_columns_and_padded_to_them() {
        assert_eq!(fitted("web", 5), "web  ");
        assert_eq!(fitted("web-server", 5), "web..");
        assert_eq!(fitted("東京東京", 5), "東.. ");
        assert_eq!(fitted("web", 1), ".");
        assert_eq!(fitted("web", 0), "");
    }
}
