//! Where the eye is: which pane of a screen, and how far down in it.
//!
//! How much there is to be seen depends on the terminal, which is known when it is drawn: drawing says so by a [`Sight`], and
//! every place is kept within it.

/// The parts of a VM's screen.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Pane {
    /// The logical map, slot by slot.
    Map,
    /// What is wrong.
    #[default]
    Findings,
    /// The vCPUs' registers.
    Vcpus,
    /// What became of the registers.
    Timeline,
}

impl Pane {
    /// All of them, in their order.
    pub const ALL: [Self; 4] = [Self::Map, Self::Findings, Self::Vcpus, Self::Timeline];

    /// The one after it.
    #[must_use]
    pub const fn next(self) -> Self {
        Self::ALL[(self as usize + 1) % Self::ALL.len()]
    }

    /// The one before it.
    #[must_use]
    pub const fn previous(self) -> Self {
        Self::ALL[(self as usize + Self::ALL.len() - 1) % Self::ALL.len()]
    }

    /// What it is called.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Map => "map",
            Self::Findings => "findings",
            Self::Vcpus => "vCPUs",
            Self::Timeline => "timeline",
        }
    }
}

/// What lies over a screen.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Overlay {
    /// What the keys do.
    Help,
    /// The last lines of the log.
    Log,
}

/// A step up or down.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Step {
    /// One line.
    Up,
    /// One line.
    Down,
    /// As many lines as are seen.
    PageUp,
    /// As many lines as are seen.
    PageDown,
    /// To the beginning.
    Home,
    /// To the end.
    End,
}

impl Step {
    /// Where it leads from line `at`, with `page` lines in sight and `last` being the last one.
    #[must_use]
    pub fn from(self, at: usize, page: usize, last: usize) -> usize {
        let page = page.max(1);
        let to = match self {
            Self::Up => at.saturating_sub(1),
            Self::Down => at.saturating_add(1),
            Self::PageUp => at.saturating_sub(page),
            Self::PageDown => at.saturating_add(page),
            Self::Home => 0,
            Self::End => last,
        };
        to.min(last)
    }
}

/// How far down something is looked at.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Scroll {
    first: usize,
    extent: Extent,
}

/// How much of something was seen, and how much there is.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Extent {
    /// Lines in sight.
    pub page: usize,
    /// Lines in all.
    pub lines: usize,
}

impl Extent {
    /// The furthest line that can be the first one in sight.
    #[must_use]
    pub const fn furthest(self) -> usize {
        self.lines.saturating_sub(self.page)
    }
}

impl Scroll {
    /// The first line in sight of `extent`.
    #[must_use]
    pub fn first(self, extent: Extent) -> usize {
        self.first.min(extent.furthest())
    }

    /// Lines in sight when it was drawn last.
    #[must_use]
    pub const fn page(self) -> usize {
        self.extent.page
    }

    pub(super) fn go(&mut self, step: Step) {
        self.first = step.from(self.first, self.extent.page, self.extent.furthest());
    }

    /// Goes as far as it must for `line` to be in sight.
    pub(super) fn follow(&mut self, line: usize) {
        let page = self.extent.page.max(1);
        self.first = self.first.clamp((line + 1).saturating_sub(page), line);
    }

    fn seen(&mut self, extent: Extent) {
        self.extent = extent;
        self.first = self.first(extent);
    }
}

/// What was seen when a screen was drawn.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Sight {
    /// Of the list of VMs.
    pub list: Option<Extent>,
    /// Of a VM's panes, in their order.
    pub panes: [Option<Extent>; Pane::ALL.len()],
    /// Of what lies over it.
    pub overlay: Option<Extent>,
}

/// Where the eye is.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Place {
    /// The row of the list that was selected last.
    pub row: usize,
    /// How far down the list is.
    pub list: Scroll,
    /// The pane that keys go to.
    pub pane: Pane,
    /// How far down each pane is, in their order.
    pub panes: [Scroll; Pane::ALL.len()],
    /// How far down what lies over it is.
    pub overlay: Scroll,
}

impl Place {
    pub(super) fn open(&mut self, pane: Pane) {
        self.pane = pane;
        self.panes = Default::default();
    }

    pub(super) const fn pane_mut(&mut self) -> &mut Scroll {
        &mut self.panes[self.pane as usize]
    }

    pub(super) fn seen(&mut self, sight: Sight) {
        if let Some(extent) = sight.list {
            self.list.seen(extent);
        }
        for (scroll, extent) in self.panes.iter_mut().zip(sight.panes) {
            if let Some(extent) = extent {
                scroll.seen(extent);
            }
        }
        if let Some(extent) = sight.overlay {
            self.overlay.seen(extent);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_place_stays_within_what_there_is_whatever_is_pressed() {
        let mut scroll = Scroll::default();
        let extent = Extent { page: 10, lines: 25 };
        scroll.seen(extent);
        scroll.go(Step::PageDown);
        assert_eq!(scroll.first(extent), 10);
        scroll.go(Step::PageDown);
        scroll.go(Step::Down);
        assert_eq!(scroll.first(extent), 15);
        scroll.go(Step::Up);
        assert_eq!(scroll.first(extent), 14);
        // Less is left, and no key is lost on what is not there.
        let less = Extent { page: 10, lines: 12 };
        scroll.seen(less);
        scroll.go(Step::Up);
        assert_eq!(scroll.first(less), 1);
        scroll.go(Step::Home);
        assert_eq!(scroll.first(less), 0);
    }

    #[test]
    fn what_is_selected_is_kept_in_sight() {
        let mut scroll = Scroll::default();
        scroll.seen(Extent { page: 10, lines: 25 });
        scroll.follow(9);
        assert_eq!(scroll.first, 0);
        scroll.follow(10);
        assert_eq!(scroll.first, 1);
        scroll.follow(24);
        assert_eq!(scroll.first, 15);
        scroll.follow(3);
        assert_eq!(scroll.first, 3);
    }

    #[test]
    fn panes_go_round() {
        for pane in Pane::ALL {
            assert_eq!(pane.next().previous(), pane);
        }
        assert_eq!(Pane::Timeline.next(), Pane::Map);
    }
}
