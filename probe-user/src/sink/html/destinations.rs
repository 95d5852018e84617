//! The 256 logical destinations: a row of bars, the worse the higher, with marks where something aims; below it who should get
//! what goes wrong, and who does.

use maud::{Markup, html};
use probe_apic::delivery::Verdict;

use crate::{
    engine::deliveries::{Deliveries, Delivery},
    message::{Aimed, Vm, meaning},
    sink::{
        deliver_table::{WORST_FIRST, dest_ranges, groups},
        phrase,
    },
};

/// Width of one destination.
const STEP: u32 = 4;
/// Where the bars stand.
const BASE: u32 = 62;
/// Groups of destinations that fare alike, of one verdict, that are shown.
const MAX_GROUPS: usize = 16;
/// Runs of vCPUs that a cell of the table shows.
const MAX_RUNS: usize = 12;
/// Sources that are listed.
const MAX_AIMS: usize = 16;

pub(super) fn part(vm: &Vm, deliveries: Option<&Deliveries>) -> Markup {
    html! {
        @match deliveries {
            None => p.quiet { "Who gets what cannot be told: the map that KVM goes by is not known." },
            Some(deliveries) => {
                (heat(deliveries, &vm.aimed))
                (legend(deliveries))
                (table(deliveries))
            },
        }
        (aims(&vm.aimed))
    }
}

/// Height of a bar.
const fn height(verdict: Verdict) -> u32 {
    match verdict {
        Verdict::Ok => 8,
        Verdict::Slow => 20,
        Verdict::Partial => 34,
        Verdict::Lost => 46,
        Verdict::Misrouted => 58,
    }
}

fn heat(deliveries: &Deliveries, aimed: &[Aimed]) -> Markup {
    html! {
        div.scroll tabindex="0" role="region" aria-label="Destinations by verdict" {
            svg.heat role="img" aria-label=(counts(deliveries)) viewBox={ "0 0 " (256 * STEP) " 96" } {
                @for (first, last, verdict) in runs(&deliveries.rows) {
                    @let height = height(verdict);
                    g data-verdict=(verdict) {
                        title { (span(first, last)) ": " (verdict) }
                        rect class=(verdict) x=(first * STEP) y=(BASE - height) width=((last - first + 1) * STEP)
                            height=(height) {}
                    }
                }
                line.axis x1="0" x2=(256 * STEP) y1=(BASE) y2=(BASE) {}
                @for dest in (0..256_u32).step_by(32) {
                    text.small x=(dest * STEP) y="92" { (format!("{dest:#04x}")) }
                }
                text.small x=(256 * STEP) y="92" text-anchor="end" { "0xff" }
                @for aim in aimed.iter().filter(|aim| aim.dest < 256) {
                    @let x = aim.dest * STEP + STEP / 2;
                    g {
                        title { (words(aim)) }
                        path.aim d={ "M" (x) " " (BASE + 3) " l6 12 h-12 z" } {}
                    }
                }
            }
        }
    }
}

/// Neighbours of one verdict.
fn runs(rows: &[Delivery]) -> Vec<(u32, u32, Verdict)> {
    let mut runs: Vec<(u32, u32, Verdict)> = Vec::new();
    for row in rows.iter().filter(|row| row.dest < 256) {
        match runs.last_mut() {
            Some((_, last, verdict)) if *verdict == row.verdict && *last + 1 == row.dest => *last = row.dest,
            _ => runs.push((row.dest, row.dest, row.verdict)),
        }
    }
    runs
}

fn span(first: u32, last: u32) -> String {
    if first == last {
        format!("{first:#04x}")
    } else {
        format!("{first:#04x}-{last:#04x}")
    }
}

fn count(deliveries: &Deliveries, verdict: Verdict) -> usize {
    deliveries
        .rows
        .iter()
        .filter(|row| row.verdict == verdict)
        .count()
}

/// `239 partial, 17 ok`.
fn counts(deliveries: &Deliveries) -> String {
    let counts = WORST_FIRST.map(|verdict| (verdict, count(deliveries, verdict)));
    let words: Vec<String> = counts
        .into_iter()
        .filter(|(_, count)| *count > 0)
        .map(|(verdict, count)| format!("{count} {verdict}"))
        .collect();
    words.join(", ")
}

