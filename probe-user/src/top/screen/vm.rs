//! A VM's screen: who it is and how it stands, its map, and its findings, vCPUs and timeline; side by side where there is room, else one at
//! a time below the map.

use probe_apic::finding::Severity;
use ratatui::{
    buffer::Buffer,
    layout::{Constraint, Layout, Rect},
    text::{Line, Span},
};

use super::{
    findings,
    host::counted,
    map,
    paper::{self, whereabouts},
    theme::Theme,
    timeline, vcpus,
};
use crate::{
    escape::escape_line,
    message::{Vm, meaning},
    sink::phrase,
    top::model::{
        Model,
        detail::Detail,
        place::{Extent, Pane, Scroll, Sight},
    },
};

/// From this size on all panes are shown at once.
const ROOMY: (u16, u16) = (150, 34);
/// Lines that a pane below the map has at the least; with fewer the map is a pane alone.
const LEAST: usize = 8;

/// The line below the title.
pub(super) fn summary(vm: &Vm, theme: Theme) -> Line<'static> {
    let count = |wanted: Severity| {
        let findings = vm.findings.iter();
        findings
            .filter(|finding| meaning::severity(finding) == Some(wanted))
            .count()
    };
    let mut spans = vec![Span::raw(" ")];
    for severity in Severity::ALL.into_iter().rev() {
        let count = count(severity);
        if count > 0 {
            spans.push(Span::styled(
                format!("{count} {severity}"),
                theme.severity(Some(severity)),
            ));
            spans.push(Span::raw("  "));
        }
    }
    if vm.findings.is_empty() {
        spans.push(Span::styled("no finding  ", theme.severity(None)));
    }
    let map = vm.map.published.as_ref().or(vm.map.rebuilt.as_ref());
    let mode = map.map_or_else(
        || "not known".to_owned(),
        |map| escape_line(&map.mode).into_owned(),
    );
    let agrees = match vm.map.agrees {
        Some(true) => Span::raw("maps agree  "),
        Some(false) => Span::styled("MAPS DISAGREE  ", theme.bad()),
        None => Span::styled("maps not compared  ", theme.quiet()),
    };
    spans.push(Span::raw(format!(
        "{}  map {mode}  ",
        counted(vm.vcpus.len(), "vCPU")
    )));
    spans.push(agrees);
    if vm.confidence != "certain" {
        spans.push(Span::styled(
            escape_line(&vm.confidence).into_owned(),
            theme.bad(),
        ));
    }
    Line::from(spans)
}

/// What must be known before anything else is read.
pub(super) fn caveats(detail: &Detail, width: u16, theme: Theme) -> Vec<Line<'static>> {
    let vm = &detail.vm;
    let mut caveats = Vec::new();
    let mut say = |words: &str| caveats.extend(paper::wrapped(" ", 1, words, width, theme.strong()));
    if detail.is_gone {
        say("This VM is gone; this is how it was seen last.");
    }
    match &*vm.confidence {
        "unobservable" => say("The VMM emulates the local APICs itself: KVM has none to look at."),
        "uncertain" => {
            say("The VM changed while it was read, or records were lost: what is shown may be out of date.")
        }
        _ => {}
    }
    if !vm.apicv.inhibits.is_empty() {
        let names = vm.apicv.inhibits.join(", ");
        say(&format!("APICv is inhibited by {}.", escape_line(&names)));
    }
    caveats
}

/// The panes.
pub(super) fn panes(model: &Model, detail: &Detail, theme: Theme, area: Rect, buffer: &mut Buffer) -> Sight {
    let mut sheet = Sheet {
        model,
        detail,
        theme,
        buffer,
        sight: Sight::default(),
    };
    let is_roomy = area.width >= ROOMY.0 && area.height >= ROOMY.1;
    if is_roomy {
        sheet.side_by_side(area);
    } else {
        sheet.one_at_a_time(area);
    }
    sheet.sight
}

struct Sheet<'a> {
    model: &'a Model,
    detail: &'a Detail,
    theme: Theme,
    buffer: &'a mut Buffer,
    sight: Sight,
}

