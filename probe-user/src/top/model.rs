//! What is shown, and what of it is looked at: plain data, filled from the engine and changed by keys.
//!
//! Nothing here draws, waits or reads a clock. Text that a guest or an operator chose is raw here, and escaped where it is drawn.

pub mod detail;
pub mod host;
pub mod list;
pub mod place;
pub mod timeline;

use std::collections::VecDeque;

use probe_apic::id::{BootTime, VmId};

use self::{
    detail::Detail,
    host::{Facts, Row},
    list::Sort,
    place::{Overlay, Pane, Place, Sight},
    timeline::Timelines,
};
use super::keys::Action;
use crate::{
    clock::WallClock,
    engine::{
        Engine,
        output::{Output, StatusKind},
    },
};

/// Lines of the log that can be looked at.
const LOG_LINES: usize = 200;

/// Where what is shown comes from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Source {
    /// This host.
    Live,
    /// A recording, by its name, and how fast it is played; not escaped.
    Tape {
        /// Its name.
        name: String,
        /// Such as `original` or `10x`.
        speed: String,
    },
}

/// How it is going.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum State {
    /// The kernel side is being opened, or the recording.
    Opening,
    /// What is shown is what there is.
    Watching,
    /// There is nothing to watch for now, and why.
    Waiting(String),
    /// A recording that stands still.
    Paused,
    /// A recording that has come to its end, in words.
    Ended(String),
}

/// Something to be said once, beside what is shown.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Notice {
    /// The words; not escaped.
    pub text: String,
    /// Whether something went wrong.
    pub is_error: bool,
}

/// What an action asks of whoever owns the model.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Request {
    /// To end.
    Quit,
    /// To write a snapshot.
    Snapshot,
}

/// All of it.
#[derive(Debug)]
pub struct Model {
    /// Where what is shown comes from.
    pub source: Source,
    /// How that is going.
    pub state: State,
    /// The host; `None` while there is none.
    pub facts: Option<Facts>,
    /// Its VMs, in the order in which they were found.
    pub rows: Vec<Row>,
    /// The VM that is looked at.
    pub detail: Option<Detail>,
    /// What became of the VMs' registers.
    pub timelines: Timelines,
    /// Records that were lost.
    pub lost: u64,
    /// The moment that is shown.
    pub now: BootTime,
    /// The wall clock of the host that is shown.
    pub wall: WallClock,
    /// By what VMs are sorted.
    pub sort: Sort,
    /// Which VMs are listed: see [`list::passes`].
    pub filter: String,
    /// Whether keys go into the filter.
    pub is_typing: bool,
    /// What lies over the screen.
    pub overlay: Option<Overlay>,
    /// What is to be said, until the next key.
    pub notice: Option<Notice>,
    /// The last lines of the log; not escaped.
    pub log: VecDeque<String>,
    /// The VM that is selected.
    selected: Option<VmId>,
    /// Which screen, which pane, and how far down in it.
    place: Place,
}

impl Model {
    /// Nothing is known yet.
    #[must_use]
    pub fn new(source: Source) -> Self {
        Self {
            source,
            state: State::Opening,
            facts: None,
            rows: Vec::new(),
            detail: None,
            timelines: Timelines::default(),
            lost: 0,
            now: BootTime::default(),
            wall: WallClock::booted_at(0),
            sort: Sort::default(),
            filter: String::new(),
            is_typing: false,
            overlay: None,
            notice: None,
            log: VecDeque::new(),
            selected: None,
            place: Place::default(),
        }
    }

    /// Takes note of what the engine has just said and of what has changed in it. True where there is news to be shown.
    pub fn note(&mut self, engine: Option<&Engine>, outputs: &[Output]) -> bool {
        for output in outputs {
            if let Output::Status(status) = output
                && let StatusKind::Lost { records } = status.kind
            {
                self.lost = self.lost.saturating_add(records);
            }
        }
        self.timelines.look(engine) || !outputs.is_empty()
    }

    /// Takes the host over as it is at `now`.
    pub fn refresh(&mut self, engine: Option<&Engine>, now: BootTime, wall: WallClock) {
        (self.now, self.wall) = (now, wall);
        (self.facts, self.rows) = match engine {
            Some(engine) => {
                let view = engine.standing(now);
                (
                    Some(Facts::of(engine, &view)),
                    view.vms.iter().map(Row::of).collect(),
                )
            }
            None => (None, Vec::new()),
        };
        if let Some(detail) = &mut self.detail {
            match engine.and_then(|engine| Detail::of(engine, detail.id, wall)) {
                Some(new) => *detail = new,
                None => detail.is_gone = true,
            }
        }
    }

