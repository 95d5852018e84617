//! From a state that shows a fault to a small one that still shows it: fewer vCPUs, fewer steps, plainer values. Each round
//! tries many smaller states side by side and goes on with the smallest that still fails. What failing is, is the
//! caller's.

use super::state::{State, Step};
use crate::guest::lapic::ApicReg;
use crate::guest::lapic::{DFR_CLUSTER, DFR_FLAT, SVR_ENABLED};

/// Shrinks `state`, which fails. `fails` says of each of several states whether it does.
pub(super) fn shrink<E>(
    state: State,
    mut fails: impl FnMut(&[State]) -> Result<Vec<bool>, E>,
) -> Result<State, E> {
    let mut smallest = state;
    loop {
        let mut candidates = smaller(&smallest);
        candidates.sort_by_key(weight);
        let failing = fails(&candidates)?;
        let found = candidates.into_iter().zip(failing).find(|(_, fails)| *fails);
        match found {
            Some((state, _)) => smallest = state,
            None => return Ok(smallest),
        }
    }
}

/// What counts as small: vCPUs first, then steps, then how plain they are.
fn weight(state: &State) -> (usize, usize, u64) {
    let plainness = state.0.iter().map(|step| match *step {
        Step::Restore(vcpu, reg, value) => u64::from(vcpu) + from_plain(reg, value),
        Step::Write(vcpu, reg, value) | Step::WriteMsr(vcpu, reg, value) => {
            u64::from(vcpu) + 64 + from_plain(reg, value)
        }
        Step::WriteMode(vcpu, _) => u64::from(vcpu) + 64,
        step => step.vcpu().map_or(0, u64::from),
    });
    (state.vcpus().len(), state.0.len(), plainness.sum())
}

/// How far a value is from a usual one of its register.
fn from_plain(reg: ApicReg, value: u32) -> u64 {
    u64::from((value ^ plain(reg)).count_ones())
}

/// The value that says least.
const fn plain(reg: ApicReg) -> u32 {
    match reg {
        ApicReg::Dfr => DFR_FLAT,
        ApicReg::Svr => SVR_ENABLED,
        _ => 0,
    }
}

/// States a little smaller than `state`.
fn smaller(state: &State) -> Vec<State> {
    let weight_now = weight(state);
    let mut all = fewer_vcpus(state);
    all.extend(fewer_steps(state));
    all.extend(plainer_steps(state));
    all.extend(low_ids(state));
    all.retain(|candidate| weight(candidate) < weight_now && !candidate.vcpus().is_empty());
    all
}

/// With, and without, a half of the vCPUs, a quarter, ... down to one.
fn fewer_vcpus(state: &State) -> Vec<State> {
    let ids = state.vcpus();
    parts(&ids).map(|gone| state.without(&gone)).collect()
}

/// With, and without, a part of the steps that create no vCPU.
fn fewer_steps(state: &State) -> Vec<State> {
    let places: Vec<usize> = (0..state.0.len())
        .filter(|&at| !matches!(state.0[at], Step::Create(_)))
        .collect();
    let without = |gone: Vec<usize>| {
        let left = state.0.iter().enumerate().filter(|(at, _)| !gone.contains(at));
        State(left.map(|(_, step)| *step).collect())
    };
    parts(&places).map(without).collect()
}

/// A half of `whole`, a quarter, ... down to one, each in every place, and what each leaves.
fn parts<T: Copy + PartialEq>(whole: &[T]) -> impl Iterator<Item = Vec<T>> {
    let sizes = std::iter::successors(Some(whole.len().div_ceil(2)), |size| {
        (*size > 1).then(|| size.div_ceil(2))
    });
    sizes
        .filter(|size| *size > 0)
        .flat_map(|size| whole.chunks(size))
        .flat_map(|part| {
            let rest = whole.iter().filter(|item| !part.contains(item));
            [part.to_vec(), rest.copied().collect()]
        })
}

