//! `watch` for people: a line a change, and below it what it means, breaks and comes from. Raw registers are
//! left to `snapshot`, which shows every vCPU's.

use std::io::{self, Write};

use probe_apic::{finding::Finding, id::BootTime, tracker::ChangeKind};

use super::{Sink, phrase, terminal::Style};
use crate::escape::escape_line;
use crate::{
    clock::WallClock,
    engine::output::{Event, Output, Status},
};

/// Writes text.
#[derive(Debug)]
pub struct Text<W> {
    out: W,
    style: Style,
}

impl<W: Write> Text<W> {
    /// Writes to `out` in `style`.
    pub const fn new(out: W, style: Style) -> Self {
        Self { out, style }
    }

    fn event(&self, event: &Event, wall: WallClock) -> String {
        let finding = &event.change.finding;
        let mut text = format!(
            "{}  {}  {:<9}  {}  {}",
            self.moment(event.change.at, wall),
            self.style.severity(finding.severity),
            event.change.kind.name(),
            phrase::vm(&event.vm),
            finding.key.rule.name(),
        );
        if let Some(slots) = phrase::slots(&finding.slots) {
            text.push_str(&format!("  {slots}"));
        }
        if let Some(reservation) = phrase::reservation(finding) {
            text.push_str(&format!("  [{reservation}]"));
        }
        text.push('\n');
        if event.change.kind != ChangeKind::Cleared {
            self.details(finding, event.change.kind, wall, &mut text);
        }
        text
    }

    fn status(&self, status: &Status, wall: WallClock) -> String {
        let vm = status
            .vm
            .as_ref()
            .map_or_else(|| "all VMs".to_owned(), phrase::vm);
        let words = phrase::status(status.kind).map_or_else(String::new, |words| format!("  {words}"));
        let moment = self.moment(status.at, wall);
        format!(
            "{moment}  {:<8}  {:<9}  {vm}{words}\n",
            "status",
            status.kind.name()
        )
    }

    /// Whoever watches a terminal knows the day; a file is read later.
    fn moment(&self, at: BootTime, wall: WallClock) -> String {
        if self.style.width.is_some() {
            wall.time_of_day(at)
        } else {
            wall.human(at)
        }
    }

    fn details(&self, finding: &Finding, kind: ChangeKind, wall: WallClock, text: &mut String) {
        let mut say = |label: &str, words: &str| {
            text.push_str(&self.style.paragraph(&format!("    {label}"), "        ", words));
        };
        say("", &escape_line(&finding.summary));
        say("effect: ", &phrase::effect(&finding.effect));
        // What is raised began a settle time ago, but for what was there before ldrscope.
        if let (ChangeKind::Changed, Some(since)) = (kind, finding.since) {
            say("since: ", &wall.human(since));
        }
        if let Some(cause) = &finding.cause {
            say("cause: ", &phrase::cause(cause));
        }
    }
}

impl<W: Write> Sink for Text<W> {
    fn emit(&mut self, output: &Output, wall: WallClock) -> io::Result<()> {
        let text = match output {
            Output::Event(event) => self.event(event, wall),
            Output::Status(status) => self.status(status, wall),
        };
        // One write an output: whoever reads along never sees half of one.
        self.out.write_all(text.as_bytes())
    }

    fn flush(&mut self) -> io::Result<()> {
        self.out.flush()
    }
}
