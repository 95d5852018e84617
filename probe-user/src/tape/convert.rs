//! Hosts and identities between ldrscope's own types and those of a recording.

use std::time::Duration;

use recording::{Belongs as RecordedBelongs, Host, Identity, Namer};

use crate::{
    clock,
    identity::{Belongs, NamedBy, VmIdentity},
    observer::HostFacts,
};

pub(super) fn host(facts: &HostFacts, settle: Duration, all_vms: bool) -> Host {
    Host {
        kernel: facts.kernel.clone(),
        kvm_vendor: facts.kvm_vendor.clone(),
        possible_rules: facts.possible_rules.clone(),
        rules_proven: facts.rules_proven,
        precise: facts.precise,
        vector_hashing: facts.vector_hashing,
        settle_nanos: clock::whole_nanos(settle),
        all_vms,
    }
}

pub(super) fn facts(host: Host) -> HostFacts {
    HostFacts {
        kernel: host.kernel,
        kvm_vendor: host.kvm_vendor,
        possible_rules: host.possible_rules,
        rules_proven: host.rules_proven,
        precise: host.precise,
        vector_hashing: host.vector_hashing,
    }
}

pub(super) fn recorded(identity: &VmIdentity) -> Identity {
    let belongs = (*identity.belongs).clone();
    Identity {
        name: identity.name.clone(),
        named_by: match identity.named_by {
            NamedBy::Nobody => Namer::Nobody,
            NamedBy::Process => Namer::Process,
            NamedBy::Vmm => Namer::Vmm,
            NamedBy::Platform => Namer::Platform,
        },
        uuid: identity.uuid.clone(),
        vmm: identity.vmm.clone(),
        pid: identity.pid,
        start_time: identity.start_time,
        owner: identity.owner,
        seen_at: identity.seen_at,
        twin: identity.twin,
        discriminator: identity.discriminator.clone(),
        belongs: RecordedBelongs {
            domain: belongs.domain,
            title: belongs.title,
            namespace: belongs.namespace,
            workload: belongs.workload,
            pod_uid: belongs.pod_uid,
            project: belongs.project,
            project_id: belongs.project_id,
            owner: belongs.owner,
            unit: belongs.unit,
        },
    }
}

pub(super) fn identity(recorded: Identity) -> VmIdentity {
    let belongs = recorded.belongs;
    VmIdentity {
        name: recorded.name,
        named_by: match recorded.named_by {
            Namer::Nobody => NamedBy::Nobody,
            Namer::Process => NamedBy::Process,
            Namer::Vmm => NamedBy::Vmm,
            Namer::Platform => NamedBy::Platform,
        },
        uuid: recorded.uuid,
        vmm: recorded.vmm,
        pid: recorded.pid,
        start_time: recorded.start_time,
        belongs: Box::new(Belongs {
            domain: belongs.domain,
            title: belongs.title,
            namespace: belongs.namespace,
            workload: belongs.workload,
            pod_uid: belongs.pod_uid,
            project: belongs.project,
            project_id: belongs.project_id,
            owner: belongs.owner,
            unit: belongs.unit,
        }),
        discriminator: recorded.discriminator,
        twin: recorded.twin,
        owner: recorded.owner,
        seen_at: recorded.seen_at,
    }
}
