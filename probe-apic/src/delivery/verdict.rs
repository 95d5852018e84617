//! How KVM's delivery compares with the architecture's.

use std::fmt;

use super::DeliveryMode;
use crate::vcpu_set::VcpuSet;

/// How KVM's delivery compares with the architecture's, for one destination.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Verdict {
    /// The same vCPUs, or none by both; of lowest priority, one of those whom the architecture names.
    Ok,
    /// As [`Self::Ok`], by a scan. Broadcast is never slow: every KVM scans for it.
    Slow,
    /// Nobody, though the architecture names somebody.
    Lost,
    /// Somebody whom the architecture does not name.
    Misrouted,
    /// Some of those whom the architecture names. No verdict on lowest priority.
    Partial,
}

impl Verdict {
    /// The word of the JSON contract.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Ok => "ok",
            Self::Slow => "slow",
            Self::Lost => "lost",
            Self::Misrouted => "misrouted",
            Self::Partial => "partial",
        }
    }

    /// Whether the interrupt does not arrive where it should.
    #[must_use]
    pub const fn is_broken(self) -> bool {
        matches!(self, Self::Lost | Self::Misrouted | Self::Partial)
    }

    /// The verdict on a delivery; `slow` where it took a scan that it need not take.
    pub(super) fn compare(architecture: &VcpuSet, kvm: &VcpuSet, slow: bool, mode: DeliveryMode) -> Self {
        if !kvm.is_subset(architecture) {
            Self::Misrouted
        } else if kvm.is_empty() && !architecture.is_empty() {
            Self::Lost
        } else if kvm != architecture && mode == DeliveryMode::Fixed {
            Self::Partial
        } else if slow && !kvm.is_empty() {
            Self::Slow
        } else {
            Self::Ok
        }
    }
}

impl fmt::Display for Verdict {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}
