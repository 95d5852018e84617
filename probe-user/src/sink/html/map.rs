//! The logical map as a picture: a cell a slot, published beside rebuilt; where KVM uses no slots, who claims which.
//!
//! Slots are four to a row: two rows in the flat model, one a cluster otherwise. What is wrong with a slot is a word, a line
//! of its own kind, and a colour.

use std::collections::BTreeMap;

use maud::{Markup, html};
use probe_apic::{id::Slot, logical_id::Model};

use crate::{
    escape::escape_line,
    message::{Map, Vm, meaning},
    sink::phrase,
};

/// Cells in a row.
const COLUMNS: u16 = 4;
/// Of a cell, in the picture's own units.
const WIDTH: u16 = 118;
/// Between cells, and around them.
const GAP: u16 = 6;
/// Characters that a cell has room for.
const WORDS: usize = 15;

type Owners = BTreeMap<Slot, u32>;
type Claims = BTreeMap<Slot, Vec<u32>>;

/// All pictures of a VM.
pub(super) fn figures(vm: &Vm) -> Markup {
    let maps = [
        ("Published by KVM", &vm.map.published),
        ("Rebuilt from the registers", &vm.map.rebuilt),
    ];
    let is_drawn = |map: &Map| model(map).is_some();
    let any_drawn = maps.iter().any(|(_, map)| map.as_ref().is_some_and(is_drawn));
    html! {
        div.maps {
            @for (title, map) in maps {
                figure {
                    figcaption { b { (title) } ": " (describe(map.as_ref())) }
                    @if let Some((map, model)) = map.as_ref().and_then(|map| Some((map, model(map)?))) {
                        (picture(title, model, Some(&owners(map)), &claims(vm, model)))
                    }
                }
            }
            @if !any_drawn {
                @for model in [Model::Flat, Model::Cluster] {
                    @let claims = claims(vm, model);
                    @if !claims.is_empty() {
                        figure {
                            figcaption { b { "Claimed by the vCPUs" } ", read as " (model) }
                            (picture("Claims", model, None, &claims))
                        }
                    }
                }
            }
        }
        (physical(vm))
    }
}

fn model(map: &Map) -> Option<Model> {
    match &*map.mode {
        "flat" => Some(Model::Flat),
        "cluster" => Some(Model::Cluster),
        _ => None,
    }
}

fn describe(map: Option<&Map>) -> String {
    let Some(map) = map else {
        return "not known".to_owned();
    };
    let what = match &*map.mode {
        "none" => "no map at all; KVM scans all vCPUs for every interrupt",
        "disabled" => "given up; KVM scans all vCPUs for every logical interrupt",
        "mixed" => "the vCPUs' modes are mixed; KVM scans all vCPUs for every logical interrupt",
        "sw-disabled" => "no enabled vCPU has a logical ID",
        "x2apic" => "by x2APIC ID; there are no slots",
        "flat" => "flat",
        "cluster" => "cluster",
        other => return escape_line(other).into_owned(),
    };
    what.to_owned()
}

fn owners(map: &Map) -> Owners {
    let entries = map.slots.iter();
    entries
        .map(|entry| (meaning::slot(entry.slot), entry.vcpu_id))
        .collect()
}

/// Who claims which slot of a model, ascending.
fn claims(vm: &Vm, model: Model) -> Claims {
    let mut claims = Claims::new();
    for vcpu in &vm.vcpus {
        let claimed = meaning::lapic(vcpu)
            .claims()
            .filter(|claimed| claimed.model == model);
        for slot in claimed.into_iter().flat_map(|claimed| claimed.iter()) {
            claims.entry(slot).or_default().push(vcpu.vcpu_id);
        }
    }
    claims.values_mut().for_each(|vcpus| vcpus.sort_unstable());
    claims
}

/// How a slot is taken.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum State {
    /// Nobody claims it, nobody has it.
    Free,
    /// Who claims it has it, alone.
    Right,
    /// Several claim it.
    Shared,
    /// Somebody has it who does not claim it.
    Wrong,
    /// Somebody claims it, and nobody has it.
    Missing,
}

