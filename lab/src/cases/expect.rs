//! Expected findings, and the comparison of a whole set with what stands: a missing, a surplus and a different
//! finding are all failures. Where the contract leaves something open, an expectation leaves it open too.

use std::ops::RangeInclusive;
use std::time::{Duration, Instant};

use crate::contract::{Finding, Rule, Severity, Slot};
use crate::tool::{PATIENCE, ToolError, Watch};

/// Twice ldrscope's default settle time: whatever follows from the guest's last act has been said by then.
const SETTLED: Duration = Duration::from_millis(400);

/// One finding that should stand.
#[derive(Debug, Clone)]
pub(super) struct Expected {
    rule: Rule,
    slot: Option<Slot>,
    vcpus: Option<Vec<u32>>,
    severity: RangeInclusive<Severity>,
    suspected: bool,
    slow: Option<bool>,
}

impl Expected {
    /// A finding of `rule`, with any vCPUs and any severity.
    pub(super) fn rule(rule: Rule) -> Self {
        Self {
            rule,
            slot: None,
            vcpus: None,
            severity: Severity::Info..=Severity::Critical,
            suspected: false,
            slow: None,
        }
    }

    /// The collision of `vcpus` on one slot.
    pub(super) fn collision(cluster: u32, bit: u32, vcpus: impl Into<Vec<u32>>) -> Self {
        Self {
            slot: Some(Slot { cluster, bit }),
            ..Self::rule(Rule::LdrCollision).on(vcpus)
        }
    }

    /// On exactly these vCPUs.
    pub(super) fn on(self, vcpus: impl Into<Vec<u32>>) -> Self {
        Self {
            vcpus: Some(vcpus.into()),
            ..self
        }
    }

    /// At exactly this severity.
    pub(super) fn at(self, severity: Severity) -> Self {
        Self {
            severity: severity..=severity,
            ..self
        }
    }

    /// At this severity or a milder one.
    pub(super) fn at_most(self, severity: Severity) -> Self {
        Self {
            severity: Severity::Info..=severity,
            ..self
        }
    }

    /// Marked as suspected.
    pub(super) fn suspected(self) -> Self {
        Self {
            suspected: true,
            ..self
        }
    }

    /// With `effect.slow` as given.
    pub(super) fn slow(self, slow: bool) -> Self {
        Self {
            slow: Some(slow),
            ..self
        }
    }

    fn is_about(&self, finding: &Finding) -> bool {
        self.rule == finding.rule && self.slot == finding.collision_slot()
    }

    /// What about `finding`, which this expectation is about, is not as expected.
    fn objection(&self, finding: &Finding) -> Option<String> {
        let wrong = |what: &str, wanted: &dyn std::fmt::Debug, got: &dyn std::fmt::Debug| {
            Some(format!(
                "{:?} {:?}: {what} should be {wanted:?}, is {got:?}",
                self.rule, self.slot
            ))
        };
        if self.vcpus.as_ref().is_some_and(|vcpus| *vcpus != finding.vcpus) {
            return wrong("vcpus", &self.vcpus, &finding.vcpus);
        }
        if !self.severity.contains(&finding.severity) {
            return wrong("severity", &self.severity, &finding.severity);
        }
        if self.suspected != finding.suspected {
            return wrong("suspected", &self.suspected, &finding.suspected);
        }
        if self.slow.is_some_and(|slow| slow != finding.effect.slow) {
            return wrong("effect.slow", &self.slow, &finding.effect.slow);
        }
        None
    }
}

/// How `findings` differ from `expected`; empty if they do not.
pub(super) fn differences(findings: &[&Finding], expected: &[Expected]) -> Vec<String> {
    let mut all = Vec::new();
    for finding in findings {
        match expected.iter().find(|expected| expected.is_about(finding)) {
            None => all.push(format!(
                "surplus {:?} {:?} on {:?}",
                finding.rule, finding.slots, finding.vcpus
            )),
            Some(expected) => all.extend(expected.objection(finding)),
        }
    }
    let missing = expected
        .iter()
        .filter(|expected| !findings.iter().any(|finding| expected.is_about(finding)))
        .map(|expected| format!("missing {:?} {:?}", expected.rule, expected.slot));
    all.extend(missing);
    all
}

/// Waits until exactly the expected findings stand and stay for all VMs of process `pid`, or of any process.
pub(super) fn settles_at(
    watch: &mut Watch,
    pid: Option<u32>,
    expected: &[Expected],
) -> Result<(), ToolError> {
    let deadline = Instant::now() + PATIENCE;
    loop {
        let seen = watch.events().len();
        let open = differences(&standing(watch, pid), expected);
        if open.is_empty() {
            watch.take_lines_for(SETTLED)?;
            if watch.events().len() == seen {
                return Ok(());
            }
            continue;
        }
        if Instant::now() >= deadline {
            return Err(ToolError::Unmet {
                what: open.join("; "),
                transcript: watch.transcript(),
            });
        }
        watch.take_lines_for(Duration::from_millis(20))?;
    }
}

fn standing(watch: &Watch, pid: Option<u32>) -> Vec<&Finding> {
    match pid {
        Some(pid) => watch.standing().of_process(pid),
        None => watch.standing().findings(),
    }
}
