//! Many states at once: all their VMs stand while ldrscope looks, once by each command, since its start costs more than a
//! hundred states. Then the interrupts are sent, and each VM is judged.

use std::fmt;
use std::time::{Duration, Instant};

use super::OracleError;
use super::build::build;
use super::facts::{Receivers, Registers, settle};
use super::judge::{self, Difference, Subject};
use super::round::Round;
use super::state::State;
use crate::contract::{Deliver, Vm};
use crate::guest::Guest;
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

/// How much is tried of a state.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Depth {
    /// [`Round::Logical`], on the VM as it was built.
    Plain,
    /// Then all other rounds, once the VM has settled; this is the vector of lowest priority.
    Thorough {
        /// Any from 16 on.
        vector: u8,
    },
    /// Then this round alone, once the VM has settled.
    Further(Round),
}

impl Depth {
    /// As much as shows a difference about `subject` that was found in this depth.
    pub(super) fn showing(self, subject: Subject) -> Self {
        match subject {
            Subject::Registers | Subject::Map => self,
            Subject::Receivers(Round::Logical)
            | Subject::Architecture(Round::Logical)
            | Subject::Verdict(Round::Logical) => Self::Plain,
            Subject::Receivers(round) | Subject::Architecture(round) | Subject::Verdict(round) => {
                Self::Further(round)
            }
        }
    }

    const fn further_rounds(self) -> [Option<Round>; 4] {
        match self {
            Self::Plain => [None; 4],
            Self::Further(round) => [Some(round), None, None, None],
            Self::Thorough { vector } => [
                Some(Round::Physical),
                Some(Round::LowestPriority(vector)),
                Some(Round::WideLogical),
                Some(Round::WidePhysical),
            ],
        }
    }

    /// The rounds that are tried.
    pub(super) fn rounds(self) -> impl Iterator<Item = Round> {
        std::iter::once(Round::Logical).chain(self.further_rounds().into_iter().flatten())
    }
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

/// A state whose VM stands.
#[derive(Debug)]
struct Standing<'a> {
    state: &'a State,
    guest: Guest,
    trial: &'a mut Trial,
}

impl Standing<'_> {
    /// Takes note of a judgement. The first difference is told: others may follow from it.
    fn note(&mut self, judgement: Result<(), Difference>) {
        if let (Err(difference), Trial::Agrees) = (judgement, &self.trial) {
            *self.trial = Trial::Differs(difference);
        }
    }
}

impl Bench {
    /// Tries `states` side by side.
    pub(super) fn try_all(&mut self, states: &[State], depth: Depth) -> Result<Vec<Trial>, OracleError> {
        let mut trials = vec![Trial::Agrees; states.len()];
        let mut standing = Vec::with_capacity(states.len());
        timed(&mut self.times.building, || {
            for (state, trial) in states.iter().zip(&mut trials) {
                match build(state) {
                    Ok(guest) => standing.push(Standing { state, guest, trial }),
                    Err(refused) => *trial = Trial::Impossible(refused.to_string()),
                }
            }
        });
        self.judge(&mut standing, [Round::Logical])?;
        if depth != Depth::Plain {
            standing.iter().try_for_each(|vm| settle(&vm.guest))?;
            self.judge(&mut standing, depth.further_rounds().into_iter().flatten())?;
        }
        timed(&mut self.times.ending, || drop(standing));
        Ok(trials)
    }

    /// Holds a snapshot of all VMs against their registers, and what `deliver` says of `rounds` against KVM.
    fn judge(
        &mut self,
        standing: &mut [Standing<'_>],
        rounds: impl IntoIterator<Item = Round>,
    ) -> Result<(), OracleError> {
        if standing.is_empty() {
            return Ok(());
        }
        let shown = timed(&mut self.times.looking, || snapshot(standing.len()))?;
        let mut registers = Vec::with_capacity(standing.len());
        for (vm, shown) in standing.iter_mut().zip(&shown) {
            let read = Registers::read(&vm.guest, vm.state.turns_quirk_off())?;
            vm.note(judge::snapshot(&read, shown));
            registers.push(read);
        }
        for round in rounds {
            let said = timed(&mut self.times.looking, || deliver(round, standing.len()))?;
            let began = Instant::now();
            for (((vm, shown), registers), said) in standing.iter_mut().zip(&shown).zip(&registers).zip(&said)
            {
                let mut receivers = Receivers::of(&vm.guest, round)?;
                if self.planted {
                    receivers.plant_fault(registers);
                }
                let published = shown.map.published.as_ref();
                vm.note(judge::round(
                    round, registers, &receivers, published, self.rules, said,
                ));
            }
            self.times.sending += began.elapsed();
        }
        Ok(())
    }
}

/// What a snapshot shows of this process' VMs, in order of creation.
fn snapshot(standing: usize) -> Result<Vec<Vm>, OracleError> {
    let own = std::process::id().to_string();
    by_creation("snapshot", standing, tool::snapshot(&["--vm", &own])?.vms)
}

/// What `deliver` says of this process' VMs, in order of creation.
fn deliver(round: Round, standing: usize) -> Result<Vec<Deliver>, OracleError> {
    let mut arguments = vec!["--vm".to_owned(), std::process::id().to_string()];
    arguments.extend(round.question());
    let arguments: Vec<&str> = arguments.iter().map(String::as_str).collect();
    by_creation("deliver", standing, tool::deliver(&arguments)?)
}

/// ldrscope lists VMs as KVM does, newest first. Were it otherwise, every register would differ: a state can be held to
/// the wrong VM, but does not pass by it.
fn by_creation<T>(verb: &'static str, standing: usize, mut vms: Vec<T>) -> Result<Vec<T>, OracleError> {
    if vms.len() == standing {
        vms.reverse();
        Ok(vms)
    } else {
        Err(OracleError::Unlisted {
            verb,
            listed: vms.len(),
            standing,
        })
    }
}

/// Wall time by part.
#[derive(Debug, Default, Clone, Copy)]
pub(super) struct Times {
    building: Duration,
    looking: Duration,
    sending: Duration,
    ending: Duration,
}

impl fmt::Display for Times {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let [building, looking, sending, ending] =
            [self.building, self.looking, self.sending, self.ending].map(|part| part.as_secs_f64());
        write!(
            f,
            "{building:.1} s making VMs, {looking:.1} s in ldrscope, {sending:.1} s sending interrupts, {ending:.1} s \
             ending VMs"
        )
    }
}

fn timed<T>(spent: &mut Duration, work: impl FnOnce() -> T) -> T {
    let began = Instant::now();
    let result = work();
    *spent += began.elapsed();
    result
}
