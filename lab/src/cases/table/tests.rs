//! What holds of every table: that each case runs somewhere, under a name of its own.

use std::collections::BTreeSet;

use lab_protocol::{Scale, boot::PLAIN};

use super::{Boot, Entry, MACHINES, MIGRATION, ORDINARY, TABLE, boots_for, cases_for, journeys};
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
fn what_is_not_of_one_kernel_runs_on_all() {
    let of_all = |entry: &&Entry| {
        let is_chosen = entry.tested_on.is_some() || entry.only.is_some() || entry.only_on.is_some();
        !is_chosen && entry.machines.contains(&&ORDINARY)
    };
    for series in ALL {
        let names: Vec<_> = cases_for(series, PLAIN, Scale::Test)
            .into_iter()
            .map(|case| case.name)
            .collect();
        let missing = TABLE.iter().filter(of_all).find(|entry| {
            !names
                .iter()
                .any(|name| name.split('/').next() == Some(entry.name))
        });
        assert!(missing.is_none(), "{series}: {missing:?}");
        assert!(names.len() > 50, "{series}: {names:?}");
    }
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
