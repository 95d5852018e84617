//! Label values: what tells VMs apart, and hostile names made harmless.
//!
//! Prometheus' format takes any text, but a label ends on dashboards and in mails: what would forge a line or reorder one
//! is shown by its code, and no name is longer than a screen.

use std::{
    borrow::Cow,
    collections::{BTreeMap, BTreeSet},
};

use probe_apic::id::VmId;

use crate::{engine::view::VmView, escape::escape_line, identity::VmIdentity};

/// The most characters of a label value.
const LONGEST: usize = 256;

/// A hostile text as a label value.
pub(super) fn value(text: &str) -> Cow<'_, str> {
    // More than that would be cut anyhow, and a name may have megabytes.
    let head = cut(text, LONGEST).unwrap_or(text);
    let whole = head.len() == text.len();
    let escaped = escape_line(head);
    match cut(&escaped, LONGEST - 1) {
        Some(shorter) if !whole || escaped.chars().count() > LONGEST => Cow::Owned(format!("{shorter}…")),
        _ => escaped,
    }
}

/// The first `most` characters; `None` where there are no more than that.
fn cut(text: &str, most: usize) -> Option<&str> {
    text.char_indices().nth(most).map(|(end, _)| &text[..end])
}

/// What a VM's orchestrator calls it, ready as label values; empty where it has none.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Owner {
    pub(super) namespace: String,
    pub(super) workload: String,
    pub(super) domain: String,
}

/// The labels that join with those of KubeVirt's and libvirt's exporters.
pub(super) fn labels_of(identity: &VmIdentity) -> Owner {
    let label = |text: &Option<String>| {
        text.as_deref()
            .map_or_else(String::new, |text| value(text).into_owned())
    };
    let belongs = &identity.belongs;
    Owner {
        namespace: label(&belongs.namespace),
        workload: label(&belongs.workload),
        domain: label(&belongs.domain),
    }
}

/// The `vm_id` of every VM of an exposition.
#[derive(Debug, Default)]
pub(super) struct VmIds(BTreeMap<VmId, String>);

impl VmIds {
    /// Gives each of the VMs an id that no other has. Of several VMs with one UUID, as while one migrates within its
    /// host, the one that was found first has it plain.
    pub(super) fn of(vms: &[VmView<'_>]) -> Self {
        let mut taken = BTreeSet::new();
        let ids = vms.iter().map(|view| {
            let base = base(view.identity);
            let more = (2_u64..).map(|number| format!("{base}-{number}"));
            let free = std::iter::once(base.clone())
                .chain(more)
                .find(|id| !taken.contains(id));
            let id = free.unwrap_or(base);
            taken.insert(id.clone());
            (view.vm.id(), id)
        });
        Self(ids.collect())
    }

    /// The one of `vm`.
    pub(super) fn get(&self, vm: VmId) -> &str {
        self.0.get(&vm).map_or("", String::as_str)
    }
}

/// The UUID, else the process and what tells its VMs apart: a later VM of the same process must not continue the series
/// of one that ended.
fn base(identity: &VmIdentity) -> String {
    if let Some(uuid) = &identity.uuid {
        return value(uuid).into_owned();
    }
    let (pid, start_time) = (identity.pid.unwrap_or(0), identity.start_time.unwrap_or(0));
    let process = format!("{pid}-{start_time}");
    // Where debugfs names the VM, `PID-FD`; else its birth number, `#N`.
    let discriminator = identity.discriminator.as_str();
    let within = discriminator
        .strip_prefix(&format!("{pid}-"))
        .unwrap_or(discriminator);
    match within.strip_prefix('#').map(|birth| format!("b{birth}")) {
        Some(birth) => format!("{process}-{}", value(&birth)),
        None if within.is_empty() => process,
        None => format!("{process}-{}", value(within)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn vm(uuid: Option<&str>, discriminator: &str) -> VmIdentity {
        VmIdentity {
            uuid: uuid.map(str::to_owned),
            pid: Some(42),
            start_time: Some(7),
            discriminator: discriminator.to_owned(),
            ..VmIdentity::unknown()
        }
    }

    #[test]
    fn a_vm_is_told_by_its_uuid_else_by_its_process_and_place_in_it() {
        assert_eq!(base(&vm(Some("u"), "42-11")), "u");
        assert_eq!(base(&vm(None, "42-11")), "42-7-11");
        assert_eq!(base(&vm(None, "#11")), "42-7-b11");
        assert_eq!(base(&vm(None, "")), "42-7");
        assert_eq!(base(&VmIdentity::unknown()), "0-0");
    }

    #[test]
    fn a_hostile_name_is_one_short_harmless_line() {
        assert_eq!(value("web"), "web");
        assert_eq!(value("a\nb\x1b[2J\u{202e}"), "a\\x0ab\\x1b[2J\\u{202e}");
        let long = value(&"é".repeat(70_000)).into_owned();
        assert_eq!(long.chars().count(), LONGEST);
        assert!(long.ends_with("é…"));
        let escaped = value(&"\x1b".repeat(LONGEST)).into_owned();
        assert_eq!(escaped.chars().count(), LONGEST);
        let fits = "x".repeat(LONGEST);
        assert_eq!(value(&fits), fits);
    }
}
