//! The engine on fabricated reports.

use ldrscope::{engine::output::Output, observer::Report};
use probe_apic::{
    cause::{Route, Task},
    finding::{Rule, Severity},
    id::{BootTime, VmId},
    map_rules::MapRules,
    observation::{Lost, Observation, Touch, Touched},
};

use crate::fixture::{MS, SETTLE, bigsmp, engine, feed, gone, healthy, pin, read, sample, seen, vcpu, words};

const RULES: MapRules = MapRules::Overwrite;

#[test]
fn a_healthy_vm_is_silent_from_birth_to_end() {
    let mut engine = engine(RULES, None);
    assert!(feed(&mut engine, 0, seen(1, 100, 0)).is_empty());
    assert!(feed(&mut engine, MS, [read(sample(1, MS, healthy(8), RULES))]).is_empty());
    assert!(engine.poll(BootTime(10 * SETTLE)).is_empty());
    assert_eq!(engine.next_due(), None);
    assert_eq!(
        words(&feed(&mut engine, 11 * SETTLE, [gone(1, 11 * SETTLE)])),
        ["vm-gone web"]
    );
}

#[test]
fn a_collision_is_raised_after_the_settle_time_and_cleared_with_its_vm() {
    let mut engine = engine(RULES, None);
    feed(&mut engine, 0, seen(1, 100, 0));
    let collision = vec![vcpu(0, 1), vcpu(1, 1)];
    assert!(feed(&mut engine, MS, [read(sample(1, MS, collision, RULES))]).is_empty());
    let due = engine.next_due().unwrap();
    assert!(due <= BootTime(MS + SETTLE));
    let raised = engine.poll(due);
    assert_eq!(words(&raised), ["raised web ldr-collision 0:0"]);
    let Output::Event(event) = &raised[0] else {
        panic!("not an event")
    };
    assert!(event.change.latency_nanos < MS);

    let end = due.plus(MS).0;
    assert_eq!(
        words(&feed(&mut engine, end, [gone(1, end)])),
        ["cleared web ldr-collision 0:0", "vm-gone web"]
    );
}

#[test]
fn a_vm_that_is_being_restored_vcpu_by_vcpu_raises_nothing() {
    let mut engine = engine(RULES, None);
    feed(&mut engine, 0, seen(1, 100, 0));
    let half = vec![vcpu(0, 1), vcpu(1, 1)];
    feed(&mut engine, MS, [read(sample(1, MS, half, RULES))]);
    feed(
        &mut engine,
        50 * MS,
        [read(sample(1, 50 * MS, healthy(2), RULES))],
    );
    assert!(engine.poll(BootTime(10 * SETTLE)).is_empty());
}

#[test]
fn a_vm_with_broken_destinations_is_read_again_each_second_until_it_is_sound() {
    let mut engine = engine(RULES, None);
    feed(&mut engine, 0, seen(1, 100, 0));
    feed(&mut engine, 0, [read(sample(1, 0, bigsmp(16), RULES))]);
    assert!(engine.take_refresh_due(BootTime(999 * MS)).is_empty());
    assert_eq!(engine.take_refresh_due(BootTime(1000 * MS)), [VmId(1)]);
    assert!(engine.take_refresh_due(BootTime(1001 * MS)).is_empty());
    feed(
        &mut engine,
        1500 * MS,
        [read(sample(1, 1500 * MS, healthy(8), RULES))],
    );
    assert!(engine.take_refresh_due(BootTime(9000 * MS)).is_empty());
}

#[test]
fn a_pin_armed_at_a_stolen_slot_turns_the_finding_critical() {
    let mut engine = engine(RULES, None);
    feed(&mut engine, 0, seen(1, 100, 0));
    feed(&mut engine, 0, [read(sample(1, 0, bigsmp(16), RULES))]);
    let before = engine.poll(BootTime(SETTLE));
    assert!(
        severities(&before)
            .iter()
            .all(|severity| *severity <= Severity::Warning)
    );

    let armed = SETTLE + MS;
    let mut aimed = sample(1, armed, bigsmp(16), RULES);
    aimed.aims.push(pin(2, 0x01));
    feed(&mut engine, armed, [read(aimed)]);
    let after = engine.poll(BootTime(armed + SETTLE));
    let collision = after.iter().find_map(|output| match output {
        Output::Event(event) if event.change.finding.key.rule == Rule::LdrCollision => Some(event),
        _ => None,
    });
    assert_eq!(
        collision.map(|event| event.change.finding.severity),
        Some(Severity::Critical)
    );
}

