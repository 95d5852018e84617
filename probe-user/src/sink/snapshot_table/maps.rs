//! The logical map, published beside rebuilt, one row for each cluster (flat: for each bit).

use std::{
    collections::{BTreeMap, BTreeSet},
    io::{self, Write},
};

use probe_apic::{
    id::VcpuIdx,
    map::{LogicalAndPhysicalMap, MapMode},
    vm::Vm,
};

use crate::sink::convert;

/// A row's key: the cluster, and in flat mode the bit.
type Row = (u8, Option<u8>);

pub(super) fn write(out: &mut dyn Write, vm: &Vm) -> io::Result<()> {
    let published = vm.published();
    let rebuilt = vm.rebuild().map(|rebuild| rebuild.map.as_ref());
    let published_mode = match vm.as_if() {
        Some(_) => "set aside",
        None => mode(published),
    };
    let verdict = match vm.agrees() {
        Some(true) => "they agree",
        Some(false) => "THEY DIFFER",
        None => "not compared",
    };
    let rebuilt_mode = rebuilt.map_or("unknown", mode);
    writeln!(
        out,
        "  map: published {published_mode}, rebuilt {rebuilt_mode}; {verdict}"
    )?;

    let published = rows(vm, published);
    let rebuilt = rows(vm, rebuilt.flatten());
    let keys: BTreeSet<Row> = published.keys().chain(rebuilt.keys()).copied().collect();
    if !keys.is_empty() {
        writeln!(out, "    {:<11} {:<30} REBUILT", "SLOT", "PUBLISHED")?;
    }
    for key in keys {
        let owners = |rows: &BTreeMap<Row, Vec<String>>| {
            rows.get(&key)
                .map_or_else(|| "-".to_owned(), |owners| owners.join("  "))
        };
        let label = match key {
            (_, Some(bit)) => format!("bit {bit}"),
            (cluster, None) => format!("cluster {cluster}"),
        };
        writeln!(
            out,
            "    {label:<11} {:<30} {}",
            owners(&published),
            owners(&rebuilt)
        )?;
    }
    Ok(())
}

fn mode(map: Option<&LogicalAndPhysicalMap>) -> &'static str {
    convert::map_mode(map.map(|map| map.mode))
}

fn rows(vm: &Vm, map: Option<&LogicalAndPhysicalMap>) -> BTreeMap<Row, Vec<String>> {
    let mut rows: BTreeMap<Row, Vec<String>> = BTreeMap::new();
    for (slot, idx) in map.map(|map| map.slots.as_slice()).unwrap_or_default() {
        let owner = owner(vm, *idx);
        if map.is_some_and(|map| map.mode == MapMode::Flat) {
            rows.entry((0, Some(slot.bit)))
                .or_default()
                .push(format!("vCPU {owner}"));
        } else {
            rows.entry((slot.cluster, None))
                .or_default()
                .push(format!("{}:{owner}", slot.bit));
        }
    }
    rows
}

/// A published map can hold a vCPU that the sample does not: one that is being made or torn down.
fn owner(vm: &Vm, idx: VcpuIdx) -> String {
    vm.vcpu_id(idx)
        .map_or_else(|| format!("#{} (unknown)", idx.0), |id| id.to_string())
}
