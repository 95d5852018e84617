//! The state of a host in one word, for whoever only wants to know whether to worry.

use probe_apic::finding::{Confidence, Finding, Severity};

use super::view::{HostView, VmView};

/// How a host is. Ordered, worst last: what is known to be broken matters more than what is not known.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Grade {
    /// Everything was seen, and no finding is more than a notice.
    Ok,
    /// Something could not be seen.
    Unknown,
    /// A VM has a warning.
    Warning,
    /// A VM has a critical finding.
    Critical,
}

/// What a look at a host came to.
#[derive(Debug)]
pub struct Health<'a> {
    /// VMs that exist, as far as is known.
    pub vms: usize,
    /// VMs whose worst finding is critical, in the order of the view.
    pub critical: Vec<&'a VmView<'a>>,
    /// Those whose worst is a warning.
    pub warning: Vec<&'a VmView<'a>>,
    /// How many have a notice as their worst.
    pub notice: usize,
    /// How many have but an info.
    pub info: usize,
    /// VMs that changed under every read.
    pub uncertain: Vec<&'a VmView<'a>>,
    /// How many VMs were not read at all.
    pub unread: usize,
    /// VMs that nobody can look into, because their local APICs are not in KVM.
    pub unobservable: Vec<&'a VmView<'a>>,
    /// Whether KVM's list of VMs held still for long enough to be read to its end.
    pub list_is_whole: bool,
}

impl<'a> Health<'a> {
    /// Of a host as seen; `unread` VMs are known to exist beside those in `host`.
    #[must_use]
    pub fn of(host: &'a HostView<'a>, unread: usize, list_is_whole: bool) -> Self {
        let worst_is = |severity| {
            let vms = host.vms.iter();
            vms.filter(move |view| worst(view).is_some_and(|finding| finding.severity == severity))
        };
        let confidence_is = |confidence| {
            let vms = host.vms.iter();
            vms.filter(move |view| view.vm.confidence() == confidence)
        };
        let torn = |view: &&VmView<'_>| view.vm.disputed() || view.vm.confidence() == Confidence::Uncertain;
        Self {
            vms: host.vms.len() + unread,
            critical: worst_is(Severity::Critical).collect(),
            warning: worst_is(Severity::Warning).collect(),
            notice: worst_is(Severity::Notice).count(),
            info: worst_is(Severity::Info).count(),
            uncertain: host.vms.iter().filter(torn).collect(),
            unread,
            unobservable: confidence_is(Confidence::Unobservable).collect(),
            list_is_whole,
        }
    }

    /// How many VMs could have been seen and were not.
    #[must_use]
    pub fn unseen(&self) -> usize {
        self.uncertain.len() + self.unread
    }

    /// The word for it.
    #[must_use]
    pub fn grade(&self) -> Grade {
        if !self.critical.is_empty() {
            Grade::Critical
        } else if !self.warning.is_empty() {
            Grade::Warning
        } else if self.unseen() > 0 || !self.list_is_whole {
            Grade::Unknown
        } else {
            Grade::Ok
        }
    }
}

/// The finding of a VM that matters most, the first of several.
#[must_use]
pub fn worst<'a>(view: &'a VmView<'_>) -> Option<&'a Finding> {
    let findings = view.findings.iter();
    findings.reduce(|worst, finding| {
        if finding.severity > worst.severity {
            finding
        } else {
            worst
        }
    })
}
