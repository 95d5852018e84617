//! Which interrupts are judged, what is told of those that went astray, and until when.

use crate::{
    astray::FADES_AFTER,
    finding::{Finding, Rule, Severity},
    fixture::{VM, bigsmp, clean_flat, flat, host_with, only_vm, recalculated, sample},
    host::{Host, Interrupts},
    id::{BootTime, VcpuId},
    map_rules::MapRules,
    observation::{Lost, Observation, Sent, VcpuSample, VmSample},
    rules::judge,
};

const RULES: MapRules = MapRules::Overwrite;
const MS: u64 = 1_000_000;
/// When the state that the interrupts meet was read, and what number of recalculations that read had.
const READ: u64 = 1;
/// Longer after it than a divergence takes to be believed.
const SENT: u64 = 200 * MS;

fn host(vcpus: Vec<VcpuSample>) -> Host {
    host_with(sample(READ, vcpus, RULES), RULES).picking_by_vector(true)
}

fn sent(dest: u32, count: u64) -> Sent {
    Sent {
        vm: VM,
        from: BootTime(SENT),
        until: BootTime(SENT + 100 * MS),
        recalculations: READ,
        dest,
        vector: 0x31,
        lowest_priority: false,
        count,
    }
}

fn send(host: &mut Host, sent: Sent) -> bool {
    host.apply(&Observation::Sent(sent)).is_some()
}

fn told(host: &Host) -> Vec<Finding> {
    let is_meant = |rule| matches!(rule, Rule::InterruptLost | Rule::InterruptMisrouted);
    let findings = judge(only_vm(host)).into_iter();
    findings.filter(|finding| is_meant(finding.key.rule)).collect()
}

fn only(host: &Host) -> Finding {
    let [only] = &told(host)[..] else {
        panic!("{:#?}", told(host))
    };
    only.clone()
}

#[test]
fn what_arrives_is_not_told() {
    let mut host = host(clean_flat(4));
    assert!((1..16).all(|dest| !send(&mut host, sent(dest, 3))));
    assert!(told(&host).is_empty());
    assert_eq!(
        host.interrupts(),
        Interrupts {
            judged: 45,
            unjudged: 0
        }
    );
}

#[test]
fn an_interrupt_that_an_empty_slot_eats_is_lost() {
    let mut host = host(vec![flat(0, 1), flat(1, 0b110)]);
    assert!(send(&mut host, sent(0b100, 14)));
    let lost = only(&host);
    assert_eq!(
        (lost.key.rule, lost.severity),
        (Rule::InterruptLost, Severity::Critical)
    );
    assert_eq!(lost.vcpus, [VcpuId(1)]);
    assert_eq!(lost.since, Some(BootTime(SENT)));
    assert!(
        lost.summary.starts_with(
            "14 interrupts with vector 0x31 to logical destination 0x04 reached nobody instead of vCPU 1"
        ),
        "{}",
        lost.summary
    );
}

#[test]
fn the_interrupt_of_2019_goes_to_the_last_vcpu_alone() {
    let mut vcpus = bigsmp(16);
    vcpus[0] = flat(0, 1);
    let mut host = host(vcpus);
    assert!(send(&mut host, sent(1, 1)));
    let misrouted = only(&host);
    assert_eq!(
        (misrouted.key.rule, misrouted.severity),
        (Rule::InterruptMisrouted, Severity::Critical)
    );
    assert!(
        misrouted.summary.starts_with(
            "1 interrupt with vector 0x31 to logical destination 0x01 went to vCPU 15 alone, and not to vCPUs 0, 1, 3, 5, 7, 9, 11 and 13 as well"
        ),
        "{}",
        misrouted.summary
    );
}

#[test]
fn the_kinds_with_the_most_come_first_and_the_rest_is_counted() {
    let mut host = host(vec![flat(0, 1), flat(1, 0b1111_1110)]);
    for (dest, count) in [(4, 1), (8, 5), (16, 3), (32, 2), (64, 4)] {
        send(&mut host, sent(dest, count));
    }
    let summary = only(&host).summary;
    assert!(
        summary.starts_with("5 interrupts with vector 0x31 to logical destination 0x08"),
        "{summary}"
    );
    assert!(summary.contains("; and 3 more of 2 other kinds"), "{summary}");
}

#[test]
fn lowest_priority_is_judged_only_where_it_is_known_how_kvm_picks() {
    let one = Sent {
        lowest_priority: true,
        ..sent(0b100, 2)
    };
    let vcpus = || vec![flat(0, 1), flat(1, 0b110)];
    let mut known = host(vcpus());
    assert!(send(&mut known, one.clone()));
    assert!(
        only(&known)
            .summary
            .starts_with("2 interrupts of lowest priority with vector 0x31")
    );
    let mut unknown = host(vcpus()).picking_by_vector(false);
    assert!(!send(&mut unknown, one));
    assert_eq!(
        unknown.interrupts(),
        Interrupts {
            judged: 0,
            unjudged: 2
        }
    );
}

