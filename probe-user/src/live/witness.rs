//! Whoever takes down what the engine is given, so that it can be given the same again.

use probe_apic::id::{BootTime, VmId};

use crate::{
    identity::VmIdentity,
    observer::{HostFacts, Report},
};

/// Takes down, in order, all that decides what the engine says. It cannot stop the loop: what goes wrong is kept until
/// somebody asks.
pub trait Witness {
    /// An engine was made for this host, and knows nothing.
    fn opened(&mut self, facts: &HostFacts, now: BootTime) {
        let _ = (facts, now);
    }

    /// It is fed this report at `now`. Of a process it is told by [`Self::identified`] instead.
    fn reported(&mut self, report: &Report, now: BootTime) {
        let _ = (report, now);
    }

    /// It was fed a VM's process at `now`, and took the VM for this one.
    fn identified(&mut self, vm: VmId, identity: &VmIdentity, now: BootTime) {
        let _ = (vm, identity, now);
    }

    /// It was asked at `now` for what there is to tell; `told` where there was something.
    fn polled(&mut self, now: BootTime, told: bool) {
        let _ = (now, told);
    }

    /// It was told at `now` that no VM is left.
    fn unloaded(&mut self, now: BootTime) {
        let _ = now;
    }
}
