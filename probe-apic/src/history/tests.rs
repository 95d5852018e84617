//! Who is named as the writer, and whose LDR is suspected.

use crate::{
    cause::{Cause, Register, Route},
    finding::{Finding, Rule},
    fixture::{
        VM, bigsmp, clean_flat, disable, enable, entered, flat, only_vm, recalculated, sample, seen, touched,
        vcpu, with,
    },
    host::Host,
    id::{BootTime, VcpuId},
    lapic::Lapic,
    map_rules::MapRules,
    observation::{Observation, Origin, Touch, VcpuSample},
    reg::{ApicBase, Ldr},
    rules::judge,
};

const RULES: MapRules = MapRules::Overwrite;

/// A born VM, driven step by step as a guest would.
struct Guest {
    host: Host,
    vcpus: Vec<VcpuSample>,
    now: u64,
}

impl Guest {
    fn new(vcpus: u32) -> Self {
        let mut host = Host::new(Some(RULES));
        host.apply(&seen(Origin::Birth));
        let mut guest = Self {
            host,
            vcpus: (0..vcpus).map(vcpu).collect(),
            now: 0,
        };
        guest.read();
        guest
    }

    /// A guest whose vCPUs are all up, with the LDRs of `vcpus`.
    fn booted(vcpus: &[VcpuSample]) -> Self {
        let mut guest = Self::new(vcpus.len() as u32);
        for vcpu in vcpus {
            guest.write(vcpu.idx.0, |lapic| lapic.ldr = vcpu.lapic.ldr);
            guest.write(vcpu.idx.0, enable);
        }
        guest
    }

    fn read(&mut self) {
        self.now += 10;
        self.host
            .apply(&Observation::Sample(sample(self.now, self.vcpus.clone(), RULES)));
    }

    /// One register write of one vCPU, its recalculation, and the read that follows.
    fn write(&mut self, vcpu: u32, change: impl FnOnce(&mut Lapic)) {
        self.now += 10;
        let vcpu = &mut self.vcpus[vcpu as usize];
        *vcpu = with(*vcpu, change);
        let event = recalculated(self.now, vcpu);
        self.host.apply(&event);
        self.read();
    }

    fn by_route(&mut self, route: Route, vcpu: u32, change: impl FnOnce(&mut Lapic)) {
        self.now += 10;
        let event = entered(self.now, route, &self.vcpus[vcpu as usize]);
        self.host.apply(&event);
        self.write(vcpu, change);
    }

    fn init(&mut self, vcpu: u32) {
        self.by_route(Route::Init, vcpu, |lapic| *lapic = Lapic::power_on(VcpuId(vcpu)));
    }

    fn cause(&self, vcpu: u32, register: Register) -> Option<Cause> {
        only_vm(&self.host)
            .history()
            .latest_cause([VcpuId(vcpu)].into_iter(), &[register])
    }

    fn stale(&self) -> Option<Finding> {
        judge(only_vm(&self.host))
            .into_iter()
            .find(|finding| finding.key.rule == Rule::LdrStale)
    }

    fn suspects(&self) -> Vec<u32> {
        self.stale()
            .map_or_else(Vec::new, |stale| stale.vcpus.iter().map(|id| id.0).collect())
    }
}

#[test]
fn guest_write_is_certain_where_the_difference_is_on_the_vcpu_that_ran() {
    let mut guest = Guest::booted(&clean_flat(2));
    guest.write(1, |lapic| lapic.ldr = Ldr(0x0100_0000));
    let cause = guest.cause(1, Register::Ldr).unwrap();
    assert_eq!((cause.route, cause.certain), (Route::GuestWrite, true));
    assert_eq!((cause.old, cause.new), (Some(0x0200_0000), Some(0x0100_0000)));
    assert_eq!(cause.task.unwrap().tid, 1001);
    let collision = &judge(only_vm(&guest.host))[0];
    assert_eq!(collision.key.rule, Rule::LdrCollision);
    let cause = collision.cause.clone().unwrap();
    assert_eq!(
        (cause.vcpu_id, cause.register),
        (Some(VcpuId(1)), Some(Register::Ldr))
    );
}

#[test]
fn change_of_a_vcpu_that_did_not_run_is_put_down_to_the_runner_without_certainty() {
    let mut guest = Guest::booted(&clean_flat(2));
    guest.vcpus[1] = flat(1, 1);
    guest.write(0, |_| {});
    let cause = guest.cause(1, Register::Ldr).unwrap();
    assert_eq!((cause.route, cause.certain), (Route::GuestWrite, false));
    assert_eq!(cause.task.unwrap().tid, 1000);
}

