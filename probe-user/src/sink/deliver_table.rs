//! `deliver` for people: destinations that fare alike share a row, what is wrong comes first.
//!
//! Made for 80 columns and one screen: of the kinds of row that a VM has many of, the first are shown and the rest
//! counted. The whole truth is in `deliver --format json`.

use std::{
    collections::BTreeMap,
    io::{self, Write},
};

use probe_apic::delivery::{DeliveryMode, DestinationMode, Verdict};
use textwrap::{Options, WordSplitter};

use super::{convert, phrase, terminal::Style};
use crate::{
    clock::WallClock,
    engine::{
        deliveries::{Deliveries, Delivery, Question},
        view::HostView,
    },
    identity::VmIdentity,
};

/// Rows of one verdict that are shown of one VM.
const MAX_ROWS: usize = 16;

/// Runs of destinations that a row shows.
const MAX_RUNS: usize = 4;

/// Widths of the columns, in characters.
const WIDTHS: [usize; 4] = [9, 27, 19, 19];

/// What comes first is what a reader has to know.
pub(super) const WORST_FIRST: [Verdict; 5] = [
    Verdict::Misrouted,
    Verdict::Lost,
    Verdict::Partial,
    Verdict::Slow,
    Verdict::Ok,
];

/// Destinations that reach the same vCPUs and should reach the same.
#[derive(Debug)]
pub(super) struct Group<'a> {
    pub(super) one: &'a Delivery,
    pub(super) dests: Vec<u32>,
}

/// Writes the deliveries of every VM.
///
/// # Errors
/// When `out` cannot be written.
pub fn write(
    out: &mut dyn Write,
    host: &HostView<'_>,
    question: &Question,
    vms: &[(&VmIdentity, Deliveries)],
    wall: WallClock,
    style: Style,
) -> io::Result<()> {
    out.write_all(phrase::heading(host, wall, style).as_bytes())?;
    write!(out, "{}", style.paragraph("", "  ", &about(question)))?;
    if host.vms.is_empty() {
        writeln!(out, "\nThere is no VM on this host.")?;
    }
    for (vm, deliveries) in vms {
        writeln!(out)?;
        write_vm(out, question, vm, deliveries, style)?;
    }
    out.flush()
}

/// What the tables are about, and what they are not.
fn about(question: &Question) -> String {
    let what = match question.delivery_mode {
        DeliveryMode::Fixed => "Fixed interrupts".to_owned(),
        DeliveryMode::LowestPriority { vector } => {
            format!("Interrupts of lowest priority with vector {vector:#04x}")
        }
    };
    let mode = match question.destination_mode {
        DestinationMode::Logical => "logical",
        DestinationMode::Physical => "physical",
    };
    format!(
        "{what} from IOAPIC pins and MSIs, edge-triggered, {mode} destinations. Not modelled: AVIC's own logical table, \
         and MSIs that hardware posts to a vCPU without KVM."
    )
}

fn write_vm(
    out: &mut dyn Write,
    question: &Question,
    vm: &VmIdentity,
    deliveries: &Deliveries,
    style: Style,
) -> io::Result<()> {
    let headline = format!(
        "VM {}: map {}, {}",
        phrase::vm(vm),
        convert::map_mode(deliveries.mode),
        counts(deliveries)
    );
    write!(out, "{}", style.paragraph("", "  ", &headline))?;
    if deliveries.rows.is_empty() {
        return Ok(());
    }
    let should = match question.delivery_mode {
        DeliveryMode::Fixed => "SHOULD GET IT",
        DeliveryMode::LowestPriority { .. } => "ONE SHOULD GET IT",
    };
    write_row(
        out,
        &["VERDICT", "DESTINATIONS", should, "GET IT FROM KVM"].map(str::to_owned),
    )?;
    for verdict in WORST_FIRST {
        let groups = groups(&deliveries.rows, verdict);
        for group in groups.iter().take(MAX_ROWS) {
            write_row(
                out,
                &[
                    verdict.name().to_owned(),
                    dest_ranges(&group.dests),
                    vcpus(&group.one.architecture),
                    vcpus(&group.one.kvm),
                ],
            )?;
        }
        let rest = groups.get(MAX_ROWS..).unwrap_or_default();
        let more: usize = rest.iter().map(|group| group.dests.len()).sum();
        if more > 0 {
            let rest = format!(
                "{more} more, in {} groups: see them with --dest or --format json",
                rest.len()
            );
            writeln!(out, "  {:<1$} {rest}", verdict.name(), WIDTHS[0])?;
        }
    }
    Ok(())
}

