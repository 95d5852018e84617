//! Whatever happens on a host, the recording says of it what was said.

use ldrscope::{identity::filter::VmFilter, observer::Report, tape::PlayerOptions};
use probe_apic::{
    id::{BootTime, VmId},
    observation::{Lost, Observation},
};
use proptest::{collection::vec, prelude::*, sample::select, test_runner::RngSeed};

use super::{RULES, Stage, play, touched};
use crate::fixture::{MS, SETTLE, gone, pin, read, sample, seen, vcpu};

/// One thing that happens after a while.
#[derive(Clone, Debug)]
enum Step {
    Seen(usize, u32),
    Read(usize, Vec<u8>, bool),
    Touched(usize, u32),
    Lost(usize),
    Dropped,
    Gone(usize),
    Nothing,
}

fn any_step() -> impl Strategy<Value = (u64, Step)> {
    let vm = || 1_usize..4;
    let logical = select(&[0_u8, 1, 2, 3, 4, 6, 8, 0x11, 0xff][..]);
    let step = prop_oneof![
        2 => (vm(), select(&[100_u32, 200][..])).prop_map(|(vm, pid)| Step::Seen(vm, pid)),
        6 => (vm(), vec(logical, 1..6), any::<bool>()).prop_map(|(vm, ids, aimed)| Step::Read(vm, ids, aimed)),
        3 => (vm(), 0_u32..6).prop_map(|(vm, vcpu)| Step::Touched(vm, vcpu)),
        1 => vm().prop_map(Step::Lost),
        1 => Just(Step::Dropped),
        1 => vm().prop_map(Step::Gone),
        3 => Just(Step::Nothing),
    ];
    (select(&[0_u64, 1, 5, 60, 199, 201, 1001, 2500][..]), step)
}

/// The same cases in every run, unless `PROPTEST_RNG_SEED` asks for others.
fn config() -> ProptestConfig {
    let given = ProptestConfig::default();
    ProptestConfig {
        rng_seed: match given.rng_seed {
            RngSeed::Random => RngSeed::Fixed(0x1d5c_09e5),
            fixed @ RngSeed::Fixed(_) => fixed,
        },
        failure_persistence: None,
        ..given
    }
}

proptest! {
    #![proptest_config(config())]

    #[test]
    fn whatever_happened_is_told_again(steps in vec(any_step(), 0..40), only in any::<bool>()) {
        let mut stage = Stage::new(only.then_some("web"), false);
        let mut at = MS;
        // A birth number is given once.
        let mut births = 0;
        let mut alive = [0; 4];
        for (pause, step) in steps {
            at += pause * MS;
            match step {
                Step::Seen(vm, pid) if alive[vm] == 0 => {
                    births += 1;
                    alive[vm] = births;
                    stage.feed(at, seen(births, pid, at));
                }
                Step::Read(vm, ids, aimed) if alive[vm] != 0 => {
                    let vcpus = (0..).zip(&ids).map(|(number, id)| vcpu(number, (*id).into()));
                    let mut sample = sample(alive[vm], at, vcpus.collect(), RULES);
                    if aimed {
                        sample.aims.push(pin(2, 1));
                    }
                    stage.feed(at, [read(sample)]);
                }
                Step::Touched(vm, vcpu) if alive[vm] != 0 => stage.feed(at, [touched(alive[vm], at, vcpu)]),
                Step::Lost(vm) if alive[vm] != 0 => {
                    let lost = Lost { vm: VmId(alive[vm]), at: BootTime(at) };
                    stage.feed(at, [Report::Observation(Observation::Lost(lost))]);
                }
                Step::Dropped => stage.feed(at, [Report::Dropped { records: 3 }]),
                Step::Gone(vm) if alive[vm] != 0 => {
                    stage.feed(at, [gone(alive[vm], at)]);
                    alive[vm] = 0;
                }
                _ => {}
            }
            // The loop polls late now and then.
            if pause != 1 {
                stage.poll(at + 3);
            }
        }
        stage.poll(at + 10 * SETTLE);
        let (told, recording) = stage.end(at + 10 * SETTLE);
        let options = PlayerOptions {
            filter: VmFilter::new(only.then(|| "web".to_owned())),
            ..PlayerOptions::default()
        };
        prop_assert_eq!(play(&recording, options).0, told);
    }
}
