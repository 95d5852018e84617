//! The oracle: random register states on real KVM, and whether ldrscope, seen from outside, says of each what KVM itself
//! says: registers, maps, and whom every interrupt reaches. `state` is what is tried, `generate` and `regressions` where
//! it comes from, `build` makes the VM, `facts` asks KVM, `architecture` the manual, `judge` compares, `batch` does that
//! for many at once, `shrink` makes a found state small. Which kernels it runs on is for xtask.

mod architecture;
mod batch;
mod build;
mod facts;
mod generate;
mod judge;
mod regressions;
mod report;
mod round;
mod shrink;
mod state;

use std::io::{self, Write};
use std::iter::Peekable;

use lab_protocol::Seed;

use self::batch::{Bench, Depth, Times, Trial};
use self::facts::{Receivers, Registers};
use self::judge::Difference;
use self::regressions::REGRESSIONS;
use self::report::{Grouped, Mismatch, Tried};
use self::round::Round;
use self::state::{State, Step};
use crate::guest::{Guest, GuestError};
use crate::host::MapRules;
use crate::tool::ToolError;

pub use report::Outcome;

/// vCPUs that stand at a time, about: ldrscope's start is shared by them, and the host's memory must hold them.
const PLAIN_VCPUS: usize = 6000;
/// The same where a state is tried thoroughly, which takes several times as long.
const THOROUGH_VCPUS: usize = 1500;
/// One batch in so many is a thorough one, the first among them.
const THOROUGH_EVERY: u64 = 4;

/// What to try.
#[derive(Debug, Clone, Copy)]
pub struct Plan {
    /// How many random states, besides the regressions.
    pub states: u64,
    /// Which.
    pub seed: Seed,
    /// The rules by which this host's KVM builds its maps.
    pub rules: MapRules,
    /// Whether every state is tried thoroughly, not one batch in four: more pairs for each VM made.
    pub thorough: bool,
    /// Whether to put a fault into the facts, to see that it is found.
    pub planted: bool,
}