impl State {
    const fn name(self) -> &'static str {
        match self {
            Self::Free => "free",
            Self::Right => "right",
            Self::Shared => "shared",
            Self::Wrong => "wrong",
            Self::Missing => "missing",
        }
    }

    const fn is_bad(self) -> bool {
        matches!(self, Self::Shared | Self::Wrong | Self::Missing)
    }

    /// Of a slot of a map; without a map (`is_map`) of a claim alone.
    fn of(is_map: bool, owner: Option<u32>, claims: &[u32]) -> Self {
        match (owner, claims) {
            (None, []) => Self::Free,
            (None, [_]) if !is_map => Self::Right,
            (None, _) if !is_map => Self::Shared,
            (None, _) => Self::Missing,
            (Some(owner), [only]) if owner == *only => Self::Right,
            (Some(owner), claims) if claims.contains(&owner) => Self::Shared,
            (Some(_), _) => Self::Wrong,
        }
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
    let rows = rows(model, owners, claims);
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

/// The slots, four to a row; cluster 15, where broadcasts go, only if somebody is there.
fn rows(model: Model, owners: Option<&Owners>, claims: &Claims) -> Vec<Vec<Slot>> {
    let row = |cluster: u8, bits: std::ops::Range<u8>| bits.map(|bit| Slot { cluster, bit }).collect();
    match model {
        Model::Flat => vec![row(0, 0..4), row(0, 4..8)],
        Model::Cluster => {
            let is_used = |cluster: u8| {
                let owned = owners.into_iter().flat_map(Owners::keys);
                owned.chain(claims.keys()).any(|slot| slot.cluster == cluster)
            };
            let clusters = (0..15).chain(is_used(15).then_some(15));
            clusters.map(|cluster| row(cluster, 0..4)).collect()
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

/// The physical map in a sentence, and where the two differ in more.
fn physical(vm: &Vm) -> Markup {
    let entries = |map: &Option<Map>| -> Option<BTreeMap<u32, u32>> {
        let entries = map.as_ref()?.physical.iter();
        Some(entries.map(|entry| (entry.apic_id, entry.vcpu_id)).collect())
    };
    let words = match (entries(&vm.map.published), entries(&vm.map.rebuilt)) {
        (Some(published), Some(rebuilt)) if published != rebuilt => {
            let places = published.keys().chain(rebuilt.keys());
            let mut differ: Vec<u32> = places
                .filter(|id| published.get(id) != rebuilt.get(id))
                .copied()
                .collect();
            differ.sort_unstable();
            differ.dedup();
            format!("The physical maps differ at APIC IDs {}.", phrase::ranges(differ))
        }
        (Some(map), _) | (None, Some(map)) => match map.len() {
            0 => "The physical map is empty.".to_owned(),
            1 => "The physical map has 1 entry.".to_owned(),
            entries => format!("The physical map has {entries} entries."),
        },
        (None, None) => return html! {},
    };
    html! { p.quiet { (words) } }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_slot_is_right_only_if_its_one_claimant_has_it() {
        let of = |owner, claims: &[u32]| State::of(true, owner, claims);
        assert_eq!(of(None, &[]), State::Free);
        assert_eq!(of(Some(1), &[1]), State::Right);
        assert_eq!(of(Some(3), &[1, 3]), State::Shared);
        assert_eq!(of(Some(15), &[0]), State::Wrong);
        assert_eq!(of(Some(15), &[]), State::Wrong);
        assert_eq!(of(None, &[0]), State::Missing);
        assert_eq!(State::of(false, None, &[0]), State::Right);
        assert_eq!(State::of(false, None, &[0, 1]), State::Shared);
    }

    #[test]
    fn the_space_of_broadcasts_is_drawn_only_if_somebody_is_in_it() {
        assert_eq!(rows(Model::Flat, None, &Claims::new()).concat().len(), 8);
        assert_eq!(rows(Model::Cluster, None, &Claims::new()).concat().len(), 60);
        let claimed = Claims::from([(Slot { cluster: 15, bit: 0 }, vec![1])]);
        assert_eq!(rows(Model::Cluster, None, &claimed).concat().len(), 64);
    }
}