#[test]
fn what_met_another_state_is_not_judged() {
    let unjudged = |spoil: &dyn Fn(&mut Host), sent: Sent| {
        let mut host = host(vec![flat(0, 1), flat(1, 0b110)]);
        spoil(&mut host);
        assert!(!send(&mut host, sent));
        assert!(told(&host).is_empty());
        assert_eq!(
            host.interrupts(),
            Interrupts {
                judged: 0,
                unjudged: 14
            }
        );
    };
    let nothing = |_: &mut Host| ();
    for recalculations in [READ - 1, READ + 1] {
        let other = Sent {
            recalculations,
            ..sent(0b100, 14)
        };
        unjudged(&nothing, other);
    }
    // One that followed is known of already.
    let followed = |host: &mut Host| {
        host.apply(&recalculated(READ + 1, &flat(0, 1)));
    };
    unjudged(&followed, sent(0b100, 14));
    let lost = Lost {
        vm: VM,
        at: BootTime(SENT),
    };
    let doubted = |host: &mut Host| {
        host.apply(&Observation::Lost(lost.clone()));
    };
    unjudged(&doubted, sent(0b100, 14));
    // Registers that changed without a recalculation, at some time since the interrupts were sent.
    let strayed = |host: &mut Host| {
        let later = VmSample {
            at: BootTime(SENT + 1),
            published: only_vm(host).published().cloned(),
            ..sample(READ, vec![flat(0, 1), flat(1, 0b1110)], RULES)
        };
        host.apply(&Observation::Sample(later.clone()));
        // Confirmed: what is told then is told of the new state.
        let confirmed = VmSample {
            at: BootTime(SENT + 60 * MS),
            ..later
        };
        host.apply(&Observation::Sample(confirmed));
    };
    unjudged(&strayed, sent(0b100, 14));
}

#[test]
fn registers_that_were_seen_before_their_recalculation_spoil_nothing_after_it() {
    let mut host = host(vec![flat(0, 1), flat(1, 0)]);
    let after = VmSample {
        at: BootTime(SENT + 2 * MS),
        ..sample(READ + 1, vec![flat(0, 1), flat(1, 0b110)], RULES)
    };
    // KVM has stored the LDR, and still works on the map.
    let between = VmSample {
        at: BootTime(SENT + MS),
        recalculations: READ,
        published: only_vm(&host).published().cloned(),
        ..after.clone()
    };
    host.apply(&Observation::Sample(between));
    host.apply(&Observation::Sample(after));
    let met = |recalculations, count| Sent {
        recalculations,
        ..sent(0b100, count)
    };
    assert!(send(&mut host, met(READ + 1, 14)));
    assert!(!send(&mut host, met(READ, 2)));
    assert_eq!(
        host.interrupts(),
        Interrupts {
            judged: 14,
            unjudged: 2
        }
    );
}

#[test]
fn it_is_over_once_the_state_that_broke_it_is_another() {
    let mut host = host(vec![flat(0, 1), flat(1, 0b110)]);
    send(&mut host, sent(0b100, 14));
    assert_eq!(told(&host).len(), 1);
    // Uncertain, which heals nothing.
    host.apply(&Observation::Lost(Lost {
        vm: VM,
        at: BootTime(SENT),
    }));
    assert_eq!(told(&host).len(), 1);
    host.apply(&Observation::Sample(sample(
        SENT + 1,
        vec![flat(0, 1), flat(1, 0b100)],
        RULES,
    )));
    assert!(told(&host).is_empty());
    // Nor does it come back with the old count when the state does.
    host.apply(&Observation::Sample(sample(
        SENT + 2,
        vec![flat(0, 1), flat(1, 0b110)],
        RULES,
    )));
    assert!(told(&host).is_empty());
}

#[test]
fn it_fades_when_no_other_comes() {
    let mut host = host(vec![flat(0, 1), flat(1, 0b110)]);
    send(&mut host, sent(0b100, 14));
    let fades_at = BootTime(SENT + 100 * MS + FADES_AFTER);
    assert_eq!(only_vm(&host).astray().fades_at(), Some(fades_at));
    assert!(!host.fade(VM, BootTime(fades_at.0 - 1)));
    assert_eq!(told(&host).len(), 1);
    assert!(host.fade(VM, fades_at));
    assert!(told(&host).is_empty());
    assert_eq!(only_vm(&host).trigger(), Some(fades_at));
}

#[test]
fn another_kvm_was_met_by_no_interrupt() {
    let mut host = Host::new([RULES]).as_if(MapRules::ConflictDisables);
    host.apply(&Observation::Sample(sample(
        READ,
        vec![flat(0, 1), flat(1, 0b110)],
        RULES,
    )));
    assert!(!send(&mut host, sent(0b100, 14)));
    assert!(told(&host).is_empty());
}