#[test]
fn change_that_only_a_read_shows_has_route_scan() {
    let mut guest = Guest::booted(&clean_flat(2));
    guest.vcpus[1] = flat(1, 1);
    guest.read();
    let cause = guest.cause(1, Register::Ldr).unwrap();
    assert_eq!(
        (cause.route, cause.certain, cause.task),
        (Route::Scan, false, None)
    );
    assert_eq!(cause.old, Some(0x0200_0000));
}

#[test]
fn state_that_was_found_has_route_scan_and_no_old_value() {
    let mut host = Host::new(Some(RULES));
    host.apply(&seen(Origin::Scan));
    host.apply(&Observation::Sample(sample(10, bigsmp(4), RULES)));
    let findings = judge(only_vm(&host));
    let cause = findings[0].cause.clone().unwrap();
    assert_eq!(
        (cause.route, cause.register, cause.old),
        (Route::Scan, Some(Register::Ldr), None)
    );
    assert_eq!(findings[0].since, None);
}

#[test]
fn finding_of_a_later_sample_of_a_found_vm_has_a_beginning() {
    let mut host = Host::new(Some(RULES));
    host.apply(&seen(Origin::Scan));
    host.apply(&Observation::Sample(sample(10, clean_flat(4), RULES)));
    host.apply(&Observation::Sample(sample(20, bigsmp(4), RULES)));
    assert_eq!(judge(only_vm(&host))[0].since, Some(BootTime(20)));
}

#[test]
fn routes_are_told_apart_by_what_was_entered() {
    let mut guest = Guest::booted(&clean_flat(4));
    guest.by_route(Route::SetLapic, 1, |lapic| lapic.ldr = Ldr(0x0100_0000));
    guest.init(2);
    guest.by_route(Route::ApicBase, 3, |lapic| {
        lapic.apic_base = ApicBase(0xfee0_0000)
    });
    assert_eq!(guest.cause(1, Register::Ldr).unwrap().route, Route::SetLapic);
    assert_eq!(guest.cause(2, Register::Ldr).unwrap().route, Route::Init);
    assert_eq!(guest.cause(3, Register::ApicBase).unwrap().route, Route::ApicBase);
}

#[test]
fn base_that_a_restore_sets_on_its_way_does_not_hide_the_restore() {
    let mut guest = Guest::booted(&clean_flat(2));
    let event = entered(guest.now + 1, Route::SetLapic, &guest.vcpus[1]);
    guest.host.apply(&event);
    guest.by_route(Route::ApicBase, 1, |lapic| lapic.ldr = Ldr(0x0100_0000));
    assert_eq!(guest.cause(1, Register::Ldr).unwrap().route, Route::SetLapic);
}

#[test]
fn entry_that_led_to_nothing_does_not_claim_a_later_guest_write() {
    let mut guest = Guest::booted(&clean_flat(2));
    guest.by_route(Route::Init, 1, |lapic| lapic.ldr = Ldr(0x0100_0000));
    assert_eq!(guest.cause(1, Register::Ldr).unwrap().route, Route::GuestWrite);
}

#[test]
fn precise_hook_adds_the_instruction_and_the_old_value() {
    let mut guest = Guest::booted(&clean_flat(2));
    let wrote = Touch::Wrote {
        register: Register::Ldr,
        old: Some(0x0200_0000),
        new: 0x01ff_ffff,
        guest_rip: Some(0xc010_0000),
    };
    let event = touched(guest.now + 1, wrote, 1001, &guest.vcpus[1]);
    guest.host.apply(&event);
    guest.write(1, |lapic| lapic.ldr = Ldr(0x0100_0000));
    let cause = guest.cause(1, Register::Ldr).unwrap();
    assert_eq!(
        (cause.guest_rip, cause.new),
        (Some(0xc010_0000), Some(0x0100_0000))
    );
}

#[test]
fn touch_that_is_read_after_its_sample_still_explains_it() {
    let mut guest = Guest::booted(&clean_flat(2));
    let at = guest.now + 1;
    guest.vcpus[1] = flat(1, 1);
    guest.read();
    assert!(!guest.cause(1, Register::Ldr).unwrap().certain);
    assert_eq!(guest.host.apply(&recalculated(at, &guest.vcpus[1])), Some(VM));
    let cause = guest.cause(1, Register::Ldr).unwrap();
    assert_eq!(
        (cause.certain, cause.route, cause.at),
        (true, Route::GuestWrite, BootTime(at))
    );
    assert_eq!(cause.old, Some(0x0200_0000));
}

