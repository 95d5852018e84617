//! `snapshot --format html`: one file that shows all there is, for a ticket.
//!
//! Pure: a snapshot as it is in JSON, and who gets what, become a page. It needs no network and no script, and forbids itself
//! both ([`style`]). Whatever a guest or an operator named is escaped twice: controls by [`crate::escape`], markup by maud.

mod destinations;
mod explanations;
mod finding;
mod map;
mod style;
mod vcpus;
mod vm;

use std::cmp::Reverse;

use maud::{DOCTYPE, Markup, PreEscaped, html};
use probe_apic::{finding::Severity, map_rules::MapRules};

use crate::{
    engine::deliveries::Deliveries,
    escape::escape_line,
    message::{Finding, Snapshot, Vm, meaning::severity},
};

/// What a page is made of.
#[derive(Clone, Copy, Debug)]
pub struct Page<'a> {
    /// The host and its VMs, of which the worst come first on the page.
    pub snapshot: &'a Snapshot,
    /// Of each VM of the snapshot, in its order, who gets what is sent to the logical destinations 0-255; `None` where that
    /// cannot be told.
    pub deliveries: &'a [Option<Deliveries>],
    /// The map rules of another KVM that the VMs are judged by.
    pub as_kvm: Option<MapRules>,
}

/// The page.
#[must_use]
pub fn render(page: &Page<'_>) -> String {
    let snapshot = page.snapshot;
    let title = format!("ldrscope: {}", escape_line(&snapshot.host.kernel));
    let mut vms: Vec<(usize, &Vm)> = snapshot.vms.iter().enumerate().collect();
    vms.sort_by_key(|(_, vm)| Reverse(vm.findings.iter().filter_map(severity).max()));
    html! {
        (DOCTYPE)
        html lang="en" {
            head {
                meta charset="utf-8";
                meta http-equiv="Content-Security-Policy" content=(style::policy());
                meta name="viewport" content="width=device-width, initial-scale=1";
                meta name="generator" content=(concat!("ldrscope ", env!("CARGO_PKG_VERSION")));
                title { (title) }
                style { (PreEscaped(style::SHEET)) }
            }
            body {
                header {
                    h1 { "KVM's local-APIC destination maps" }
                    (facts(snapshot))
                    @if let Some(rules) = page.as_kvm {
                        p.note {
                            "Judged as a KVM with map rules " b { (rules.name()) } " would treat the same registers. "
                            "This host's own published maps are set aside."
                        }
                    }
                }
                main {
                    (overview(&vms))
                    @for (index, vm) in vms {
                        (vm::section(index, vm, page.deliveries.get(index).and_then(Option::as_ref)))
                    }
                    (explanations::section(snapshot))
                }
                footer {
                    "Made by ldrscope " (env!("CARGO_PKG_VERSION")) " from a " code { (escape_line(&snapshot.schema)) } " document. "
                    "This page loads nothing and runs nothing."
                }
            }
        }
    }
    .into_string()
}

fn facts(snapshot: &Snapshot) -> Markup {
    let host = &snapshot.host;
    html! {
        dl.facts {
            div { dt { "kernel" } dd { (escape_line(&host.kernel)) } }
            div { dt { "KVM" } dd { (escape_line(&host.kvm_vendor)) } }
            div { dt { "map rules" } dd { (escape_line(&host.map_rules)) } }
            div { dt { "taken at" } dd { (escape_line(&snapshot.taken_at)) } }
        }
    }
}

/// All VMs in one table.
fn overview(vms: &[(usize, &Vm)]) -> Markup {
    if vms.is_empty() {
        return html! { p.note #no-vm { "There is no VM on this host." } };
    }
    html! {
        div.scroll tabindex="0" role="region" aria-label="All VMs" {
            table #overview {
                thead { tr { th { "VM" } th { "findings" } th { "vCPUs" } th { "logical map" } th { "maps agree" } } }
                tbody {
                    @for (index, vm) in vms {
                        tr {
                            td.wide { a href={ "#vm-" (index + 1) } { (vm::name(vm)) } }
                            td.wide {
                                (counts(vm))
                                @if let Some(worst) = worst_first(vm).first() {
                                    p { (escape_line(&worst.summary)) "." }
                                }
                            }
                            td { (vm.vcpus.len()) }
                            td.whole { (vm::mode(vm)) }
                            td.whole { (vm::agreement(vm)) }
                        }
                    }
                }
            }
        }
    }
}

/// A VM's findings by severity, the worst first.
fn counts(vm: &Vm) -> Markup {
    let count = |wanted: Severity| {
        let findings = vm.findings.iter();
        findings.filter(|one| severity(one) == Some(wanted)).count()
    };
    html! {
        @if vm.findings.is_empty() { (badge(None, "none")) }
        @for wanted in Severity::ALL.into_iter().rev() {
            @let count = count(wanted);
            @if count > 0 { (badge(Some(wanted), &format!("{count} {wanted}"))) " " }
        }
    }
}

/// Words on the colour of a severity.
fn badge(severity: Option<Severity>, words: &str) -> Markup {
    html! { span.badge.(class(severity)) { (escape_line(words)) } }
}

/// What the stylesheet calls a severity.
fn class(severity: Option<Severity>) -> &'static str {
    severity.map_or("none", Severity::name)
}

/// A VM's findings, the worst first, else in the order of the document.
fn worst_first(vm: &Vm) -> Vec<&Finding> {
    let mut findings: Vec<&Finding> = vm.findings.iter().collect();
    findings.sort_by_key(|finding| Reverse(severity(finding)));
    findings
}
