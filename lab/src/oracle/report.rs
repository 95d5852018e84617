//! What the oracle says in the end: how much it tried, and a mismatch as a ready regression case.

use std::collections::BTreeMap;
use std::fmt;

use lab_protocol::Seed;

use super::batch::Depth;
use super::judge::Difference;
use super::round::Round;
use super::state::State;

/// How a run ended.
#[derive(Debug)]
pub struct Outcome {
    pub(super) kernel: String,
    pub(super) seed: Seed,
    pub(super) tried: Tried,
    pub(super) mismatch: Option<Mismatch>,
}

/// How much was tried.
#[derive(Debug, Default, Clone)]
pub(super) struct Tried {
    pub(super) states: u64,
    vcpus: u64,
    /// Pairs of a state and a destination, by kind.
    pairs: BTreeMap<Round, u64>,
}

impl Tried {
    /// Counts `state`, tried in that depth.
    pub(super) fn count(&mut self, state: &State, depth: Depth) {
        self.states += 1;
        self.vcpus += state.vcpus().len() as u64;
        for round in depth.rounds() {
            *self.pairs.entry(round.kind()).or_default() += round.destinations().len() as u64;
        }
    }
}

/// Such as `3 states of 20 vCPUs, 768 pairs of a state and a destination (logical fixed 768)`.
impl fmt::Display for Tried {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let [states, vcpus, pairs] = [self.states, self.vcpus, self.pairs.values().sum()].map(Grouped);
        let kinds = self.pairs.iter();
        let kinds: Vec<_> = kinds
            .map(|(kind, pairs)| format!("{kind} {}", Grouped(*pairs)))
            .collect();
        write!(
            f,
            "{states} states of {vcpus} vCPUs, {pairs} pairs of a state and a destination ({})",
            kinds.join(", ")
        )
    }
}

/// A state of which ldrscope says something else than KVM or the architecture.
#[derive(Debug)]
pub(super) struct Mismatch {
    /// Where the state comes from.
    pub(super) origin: String,
    /// As it was found.
    pub(super) found: State,
    /// As small as it could be made.
    pub(super) shrunk: State,
    /// What differs in the small one.
    pub(super) difference: Difference,
}

impl Outcome {
    /// Whether ldrscope was right about everything.
    pub const fn agrees(&self) -> bool {
        self.mismatch.is_none()
    }

    /// How many vCPUs and steps the mismatch was shrunk to, if there is one.
    pub fn shrunk_to(&self) -> Option<(usize, usize)> {
        let shrunk = &self.mismatch.as_ref()?.shrunk;
        Some((shrunk.vcpus().len(), shrunk.0.len()))
    }
}

/// The mismatch if there is one, then the closing line.
impl fmt::Display for Outcome {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if let Some(mismatch) = &self.mismatch {
            writeln!(f, "{mismatch}")?;
        }
        let mismatches = usize::from(self.mismatch.is_some());
        let Self {
            kernel, seed, tried, ..
        } = self;
        write!(
            f,
            "oracle: kernel {kernel}: {tried}; {mismatches} mismatches; seed {seed}"
        )
    }
}

impl fmt::Display for Mismatch {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let size = |state: &State| format!("{} vCPU(s) and {} steps", state.vcpus().len(), state.0.len());
        writeln!(
            f,
            "oracle: MISMATCH in {}, shrunk from {} to {}",
            self.origin,
            size(&self.found),
            size(&self.shrunk)
        )?;
        writeln!(f, "{}", self.difference)?;
        writeln!(f, "for the table in lab/src/oracle/regressions.rs:")?;
        writeln!(f, "// {}", self.difference)?;
        writeln!(f, "{}", self.shrunk)
    }
}

/// A number with a comma every three digits.
pub(super) struct Grouped(pub(super) u64);

impl fmt::Display for Grouped {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let digits = self.0.to_string();
        for (at, digit) in digits.chars().enumerate() {
            if at > 0 && (digits.len() - at).is_multiple_of(3) {
                f.write_str(",")?;
            }
            write!(f, "{digit}")?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::Grouped;

    #[test]
    fn numbers_are_grouped_by_thousands() {
        let told = [0, 999, 1000, 10_000_128].map(|number| Grouped(number).to_string());
        assert_eq!(told, ["0", "999", "1,000", "10,000,128"]);
    }
}
