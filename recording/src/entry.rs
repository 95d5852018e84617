//! What a recording consists of, in the words of those who read it.

use probe_apic::{
    id::{BootTime, VmId},
    map_rules::MapRules,
    observation::Observation,
};

/// One thing that happened. When it was taken in stands beside it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Entry {
    /// The observation began, or began again after kvm was loaded anew: nothing of before is there any more.
    Host(Host),
    /// Wall time minus boot time in nanoseconds, from here on.
    Clock(i64),
    /// Something about a VM.
    Observed(Observation),
    /// Who a VM is, as far as it is known from here on.
    Identified(VmId, Box<Identity>),
    /// Records were lost, nobody knows whose.
    Dropped(u64),
    /// Interrupts were not counted, nobody knows whose. Version 2.
    Uncounted(u64),
    /// What had come until then was judged, and told.
    Polled,
    /// Kvm was unloaded, and no VM is left.
    Unloaded,
    /// The recording ends, as it should.
    End,
}

/// What was found out about the host.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Host {
    /// The kernel's release string.
    pub kernel: String,
    /// `amd`, `intel` or `unknown`.
    pub kvm_vendor: String,
    /// The map rules that the kernel's types and the canary left, likeliest first.
    pub possible_rules: Vec<MapRules>,
    /// Whether the canary has shown them to hold.
    pub rules_proven: bool,
    /// Whether the precise hooks were attached.
    pub precise: bool,
    /// Whether KVM picks one of several lowest-priority targets by the vector; `None` where it does not say.
    pub vector_hashing: Option<bool>,
    /// For how long a condition had to hold to be told at the time, in nanoseconds.
    pub settle_nanos: u64,
    /// Whether all VMs of the host are in the recording, and not only some that were asked for.
    pub all_vms: bool,
}

/// Who gave a VM its name; the later, the more it is worth.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Namer {
    /// Nobody: it is called by its process id.
    Nobody,
    /// The process, by its comm.
    Process,
    /// The VMM or libvirt.
    Vmm,
    /// What manages libvirt.
    Platform,
}

impl Namer {
    /// All of them, in the order of their numbers in the file.
    pub(crate) const ALL: [Self; 4] = [Self::Nobody, Self::Process, Self::Vmm, Self::Platform];
}

/// Who a VM is. Every text in it is hostile: escape it before showing it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Identity {
    /// What people call it.
    pub name: String,
    /// Who gave it that name.
    pub named_by: Namer,
    /// Canonical lower-case UUID.
    pub uuid: Option<String>,
    /// The VMM, or the comm of its process.
    pub vmm: String,
    /// Process id.
    pub pid: Option<u32>,
    /// The process's start time in clock ticks after boot.
    pub start_time: Option<u64>,
    /// The id by which the kernel named the owner.
    pub owner: Option<u32>,
    /// When the VM was born or found.
    pub seen_at: Option<BootTime>,
    /// Another VM of the host had the same UUID first.
    pub twin: bool,
    /// Tells apart the VMs of one process.
    pub discriminator: String,
    /// What the VM is part of.
    pub belongs: Belongs,
}

/// What a VM is part of, as those say who manage it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Belongs {
    /// libvirt's name for it.
    pub domain: Option<String>,
    /// The domain's title.
    pub title: Option<String>,
    /// Kubernetes namespace.
    pub namespace: Option<String>,
    /// Name of the VirtualMachineInstance.
    pub workload: Option<String>,
    /// UID of the pod.
    pub pod_uid: Option<String>,
    /// Name of the OpenStack project.
    pub project: Option<String>,
    /// Id of the OpenStack project.
    pub project_id: Option<String>,
    /// Name of the OpenStack user who made it.
    pub owner: Option<String>,
    /// systemd's unit.
    pub unit: Option<String>,
}

impl Belongs {
    /// In the order of the file.
    pub(crate) const fn fields(&self) -> [&Option<String>; 9] {
        [
            &self.domain,
            &self.title,
            &self.namespace,
            &self.workload,
            &self.pod_uid,
            &self.project,
            &self.project_id,
            &self.owner,
            &self.unit,
        ]
    }

    pub(crate) const fn fields_mut(&mut self) -> [&mut Option<String>; 9] {
        [
            &mut self.domain,
            &mut self.title,
            &mut self.namespace,
            &mut self.workload,
            &mut self.pod_uid,
            &mut self.project,
            &mut self.project_id,
            &mut self.owner,
            &mut self.unit,
        ]
    }
}
