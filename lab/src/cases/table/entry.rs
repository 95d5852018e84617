//! One row of the table: a case, and where it runs.

use lab_protocol::Scale;

use super::super::RunCase;
use super::super::machine::{Machine, ORDINARY};
use crate::host::{MapRules, Series};

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Under {
    /// Both hook sets, as two cases `NAME/cold` and `NAME/precise`.
    BothHookSets,
    /// Does not depend on hooks: one case `NAME`.
    OneRun,
}

/// Which runs have a case.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Runs {
    /// `test` alone: it has nothing more to try.
    Test,
    /// Both: at a reduced count in `test`, whole in `soak`. [`super::Context::scale`] tells the case which it is.
    Both,
    /// `soak` alone: it takes too long for anything else.
    Soak,
}

#[derive(Debug, Clone, Copy)]
pub(super) struct Entry {
    pub(super) name: &'static str,
    pub(super) under: Under,
    runs: Runs,
    /// Kernels of the test; `None` is all of them. A soak has all in any case.
    pub(super) tested_on: Option<&'static [Series]>,
    /// Only where KVM builds its map by these rules; `None` is everywhere.
    pub(super) only: Option<MapRules>,
    /// Only on this kernel; `None` is on all of the machines'.
    pub(super) only_on: Option<Series>,
    pub(super) machines: &'static [&'static Machine],
    pub(super) run: RunCase,
}

impl Entry {
    pub(super) const fn both(name: &'static str, run: RunCase) -> Self {
        Self {
            name,
            under: Under::BothHookSets,
            runs: Runs::Test,
            tested_on: None,
            only: None,
            only_on: None,
            machines: &[&ORDINARY],
            run,
        }
    }

    pub(super) const fn once(name: &'static str, run: RunCase) -> Self {
        Self {
            under: Under::OneRun,
            ..Self::both(name, run)
        }
    }

    /// Reduced in `test`, whole in `soak`.
    pub(super) const fn more_in_soak(self) -> Self {
        Self {
            runs: Runs::Both,
            ..self
        }
    }

    /// In `test` on these kernels alone: on all of them it would take too long.
    pub(super) const fn tested_on(self, some: &'static [Series]) -> Self {
        Self {
            tested_on: Some(some),
            ..self
        }
    }

    /// Not in `test`.
    pub(super) const fn soak_only(self) -> Self {
        Self {
            runs: Runs::Soak,
            ..self
        }
    }

    pub(super) fn is_run_at(&self, scale: Scale, series: Series) -> bool {
        match scale {
            Scale::Test => {
                self.runs != Runs::Soak && self.tested_on.is_none_or(|some| some.contains(&series))
            }
            Scale::Soak => self.runs != Runs::Test,
        }
    }

    pub(super) const fn only(self, rules: MapRules) -> Self {
        Self {
            only: Some(rules),
            ..self
        }
    }

    pub(super) const fn only_on(self, series: Series) -> Self {
        Self {
            only_on: Some(series),
            ..self
        }
    }

    pub(super) const fn on(self, machines: &'static [&'static Machine]) -> Self {
        Self { machines, ..self }
    }
}
