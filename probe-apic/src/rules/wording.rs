//! The words that summaries share: lists of vCPUs, slots and registers, short whatever their number.
//!
//! Sentences are left to the rules; times and colours to the sinks.

use std::fmt;

use crate::{
    id::{Slot, VcpuId},
    logical_id::Model,
    observation::VcpuSample,
};

/// Runs of ids that a list shows before it says how many more there are.
const SHOWN_RUNS: usize = 12;

/// vCPUs that are named with their LDR each, before the list gives the range of LDRs.
const SHOWN_LDRS: usize = 4;

/// `vCPU 3`, `vCPUs 0, 2 and 5-9`.
pub(super) struct VcpuList(Vec<VcpuId>);

impl VcpuList {
    pub(super) fn new(mut ids: Vec<VcpuId>) -> Self {
        ids.sort_unstable();
        ids.dedup();
        Self(ids)
    }

    /// `vCPU 3 keeps`, `vCPUs 3 and 4 keep`: the verb that fits the number.
    pub(super) const fn verb<'v>(&self, one: &'v str, several: &'v str) -> &'v str {
        if self.0.len() == 1 { one } else { several }
    }

    /// First and last id of every run of consecutive ids.
    fn runs(&self) -> Vec<(u32, u32)> {
        let mut runs: Vec<(u32, u32)> = Vec::new();
        for &VcpuId(id) in &self.0 {
            match runs.last_mut() {
                Some((_, last)) if last.checked_add(1) == Some(id) => *last = id,
                _ => runs.push((id, id)),
            }
        }
        runs
    }
}

impl fmt::Display for VcpuList {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.verb("vCPU ", "vCPUs "))?;
        let runs = self.runs();
        let shown = runs.len().min(SHOWN_RUNS);
        for (place, &(first, last)) in runs[..shown].iter().enumerate() {
            let ends_list = place + 1 == runs.len();
            f.write_str(match place {
                0 => "",
                _ if ends_list => " and ",
                _ => ", ",
            })?;
            match last - first {
                0 => write!(f, "{first}")?,
                1 if ends_list && place > 0 => write!(f, "{first}-{last}")?,
                1 => write!(f, "{first}{}{last}", if ends_list { " and " } else { ", " })?,
                _ => write!(f, "{first}-{last}")?,
            }
        }
        match runs[shown..]
            .iter()
            .map(|&(first, last)| u64::from(last - first) + 1)
            .sum::<u64>()
        {
            0 => Ok(()),
            more => write!(f, " and {more} more"),
        }
    }
}

/// vCPUs with their LDRs: `vCPU 2 (LDR 0x03000000)`, or the range of LDRs where there are many.
pub(super) fn with_ldrs(vcpus: &[&VcpuSample]) -> String {
    let mut sorted = vcpus.to_vec();
    sorted.sort_by_key(|vcpu| vcpu.id);
    if sorted.len() <= SHOWN_LDRS {
        let each: Vec<String> = sorted
            .iter()
            .map(|vcpu| format!("vCPU {} (LDR {})", vcpu.id, vcpu.lapic.ldr))
            .collect();
        return in_words(&each);
    }
    let list = VcpuList::new(sorted.iter().map(|vcpu| vcpu.id).collect());
    let ldrs = || sorted.iter().map(|vcpu| vcpu.lapic.ldr);
    match (ldrs().min(), ldrs().max()) {
        (Some(lowest), Some(highest)) if lowest != highest => {
            format!("{list} (LDRs {lowest} to {highest})")
        }
        (Some(ldr), _) => format!("{list} (LDR {ldr} each)"),
        (None, _) => list.to_string(),
    }
}

/// `a`, `a and b`, `a, b and c`.
pub(super) fn in_words(items: &[String]) -> String {
    match items {
        [] => String::new(),
        [one] => one.clone(),
        [most @ .., last] => format!("{} and {last}", most.join(", ")),
    }
}

/// The first `shown` of `items`, then how many more there are.
pub(super) fn first_of(items: impl ExactSizeIterator<Item = String>, shown: usize) -> Vec<String> {
    let more = items.len().saturating_sub(shown);
    let mut named: Vec<String> = items.take(shown).collect();
    if more > 0 {
        named.push(format!("{more} more"));
    }
    named
}

/// `slot 0 (flat bit 0)`, `slot 3.1 (cluster 3, bit 1)`.
pub(super) fn slot(model: Model, slot: Slot) -> String {
    let Slot { cluster, bit } = slot;
    match model {
        Model::Flat => format!("slot {bit} (flat bit {bit})"),
        Model::Cluster => format!("slot {cluster}.{bit} (cluster {cluster}, bit {bit})"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn list(ids: &[u32]) -> String {
        VcpuList::new(ids.iter().copied().map(VcpuId).collect()).to_string()
    }

    #[test]
    fn a_list_of_vcpus_reads_like_prose() {
        assert_eq!(list(&[3]), "vCPU 3");
        assert_eq!(list(&[4, 3]), "vCPUs 3 and 4");
        assert_eq!(list(&[0, 1, 5]), "vCPUs 0, 1 and 5");
        assert_eq!(list(&[0, 2, 5, 6, 7, 8, 9]), "vCPUs 0, 2 and 5-9");
        assert_eq!(list(&[0, 5, 6]), "vCPUs 0 and 5-6");
    }

    #[test]
    fn a_long_list_says_how_many_it_leaves_out() {
        let odd: Vec<u32> = (0..64).map(|n| 2 * n + 1).collect();
        assert_eq!(
            list(&odd),
            "vCPUs 1, 3, 5, 7, 9, 11, 13, 15, 17, 19, 21, 23 and 52 more"
        );
        assert_eq!(list(&(0..=4095).collect::<Vec<_>>()), "vCPUs 0-4095");
    }
}
