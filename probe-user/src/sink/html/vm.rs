//! One VM: who it is, its map and its destinations as pictures, what is wrong with it, its registers.

use maud::{Markup, html};

use super::{destinations, finding, map, vcpus, worst_first};
use crate::{
    engine::deliveries::Deliveries,
    escape::escape_line,
    message::{Vm, meaning},
    sink::phrase,
};

/// `web (pid 42)`.
pub(super) fn name(vm: &Vm) -> String {
    phrase::vm(&meaning::identity(&vm.vm))
}

/// The mode of the map that KVM goes by, as far as it is known.
pub(super) fn mode(vm: &Vm) -> String {
    let map = vm.map.published.as_ref().or(vm.map.rebuilt.as_ref());
    map.map_or_else(
        || "not known".to_owned(),
        |map| escape_line(&map.mode).into_owned(),
    )
}

/// Whether the two maps agree.
pub(super) const fn agreement(vm: &Vm) -> &'static str {
    match vm.map.agrees {
        Some(true) => "yes",
        Some(false) => "NO",
        None => "not compared",
    }
}

pub(super) fn section(index: usize, vm: &Vm, deliveries: Option<&Deliveries>) -> Markup {
    let number = index + 1;
    html! {
        section.vm id={ "vm-" (number) } {
            h2 { (name(vm)) }
            (facts(vm))
            @match &*vm.confidence {
                "unobservable" => p.note { "The VMM emulates the local APICs itself: KVM has none to look at." },
                "uncertain" => p.note { "The VM changed while it was read: what is shown may be out of date." },
                _ => {}
            }
            @if !vm.vcpus.is_empty() {
                h3 { "Logical map" }
                (map::figures(vm))
                h3 { "Destinations" }
                (destinations::part(vm, deliveries))
            }
            h3 { "Findings" }
            (findings(number, vm))
            @if !vm.vcpus.is_empty() {
                h3 { "vCPUs" }
                (vcpus::table(&vm.vcpus))
            }
        }
    }
}

fn facts(vm: &Vm) -> Markup {
    html! {
        dl.facts {
            div { dt { "VMM" } dd { (escape_line(&vm.vm.vmm)) } }
            @if let Some(uuid) = &vm.vm.uuid { div { dt { "UUID" } dd.mono { (escape_line(uuid)) } } }
            div { dt { "vCPUs" } dd { (vm.vcpus.len()) } }
            div { dt { "state" } dd { (escape_line(&vm.confidence)) } }
            div { dt { "maps agree" } dd { (agreement(vm)) } }
            @if !vm.apicv.inhibits.is_empty() {
                div { dt { "APICv inhibited by" } dd { (escape_line(&vm.apicv.inhibits.join(", "))) } }
            }
        }
    }
}

fn findings(number: usize, vm: &Vm) -> Markup {
    html! {
        @if vm.findings.is_empty() { p.quiet { "None." } }
        @for (place, finding) in worst_first(vm).into_iter().enumerate() {
            (finding::card(&format!("vm-{number}-finding-{}", place + 1), finding))
        }
    }
}