impl Sheet<'_> {
    fn side_by_side(&mut self, area: Rect) {
        let map = map::lines(&self.detail.vm, area.width, self.theme).len() + 1;
        let wanted = u16::try_from(map).unwrap_or(u16::MAX).min(area.height / 2);
        let [top, middle, bottom] = Layout::vertical([
            Constraint::Length(wanted),
            Constraint::Fill(2),
            Constraint::Fill(1),
        ])
        .areas(area);
        let [left, right] = Layout::horizontal([Constraint::Fill(1), Constraint::Fill(1)])
            .spacing(1)
            .areas(middle);
        let places = [
            (Pane::Map, top),
            (Pane::Findings, left),
            (Pane::Vcpus, right),
            (Pane::Timeline, bottom),
        ];
        for (pane, area) in places {
            let [title, body] = below(area, 1);
            let extent = self.pane(pane, body);
            let focus = self.model.place().pane == pane;
            let right = whereabouts(self.scroll(pane), extent);
            let style = self.theme.heading(focus);
            paper::bar(
                Line::raw(format!(" {}", self.title(pane))),
                Line::raw(right),
                style,
                title,
                self.buffer,
            );
        }
    }

    fn one_at_a_time(&mut self, area: Rect) {
        let pane = self.model.place().pane;
        let strip = map::strip(&self.detail.vm, area.width, self.theme);
        let fits = strip.len() + LEAST < usize::from(area.height);
        let strip = if fits && pane != Pane::Map {
            strip
        } else {
            Vec::new()
        };
        let height = u16::try_from(strip.len()).unwrap_or(0);
        let [above, rest] = below(area, height);
        for (line, row) in strip.into_iter().zip(above.rows()) {
            ratatui::widgets::Widget::render(line, row, self.buffer);
        }
        let [tabs, body] = below(rest, 1);
        let extent = self.pane(pane, body);
        let right = whereabouts(self.scroll(pane), extent);
        let labels = Pane::ALL.into_iter().map(|one| {
            let style = if one == pane {
                self.theme.heading(true)
            } else {
                ratatui::style::Style::new()
            };
            Span::styled(format!(" {} ", self.title(one)), style)
        });
        let labels = Line::from(labels.collect::<Vec<_>>());
        paper::bar(
            labels,
            Line::raw(right),
            self.theme.heading(false),
            tabs,
            self.buffer,
        );
    }

    /// `2 findings (7)`.
    fn title(&self, pane: Pane) -> String {
        let count = match pane {
            Pane::Map => None,
            Pane::Findings => Some(self.detail.vm.findings.len()),
            Pane::Vcpus => Some(self.detail.vm.vcpus.len()),
            Pane::Timeline => Some(self.model.timelines.of(self.detail.id).count()),
        };
        let number = pane as usize + 1;
        match count {
            Some(count) => format!("{number} {} ({count})", pane.name()),
            None => format!("{number} {}", pane.name()),
        }
    }

    const fn scroll(&self, pane: Pane) -> Scroll {
        self.model.place().panes[pane as usize]
    }

    /// Draws a pane.
    fn pane(&mut self, pane: Pane, area: Rect) -> Extent {
        let (vm, width, theme) = (&self.detail.vm, area.width, self.theme);
        let scroll = self.scroll(pane);
        let lines = match pane {
            Pane::Map => map::lines(vm, width, theme),
            Pane::Findings => findings::lines(vm, width, theme),
            Pane::Timeline => timeline::lines(self.model, self.detail, width, theme),
            Pane::Vcpus => {
                let [head, body] = below(area, 1);
                ratatui::widgets::Widget::render(vcpus::heading(width, theme), head, self.buffer);
                let (detail, wall) = (self.detail, self.model.wall);
                let line = |at| vcpus::line(detail, at, wall, width, theme);
                let extent = paper::lines(vm.vcpus.len(), line, scroll, body, self.buffer);
                self.sight.panes[pane as usize] = Some(extent);
                return extent;
            }
        };
        let extent = paper::lines(lines.len(), |at| lines[at].clone(), scroll, area, self.buffer);
        self.sight.panes[pane as usize] = Some(extent);
        extent
    }
}

/// The first `height` lines of an area, and the others.
pub(super) fn below(area: Rect, height: u16) -> [Rect; 2] {
    Layout::vertical([Constraint::Length(height), Constraint::Fill(1)]).areas(area)
}

/// Who the VM is.
pub(super) fn title(vm: &Vm, width: u16) -> String {
    let mut title = format!(
        " {}  {}",
        phrase::vm(&meaning::identity(&vm.vm)),
        escape_line(&vm.vm.vmm)
    );
    if let Some(uuid) = vm.vm.uuid.as_ref().filter(|_| width >= 100) {
        title.push_str(&format!("  UUID {}", escape_line(uuid)));
    }
    title
}