fn legend(deliveries: &Deliveries) -> Markup {
    let means = |verdict| match verdict {
        Verdict::Ok => "as it should be",
        Verdict::Slow => "right, but KVM scans all vCPUs",
        Verdict::Partial => "not all who should get it do",
        Verdict::Lost => "nobody gets it",
        Verdict::Misrouted => "somebody gets it who should not",
    };
    html! {
        ul.legend {
            @for verdict in WORST_FIRST {
                @let count = count(deliveries, verdict);
                @if count > 0 {
                    @let height = height(verdict) / 4 + 1;
                    li data-count=(count) {
                        svg viewBox="0 0 16 16" aria-hidden="true" {
                            rect class=(verdict) x="1" y=(16 - height) width="14" height=(height) {}
                        }
                        b { (count) " " (verdict) } ": " (means(verdict))
                    }
                }
            }
            li.quiet { "▲ something aims there" }
        }
    }
}

fn table(deliveries: &Deliveries) -> Markup {
    let bad = WORST_FIRST.into_iter().filter(|verdict| verdict.is_broken());
    let tables: Vec<_> = bad
        .map(|verdict| (verdict, groups(&deliveries.rows, verdict)))
        .filter(|(_, groups)| !groups.is_empty())
        .collect();
    html! {
        @if !tables.is_empty() {
            div.scroll tabindex="0" role="region" aria-label="Destinations that go wrong" {
                table.deliveries {
                    thead { tr { th { "verdict" } th { "destinations" } th { "should get it" } th { "get it from KVM" } } }
                    tbody {
                        @for (verdict, groups) in &tables {
                            @for group in groups.iter().take(MAX_GROUPS) {
                                tr {
                                    td.whole { (verdict) }
                                    td.wide.mono { (dest_ranges(&group.dests)) }
                                    td.wide { (few(&group.one.architecture)) }
                                    td.wide { (few(&group.one.kvm)) }
                                }
                            }
                            @let rest = groups.get(MAX_GROUPS..).unwrap_or_default();
                            @if !rest.is_empty() {
                                @let more: usize = rest.iter().map(|group| group.dests.len()).sum();
                                tr { td.whole { (verdict) } td colspan="3" { (more) " more destinations, in " (rest.len()) " groups" } }
                            }
                        }
                    }
                }
            }
        }
    }
}

/// vCPUs by their runs, of many the first, or a dash for nobody.
fn few(ids: &[u32]) -> String {
    let runs = phrase::runs(ids.iter().copied());
    match (ids, runs.get(MAX_RUNS)) {
        ([], _) => "-".to_owned(),
        (_, None) => phrase::vcpus(ids),
        (_, Some(&(next, _))) => {
            let shown = ids.partition_point(|&id| id < next);
            format!("{} and {} more", phrase::vcpus(&ids[..shown]), ids.len() - shown)
        }
    }
}

fn aims(aimed: &[Aimed]) -> Markup {
    html! {
        @if aimed.is_empty() {
            p.quiet { "Nothing known aims at a logical destination." }
        } @else {
            p { "Aimed:" }
            ul.aims {
                @for aim in aimed.iter().take(MAX_AIMS) { li { (words(aim)) } }
                @if aimed.len() > MAX_AIMS { li { (aimed.len() - MAX_AIMS) " more" } }
            }
        }
    }
}

fn words(aimed: &Aimed) -> String {
    match meaning::aim(aimed) {
        Some(aim) => phrase::aims(&aim, &[aim.index]),
        None => format!("destination {:#04x}, vector {:#04x}", aimed.dest, aimed.vector),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn of_many_vcpus_the_first_runs_are_shown_and_the_rest_is_counted() {
        assert_eq!(few(&[]), "-");
        assert_eq!(few(&[3]), "vCPU 3");
        let odd: Vec<u32> = (0..1024).filter(|id| id % 2 == 1).collect();
        assert_eq!(
            few(&odd),
            "vCPUs 1, 3, 5, 7, 9, 11, 13, 15, 17, 19, 21, 23 and 500 more"
        );
    }
}
