//! The oracle's share of the test: a thousand random states, the same ones on every run, and the proof that it would have
//! found a fault. How it works is in [`crate::oracle`].

use std::io;

use lab_protocol::Seed;

use super::{Bench, CaseResult, Context, require};
use crate::oracle::{Plan, run};

const SEED: Seed = Seed(0x1d20_2019);
const STATES: u64 = 1000;

pub(super) fn random_states(context: &Context, bench: &mut Bench) -> CaseResult {
    bench.clear();
    let outcome = run(&plan(context), &mut io::stderr())?;
    require(outcome.agrees(), || outcome.to_string())
}

/// A fault is put into what KVM did: vCPUs with two bits in their logical ID count as having received nothing. One such
/// vCPU is all that it takes to show it, and all that may be left after shrinking.
pub(super) fn finds_a_fault(context: &Context, bench: &mut Bench) -> CaseResult {
    bench.clear();
    let plan = Plan {
        states: 0,
        planted: true,
        ..plan(context)
    };
    let outcome = run(&plan, &mut io::stderr())?;
    let size = outcome.shrunk_to();
    require(
        size.is_some_and(|(vcpus, steps)| vcpus == 1 && steps <= 3),
        || {
            format!(
                "the planted fault should be found and shrunk to one vCPU, (vCPUs, steps) is {size:?}\n{outcome}"
            )
        },
    )
}

fn plan(context: &Context) -> Plan {
    Plan {
        states: STATES,
        seed: SEED,
        rules: context.rules,
        thorough: false,
        planted: false,
    }
}
