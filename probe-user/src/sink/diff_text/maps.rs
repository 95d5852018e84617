//! What changed in the maps: slot by slot; both at once where both changed alike.

use crate::{
    escape::escape_line,
    message::{
        Word,
        diff::{MapDiff, MapsDiff, PhysicalDiff},
        meaning,
    },
    sink::{phrase, terminal::Style},
};

/// Entries of the physical map that are shown of one map.
const MAX_PHYSICAL: usize = 8;

pub(super) fn write(text: &mut String, maps: &MapsDiff, style: Style) {
    match (&maps.published, &maps.rebuilt) {
        (Some(published), Some(rebuilt)) if published == rebuilt => {
            write_map(text, "published and rebuilt map", published, style);
        }
        (published, rebuilt) => {
            for (name, map) in [("published map", published), ("rebuilt map", rebuilt)] {
                if let Some(map) = map {
                    write_map(text, name, map, style);
                }
            }
        }
    }
    if let Some(change) = &maps.agrees {
        let words = |agrees: Option<bool>| match agrees {
            Some(true) => "agreed",
            Some(false) => "DIFFERED",
            None => "were not compared",
        };
        let line = format!(
            "the two maps {} before, and {} after",
            words(change.before),
            words(change.after)
        );
        text.push_str(&style.prose("  ", "    ", &line));
    }
}

fn write_map(text: &mut String, name: &str, map: &MapDiff, style: Style) {
    let (before, after) = (mode(map.mode.before.as_ref()), mode(map.mode.after.as_ref()));
    let head = if before == after {
        format!("{name}: {after}, as before")
    } else {
        format!("{name}: {before} -> {after}")
    };
    text.push_str(&style.prose("  ", "    ", &head));
    for slot in &map.slots {
        let label = format!("slot {}", phrase::slot(meaning::slot(slot.slot)));
        let line = format!("{label:<9} {} -> {}", owner(slot.before), owner(slot.after));
        text.push_str(&style.prose("    ", "              ", &line));
    }
    write_physical(text, &map.physical, style);
}

fn write_physical(text: &mut String, entries: &[PhysicalDiff], style: Style) {
    let mut say = |line: &str| text.push_str(&style.prose("    ", "      ", line));
    for entry in entries.iter().take(MAX_PHYSICAL) {
        let (before, after) = (owner(entry.before), owner(entry.after));
        say(&format!("APIC ID {}: {before} -> {after}", entry.apic_id));
    }
    let rest = entries.get(MAX_PHYSICAL..).unwrap_or_default();
    if !rest.is_empty() {
        let ids = phrase::ranges(rest.iter().map(|entry| entry.apic_id));
        say(&format!("APIC IDs {ids}: other owners, see --format json"));
    }
}

/// A map that was not known has no mode.
fn mode(mode: Option<&Word>) -> String {
    mode.map_or_else(|| "not known".to_owned(), |mode| escape_line(mode).into_owned())
}

fn owner(vcpu: Option<u32>) -> String {
    vcpu.map_or_else(|| "nobody".to_owned(), |id| format!("vCPU {id}"))
}
