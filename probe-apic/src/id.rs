//! Identities. Four numbers that are easily confused are four types: the vCPU's id (chosen by the VMM),
//! its index (order of creation), its APIC ID (a register), and the VM it belongs to.
//!
//! Moments are here too: all of them are on the observed host's boot clock, never on this machine's.

use std::fmt;

/// One VM for the length of one ldrscope run.
///
/// A birth number handed out by the kernel-side programs. Not the address of `struct kvm`, which kernels
/// reuse at once.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct VmId(pub u64);

/// `vcpu->vcpu_id`: the number the VMM passed to `KVM_CREATE_VCPU`; also the vCPU's x2APIC ID. 32 bits.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct VcpuId(pub u32);

/// `vcpu->vcpu_idx`: the order of creation, which is the order in which KVM walks vCPUs. 32 bits.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct VcpuIdx(pub u32);

/// A physical APIC ID: 8 bits wide in xAPIC mode, 32 bits in x2APIC mode.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ApicId(pub u32);

/// One entry of the logical map: flat bit 0-7 (cluster 0), or cluster 0-15 x bit 0-3.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Slot {
    /// Cluster 0-15; 0 in flat mode.
    pub cluster: u8,
    /// Bit within the cluster: 0-7 in flat mode, 0-3 in cluster mode.
    pub bit: u8,
}

/// A moment on the observed host's boot clock (`CLOCK_BOOTTIME`), in nanoseconds.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct BootTime(pub u64);

impl BootTime {
    /// This moment plus `nanos` nanoseconds, saturating.
    #[must_use]
    pub const fn plus(self, nanos: u64) -> Self {
        Self(self.0.saturating_add(nanos))
    }

    /// Nanoseconds from `earlier` to this moment; 0 where `earlier` is not earlier.
    #[must_use]
    pub const fn since(self, earlier: Self) -> u64 {
        self.0.saturating_sub(earlier.0)
    }
}

impl fmt::Display for Slot {
    /// A flat slot reads as its bit; a slot of another cluster as `cluster.bit`.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.cluster {
            0 => self.bit.fmt(f),
            cluster => write!(f, "{cluster}.{}", self.bit),
        }
    }
}

impl fmt::Display for VcpuId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

impl fmt::Display for ApicId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}
