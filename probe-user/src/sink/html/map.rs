//! The logical map as a picture: a cell a slot, published beside rebuilt; where KVM uses no slots, who claims which.
//!
//! Slots are four to a row: two rows in the flat model, one a cluster otherwise. What is wrong with a slot is a word, a line
//! of its own kind, and a colour.

use maud::{Markup, html};
use probe_apic::{id::Slot, logical_id::Model};

use crate::{
    message::{Map, Vm},
    sink::phrase,
    slots::{self, Claims, Owners, State},
};

/// Cells in a row.
const COLUMNS: u16 = 4;
/// Of a cell, in the picture's own units.
const WIDTH: u16 = 118;
/// Between cells, and around them.
const GAP: u16 = 6;
/// Characters that a cell has room for.
const WORDS: usize = 15;

/// All pictures of a VM.
pub(super) fn figures(vm: &Vm) -> Markup {
    let maps = [
        ("Published by KVM", &vm.map.published),
        ("Rebuilt from the registers", &vm.map.rebuilt),
    ];
    let is_drawn = |map: &Map| slots::model(map).is_some();
    let any_drawn = maps.iter().any(|(_, map)| map.as_ref().is_some_and(is_drawn));
    html! {
        div.maps {
            @for (title, map) in maps {
                figure {
                    figcaption { b { (title) } ": " (phrase::map(map.as_ref())) }
                    @if let Some((map, model)) = map.as_ref().and_then(|map| Some((map, slots::model(map)?))) {
                        (picture(title, model, Some(&slots::owners(map)), &slots::claims(vm, model)))
                    }
                }
            }
            @if !any_drawn {
                @for model in [Model::Flat, Model::Cluster] {
                    @let claims = slots::claims(vm, model);
                    @if !claims.is_empty() {
                        figure {
                            figcaption { b { "Claimed by the vCPUs" } ", read as " (model) }
                            (picture("Claims", model, None, &claims))
                        }
                    }
                }
            }
        }
        @if let Some(words) = phrase::physical_maps(&vm.map) { p.quiet { (words) } }
    }
}

/// How much room cells have.
#[derive(Clone, Copy, Debug)]
struct Layout {
    /// Left of the cells, for the name of a cluster.
    margin: u16,
    /// Of a cell.
    height: u16,
    /// Whether a cell has its bit and its owner on one line.
    is_low: bool,
}

impl Layout {
    const fn of(model: Model) -> Self {
        match model {
            Model::Flat => Self {
                margin: 0,
                height: 58,
                is_low: false,
            },
            Model::Cluster => Self {
                margin: 40,
                height: 38,
                is_low: true,
            },
        }
    }
}

/// A map with its `owners`, or without them the claims alone.
fn picture(title: &str, model: Model, owners: Option<&Owners>, claims: &Claims) -> Markup {
    let rows = slots::rows(model, owners, claims);
    let owner = |slot: &Slot| owners.and_then(|owners| owners.get(slot)).copied();
    let layout = Layout::of(model);
    let step = (WIDTH + GAP, layout.height + GAP);
    let width = layout.margin + COLUMNS * step.0 + GAP;
    // At most 16 rows.
    let height = rows.iter().map(|_| step.1).sum::<u16>() + GAP;
    let state = |slot: &Slot| {
        let claims = claims.get(slot).map_or(&[][..], Vec::as_slice);
        State::of(owners.is_some(), owner(slot), claims)
    };
    let bad = rows.iter().flatten().filter(|slot| state(slot).is_bad()).count();
    let label = format!("{title}, {model}: {bad} slots are not as they should be");
    html! {
        svg role="img" aria-label=(label) viewBox={ "0 0 " (width) " " (height) } {
            @for (row, slots) in (0_u16..).zip(&rows) {
                @let y = row * step.1 + GAP;
                @if let (Model::Cluster, Some(slot)) = (model, slots.first()) {
                    text.small x="2" y=(y + layout.height / 2 + 4) { "c " (slot.cluster) }
                }
                @for (column, slot) in (0_u16..).zip(slots) {
                    @let at = (layout.margin + column * step.0 + GAP, y);
                    (cell(layout, at, *slot, state(slot), owner(slot), claims.get(slot)))
                }
            }
        }
    }
}

fn cell(
    layout: Layout,
    (x, y): (u16, u16),
    slot: Slot,
    state: State,
    owner: Option<u32>,
    claims: Option<&Vec<u32>>,
) -> Markup {
    let claims = claims.map_or(&[][..], Vec::as_slice);
    let by = phrase::ranges(claims.iter().copied());
    // In a picture of claims the one who claims stands where the owner stands in a map.
    let shown = owner.or(match (state, claims) {
        (State::Right, [only]) => Some(*only),
        _ => None,
    });
    let has = owner.map_or_else(
        || "nobody has it".to_owned(),
        |owner| format!("vCPU {owner} has it"),
    );
    let claimed = match claims {
        [] => "nobody claims it".to_owned(),
        claims => format!("claimed by {}", phrase::vcpus(claims)),
    };
    // A low cell that needs one line has it in its middle.
    let line = if layout.is_low && !state.is_bad() {
        y + 24
    } else {
        y + 17
    };
    html! {
        g.slot.(state.name()).low[layout.is_low] data-slot={ (slot.cluster) ":" (slot.bit) } data-owner=[owner] data-claims=(by) {
            title { "slot " (phrase::slot(slot)) ": " (has) ", " (claimed) }
            rect x=(x) y=(y) width=(WIDTH) height=(layout.height) rx="5" {}
            text.small x=(x + 8) y=(line) {
                @if layout.is_low { (slot.bit) } @else { "bit " (slot.bit) }
            }
            @if state.is_bad() {
                text.state x=(x + WIDTH - 8) y=(y + 17) text-anchor="end" { (state.name()) }
            }
            @if let Some(shown) = shown {
                @if layout.is_low {
                    text.owner x=(x + 22) y=(line) { @if state.is_bad() { (shown) } @else { "vCPU " (shown) } }
                } @else {
                    text.owner x=(x + 8) y=(y + 35) { "vCPU " (shown) }
                }
            }
            @if state.is_bad() {
                text.small x=(x + 8) y=(y + layout.height - 8) {
                    @if claims.is_empty() { "nobody's" } @else { "claim: " (short(&by)) }
                }
            }
        }
    }
}

fn short(text: &str) -> String {
    match text.char_indices().nth(WORDS - "claim: ".len()) {
        Some((end, _)) => format!("{}…", &text[..end]),
        None => text.to_owned(),
    }
}
