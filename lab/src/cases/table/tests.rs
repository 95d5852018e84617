//! What holds of every table: that each case runs somewhere, under a name of its own.

use std::collections::BTreeSet;

use lab_protocol::{Scale, boot::PLAIN};

use super::{Boot, MACHINES, MIGRATION, TABLE, boots_for, cases_for, journeys};
use crate::host::Series;

const ALL: [Series; 5] = [
    Series::V5_10,
    Series::V6_1,
    Series::V6_12,
    Series { major: 6, minor: 18 },
    Series::V7_3,
];

/// Every boot of every kernel, at either scale.
fn boots() -> impl Iterator<Item = Boot> {
    Scale::ALL
        .into_iter()
        .flat_map(|scale| ALL.into_iter().flat_map(move |series| boots_for(series, scale)))
}

#[test]
fn names_are_one_word_and_unique_in_their_boot() {
    for boot in boots() {
        let names: BTreeSet<_> = boot.cases.iter().collect();
        assert_eq!(names.len(), boot.cases.len());
        assert!(
            names
                .iter()
                .chain([&&boot.name])
                .all(|name| !name.contains(char::is_whitespace))
        );
    }
}

#[test]
fn every_case_runs_somewhere() {
    let legs = journeys().into_iter().flat_map(|journey| journey.legs);
    let run: BTreeSet<_> = boots()
        .chain(legs.map(|leg| leg.boot))
        .flat_map(|boot| boot.cases)
        .collect();
    for entry in TABLE {
        assert!(
            run.iter().any(|name| name.split('/').next() == Some(entry.name)),
            "{}",
            entry.name
        );
    }
    let machines = || MACHINES.iter().chain(&MIGRATION);
    let names: BTreeSet<_> = machines().map(|machine| machine.name).collect();
    assert_eq!(names.len(), machines().count());
}

#[test]
fn a_journey_has_a_leg_for_each_machine_and_cases_on_each() {
    let [journey] = &journeys()[..] else {
        panic!("one journey")
    };
    let kernels: Vec<_> = journey.legs.iter().map(|leg| leg.kernel.as_str()).collect();
    assert_eq!(kernels, ["6.1", "6.12", "6.1"]);
    for leg in &journey.legs {
        let cases = cases_for(leg.kernel.parse().unwrap(), &leg.boot.name, Scale::Test);
        assert!(!cases.is_empty());
        assert_eq!(cases.len(), leg.boot.cases.len());
    }
}

#[test]
fn newer_kernels_run_more_and_the_oldest_all_that_6_1_does() {
    let names = |series| -> BTreeSet<_> {
        let cases = cases_for(series, PLAIN, Scale::Test).into_iter();
        cases.map(|case| case.name).collect()
    };
    assert!(names(Series::V6_12).len() > names(Series::V6_1).len());
    let mut possible = names(Series::V6_1);
    // What is about one kernel of several tells nothing of the others.
    let is_chosen = |name: &String| {
        let entry = TABLE
            .iter()
            .find(|entry| name.split('/').next() == Some(entry.name));
        entry.is_none_or(|entry| entry.tested_on.is_some())
    };
    possible.retain(|name| !is_chosen(name));
    assert!(names(Series::V5_10).is_superset(&possible));
}

#[test]
fn a_soak_has_what_a_test_leaves_out_and_what_it_only_begins() {
    let names = |series, scale| -> BTreeSet<_> {
        let boots = boots_for(series, scale).into_iter();
        boots.flat_map(|boot| boot.cases).collect()
    };
    let [test, soak] = Scale::ALL.map(|scale| names(Series::V6_1, scale));
    assert!(test.contains("linux-flat") && soak.contains("linux-flat"));
    assert!(!test.contains("linux-x2apic") && soak.contains("linux-x2apic"));
    assert!(test.contains("no-vm") && !soak.contains("no-vm"));
    let [test, soak] = Scale::ALL.map(|scale| names(Series::V6_12, scale));
    assert!(!test.contains("linux-flat") && soak.contains("linux-flat"));
}