/// `all 256 destinations are ok`, or how many are and are not.
fn counts(deliveries: &Deliveries) -> String {
    let all = deliveries.asked;
    let noun = if all == 1 { "destination" } else { "destinations" };
    let bad = WORST_FIRST.into_iter().filter(|&verdict| verdict != Verdict::Ok);
    let counts: Vec<String> = bad
        .filter_map(|verdict| {
            let count = deliveries
                .rows
                .iter()
                .filter(|row| row.verdict == verdict)
                .count();
            (count > 0).then(|| format!("{count} {verdict}"))
        })
        .collect();
    if counts.is_empty() {
        let every = if all == 1 { "the" } else { "all" };
        let are = if all == 1 { "is" } else { "are" };
        return format!("{every} {all} {noun} {are} ok");
    }
    format!("of {all} {noun} {}", counts.join(", "))
}

/// In the order of the first destination of each.
pub(super) fn groups(rows: &[Delivery], verdict: Verdict) -> Vec<Group<'_>> {
    let mut index: BTreeMap<(&[u32], &[u32]), usize> = BTreeMap::new();
    let mut groups: Vec<Group<'_>> = Vec::new();
    for row in rows.iter().filter(|row| row.verdict == verdict) {
        let at = *index.entry((&row.architecture, &row.kvm)).or_insert_with(|| {
            groups.push(Group {
                one: row,
                dests: Vec::new(),
            });
            groups.len() - 1
        });
        groups[at].dests.push(row.dest);
    }
    groups
}

/// `0x02-0x03, 0x06`; of many, the first and how many more.
pub(super) fn dest_ranges(dests: &[u32]) -> String {
    let hex = |(first, last)| {
        if first == last {
            format!("{first:#04x}")
        } else {
            format!("{first:#04x}-{last:#04x}")
        }
    };
    let runs = phrase::runs(dests.iter().copied());
    if runs.len() <= MAX_RUNS {
        return runs.into_iter().map(hex).collect::<Vec<_>>().join(", ");
    }
    let shown = &runs[..MAX_RUNS - 1];
    let more = dests
        .iter()
        .filter(|&&dest| shown.iter().all(|&(_, last)| dest > last));
    let words: Vec<String> = shown.iter().copied().map(hex).collect();
    format!("{} +{} more", words.join(", "), more.count())
}

/// `vCPUs 0-3`, or a dash for nobody.
fn vcpus(ids: &[u32]) -> String {
    if ids.is_empty() {
        "-".to_owned()
    } else {
        phrase::vcpus(ids)
    }
}

/// Cells that are too wide go on below themselves.
fn write_row(out: &mut dyn Write, cells: &[String; 4]) -> io::Result<()> {
    let cells: Vec<Vec<_>> = cells
        .iter()
        .zip(WIDTHS)
        .map(|(cell, width)| {
            textwrap::wrap(
                cell,
                Options::new(width).word_splitter(WordSplitter::NoHyphenation),
            )
        })
        .collect();
    let height = cells.iter().map(Vec::len).max().unwrap_or(0);
    for line in 0..height {
        let mut row = String::new();
        for (cell, width) in cells.iter().zip(WIDTHS) {
            let words = cell.get(line).map_or("", |words| words.as_ref());
            row.push_str(&format!(" {words:<width$}"));
        }
        writeln!(out, " {}", row.trim_end())?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn row(dest: u32, vcpus: &[u32]) -> Delivery {
        Delivery {
            dest,
            architecture: vcpus.to_vec(),
            kvm: vcpus.to_vec(),
            verdict: Verdict::Ok,
        }
    }

    #[test]
    fn destinations_that_fare_alike_share_a_row() {
        let rows = [row(2, &[1]), row(3, &[1]), row(4, &[]), row(6, &[1])];
        let groups = groups(&rows, Verdict::Ok);
        let dests: Vec<String> = groups.iter().map(|group| dest_ranges(&group.dests)).collect();
        assert_eq!(dests, ["0x02-0x03, 0x06", "0x04"]);
        assert_eq!(dest_ranges(&[0, 2, 4, 6]), "0x00, 0x02, 0x04, 0x06");
        assert_eq!(
            dest_ranges(&[0, 1, 3, 5, 7, 8, 10]),
            "0x00-0x01, 0x03, 0x05 +3 more"
        );
    }

    #[test]
    fn a_wide_cell_goes_on_below_itself_within_80_columns() {
        let odd: Vec<u32> = (0..60).map(|number| number * 2).collect();
        let mut out = Vec::new();
        let cells = ["ok".to_owned(), dest_ranges(&odd), vcpus(&odd), vcpus(&[])];
        write_row(&mut out, &cells).unwrap();
        let text = String::from_utf8(out).unwrap();
        assert!(text.lines().count() > 5, "{text}");
        assert!(
            text.lines().all(|line| line.len() <= 80 && !line.ends_with(' ')),
            "{text}"
        );
    }
}
