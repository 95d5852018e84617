//! The ground under the cases with an operator's tools: systemd runs this machine, its journal gives back what was sent to it,
//! and Prometheus judges by its rules. No part of ldrscope takes part.

use std::fs;
use std::os::unix::net::UnixDatagram;
use std::path::Path;
use std::time::Duration;

use super::{Bench, CaseError, CaseResult, Context, require};
use crate::fleet::exporter::Exporter;
use crate::fleet::journal::Journal;
use crate::fleet::prometheus::Prometheus;
use crate::fleet::run;

/// Where journald takes entries of its own protocol.
const JOURNAL_SOCKET: &str = "/run/systemd/journal/socket";

/// Prometheus' own port; nothing else of the lab uses it.
pub(super) const PROMETHEUS: ([u8; 4], u16) = ([127, 0, 0, 1], 9090);

/// From what a target serves to what Prometheus thinks of it: a scrape and a judgement, a second each on a free machine.
pub(super) const JUDGED: Duration = Duration::from_secs(60);

/// How long anything may take for which several programs must act, emulated on a machine that does other things too.
pub(super) const PATIENT: Duration = Duration::from_secs(60);

/// An entry with a repeated field and a value of two lines comes back as it was sent.
pub(super) fn journal_reads_back(_: &Context, bench: &mut Bench) -> CaseResult {
    bench.clear();
    let state = run("systemctl", &["is-system-running"])?;
    require(state.trim() == "running", || {
        format!("systemd should be running as PID 1, says {state:?}")
    })?;
    let journal = Journal::from_now()?;
    let name = b"two\nlines";
    let mut entry = b"MESSAGE=one\nVCPU=0\nVCPU=15\nPRIORITY=2\nVM_NAME\n".to_vec();
    entry.extend_from_slice(&(name.len() as u64).to_le_bytes());
    entry.extend_from_slice(name);
    entry.push(b'\n');
    let unmet = |error| CaseError::Unmet(format!("cannot send to {JOURNAL_SOCKET}: {error}"));
    let socket = UnixDatagram::unbound().map_err(unmet)?;
    socket.send_to(&entry, JOURNAL_SOCKET).map_err(unmet)?;

    let pid = format!("_PID={}", std::process::id());
    let read = journal.wait_for("an entry comes back", PATIENT, &[&pid, "PRIORITY=2"], |_| true)?;
    require(read.texts("VCPU") == ["0", "15"], || {
        format!("VCPU should be 0 and 15: {}", read.line())
    })?;
    require(read.values("VM_NAME") == [name], || {
        format!("VM_NAME should have two lines: {}", read.line())
    })
}

/// A rule on a served series fires once it is there, and no longer once it has gone.
pub(super) fn prometheus_fires(_: &Context, bench: &mut Bench) -> CaseResult {
    bench.clear();
    const ALERT: &str = "StandIn";
    let directory = Path::new("/tmp/prometheus-fires");
    let rules = directory.join("rules.yml");
    let text = format!("groups:\n- name: lab\n  rules:\n  - alert: {ALERT}\n    expr: lab_stand_in > 0\n");
    fs::create_dir_all(directory)
        .and_then(|()| fs::write(&rules, text))
        .map_err(|error| CaseError::Unmet(format!("cannot write {}: {error}", rules.display())))?;
    let exporter = Exporter::start("lab_stand_in 0\n")
        .map_err(|error| CaseError::Unmet(format!("cannot serve: {error}")))?;
    let prometheus = Prometheus::start(PROMETHEUS.into(), exporter.address(), &[&rules], directory)?;
    let silent = prometheus.alerts()?;
    require(silent.is_empty(), || format!("nothing should fire: {silent:?}"))?;
    exporter.serve("lab_stand_in 1\n");
    prometheus.wait_for_alerts("the alert fires", JUDGED, |alerts| {
        alerts.iter().any(|alert| alert.fires(ALERT))
    })?;
    exporter.serve("lab_stand_in 0\n");
    prometheus.wait_for_alerts("the alert resolves", JUDGED, <[_]>::is_empty)?;
    let series = prometheus.query("lab_stand_in")?;
    require(series.len() == 1, || {
        format!("there should be one series: {series:?}")
    })
}
