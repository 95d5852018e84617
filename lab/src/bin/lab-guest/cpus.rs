//! The guest's CPUs: which are online, how often their timers fired, and taking them off and on.

use std::fs;

use anyhow::{Context as _, Result, bail};
use lab::linux_guest::talk::Cpu;

use crate::read;

/// Takes `cpu` off or on.
pub(crate) fn set_online(cpu: u32, online: bool) -> Result<()> {
    let path = format!("/sys/devices/system/cpu/cpu{cpu}/online");
    let word = if online { "1" } else { "0" };
    fs::write(&path, word).with_context(|| format!("cannot write {word} to {path}"))
}

/// The CPUs that are online.
pub(crate) fn online() -> Result<Vec<Cpu>> {
    let table = read("/proc/interrupts")?;
    let numbers = listed(&read("/sys/devices/system/cpu/online")?)?;
    let fired = timer_row(&table).context("/proc/interrupts has no row LOC")?;
    let ids = apic_ids(&read("/proc/cpuinfo")?);
    if numbers.len() != fired.len() || numbers.len() != ids.len() {
        bail!(
            "{numbers:?} are online, /proc/interrupts has {} columns, /proc/cpuinfo {} CPUs",
            fired.len(),
            ids.len()
        );
    }
    let cpus = numbers.into_iter().zip(fired).zip(ids);
    Ok(cpus
        .map(|((number, timer_interrupts), apic_id)| Cpu {
            number,
            apic_id,
            timer_interrupts,
        })
        .collect())
}

/// The numbers of a list such as `0-2,5`.
fn listed(list: &str) -> Result<Vec<u32>> {
    let mut numbers = Vec::new();
    for range in list.split(',') {
        let (first, last) = range.split_once('-').unwrap_or((range, range));
        let number = |text: &str| {
            text.parse::<u32>()
                .with_context(|| format!("{list:?} is no list"))
        };
        numbers.extend(number(first)?..=number(last)?);
    }
    Ok(numbers)
}

/// The counts of local timer interrupts, one for each CPU that is online.
fn timer_row(table: &str) -> Option<Vec<u64>> {
    let row = table
        .lines()
        .find_map(|line| line.trim_start().strip_prefix("LOC:"))?;
    Some(
        row.split_whitespace()
            .map_while(|word| word.parse().ok())
            .collect(),
    )
}

/// The APIC IDs of the CPUs that are online.
fn apic_ids(cpuinfo: &str) -> Vec<u32> {
    let value = |line: &str| {
        let (name, value) = line.split_once(':')?;
        (name.trim() == "apicid").then(|| value.trim().parse().ok())?
    };
    cpuinfo.lines().filter_map(value).collect()
}

#[cfg(test)]
mod tests {
    use super::{apic_ids, listed, timer_row};

    #[test]
    fn the_kernels_tables_are_read() {
        assert_eq!(listed("0-2,5").unwrap(), [0, 1, 2, 5]);
        assert!(listed("none").is_err());
        let table = "           CPU0       CPU2\n  4:          0          7   IO-APIC   4-edge      ttyS0\n\
                     LOC:        941         12   Local timer interrupts\n";
        assert_eq!(timer_row(table).unwrap(), [941, 12]);
        assert_eq!(timer_row("no such row"), None);
        let cpuinfo = "processor\t: 0\napicid\t\t: 0\ninitial apicid\t: 0\n\nprocessor\t: 2\napicid\t\t: 3\n";
        assert_eq!(apic_ids(cpuinfo), [0, 3]);
    }
}