/// The oracle could not do its work: no verdict.
#[derive(Debug, thiserror::Error)]
pub enum OracleError {
    /// ldrscope did not run as it should.
    #[error(transparent)]
    Tool(#[from] ToolError),
    /// A VM could not be asked.
    #[error("a VM that stands could not be asked: {0}")]
    Guest(#[from] GuestError),
    /// A state cannot be made.
    #[error("{origin} cannot be made: {reason}\n{state}")]
    Impossible {
        /// Which.
        origin: String,
        /// What refused.
        reason: String,
        /// Its steps, as Rust.
        state: String,
    },
    /// ldrscope does not show each VM once.
    #[error("{standing} VMs stand, but `ldrscope {verb}` lists {listed}")]
    Unlisted {
        /// The command.
        verb: &'static str,
        /// VMs that it lists.
        listed: usize,
        /// VMs of this process.
        standing: usize,
    },
    /// Progress could not be told.
    #[error("cannot write progress: {0}")]
    Output(#[from] io::Error),
}

/// What became of a fixed interrupt to an 8-bit logical destination.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Sent {
    /// The destination.
    pub dest: u8,
    /// The vCPUs that the architecture names, ascending.
    pub named: Vec<u32>,
    /// The vCPUs that have it, ascending.
    pub reached: Vec<u32>,
}

/// Sends an interrupt to each 8-bit logical destination of `guest`, whose IRRs must be empty, and are afterwards. Its
/// broadcast quirk must be as KVM has it by itself.
pub fn send_to_all(guest: &Guest) -> Result<Vec<Sent>, GuestError> {
    let round = Round::Logical;
    let registers = Registers::read(guest, false)?;
    let receivers = Receivers::of(guest, round)?;
    let sent = (0..=u8::MAX).zip(receivers.each()).map(|(dest, reached)| Sent {
        dest,
        named: registers.named(round, u32::from(dest)),
        reached: reached.clone(),
    });
    Ok(sent.collect())
}

/// Tries the regressions and then what `plan` asks for, a line a batch to `progress`. Ends at the first mismatch.
pub fn run(plan: &Plan, progress: &mut dyn Write) -> Result<Outcome, OracleError> {
    let mut bench = Bench {
        rules: plan.rules,
        planted: plan.planted,
        times: Times::default(),
    };
    let mut outcome = Outcome {
        kernel: rustix::system::uname().release().to_string_lossy().into_owned(),
        seed: plan.seed,
        tried: Tried::default(),
        mismatch: None,
    };
    let mut rest = (0..plan.whole())
        .map(|number| (number, plan.state(number)))
        .peekable();
    for batch_number in 0.. {
        if outcome.mismatch.is_some() || rest.peek().is_none() {
            break;
        }
        let depth = plan.depth(batch_number);
        let room = if plan.thorough { PLAIN_VCPUS } else { room(depth) };
        let batch = batch(&mut rest, room, |(_, state)| state);
        let (numbers, states): (Vec<_>, Vec<_>) = batch.into_iter().unzip();
        let trials = bench.try_all(&states, depth)?;
        for ((number, state), trial) in numbers.into_iter().zip(states).zip(trials) {
            outcome.tried.count(&state, depth);
            match trial {
                Trial::Agrees => {}
                Trial::Impossible(reason) => {
                    return Err(OracleError::Impossible {
                        origin: plan.origin(number),
                        reason,
                        state: state.to_string(),
                    });
                }
                Trial::Differs(difference) => {
                    let origin = plan.origin(number);
                    writeln!(progress, "oracle: {origin} differs, {difference}; shrinking it")?;
                    outcome.mismatch = Some(shrunk(&mut bench, depth, origin, state, difference)?);
                    break;
                }
            }
        }
        let (tried, whole) = (Grouped(outcome.tried.states), Grouped(plan.whole()));
        writeln!(progress, "oracle: {tried} of {whole} states; {}", bench.times)?;
    }
    Ok(outcome)
}

impl Plan {
    /// Regressions and random states together.
    fn whole(&self) -> u64 {
        REGRESSIONS.len() as u64 + self.states
    }

    /// The `number`-th: the regressions come first.
    fn state(&self, number: u64) -> State {
        match Self::regression(number) {
            Some(steps) => State(steps.to_vec()),
            None => generate::state(self.seed, number),
        }
    }

    fn origin(&self, number: u64) -> String {
        match Self::regression(number) {
            Some(_) => format!("regression state {number}"),
            None => format!("random state {number} of seed {}", self.seed),
        }
    }

    /// How much is tried of the states of a batch.
    fn depth(&self, batch_number: u64) -> Depth {
        const LEGAL_VECTORS: u64 = 240;
        let every = if self.thorough { 1 } else { THOROUGH_EVERY };
        if self.planted || !batch_number.is_multiple_of(every) {
            return Depth::Plain;
        }
        // Another remainder, and so another vCPU picked, for every thorough batch.
        let vector = 16 + (49 * batch_number / every) % LEGAL_VECTORS;
        Depth::Thorough { vector: vector as u8 }
    }

    fn regression(number: u64) -> Option<&'static [Step]> {
        REGRESSIONS.get(usize::try_from(number).ok()?).copied()
    }
}

/// How many vCPUs may stand side by side where states are tried so deep.
const fn room(depth: Depth) -> usize {
    match depth {
        Depth::Plain => PLAIN_VCPUS,
        Depth::Thorough { .. } | Depth::Further(_) => THOROUGH_VCPUS,
    }
}

/// The next of `rest` that may stand side by side.
fn batch<T>(
    rest: &mut Peekable<impl Iterator<Item = T>>,
    room: usize,
    state: impl Fn(&T) -> &State,
) -> Vec<T> {
    let mut vcpus = 0;
    std::iter::from_fn(|| {
        let next = rest.next_if(|_| vcpus < room)?;
        vcpus += state(&next).vcpus().len();
        Some(next)
    })
    .collect()
}

/// Makes `found` as small as it still shows a difference about the same subject.
fn shrunk(
    bench: &mut Bench,
    depth: Depth,
    origin: String,
    found: State,
    difference: Difference,
) -> Result<Mismatch, OracleError> {
    let subject = difference.subject;
    let depth = depth.showing(subject);
    let mut last = difference;
    let shrunk = shrink::shrink(found.clone(), |candidates| {
        let mut rest = candidates.iter().cloned().peekable();
        let mut fails = Vec::with_capacity(candidates.len());
        // The first that fails is gone on with: later ones need no trial.
        while !fails.contains(&true) && rest.peek().is_some() {
            for trial in bench.try_all(&batch(&mut rest, room(depth), |state| state), depth)? {
                match trial {
                    Trial::Differs(difference) if difference.subject == subject => {
                        if !fails.contains(&true) {
                            last = difference;
                        }
                        fails.push(true);
                    }
                    _ => fails.push(false),
                }
            }
        }
        Ok::<_, OracleError>(fails)
    })?;
    Ok(Mismatch {
        origin,
        found,
        shrunk,
        difference: last,
    })
}
