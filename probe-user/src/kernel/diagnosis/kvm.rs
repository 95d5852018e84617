//! KVM: where it stands, whether a test VM can be made, whether its types tell what has to be read.

use super::{Check, Facts, State, blocked, degraded, judged, ok};
use crate::kernel::{
    layout::{MapModeKind, Resolved},
    obstacle::Obstacle,
    preflight,
    support::{Device, KernelSupport, Kvm},
};

pub(super) fn kvm(support: &KernelSupport) -> String {
    let form = match support.kvm {
        Kvm::Module => "loaded as a module",
        Kvm::BuiltIn => "built into the kernel",
        Kvm::NotLoaded | Kvm::Absent => "not there",
    };
    format!("{form}, vendor {}", support.vendor.name())
}

pub(super) fn kvm_device(facts: &Facts<'_>) -> Check {
    const REMEDY: &str = "see that /dev/kvm exists and may be opened, or do without with `--no-canary`";
    let trouble = match facts.support.kvm_device {
        Device::Usable => return ok("kvm-device", "/dev/kvm may be opened"),
        Device::Refused => "may not be opened",
        Device::Missing => "is missing",
    };
    let lost = format!("/dev/kvm {trouble}: the hooks cannot be proven by a test VM");
    match facts.layout {
        Ok(Resolved {
            known_build: Some(_), ..
        }) => Check {
            state: State::Blocked,
            word: Some("canary-failed"),
            remedy: Some(
                "see that /dev/kvm exists and may be opened, or name a BTF file with `--btf FILE`".to_owned(),
            ),
            ..ok(
                "kvm-device",
                format!("{lost}, nor can what is known of this build"),
            )
        },
        _ => degraded("kvm-device", lost, REMEDY),
    }
}

pub(super) fn types(facts: &Facts<'_>) -> Check {
    let known_build = facts.layout.ok().and_then(|resolved| resolved.known_build);
    let detail = match (facts.btf_named, facts.support.kvm_btf, known_build) {
        (true, ..) => "the kernel's own, and the file named for KVM".to_owned(),
        (false, true, _) => "of the kernel and of the kvm module".to_owned(),
        (false, false, None) => "of the kernel".to_owned(),
        (false, false, Some(build)) => format!(
            "of the kernel; the kvm module has none, and its own structures are taken to be those of {}, which a test VM \
             proves at every start",
            build.name
        ),
    };
    judged("types", preflight::types(facts.support, facts.btf_named), detail)
}

/// Nothing to say where the types are missing anyway: that has been said.
pub(super) fn layout(facts: &Facts<'_>) -> Option<Check> {
    match facts.layout {
        Ok(resolved) => {
            let generation = match resolved.encoding.map_mode {
                MapModeKind::Bits => "overwrite or keep-disabled",
                MapModeKind::Enum => "conflict-disables",
            };
            Some(ok(
                "layout",
                format!("every member is found; map rules {generation}"),
            ))
        }
        Err(Obstacle::NoBtf { .. } | Obstacle::NoModuleBtf { .. }) => None,
        // Without the module its types are not there either.
        Err(_) if matches!(facts.support.kvm, Kvm::NotLoaded | Kvm::Absent) => None,
        Err(obstacle) => Some(blocked("layout", obstacle)),
    }
}

/// Worth a word only where they cannot be read.
pub(super) fn routes(facts: &Facts<'_>) -> Option<Check> {
    let unknown = facts.layout.is_ok_and(|resolved| !resolved.tells_routes());
    unknown.then(|| {
        degraded(
            "msi-routes",
            "the kernel's types do not tell where routes are kept: one that aims at a broken slot is not seen",
            "name a BTF file made from this kernel's kvm module with `--btf`",
        )
    })
}

pub(super) fn hook_set(support: &KernelSupport) -> Check {
    let choice = match support.apic_virtualization {
        Some(true) => "auto takes precise: APICv or AVIC is on, which keeps those functions quiet",
        Some(false) => {
            "auto takes cold: APICv or AVIC is off, so every APIC write would pass the precise hooks"
        }
        None => "auto takes cold: the vendor module does not say whether APICv or AVIC is on",
    };
    ok("hook-set", choice)
}