    /// Opens the VM that was chosen and is not there yet.
    fn open(&mut self, engine: Option<&Engine>) {
        self.detail = engine
            .zip(self.selected())
            .and_then(|(engine, id)| Detail::of(engine, id, self.wall));
        if let Some(detail) = &self.detail {
            let has_findings = !detail.vm.findings.is_empty();
            self.place
                .open(if has_findings { Pane::Findings } else { Pane::Vcpus });
        }
    }

    /// A line of the log.
    pub fn logged(&mut self, line: String) {
        if self.log.len() == LOG_LINES {
            self.log.pop_front();
        }
        let is_error = line.contains("error");
        self.notice = Some(Notice {
            text: line.clone(),
            is_error,
        });
        self.log.push_back(line);
    }

    /// What there is to say.
    pub fn say(&mut self, text: String, is_error: bool) {
        self.notice = Some(Notice { text, is_error });
    }

    /// Where the eye is.
    #[must_use]
    pub const fn place(&self) -> &Place {
        &self.place
    }

    /// The VMs that are listed, in order.
    #[must_use]
    pub fn listed(&self) -> Vec<&Row> {
        list::listed(&self.rows, self.sort, &self.filter)
    }

    /// The VM that is selected: the one that was, as long as it is listed.
    #[must_use]
    pub fn selected(&self) -> Option<VmId> {
        let listed = self.listed();
        let kept = self.selected.filter(|&id| listed.iter().any(|row| row.id == id));
        kept.or_else(|| {
            let nearest = self.place.row.min(listed.len().checked_sub(1)?);
            listed.get(nearest).map(|row| row.id)
        })
    }

    /// Takes note of what could be seen of it.
    pub fn seen(&mut self, sight: Sight) {
        self.place.seen(sight);
    }

    /// Does what a key means.
    pub fn act(&mut self, action: Action, engine: Option<&Engine>) -> Option<Request> {
        self.notice = None;
        if self.overlay.is_some() && !matches!(action, Action::Quit | Action::Snapshot | Action::Pause) {
            self.act_on_overlay(action);
            return None;
        }
        match action {
            Action::Quit => return Some(Request::Quit),
            Action::Snapshot => return Some(Request::Snapshot),
            Action::Help => self.overlay = Some(Overlay::Help),
            Action::Log => self.overlay = Some(Overlay::Log),
            Action::Pause => self.pause(),
            Action::Type(character) => self.filter.push(character),
            Action::Erase => drop(self.filter.pop()),
            Action::Accept => self.is_typing = false,
            Action::Abandon => {
                self.is_typing = false;
                self.filter.clear();
            }
            _ if self.detail.is_some() => self.act_on_vm(action),
            _ => self.act_on_host(action, engine),
        }
        None
    }

    fn act_on_overlay(&mut self, action: Action) {
        match action {
            Action::Move(step) => self.place.overlay.go(step),
            Action::NextPane | Action::PreviousPane | Action::Show(_) => {}
            _ => {
                self.overlay = None;
                self.place.overlay = Default::default();
            }
        }
    }

    fn act_on_vm(&mut self, action: Action) {
        match action {
            Action::Back => self.detail = None,
            Action::Move(step) => self.place.pane_mut().go(step),
            Action::NextPane => self.place.pane = self.place.pane.next(),
            Action::PreviousPane => self.place.pane = self.place.pane.previous(),
            Action::Show(pane) => self.place.pane = pane,
            _ => {}
        }
    }

    fn act_on_host(&mut self, action: Action, engine: Option<&Engine>) {
        match action {
            Action::Open => self.open(engine),
            Action::Back => self.filter.clear(),
            Action::Filter => self.is_typing = true,
            Action::Sort => self.sort = self.sort.next(),
            Action::Move(step) => {
                let ids: Vec<VmId> = self.listed().iter().map(|row| row.id).collect();
                let at = self
                    .selected()
                    .and_then(|id| ids.iter().position(|&listed| listed == id));
                let row = step.from(
                    at.unwrap_or(0),
                    self.place.list.page(),
                    ids.len().saturating_sub(1),
                );
                self.place.row = row;
                self.selected = ids.get(row).copied();
                self.place.list.follow(row);
            }
            _ => {}
        }
    }

    fn pause(&mut self) {
        let is_tape = matches!(self.source, Source::Tape { .. });
        match self.state {
            State::Watching if is_tape => self.state = State::Paused,
            State::Paused => self.state = State::Watching,
            _ => {}
        }
    }
}
