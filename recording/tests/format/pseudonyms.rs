//! Nothing of a name is left, and who was one is one.

use probe_apic::{
    cause::Task,
    id::{BootTime, VmId},
    observation::{Observation, Touch, Touched},
};
use proptest::prelude::*;
use recording::{Belongs, Identity, Namer, Pseudonyms};

use crate::strategy;

fn identity(name: &str, pid: u32) -> Identity {
    let some = |text: &str| Some(format!("{text} of {name}"));
    Identity {
        name: name.to_owned(),
        named_by: Namer::Vmm,
        uuid: some("uuid"),
        vmm: "qemu".to_owned(),
        pid: Some(pid),
        start_time: Some(1),
        owner: Some(pid),
        seen_at: None,
        twin: false,
        discriminator: format!("{pid}-11"),
        belongs: Belongs {
            domain: Some(name.to_owned()),
            title: some("title"),
            namespace: some("namespace"),
            workload: some("workload"),
            pod_uid: some("pod"),
            project: some("project"),
            project_id: some("project id"),
            owner: some("owner"),
            unit: some("unit"),
        },
    }
}

#[test]
fn nothing_of_a_name_is_left_and_the_same_stays_the_same() {
    let mut pseudonyms = Pseudonyms::new();
    let mut hidden = |mut identity: Identity| {
        pseudonyms.hide(&mut identity);
        identity
    };
    let (web, db) = (
        hidden(identity("web-prod", 4711)),
        hidden(identity("db-prod", 4712)),
    );
    assert_eq!(web, hidden(identity("web-prod", 4711)));
    let told = format!("{web:?} {db:?}");
    for secret in ["prod", "4711", "4712"] {
        assert!(!told.contains(secret), "{told}");
    }
    assert_eq!(web.belongs.domain.as_ref(), Some(&web.name));
    assert_ne!((web.name, web.uuid, web.pid), (db.name, db.uuid, db.pid));
    assert_eq!(web.vmm, "qemu");
}

#[test]
fn a_vm_without_a_name_is_called_by_the_pseudonym_of_its_process() {
    let mut nameless = Identity {
        named_by: Namer::Nobody,
        ..identity("pid 4711", 4711)
    };
    Pseudonyms::new().hide(&mut nameless);
    assert_eq!((nameless.name.as_str(), nameless.pid), ("pid 1", Some(1)));
}

#[test]
fn whoever_ran_is_hidden_and_belongs_to_the_same_process() {
    let mut pseudonyms = Pseudonyms::new();
    let mut owner = identity("web", 4711);
    pseudonyms.hide(&mut owner);
    let mut touched = Observation::Touched(Touched {
        vm: VmId(1),
        at: BootTime(0),
        recalculations: 0,
        what: Touch::Recalculated,
        vcpu: None,
        lapic: None,
        task: Task {
            tid: 4720,
            tgid: 4711,
            comm: "CPU 3/KVM".into(),
        },
    });
    pseudonyms.hide_in(&mut touched);
    let Observation::Touched(Touched { task, .. }) = touched else {
        panic!("not a touch");
    };
    assert_eq!(Some(task.tgid), owner.pid);
    assert_eq!((task.tid, &*task.comm.text()), (2, "task-1"));
}

proptest! {
    #![proptest_config(strategy::config())]

    /// Hidden twice, nobody becomes somebody else; two with one name have one name after it.
    #[test]
    fn who_is_the_same_stays_the_same(one in strategy::any_identity(), other in strategy::any_identity()) {
        let mut pseudonyms = Pseudonyms::new();
        let [mut first, mut second, mut again] = [one.clone(), other.clone(), one.clone()];
        for identity in [&mut first, &mut second, &mut again] {
            pseudonyms.hide(identity);
        }
        prop_assert_eq!(&first, &again);
        prop_assert_eq!(one.uuid == other.uuid, first.uuid == second.uuid);
        prop_assert_eq!(one.pid == other.pid, first.pid == second.pid);
    }
}