#[test]
fn bringing_up_a_guest_makes_nobody_suspect() {
    let mut guest = Guest::new(4);
    for ap in 0..4 {
        // Firmware enables every APIC; the kernel sends INIT before it starts an AP.
        guest.write(ap, enable);
    }
    for ap in 1..4 {
        guest.init(ap);
        guest.write(ap, |_| {});
        guest.write(ap, |lapic| lapic.ldr = Ldr(1 << (24 + ap)));
        guest.write(ap, enable);
    }
    assert_eq!(guest.stale(), None);
}

#[test]
fn reboot_by_reset_makes_nobody_suspect() {
    let mut guest = Guest::booted(&clean_flat(4));
    for number in 0..4 {
        guest.by_route(Route::SetLapic, number, |lapic| {
            *lapic = Lapic::power_on(VcpuId(number))
        });
    }
    for number in 0..4 {
        guest.init(number);
        guest.write(number, |lapic| lapic.ldr = Ldr(1 << (24 + number)));
        guest.write(number, enable);
    }
    assert_eq!(guest.stale(), None);
}

fn crash(guest: &mut Guest, vcpu: u32) {
    guest.write(vcpu, disable);
    guest.write(vcpu, |_| {});
    guest.write(vcpu, |lapic| lapic.ldr = Ldr(0x0100_0000));
    guest.write(vcpu, enable);
}

#[test]
fn kdump_kernel_makes_every_older_enabled_ldr_suspect() {
    // vCPU 0 of a bigsmp guest has APIC ID 0, hence no logical ID before the crash.
    for crashed in [0, 5] {
        let mut guest = Guest::booted(&bigsmp(16));
        crash(&mut guest, crashed);
        let others: Vec<u32> = (1..16).filter(|&number| number != crashed).collect();
        assert_eq!(guest.suspects(), others);
        assert!(guest.stale().unwrap().suspected);
    }
}

#[test]
fn same_ldr_written_again_counts_as_written() {
    let mut guest = Guest::booted(&clean_flat(2));
    guest.write(0, disable);
    guest.write(0, |_| {});
    guest.write(0, enable);
    assert_eq!(guest.suspects(), [1]);
}

#[test]
fn vcpu_that_writes_its_ldr_too_is_suspect_no_longer() {
    let mut guest = Guest::booted(&clean_flat(3));
    crash(&mut guest, 0);
    assert_eq!(guest.suspects(), [1, 2]);
    guest.init(1);
    guest.write(1, |lapic| lapic.ldr = Ldr(0x0200_0000));
    guest.write(1, enable);
    assert_eq!(guest.suspects(), [2]);
}

#[test]
fn init_of_a_vcpu_that_had_an_ldr_makes_the_others_suspect_once_it_is_up_again() {
    let mut guest = Guest::booted(&clean_flat(3));
    guest.init(2);
    assert_eq!(guest.stale(), None);
    guest.write(2, |lapic| lapic.ldr = Ldr(0x0400_0000));
    // An LDR on an APIC that is still disabled is stale without any suspicion.
    assert!(!guest.stale().unwrap().suspected);
    assert_eq!(guest.suspects(), [2]);
    guest.write(2, enable);
    assert_eq!(guest.suspects(), [0, 1]);
}

#[test]
fn found_vm_knows_no_age_but_what_follows_is_younger() {
    let mut guest = Guest {
        host: Host::new(Some(RULES)),
        vcpus: bigsmp(4),
        now: 0,
    };
    guest.host.apply(&seen(Origin::Scan));
    guest.read();
    assert_eq!(guest.stale(), None);
    crash(&mut guest, 0);
    assert_eq!(guest.suspects(), [1, 2, 3]);
}

#[test]
fn restore_says_nothing_about_the_guests_kernels() {
    let mut guest = Guest::booted(&clean_flat(3));
    guest.by_route(Route::SetLapic, 0, disable);
    guest.by_route(Route::SetLapic, 0, |lapic| {
        lapic.ldr = Ldr(0x1000_0000);
        enable(lapic);
    });
    assert_eq!(guest.stale(), None);
}

#[test]
fn lost_touches_do_not_hide_a_restart() {
    let mut guest = Guest::booted(&clean_flat(2));
    guest.vcpus[0] = with(flat(0, 1), disable);
    guest.read();
    guest.vcpus[0] = flat(0, 0x80);
    guest.read();
    assert_eq!(guest.suspects(), [1]);
}

#[test]
fn restart_between_two_alike_samples_is_judged() {
    let mut guest = Guest::booted(&clean_flat(2));
    let enabled = guest.vcpus[0];
    let disabled = with(enabled, disable);
    for (after, vcpu) in [(1, disabled), (2, disabled), (3, enabled)] {
        assert_eq!(guest.host.apply(&recalculated(guest.now + after, &vcpu)), None);
    }
    let same = sample(guest.now + 4, guest.vcpus.clone(), RULES);
    assert_eq!(guest.host.apply(&Observation::Sample(same)), Some(VM));
    assert_eq!(guest.suspects(), [1]);
}

