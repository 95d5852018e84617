//! One VM on one screen: all that a snapshot tells of it, and who changed its vCPUs last.

use probe_apic::{
    cause::{Cause, Register},
    id::VmId,
};

use crate::{clock::WallClock, engine::Engine, message, sink::convert};

/// A VM as it is, or as it was last.
#[derive(Clone, Debug)]
pub struct Detail {
    /// Which VM.
    pub id: VmId,
    /// As in a snapshot, with the findings that were told.
    pub vm: message::Vm,
    /// Of each vCPU, in the order of `vm`, the last change of any register.
    pub changes: Vec<Option<Cause>>,
    /// KVM has destroyed it, or it is not observed any more.
    pub is_gone: bool,
}

impl Detail {
    /// The VM `id` of the host that `engine` observes; `None` where it has none.
    #[must_use]
    pub fn of(engine: &Engine, id: VmId, wall: WallClock) -> Option<Self> {
        let view = engine.standing_vm(id)?;
        let history = view.vm.history();
        let last_change = |id| history.latest_cause(std::iter::once(id), &Register::ALL);
        let vcpus = view.vm.vcpus().iter();
        Some(Self {
            id,
            vm: convert::vm(&view, wall),
            changes: vcpus.map(|vcpu| last_change(vcpu.id)).collect(),
            is_gone: false,
        })
    }
}