fn severities(outputs: &[Output]) -> Vec<Severity> {
    let severity = |output: &Output| match output {
        Output::Event(event) => Some(event.change.finding.severity),
        Output::Status(_) => None,
    };
    outputs.iter().filter_map(severity).collect()
}

#[test]
fn lost_records_make_every_vm_uncertain_until_it_has_been_read_again() {
    let mut engine = engine(RULES, None);
    feed(&mut engine, 0, seen(1, 100, 0));
    feed(&mut engine, 0, [read(sample(1, 0, healthy(2), RULES))]);
    let lost = feed(&mut engine, MS, [Report::Dropped { records: 7 }]);
    assert_eq!(words(&lost), ["lost all", "uncertain web"]);
    assert!(engine.next_due().is_some());
    let again = 1500 * MS;
    let healed = feed(&mut engine, again, [read(sample(1, again, healthy(2), RULES))]);
    assert_eq!(words(&healed), ["certain web"]);
}

#[test]
fn a_vm_whose_read_was_torn_is_read_again_soon() {
    let mut engine = engine(RULES, None);
    feed(&mut engine, 0, seen(1, 100, 0));
    feed(&mut engine, 0, [read(sample(1, 0, healthy(2), RULES))]);
    let lost = Observation::Lost(Lost {
        vm: VmId(1),
        at: BootTime(MS),
    });
    feed(&mut engine, MS, [Report::Observation(lost)]);
    assert_eq!(engine.take_refresh_due(BootTime(150 * MS)), [VmId(1)]);
}

#[test]
fn a_vm_is_read_once_more_after_a_change_of_an_apic_base_was_seen_coming() {
    let mut engine = engine(RULES, None);
    feed(&mut engine, 0, seen(1, 100, 0));
    let entered = Touched {
        vm: VmId(1),
        at: BootTime(10 * MS),
        recalculations: 1,
        what: Touch::Entered(Route::ApicBase),
        vcpu: None,
        lapic: None,
        task: Task::default(),
    };
    feed(
        &mut engine,
        10 * MS,
        [Report::Observation(Observation::Touched(entered))],
    );
    feed(
        &mut engine,
        11 * MS,
        [read(sample(1, 11 * MS, healthy(4), RULES))],
    );
    assert!(engine.take_refresh_due(BootTime(59 * MS)).is_empty());
    assert_eq!(engine.take_refresh_due(BootTime(60 * MS)), [VmId(1)]);
    assert!(engine.take_refresh_due(BootTime(9000 * MS)).is_empty());
}

#[test]
fn a_filter_hides_every_other_vm() {
    let mut engine = engine(RULES, Some("web"));
    feed(&mut engine, 0, seen(1, 100, 0));
    feed(&mut engine, 0, seen(2, 200, 0));
    feed(
        &mut engine,
        0,
        [1, 2].map(|vm| read(sample(vm, 0, vec![vcpu(0, 1), vcpu(1, 1)], RULES))),
    );
    assert_eq!(
        words(&engine.poll(BootTime(SETTLE))),
        ["raised web ldr-collision 0:0"]
    );
    assert_eq!(engine.watched(), 1);
    assert_eq!(engine.view(BootTime(SETTLE)).vms.len(), 1);
    assert!(feed(&mut engine, 2 * SETTLE, [gone(2, 2 * SETTLE)]).is_empty());
}

#[test]
fn a_filter_that_matches_nothing_names_the_vms_there_are() {
    let mut engine = engine(RULES, Some("db"));
    feed(&mut engine, 0, seen(1, 100, 0));
    let error = engine.check_filter().unwrap_err();
    assert_eq!(error.to_string(), "no VM matches `db`: there are web (pid 100)");
}

#[test]
fn a_new_owner_takes_the_findings_over_under_ids_of_its_own() {
    let mut engine = engine(RULES, None);
    feed(&mut engine, 0, seen(1, 200, 0));
    feed(
        &mut engine,
        0,
        [read(sample(1, 0, vec![vcpu(0, 1), vcpu(1, 1)], RULES))],
    );
    engine.poll(BootTime(SETTLE));
    let [_, handed_over] = seen(1, 100, SETTLE);
    let told = feed(&mut engine, SETTLE + MS, [handed_over]);
    assert_eq!(
        words(&told),
        [
            "cleared e\x1b[31mvil\u{202e} ldr-collision 0:0",
            "raised web ldr-collision 0:0"
        ]
    );
}
