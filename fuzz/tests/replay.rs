//! Every target on its seeds, on the kept inputs of `cases/TARGET/`, and on a few random ones: no fuzzer needed.

use std::{fs, io, path::Path};

use fuzz::{TARGETS, Target};
use proptest::{
    collection::vec,
    prelude::*,
    test_runner::{RngSeed, TestRunner},
};

fn kept(target: &Target) -> io::Result<Vec<Vec<u8>>> {
    let directory = Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("cases")
        .join(target.name);
    if !directory.exists() {
        return Ok(Vec::new());
    }
    fs::read_dir(directory)?
        .map(|entry| fs::read(entry?.path()))
        .collect()
}

#[test]
fn seeds_and_kept_inputs_hold() {
    for target in TARGETS {
        let seeds = (target.seeds)();
        assert!(!seeds.is_empty(), "{}", target.name);
        for input in seeds.iter().chain(&kept(&target).unwrap()) {
            (target.check)(input);
            assert!(!(target.show)(input).is_empty());
        }
    }
}

#[test]
fn every_kept_input_is_of_a_target() {
    let cases = Path::new(env!("CARGO_MANIFEST_DIR")).join("cases");
    for entry in fs::read_dir(cases).into_iter().flatten() {
        let name = entry.unwrap().file_name();
        assert!(TARGETS.iter().any(|target| name == target.name), "cases/{name:?}");
    }
}

#[test]
fn random_inputs_hold() {
    let config = ProptestConfig {
        rng_seed: RngSeed::Fixed(0x1d5c_09e5),
        failure_persistence: None,
        ..ProptestConfig::with_cases(200)
    };
    for target in TARGETS {
        let seeds = (target.seeds)();
        let change = (
            any::<usize>(),
            vec((any::<usize>(), any::<u8>()), 0..12),
            vec(any::<u8>(), 0..300),
        );
        let run = TestRunner::new(config.clone()).run(&change, |(seed, changes, appended)| {
            let mut input = seeds[seed % seeds.len()].clone();
            for (at, byte) in changes {
                let at = at % input.len();
                input[at] = byte;
            }
            input.extend(appended);
            (target.check)(&input);
            Ok(())
        });
        run.unwrap_or_else(|failure| panic!("{}: {failure}", target.name));
    }
}
