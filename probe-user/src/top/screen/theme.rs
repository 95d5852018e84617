//! How things are set off. Nothing is told by colour alone: without colour there are bold, dim and reversed text, and words.

use probe_apic::finding::Severity;
use ratatui::style::{Color, Modifier, Style};

/// How things are set off.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Theme {
    /// Whether colours are allowed.
    pub colour: bool,
}

impl Theme {
    /// What is on a bar across the screen.
    pub(super) const fn bar(self) -> Style {
        Style::new().add_modifier(Modifier::REVERSED)
    }

    /// A heading; of the part that keys go to where `focus`.
    pub(super) const fn heading(self, focus: bool) -> Style {
        if focus {
            Style::new().add_modifier(Modifier::BOLD.union(Modifier::REVERSED))
        } else {
            Style::new().add_modifier(Modifier::BOLD.union(Modifier::UNDERLINED))
        }
    }

    /// What is selected.
    pub(super) const fn selected(self) -> Style {
        Style::new().add_modifier(Modifier::REVERSED)
    }

    /// What matters less.
    pub(super) const fn quiet(self) -> Style {
        Style::new().add_modifier(Modifier::DIM)
    }

    /// What matters.
    pub(super) const fn strong(self) -> Style {
        Style::new().add_modifier(Modifier::BOLD)
    }

    /// What is not as it should be.
    pub(super) const fn bad(self) -> Style {
        self.coloured(Color::Red).add_modifier(Modifier::BOLD)
    }

    /// The word of a severity.
    pub(super) const fn severity(self, severity: Option<Severity>) -> Style {
        match severity {
            Some(Severity::Critical) => self.bad(),
            Some(Severity::Warning) => self.coloured(Color::Yellow).add_modifier(Modifier::BOLD),
            Some(Severity::Notice) => self.coloured(Color::Cyan),
            Some(Severity::Info) => self.quiet(),
            None => self.coloured(Color::Green),
        }
    }

    const fn coloured(self, colour: Color) -> Style {
        if self.colour {
            Style::new().fg(colour)
        } else {
            Style::new()
        }
    }
}
