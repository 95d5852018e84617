//! What Prometheus is told: the state of the host's VMs, and how ldrscope itself fares, as text of its format 0.0.4.
//!
//! [`Telemetry`] is a plain view of everything that is exposed, put together for each scrape: no registry, no global.
//! Names and labels are a contract; they are only in [`vms`] and [`own`]. A healthy VM costs two series.

mod family;
mod label;
mod own;
pub mod process;
mod vms;

use std::collections::BTreeMap;

use prometheus::TextEncoder;

use self::{family::Family, process::ProcessStats};
use crate::{
    bpf::access::ProgramRuns,
    engine::{tally::Tally, view::HostView},
    observer::Counts,
};

/// The content type of what [`render`] returns.
pub const CONTENT_TYPE: &str = "text/plain; version=0.0.4; charset=utf-8";

/// Everything that is exposed, at one moment.
#[derive(Clone, Copy, Debug)]
pub struct Telemetry<'a> {
    /// Whether the hooks are attached and proven.
    pub up: bool,
    /// The host and its VMs, with the findings that have been told ([`crate::engine::Engine::standing`]); `None` while
    /// there is no KVM to observe.
    pub host: Option<&'a HostView<'a>>,
    /// Whether each vCPU gets series of its own.
    pub vcpu_metrics: bool,
    /// What the engine counted.
    pub tally: &'a Tally,
    /// What observing took and what it missed, since the start.
    pub counts: Counts,
    /// Times that the hooks were attached.
    pub attachments: u64,
    /// The kernel-side programs' own cost; all zero where the kernel is not asked to measure it.
    pub programs: &'a [ProgramRuns],
    /// What became of what was to be written.
    pub outputs: &'a OutputCounters,
    /// What became of those who asked over HTTP.
    pub http: &'a HttpCounters,
    /// What this process uses of the host; `None` where `/proc` cannot be read.
    pub process: Option<ProcessStats>,
}

/// What became of what was to be written.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct OutputCounters {
    /// Lines that the rate limit held back.
    pub suppressed_lines: u64,
    /// Failures by output, of every output that is in use.
    pub errors: BTreeMap<&'static str, u64>,
    /// Snapshots written, by what asked for them.
    pub snapshots: BTreeMap<&'static str, u64>,
    /// Recordings of the flight recorder written, by what asked for them.
    pub recordings: BTreeMap<&'static str, u64>,
    /// Bytes that the flight recorder holds, where there is one.
    pub recording_bytes: Option<usize>,
}

/// What became of those who asked over HTTP.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct HttpCounters {
    /// Requests answered, by status code.
    pub requests: BTreeMap<u16, u64>,
    /// Connections that were closed without an answer to a whole request, for want of a place.
    pub refused: u64,
}

/// The text that a scrape gets.
#[must_use]
pub fn render(telemetry: &Telemetry<'_>) -> String {
    let mut families = of_ldrscope(telemetry);
    if let Some(process) = &telemetry.process {
        families.extend(process::families(process));
    }
    encode(families)
}

/// The text for node_exporter's textfile collector: without the `process_*` families, of which node_exporter has its
/// own. It refuses all of its metrics where one has two sources.
#[must_use]
pub fn render_textfile(telemetry: &Telemetry<'_>) -> String {
    encode(of_ldrscope(telemetry))
}

fn of_ldrscope(telemetry: &Telemetry<'_>) -> Vec<Family> {
    let mut families = Vec::from(own::about(telemetry));
    if let Some(host) = telemetry.host {
        families.extend(vms::families(host, telemetry.vcpu_metrics));
    }
    families.extend(own::counters(telemetry));
    families
}

fn encode(families: Vec<Family>) -> String {
    let families: Vec<_> = families.into_iter().filter_map(Family::into_proto).collect();
    let mut text = String::new();
    // It refuses families without a name or a metric only, of which there are none.
    if let Err(error) = TextEncoder::new().encode_utf8(&families, &mut text) {
        log::error!("metrics could not be written as text: {error}");
    }
    text
}
