//! Journeys: boots of different kernels that run one after the other, each finding in the exchange directory what those
//! before it left. Which there are is said by the binary that runs their cases; one boot is for [`super::suite`].

use std::{
    fs,
    path::{Path, PathBuf},
    process::Command,
    time::Duration,
};

use anyhow::{Context as _, Result};
use lab_protocol::{Boot, Journey, Scale};

use super::suite::{self, CaseEnd, Suite};
use crate::{build::Binaries, kernels::Kernel, paths, progress, tool};

/// A journey whose kernels are all there.
#[derive(Debug)]
pub(super) struct Route {
    name: String,
    legs: Vec<(Kernel, Boot)>,
}

/// The journeys between `kernels`. One that needs another kernel is left out, and that is said.
pub(super) fn between(kernels: &[Kernel], binaries: &Binaries) -> Result<Vec<Route>> {
    let text = tool::capture(Command::new(&binaries.lab_case).arg("journeys"))?;
    let journeys = text
        .lines()
        .map(Journey::from_line)
        .collect::<Result<Vec<_>, _>>()
        .context("lab-case lists its journeys in an unknown form")?;
    Ok(journeys
        .into_iter()
        .filter_map(|journey| Route::plan(journey, kernels))
        .collect())
}

impl Route {
    fn plan(journey: Journey, kernels: &[Kernel]) -> Option<Self> {
        let find = |series: &str| kernels.iter().find(|kernel| kernel.series().name() == series);
        let mut legs = Vec::new();
        for leg in journey.legs {
            let Some(kernel) = find(&leg.kernel) else {
                progress::note(format_args!(
                    "{}: left out, since it needs kernel {}",
                    journey.name, leg.kernel
                ));
                return None;
            };
            legs.push((kernel.clone(), leg.boot));
        }
        Some(Self {
            name: journey.name,
            legs,
        })
    }

    /// About how long it takes, as [`suite::weight_of`] has it.
    pub(super) fn weight(&self) -> usize {
        self.legs.iter().map(|(_, boot)| suite::weight_of(boot)).sum()
    }

    /// Makes the journey. After a leg that failed, the cases of the others fail without having run.
    pub(super) fn run(self, binaries: &Binaries) -> Vec<CaseEnd> {
        let mut title = self.name.clone();
        let mut ends = Vec::new();
        let exchange = empty_exchange(&self.name);
        for (leg, (kernel, boot)) in self.legs.into_iter().enumerate() {
            let link = if leg == 0 { " " } else { " to " };
            title = format!("{title}{link}{}", kernel.series());
            let failed = ends.iter().any(|end: &CaseEnd| end.failure.is_some());
            match &exchange {
                Ok(directory) if !failed => {
                    let suite = Suite {
                        title: title.clone(),
                        kernel,
                        boot,
                        scale: Scale::Test,
                        exchange: Some(directory.clone()),
                    };
                    ends.extend(suite.run(binaries));
                }
                Ok(_) => ends.extend(not_run(&title, &boot, "a leg before this one failed")),
                Err(error) => ends.extend(not_run(&title, &boot, &format!("{error:#}"))),
            }
        }
        ends
    }
}

/// The directory that a journey's legs share: kept after the run for whoever wants to look, emptied before the next.
fn empty_exchange(journey: &str) -> Result<PathBuf> {
    let directory = paths::target().join("lab").join(journey);
    let action = |word: &str, path: &Path| format!("cannot {word} {}", path.display());
    if directory.exists() {
        fs::remove_dir_all(&directory).with_context(|| action("empty", &directory))?;
    }
    fs::create_dir_all(&directory).with_context(|| action("create", &directory))?;
    Ok(directory)
}

fn not_run(title: &str, boot: &Boot, why: &str) -> Vec<CaseEnd> {
    let end = |case: &String| CaseEnd {
        name: format!("{title} {case}"),
        failure: Some(format!("not run: {why}")),
        took: Duration::ZERO,
    };
    boot.cases.iter().map(end).collect()
}