#[test]
fn collision_after_a_crash_names_owner_claimants_and_suspects() {
    let mut guest = Guest::booted(&bigsmp(16));
    crash(&mut guest, 0);
    let findings = judge(only_vm(&guest.host));
    let collision = findings
        .iter()
        .find(|finding| finding.key.rule == Rule::LdrCollision)
        .unwrap();
    let expected = "slot 0 (flat bit 0) is claimed by vCPUs 0, 1, 3, 5, 7, 9, 11, 13 and 15 \
                    (LDRs 0x01000000 to 0x0f000000); KVM delivers to vCPU 15 (LDR 0x0f000000) alone; \
                    the LDRs of vCPUs 1, 3, 5, 7, 9, 11, 13 and 15 are suspected to be left over";
    assert_eq!(collision.summary, expected);
}

#[test]
fn suspect_that_writes_its_ldr_again_is_suspected_no_longer() {
    let mut guest = Guest::booted(&clean_flat(3));
    guest.write(0, |lapic| lapic.sw_enabled = false);
    guest.write(0, |lapic| lapic.ldr = Ldr(0x0800_0000));
    guest.write(0, |lapic| lapic.sw_enabled = true);
    assert_eq!(guest.suspects(), [1, 2]);
    guest.write(1, |_same| {});
    assert_eq!(guest.suspects(), [2]);
    guest.write(2, |_same| {});
    assert_eq!(guest.suspects(), [0; 0]);
}

/// On two CPUs a whole SMP boot may be in a sample before its first touch is read.
#[test]
fn touches_older_than_the_sample_end_no_life() {
    let mut guest = Guest::new(2);
    guest.write(0, |lapic| *lapic = flat(0, 1).lapic);
    let start = guest.now;
    guest.now += 50;
    guest.vcpus[1] = flat(1, 2);
    guest.read();
    let off = |ldr| with(vcpu(1), |lapic| lapic.ldr = Ldr(ldr));
    for (step, state) in [off(0), off(0x0200_0000), flat(1, 2)].iter().enumerate() {
        guest.host.apply(&recalculated(start + 10 + step as u64, state));
    }
    assert_eq!(guest.suspects(), [0; 0]);
}

#[test]
fn a_moved_register_page_is_explained_without_a_recalculation() {
    let mut guest = Guest::booted(&clean_flat(2));
    let moved = |lapic: &mut Lapic| lapic.apic_base = ApicBase(0xfed0_0800);
    guest.now += 10;
    let event = entered(guest.now, Route::ApicBase, &guest.vcpus[1]);
    guest.host.apply(&event);
    guest.vcpus[1] = with(guest.vcpus[1], moved);
    guest.read();
    let cause = guest.cause(1, Register::ApicBase).unwrap();
    assert_eq!((cause.route, cause.certain), (Route::ApicBase, true));
    assert_eq!((cause.old, cause.new), (Some(0xfee0_0800), Some(0xfed0_0800)));

    // Unseen, it is found by the read.
    guest.vcpus[0] = with(guest.vcpus[0], moved);
    guest.read();
    let cause = guest.cause(0, Register::ApicBase).unwrap();
    assert_eq!((cause.route, cause.certain), (Route::Scan, false));
}

#[test]
fn nothing_is_certain_of_what_touches_that_were_left_out_would_have_told() {
    let mut guest = Guest::booted(&clean_flat(2));
    guest.host.apply(&Observation::Skipped(VM));
    guest.write(1, |lapic| lapic.ldr = Ldr(0x0100_0000));
    let cause = guest.cause(1, Register::Ldr).unwrap();
    assert!(!cause.certain, "{cause:?}");
    // The read has shown what became of them.
    guest.write(1, |lapic| lapic.ldr = Ldr(0x0200_0000));
    assert!(guest.cause(1, Register::Ldr).unwrap().certain);
}

#[test]
fn a_touch_that_comes_after_the_read_takes_no_credit_for_those_left_out() {
    let mut guest = Guest::booted(&clean_flat(2));
    // Another route changes the LDR, which nobody tells of; then the guest writes SVR, whose touch comes late.
    guest.vcpus[1] = with(guest.vcpus[1], |lapic| lapic.ldr = Ldr(0x0800_0000));
    guest.vcpus[1] = with(guest.vcpus[1], disable);
    guest.now += 10;
    let late = recalculated(guest.now, &guest.vcpus[1]);
    guest.host.apply(&Observation::Skipped(VM));
    guest.read();
    guest.host.apply(&late);
    let cause = guest.cause(1, Register::Ldr).unwrap();
    assert!(!cause.certain, "{cause:?}");
}
