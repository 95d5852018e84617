//! Did it go as expected? What the guest's timer and ldrscope's findings must look like on either kind of host,
//! and the two lines that say so.

use std::fmt;

use crate::contract::{Finding, Rule, Severity, Slot, Snapshot};
use crate::host::MapRules;
use crate::scenario::DeadCpus;

/// The slot that the kdump kernel's timer is aimed at.
const TIMER_SLOT: Slot = Slot { cluster: 0, bit: 0 };

/// The outcome of one act, judged.
#[derive(Debug)]
pub(super) struct Verdict {
    ticks: u32,
    said: String,
    guest_as_expected: bool,
    tool_as_expected: bool,
}

impl Verdict {
    /// Judges one act by the interrupts that came and the state that ldrscope shows.
    pub(super) fn of(others: DeadCpus, rules: MapRules, ticks: u32, state: &Snapshot) -> Self {
        let findings: Vec<&Finding> = state.vms.iter().flat_map(|vm| &vm.findings).collect();
        let stolen = findings
            .iter()
            .find(|finding| finding.collision_slot() == Some(TIMER_SLOT));
        let stale = findings.iter().find(|finding| finding.rule == Rule::LdrStale);
        let worst = findings.iter().map(|finding| finding.severity).max();

        let critical = |finding: &&&Finding| finding.severity == Severity::Critical;
        let (comes, subject, tool_as_expected) = match (others, rules) {
            (DeadCpus::LeftEnabled, MapRules::KeepDisabled | MapRules::Overwrite) => {
                (false, stolen, stolen.as_ref().is_some_and(critical))
            }
            (DeadCpus::LeftEnabled, MapRules::ConflictDisables) => {
                let slow = |finding: &&&Finding| finding.severity == Severity::Warning && finding.effect.slow;
                (true, stolen, stolen.as_ref().is_some_and(slow))
            }
            (DeadCpus::Disabled, MapRules::KeepDisabled) => {
                (false, stale, stale.as_ref().is_some_and(critical))
            }
            (DeadCpus::Disabled, MapRules::Overwrite | MapRules::ConflictDisables) => {
                (true, stale, stale.is_some() && worst <= Some(Severity::Notice))
            }
        };
        let said = match subject {
            Some(finding) => format!("{}: {}", severity_word(finding.severity), finding.summary),
            None => "said nothing about it".to_owned(),
        };
        Self {
            ticks,
            said,
            guest_as_expected: comes == (ticks > 0),
            tool_as_expected,
        }
    }

    /// Whether guest and ldrscope both did what they do on such a host.
    pub(super) fn as_expected(&self) -> bool {
        self.guest_as_expected && self.tool_as_expected
    }
}

impl fmt::Display for Verdict {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let came = match self.ticks {
            0 => "its timer interrupt never came".to_owned(),
            ticks => format!("its timer interrupt came ({ticks} times)"),
        };
        writeln!(f, "guest:    {came} ({})", expectation(self.guest_as_expected))?;
        write!(
            f,
            "ldrscope: {} ({})",
            self.said,
            expectation(self.tool_as_expected)
        )
    }
}

fn expectation(met: bool) -> &'static str {
    if met {
        "as expected on this kernel"
    } else {
        "NOT as expected on this kernel"
    }
}

fn severity_word(severity: Severity) -> &'static str {
    match severity {
        Severity::Info => "info",
        Severity::Notice => "notice",
        Severity::Warning => "warning",
        Severity::Critical => "critical",
    }
}
