//! The logical map, slot by slot: what KVM published beside what the registers make, and who claims what. What is wrong with a slot is
//! a mark, and below the map a sentence that says who should own it.

use std::collections::BTreeSet;

use probe_apic::{id::Slot, logical_id::Model};
use ratatui::{
    style::Style,
    text::{Line, Span},
};

use super::{
    paper::{fitted, wrapped},
    theme::Theme,
};
use crate::{
    message::{Map, Vm},
    sink::phrase,
    slots::{self, Claims, Owners, State},
};

/// What stands before a row of slots.
const MARGIN: usize = 11;
/// Of a cluster's cell.
const CELL: usize = 7;
const MARKS: &str = "! claimed by several   x its owner does not claim it   ? nobody has it   - free";

/// Both maps under one model, and the claims by it.
struct Drawing {
    model: Model,
    /// `None` where the map is not of this model.
    published: Option<Owners>,
    rebuilt: Option<Owners>,
    claims: Claims,
}

impl Drawing {
    /// What there is to draw of a VM: the models that one of its maps has; where none does, those that vCPUs claim slots of.
    fn all(vm: &Vm) -> Vec<Self> {
        let owners = |map: &Option<Map>, model| {
            let map = map.as_ref().filter(|map| slots::model(map) == Some(model));
            map.map(slots::owners)
        };
        let drawings = [Model::Flat, Model::Cluster].map(|model| Self {
            model,
            published: owners(&vm.map.published, model),
            rebuilt: owners(&vm.map.rebuilt, model),
            claims: slots::claims(vm, model),
        });
        let is_any_a_map = drawings.iter().any(Self::is_a_map);
        drawings
            .into_iter()
            .filter(|drawing| {
                if is_any_a_map {
                    drawing.is_a_map()
                } else {
                    !drawing.claims.is_empty()
                }
            })
            .collect()
    }

    const fn is_a_map(&self) -> bool {
        self.published.is_some() || self.rebuilt.is_some()
    }

    fn claims_of(&self, slot: Slot) -> &[u32] {
        self.claims.get(&slot).map_or(&[], Vec::as_slice)
    }

    fn state(&self, owners: &Owners, slot: Slot) -> State {
        State::of(true, owners.get(&slot).copied(), self.claims_of(slot))
    }

    fn slots(&self) -> Vec<Vec<Slot>> {
        let both: Owners = [&self.published, &self.rebuilt]
            .into_iter()
            .flatten()
            .flatten()
            .map(|(slot, owner)| (*slot, *owner))
            .collect();
        slots::rows(self.model, Some(&both), &self.claims)
    }
}

/// The whole picture.
pub(super) fn lines(vm: &Vm, width: u16, theme: Theme) -> Vec<Line<'static>> {
    let mut lines = modes(vm, width);
    for drawing in Drawing::all(vm) {
        lines.extend(picture(&drawing, width, theme));
        let bad = bad(&drawing, width, theme);
        if bad.is_empty() {
            lines.push(Line::raw(" Every slot is with the one who claims it."));
        }
        lines.extend(bad);
        lines.push(Line::styled(format!(" {MARKS}"), theme.quiet()));
    }
    if let Some(words) = phrase::physical_maps(&vm.map) {
        lines.push(Line::styled(format!(" {words}"), theme.quiet()));
    }
    lines
}

/// The picture alone, where it is low enough to stand above something else.
pub(super) fn strip(vm: &Vm, width: u16, theme: Theme) -> Vec<Line<'static>> {
    let drawings = Drawing::all(vm);
    let mut lines = Vec::new();
    if !drawings.iter().any(Drawing::is_a_map) {
        lines.extend(modes(vm, width));
    }
    let flat = drawings.iter().filter(|drawing| drawing.model == Model::Flat);
    lines.extend(flat.flat_map(|drawing| picture(drawing, width, theme)));
    if drawings.iter().any(|drawing| drawing.model == Model::Cluster) {
        lines.push(Line::styled(" Slots of clusters: press 1.", theme.quiet()));
    }
    lines
}

fn modes(vm: &Vm, width: u16) -> Vec<Line<'static>> {
    let maps = [
        (" published by KVM:  ", &vm.map.published),
        (" rebuilt by ldrscope: ", &vm.map.rebuilt),
    ];
    let longest = maps.iter().map(|(title, _)| title.len()).max().unwrap_or(0);
    maps.into_iter()
        .flat_map(|(title, map)| {
            let title = format!("{title:<longest$}");
            wrapped(&title, longest, &phrase::map(map.as_ref()), width, Style::new())
        })
        .collect()
}

fn picture(drawing: &Drawing, width: u16, theme: Theme) -> Vec<Line<'static>> {
    match drawing.model {
        Model::Flat => flat(drawing, width, theme),
        Model::Cluster => clusters(drawing, theme),
    }
}

/// Eight slots side by side.
fn flat(drawing: &Drawing, width: u16, theme: Theme) -> Vec<Line<'static>> {
    let slots = drawing.slots().concat();
    let cell = (usize::from(width).saturating_sub(MARGIN + 1) / slots.len().max(1)).clamp(5, 20);
    let row = |title: &str, of: &dyn Fn(Slot) -> (String, Style)| {
        let mut spans = vec![Span::styled(format!(" {title:<MARGIN$}"), theme.quiet())];
        for slot in &slots {
            let (text, style) = of(*slot);
            // A blank between two cells that are full.
            spans.push(Span::styled(fitted(&text, cell - 1), style));
            spans.push(Span::raw(" "));
        }
        Line::from(spans)
    };
    let mut lines = vec![row("flat slot", &|slot| (slot.bit.to_string(), theme.strong()))];
    for (title, owners) in [("published", &drawing.published), ("rebuilt", &drawing.rebuilt)] {
        if let Some(owners) = owners {
            lines.push(row(title, &|slot| cell_of(drawing, owners, slot, theme)));
        }
    }
    lines.push(row("claimed by", &|slot| {
        let claims = drawing.claims_of(slot);
        let style = if claims.len() > 1 {
            theme.bad()
        } else {
            Style::new()
        };
        let text = phrase::ranges(claims.iter().copied()).replace(", ", ",");
        (if text.is_empty() { "-".to_owned() } else { text }, style)
    }));
    lines
}