/// With one step taken by the VMM instead of the guest, or with a plainer value.
fn plainer_steps(state: &State) -> Vec<State> {
    let with = |at: usize, step: Step| {
        let mut steps = state.0.clone();
        steps[at] = step;
        State(steps)
    };
    let plainer = |step: Step| -> Vec<Step> {
        match step {
            Step::Restore(vcpu, reg, value) => values(reg, value)
                .into_iter()
                .map(|value| Step::Restore(vcpu, reg, value))
                .collect(),
            Step::Write(vcpu, reg, value) => {
                let values = values(reg, value).into_iter();
                let mut steps: Vec<_> = values.map(|value| Step::Write(vcpu, reg, value)).collect();
                steps.push(Step::Restore(vcpu, reg, value));
                steps
            }
            Step::WriteMsr(vcpu, reg, value) => vec![Step::Restore(vcpu, reg, value)],
            Step::WriteMode(vcpu, mode) => vec![Step::SetMode(vcpu, mode)],
            Step::WideIds | Step::NoBroadcastQuirk | Step::Create(_) | Step::SetMode(..) | Step::Init(_) => {
                Vec::new()
            }
        }
    };
    let steps = state.0.iter().copied().enumerate();
    steps
        .flat_map(|(at, step)| plainer(step).into_iter().map(move |step| (at, step)))
        .map(|(at, step)| with(at, step))
        .collect()
}

/// Plainer values of a register: a usual one, or one with a single bit more as in a usual one.
fn values(reg: ApicReg, value: u32) -> Vec<u32> {
    let mut values = vec![plain(reg)];
    if reg == ApicReg::Dfr {
        values.push(DFR_CLUSTER);
    }
    let odd = value ^ plain(reg);
    values.extend(
        (0..32)
            .map(|bit| 1 << bit)
            .filter(|bit| odd & bit != 0)
            .map(|bit| value ^ bit),
    );
    values
}

/// With the vCPU ids that a VMM would have given, in order of creation or in order of size.
fn low_ids(state: &State) -> Vec<State> {
    let by_creation = state.vcpus();
    let mut by_size = by_creation.clone();
    by_size.sort_unstable();
    let renamed = |order: &[u32]| {
        let new_id = |old: u32| order.iter().position(|id| *id == old).unwrap_or_default() as u32;
        let steps = state.0.iter();
        State(
            steps
                .map(|step| step.vcpu().map_or(*step, |vcpu| step.about(new_id(vcpu))))
                .collect(),
        )
    };
    vec![renamed(&by_creation), renamed(&by_size)]
}

#[cfg(test)]
mod tests {
    use std::convert::Infallible;

    use lab_protocol::Seed;

    use super::shrink;
    use crate::guest::lapic::ApicReg::{Ldr, Svr};
    use crate::oracle::generate;
    use crate::oracle::state::State;
    use crate::oracle::state::Step::{self, Create, Restore};

    /// A fault of our own making: two vCPUs were given an LDR with bit 24.
    fn two_claim_slot_0(state: &State) -> bool {
        let claims = |vcpu: u32| {
            let claims = |step: &Step| {
                matches!(step, Restore(id, Ldr, value) | Step::Write(id, Ldr, value)
                    if *id == vcpu && value & 0x0100_0000 != 0)
            };
            state.0.iter().any(claims)
        };
        state.vcpus().into_iter().filter(|vcpu| claims(*vcpu)).count() >= 2
    }

    #[test]
    fn a_large_state_comes_down_to_what_the_fault_needs() {
        let failing: Vec<_> = (0..3000)
            .map(|number| generate::state(Seed(5), number))
            .filter(two_claim_slot_0)
            .take(20)
            .collect();
        assert_eq!(failing.len(), 20);
        for state in failing {
            let shrunk = shrink(state, |states| {
                Ok::<_, Infallible>(states.iter().map(two_claim_slot_0).collect())
            });
            let Ok(shrunk) = shrunk;
            let mut steps = shrunk.0.clone();
            steps.sort_by_key(|step| format!("{step}"));
            let expected = [
                Create(0),
                Create(1),
                Restore(0, Ldr, 0x0100_0000),
                Restore(1, Ldr, 0x0100_0000),
            ];
            assert_eq!(steps, expected);
        }
    }

    #[test]
    fn what_cannot_be_smaller_stays() {
        let state = State(vec![Create(0), Restore(0, Svr, 0x1FF)]);
        let mut asked = 0;
        let shrunk = shrink(state.clone(), |states| {
            asked += states.len();
            Ok::<_, Infallible>(vec![false; states.len()])
        });
        assert_eq!(shrunk, Ok(state));
        assert!(asked > 0);
    }
}
