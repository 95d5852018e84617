//! The runbook has a section for every rule.

use probe_apic::finding::Rule;

const RUNBOOK: &str = include_str!("../../../docs/runbook.md");

#[test]
fn every_rule_has_a_section_of_the_runbook() {
    for rule in Rule::ALL {
        let heading = format!("## {rule}");
        assert!(RUNBOOK.lines().any(|line| line == heading), "{heading}");
    }
}
