//! `top` on a terminal while the failure of 2019 happens: what a person sees, and that the terminal and the privileges are as they should be
//! while it runs and afterwards.

use std::fs;

use rustix::process::Signal;

use super::{Bench, CaseResult, Context, require};
use crate::host::MapRules;
use crate::outside::process::{children, signal};
use crate::scenario::{DeadCpus, Kdump};
use crate::tool::{FullScreen, PATIENCE, read_snapshot};

const USUAL: (u16, u16) = (80, 24);
const LARGE: (u16, u16) = (200, 60);
/// Where the key S writes to.
const SNAPSHOTS: &str = "/tmp/top-snapshots";

pub(super) fn of_2019(context: &Context, bench: &mut Bench) -> CaseResult {
    bench.clear();
    // Of a run before this one.
    let _ = fs::remove_dir_all(SNAPSHOTS);
    fs::create_dir_all(SNAPSHOTS)?;
    let mut top = FullScreen::start(context.hooks, USUAL, &["--snapshot-dir", SNAPSHOTS])?;
    top.wait_for("an empty host is said to be one", 2 * PATIENCE, |text| {
        text.contains("No VM runs on this host")
    })?;
    top.shows(&format!("map rules {}", context.rules.name()))?;
    gave_up_everything(&top)?;

    let mut kdump = Kdump::boot_bigsmp()?;
    top.shows("lab-case (pi")?;
    kdump.crash(DeadCpus::LeftEnabled)?;
    kdump.arm_timer()?;
    // A map that KVM gave up is slow, and nothing worse.
    let (severity, map) = match context.rules {
        MapRules::KeepDisabled | MapRules::Overwrite => ("critical  lab-case", "published  15!"),
        MapRules::ConflictDisables => ("warning   lab-case", "given up; KVM scans all vCPUs"),
    };
    top.shows(severity)?;
    top.press("\r")?;
    top.shows(map)?;
    top.resize(LARGE)?;
    top.shows("ldr-collision  slot 0")?;
    top.wait_for("all parts are shown at once", PATIENCE, |text| {
        ["1 map", "2 findings (", "3 vCPUs (16)", "4 timeline ("]
            .iter()
            .all(|part| text.contains(part))
    })?;
    // By whom depends on what was seen of it: a loss leaves it unsaid.
    top.shows("LDR 0x00000000 -> 0x0")?;
    top.press("S")?;
    top.shows("snapshot written: /tmp/top-snapshots/ldrscope-")?;
    one_snapshot_with_findings()?;
    drop(kdump);
    top.shows("This VM is gone; this is how it was seen last.")?;
    top.press("q")?;
    let status = top.wait_for_exit()?;
    require(status.code() == Some(0), || {
        format!("q should end it with exit 0, ends it with {status}")
    })?;
    let is_restored = top.is_restored()?;
    require(is_restored, || {
        format!("the terminal should be as it was:\n{}", top.text())
    })?;
    // What was logged meanwhile is not lost.
    top.shows("ldrscope: info: watching no VM yet")?;
    ends_in_order(context)
}

/// The unprivileged one of its two processes, as the kernel tells it.
fn gave_up_everything(top: &FullScreen) -> CaseResult {
    for pid in children(top.pid())? {
        let status = fs::read_to_string(format!("/proc/{pid}/status"))?;
        for line in ["CapEff:\t0000000000000000", "NoNewPrivs:\t1", "Seccomp:\t2"] {
            // Without a kernel that lets bpf(2) go by descriptors alone one capability stays.
            let is_kept = line.starts_with("CapEff") && status.contains("CapEff:\t0000008000000000");
            require(status.contains(line) || is_kept, || {
                format!("the process that draws should have {line:?}: {status}")
            })?;
        }
    }
    Ok(())
}

fn one_snapshot_with_findings() -> CaseResult {
    let mut files = Vec::new();
    for entry in fs::read_dir(SNAPSHOTS)? {
        files.push(entry?.path());
    }
    let [file] = &files[..] else {
        return require(false, || format!("there should be one snapshot: {files:?}"));
    };
    let snapshot = read_snapshot(&fs::read_to_string(file)?)?;
    let is_whole = matches!(&snapshot.vms[..], [vm] if vm.vcpus.len() == 16 && !vm.findings.is_empty());
    require(is_whole, || {
        format!("the snapshot should hold the VM and its findings: {snapshot:?}")
    })
}

/// A terminal that is closed, and SIGTERM: both end it with 0.
fn ends_in_order(context: &Context) -> CaseResult {
    let mut top = FullScreen::start(context.hooks, USUAL, &[])?;
    top.wait_for("it draws", 2 * PATIENCE, |text| {
        text.contains("No VM runs on this host")
    })?;
    signal(top.pid(), Signal::TERM)?;
    let status = top.wait_for_exit()?;
    let is_restored = top.is_restored()?;
    require(status.code() == Some(0) && is_restored, || {
        format!("SIGTERM should end it with exit 0 and give the terminal back: {status}, {is_restored}")
    })?;

    let mut top = FullScreen::start(context.hooks, USUAL, &[])?;
    top.wait_for("it draws", 2 * PATIENCE, |text| {
        text.contains("No VM runs on this host")
    })?;
    top.close();
    let status = top.wait_for_exit()?;
    require(status.code() == Some(0), || {
        format!("a closed terminal should end it with exit 0, ends it with {status}")
    })?;
    killed(context)
}

/// The process that draws is killed: the other one gives the terminal back and says so.
fn killed(context: &Context) -> CaseResult {
    const AS_A_SHELL_PUTS_IT: i32 = 128 + 9;
    let mut top = FullScreen::start(context.hooks, USUAL, &[])?;
    top.wait_for("it draws", 2 * PATIENCE, |text| {
        text.contains("No VM runs on this host")
    })?;
    for child in children(top.pid())? {
        signal(child, Signal::KILL)?;
    }
    let status = top.wait_for_exit()?;
    top.shows("its unprivileged process was killed by signal 9;")?;
    let is_restored = top.is_restored()?;
    require(status.code() == Some(AS_A_SHELL_PUTS_IT) && is_restored, || {
        format!("a killed child should end it with 137 and a terminal as it was: {status}, {is_restored}")
    })
}