/// Four slots a cluster, a line each; published beside rebuilt, or who claims them alone.
fn clusters(drawing: &Drawing, theme: Theme) -> Vec<Line<'static>> {
    let maps = [("published", &drawing.published), ("rebuilt", &drawing.rebuilt)];
    let maps: Vec<_> = maps
        .into_iter()
        .filter_map(|(title, owners)| Some((title, owners.as_ref()?)))
        .collect();
    let mut head = vec![Span::styled(format!(" {:<8}", "cluster"), theme.quiet())];
    for (title, _) in &maps {
        let title = fitted(title, 10);
        head.push(Span::styled(title, theme.quiet()));
        for bit in 0..4 {
            head.push(Span::styled(format!("{bit:<CELL$}"), theme.strong()));
        }
    }
    if maps.is_empty() {
        head.push(Span::styled("claimed by, for bits 0 1 2 3", theme.quiet()));
    }
    let mut lines = vec![Line::from(head)];
    for slots in drawing.slots() {
        let number = slots.first().map_or(0, |slot| slot.cluster);
        let mut spans = vec![Span::styled(format!(" {number:<8}"), theme.strong())];
        for (_, owners) in &maps {
            spans.push(Span::raw(" ".repeat(10)));
            for slot in &slots {
                let (text, style) = cell_of(drawing, owners, *slot, theme);
                spans.push(Span::styled(fitted(&text, CELL - 1), style));
                spans.push(Span::raw(" "));
            }
        }
        if maps.is_empty() {
            let claims = slots.iter().map(|slot| {
                let claims = drawing.claims_of(*slot);
                match claims {
                    [] => "-".to_owned(),
                    claims => phrase::ranges(claims.iter().copied()).replace(", ", ","),
                }
            });
            spans.push(Span::raw(claims.collect::<Vec<_>>().join("  ")));
        }
        lines.push(Line::from(spans));
    }
    lines
}

/// Who has a slot, with a mark where that is not as it should be.
fn cell_of(drawing: &Drawing, owners: &Owners, slot: Slot, theme: Theme) -> (String, Style) {
    let state = drawing.state(owners, slot);
    let owner = owners.get(&slot).map_or_else(|| "-".to_owned(), u32::to_string);
    match state {
        State::Free => (owner, theme.quiet()),
        State::Right => (owner, Style::new()),
        bad => (format!("{owner}{}", mark(bad)), theme.bad()),
    }
}

const fn mark(state: State) -> &'static str {
    match state {
        State::Free | State::Right => "",
        State::Shared => "!",
        State::Wrong => "x",
        State::Missing => "?",
    }
}

/// A sentence for each slot that is not as it should be; one for both maps where they are alike.
fn bad(drawing: &Drawing, width: u16, theme: Theme) -> Vec<Line<'static>> {
    let both_alike = drawing.published == drawing.rebuilt;
    let maps = [
        ("published: ", &drawing.published),
        ("rebuilt: ", &drawing.rebuilt),
    ];
    let mut lines = Vec::new();
    let mut told = BTreeSet::new();
    for (title, owners) in maps {
        let Some(owners) = owners else { continue };
        for slot in drawing.slots().into_iter().flatten() {
            let state = drawing.state(owners, slot);
            let is_new = !both_alike || told.insert(slot);
            if state.is_bad() && is_new {
                let whose = if both_alike { "" } else { title };
                let head = format!(" {} {whose}slot {}: ", mark(state), phrase::slot(slot));
                let words = ownership(owners.get(&slot).copied(), drawing.claims_of(slot));
                lines.extend(wrapped(&head, 3, &words, width, theme.bad()));
            }
        }
    }
    if !drawing.is_a_map() {
        for (slot, claims) in drawing.claims.iter().filter(|(_, claims)| claims.len() > 1) {
            let head = format!(" ! slot {}: ", phrase::slot(*slot));
            let words = format!("{} claim it, and a slot has room for one", phrase::vcpus(claims));
            lines.extend(wrapped(&head, 3, &words, width, theme.bad()));
        }
    }
    lines
}

/// Who has a slot that is not as it should be, and who should.
fn ownership(owner: Option<u32>, claims: &[u32]) -> String {
    let has = owner.map_or_else(|| "nobody".to_owned(), |owner| format!("vCPU {owner}"));
    match claims {
        [] => format!("{has} has it, and nobody claims it"),
        [only] => format!("{has} has it; it should be vCPU {only}'s, who alone claims it"),
        several if owner.is_some_and(|owner| several.contains(&owner)) => {
            let others = several.iter().copied().filter(|id| Some(*id) != owner);
            let others: Vec<u32> = others.collect();
            format!(
                "{has} has it alone; {} {} it as well",
                phrase::vcpus(&others),
                if others.len() == 1 { "claims" } else { "claim" }
            )
        }
        several => format!("{has} has it; {} claim it", phrase::vcpus(several)),
    }
}
