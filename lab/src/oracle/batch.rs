//! Many states at once: all their VMs stand while ldrscope looks, once by each command, since its start costs more than a
//! hundred states. Then the interrupts are sent, and each VM is judged.

use std::fmt;
use std::time::{Duration, Instant};

use super::OracleError;
use super::build::build;
use super::facts::{Receivers, Registers};
use super::judge::{self, Difference};
use super::state::State;
use crate::contract::{Deliver, Vm};
use crate::guest::{Guest, GuestError, Msi};
use crate::host::MapRules;
use crate::tool;

/// What became of a state.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Trial {
    /// ldrscope says what KVM does.
    Agrees,
    /// It does not.
    Differs(Difference),
    /// KVM or the guest refused a step, for this reason: there was nothing to look at.
    Impossible(String),
}

/// How states are tried.
#[derive(Debug)]
pub(super) struct Bench {
    /// The rules by which this host's KVM builds its maps.
    pub(super) rules: MapRules,
    /// Whether to put a fault into the facts, to see that it is found.
    pub(super) planted: bool,
    /// Where the time went.
    pub(super) times: Times,
}

/// Wall time by part.
#[derive(Debug, Default, Clone, Copy)]
pub(super) struct Times {
    building: Duration,
    looking: Duration,
    judging: Duration,
    ending: Duration,
}

impl fmt::Display for Times {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let [building, looking, judging, ending] =
            [self.building, self.looking, self.judging, self.ending].map(|part| part.as_secs_f64());
        write!(
            f,
            "{building:.1} s making VMs, {looking:.1} s in ldrscope, {judging:.1} s sending interrupts, {ending:.1} s \
             ending VMs"
        )
    }
}

/// What ldrscope says about one VM.
#[derive(Debug)]
struct Said {
    vm: Vm,
    deliver: Deliver,
}

impl Bench {
    /// Tries `states` side by side.
    pub(super) fn try_all(&mut self, states: &[State]) -> Result<Vec<Trial>, OracleError> {
        let began = Instant::now();
        let guests: Vec<_> = states.iter().map(build).collect();
        let built = Instant::now();
        let standing = guests.iter().filter(|guest| guest.is_ok()).count();
        let mut said = look(standing)?.into_iter();
        let looked = Instant::now();
        let judge = |(state, guest): (&State, &Result<Guest, GuestError>)| match guest {
            Err(refused) => Ok(Trial::Impossible(refused.to_string())),
            Ok(guest) => {
                #[expect(clippy::expect_used, reason = "`look` returns one for each VM that stands")]
                let said = said.next().expect("what is said of a standing VM");
                Ok(match self.judge(state, guest, &said)? {
                    Ok(()) => Trial::Agrees,
                    Err(difference) => Trial::Differs(difference),
                })
            }
        };
        let trials: Result<Vec<_>, OracleError> = states.iter().zip(&guests).map(judge).collect();
        let judged = Instant::now();
        drop(guests);
        self.times.building += built - began;
        self.times.looking += looked - built;
        self.times.judging += judged - looked;
        self.times.ending += judged.elapsed();
        trials
    }

    fn judge(&self, state: &State, guest: &Guest, said: &Said) -> Result<Result<(), Difference>, GuestError> {
        let registers = Registers::read(guest, state)?;
        let mut receivers = Receivers::of(guest, Msi::logical)?;
        if self.planted {
            receivers.plant_fault(&registers);
        }
        let published = said.vm.map.published.as_ref();
        Ok(judge::snapshot(&registers, &said.vm)
            .and_then(|()| judge::logical(&registers, &receivers, published, self.rules, &said.deliver)))
    }
}

/// What ldrscope says about this process' `standing` VMs, in order of creation.
fn look(standing: usize) -> Result<Vec<Said>, OracleError> {
    if standing == 0 {
        return Ok(Vec::new());
    }
    let own = std::process::id().to_string();
    let vms = tool::snapshot(&["--vm", &own])?.vms;
    let delivers = tool::deliver(&["--vm", &own])?;
    if vms.len() != standing || delivers.len() != standing {
        return Err(OracleError::Unlisted {
            standing,
            snapshot: vms.len(),
            deliver: delivers.len(),
        });
    }
    // Both commands list VMs as KVM does: newest first. Were the order another, the registers would differ.
    let said = vms.into_iter().zip(delivers).rev();
    Ok(said.map(|(vm, deliver)| Said { vm, deliver }).collect())
}
