//! One boot of a kernel's suite: runs its cases in the lab, and holds the outcome to the list of cases that must run.
//!
//! Boots and cases are listed by the very binary that runs them, asked on the outer machine. A listed case that is skipped, missing
//! or left without a verdict fails; so does one that nobody listed.

use std::{
    cell::RefCell,
    collections::BTreeMap,
    fs::{self, File},
    path::PathBuf,
    process::Command,
    rc::Rc,
    time::{Duration, Instant},
};

use anyhow::{Context as _, Result, ensure};
use lab_protocol::{Boot, CaseLine, Scale, Verdict, boot::PLAIN};

use super::lanes::Task;

use crate::{
    build::Binaries,
    kernels::{self, Kernel, Series},
    lab::{Channels, Host, Input, Kvm, Session},
    paths, progress, tool,
};

/// A suite boots once, and takes one to three minutes on a free machine where it does not soak.
const fn limit_at(scale: Scale) -> Duration {
    match scale {
        Scale::Test => Duration::from_secs(1200),
        Scale::Soak => Duration::from_secs(4 * 3600),
    }
}

/// A case's end as the account has it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct CaseEnd {
    /// Kernel series, boot unless it is the plain one, and case.
    pub(crate) name: String,
    /// Why it counts as failed, if it does.
    pub(crate) failure: Option<String>,
    /// Wall time.
    pub(crate) took: Duration,
}

impl CaseEnd {
    /// Makes an attempt that is a case of its own, beside `what`, and tells what became of it.
    pub(crate) fn of(name: String, what: &str, attempt: impl FnOnce() -> Result<()>) -> Self {
        let began = Instant::now();
        let step = progress::step(name.clone(), what);
        let failure = attempt().err();
        step.done(if failure.is_none() { "passed" } else { "FAILED" });
        if let Some(error) = &failure {
            progress::quote(&format!("{error:#}"));
        }
        Self {
            name,
            failure: failure.map(|error| format!("{error:#}")),
            took: began.elapsed(),
        }
    }
}

/// What was seen of one case.
#[derive(Debug)]
struct Seen {
    began: Instant,
    verdict: Option<Verdict>,
    took: Duration,
}

/// What was seen of a suite.
#[derive(Debug, Default)]
struct Account {
    cases: BTreeMap<String, Seen>,
    done: bool,
}

/// One boot and its cases.
#[derive(Debug)]
pub(crate) struct Suite {
    /// What the account calls it.
    pub(crate) title: String,
    /// Its kernel.
    pub(crate) kernel: Kernel,
    /// Its machine and its cases.
    pub(crate) boot: Boot,
    /// How much they try.
    pub(crate) scale: Scale,
    /// The directory that it shares with other boots.
    pub(crate) exchange: Option<PathBuf>,
}

impl Suite {
    /// A boot that needs no other.
    pub(crate) fn alone(kernel: Kernel, boot: Boot, scale: Scale) -> Self {
        let series = kernel.series();
        let title = if boot.name == PLAIN {
            series.to_string()
        } else {
            format!("{series} {}", boot.name)
        };
        Self {
            title,
            kernel,
            boot,
            scale,
            exchange: None,
        }
    }

    /// The suite as something for a lane.
    pub(crate) fn task(self, binaries: &Binaries) -> Task<'_> {
        Task {
            weight: weight_of(&self.boot),
            run: Box::new(move || self.run(binaries)),
        }
    }

    /// Boots and runs the cases.
    pub(crate) fn run(self, binaries: &Binaries) -> Vec<CaseEnd> {
        let Self { title, boot, .. } = &self;
        let began = Instant::now();
        let step = progress::step(
            format!("{title} suite"),
            format_args!("the lab, kernel {}", self.kernel),
        );
        let whole = |failure: String| CaseEnd {
            name: format!("{title} suite"),
            failure: Some(failure),
            took: began.elapsed(),
        };
        match self.attempt(binaries) {
            Err(error) => {
                progress::quote(&format!("{error:#}"));
                vec![whole(format!("{error:#}"))]
            }
            Ok((account, end)) => {
                step.done(if end.is_none() {
                    "all cases ended"
                } else {
                    "ended early"
                });
                let mut ends = judge(&boot.cases, &account);
                for end in &mut ends {
                    end.name = format!("{title} {}", end.name);
                }
                ends.extend(end.map(whole));
                ends
            }
        }
    }

    /// The machine that the boot asks for.
    fn host(&self) -> Result<Host> {
        let kvm = if self.boot.kvm_loaded {
            Kvm::Loaded {
                amd_parameters: self.boot.kvm_amd_parameters.clone(),
            }
        } else {
            Kvm::Unloaded
        };
        let guest_kernel = match &self.boot.guest_kernel {
            Some(series) => Some(kernels::ensure(series.parse()?)?.image()),
            None => None,
        };
        Ok(Host {
            cpus: self.boot.cpus,
            userland: self.boot.userland,
            exchange: self.exchange.clone(),
            kvm,
            guest_kernel,
            kernel_arguments: self.boot.kernel_arguments.clone(),
            ..Host::plain(self.kernel.series())
        })
    }

    /// What was seen, and why the suite as a whole failed, if it did.
    fn attempt(&self, binaries: &Binaries) -> Result<(Account, Option<String>)> {
        let directory = paths::target().join("lab");
        fs::create_dir_all(&directory).with_context(|| format!("cannot create {}", directory.display()))?;
        let path = directory.join(format!("suite-{}.log", self.title.replace(' ', "-")));
        let log = File::create(&path).with_context(|| format!("cannot create {}", path.display()))?;
        let account = Rc::new(RefCell::new(Account::default()));
        let told = Rc::clone(&account);
        let label = self.title.clone();
        let channels = Channels {
            output: Box::new(log.try_clone().context("cannot duplicate the suite's log")?),
            error: Box::new(log),
            on_case: Box::new(move |line| {
                progress::note(format_args!("{label}: {}", for_a_person(&line)));
                told.borrow_mut().take(line, Instant::now());
            }),
        };
        let kernel = kernels::with_kvm(self.kernel.clone(), self.boot.kvm_build)?;
        let series = kernel.series().name();
        let session = Session {
            host: self.host()?,
            kernel,
            binaries: binaries.clone(),
            argv: ["lab-case", "suite", "--kernel", series, "--boot", &self.boot.name]
                .into_iter()
                .chain(["--scale", self.scale.name()])
                .map(str::to_owned)
                .collect(),
            directory: "/".to_owned(),
            timeout: Some(limit_at(self.scale)),
        };
        let result = session.run(Input::Empty, channels);
        let account = account.take();
        let failed_case = account
            .cases
            .values()
            .any(|seen| matches!(seen.verdict, Some(Verdict::Failed(_))));
        let end = match result {
            Err(error) => Some(error.to_string()),
            Ok(_) if !account.done => Some("the suite ended without saying that it was done".to_owned()),
            Ok(status) if status != 0 && !failed_case => Some(format!("lab-case ended with status {status}")),
            Ok(_) => None,
        };
        if end.is_some() || failed_case {
            progress::note(format_args!(
                "{}: what the suite said is in {}",
                self.title,
                path.display()
            ));
        }
        Ok((account, end))
    }
}

/// What a line says, with a reason in as many lines as it has.
fn for_a_person(line: &CaseLine) -> String {
    match line {
        CaseLine::Ended(name, Verdict::Failed(reason)) => format!("case {name} failed: {reason}"),
        line => line.to_string(),
    }
}

/// About how long a boot takes, in cases.
pub(crate) fn weight_of(boot: &Boot) -> usize {
    const ALONE: usize = 10;
    const WITH_LINUX_GUESTS: usize = 40;
    let guests = if boot.guest_kernel.is_some() {
        WITH_LINUX_GUESTS
    } else {
        0
    };
    ALONE + guests + boot.cases.len()
}

/// The boots that `series` must run at `scale`, by the binary that runs their cases.
pub(crate) fn boots(series: Series, scale: Scale, binaries: &Binaries) -> Result<Vec<Boot>> {
    let mut list = Command::new(&binaries.lab_case);
    let text = tool::capture(list.args(["list", "--kernel", series.name(), "--scale", scale.name()]))?;
    let boots = text
        .lines()
        .map(Boot::from_line)
        .collect::<Result<Vec<_>, _>>()
        .context("lab-case lists its cases in an unknown form")?;
    // A kernel may have nothing to soak, but is not in the matrix to be tried with nothing.
    ensure!(
        scale == Scale::Soak || !boots.is_empty(),
        "lab-case lists no case for kernel {series}"
    );
    Ok(boots)
}

impl Account {
    fn take(&mut self, line: CaseLine, now: Instant) {
        match line {
            CaseLine::Started(name) => {
                self.cases.insert(
                    name,
                    Seen {
                        began: now,
                        verdict: None,
                        took: Duration::ZERO,
                    },
                );
            }
            CaseLine::Ended(name, verdict) => {
                let seen = self.cases.entry(name).or_insert(Seen {
                    began: now,
                    verdict: None,
                    took: Duration::ZERO,
                });
                seen.took = now.saturating_duration_since(seen.began);
                seen.verdict = Some(verdict);
            }
            CaseLine::SuiteDone => self.done = true,
        }
    }
}

/// Holds what was seen to the expected cases.
fn judge(expected: &[String], account: &Account) -> Vec<CaseEnd> {
    let listed = expected.iter().map(|name| {
        let seen = account.cases.get(name);
        let failure = match seen.map(|seen| &seen.verdict) {
            None => Some("it never ran".to_owned()),
            Some(None) => Some("it started and never ended".to_owned()),
            Some(Some(Verdict::Passed(_))) => None,
            Some(Some(Verdict::Failed(reason))) => Some(reason.clone()),
            Some(Some(Verdict::Skipped(reason))) => Some(format!("skipped, though it must run: {reason}")),
        };
        CaseEnd {
            name: name.clone(),
            failure,
            took: seen.map_or(Duration::ZERO, |seen| seen.took),
        }
    });
    let unlisted = account
        .cases
        .iter()
        .filter(|(name, _)| !expected.contains(name))
        .map(|(name, seen)| CaseEnd {
            name: name.clone(),
            failure: Some("it ran, but no list has it".to_owned()),
            took: seen.took,
        });
    listed.chain(unlisted).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_a_listed_case_with_a_passed_verdict_passes() {
        let expected = ["passes", "fails", "skips", "hangs", "missing"].map(str::to_owned);
        let mut account = Account::default();
        let start = Instant::now();
        for name in ["passes", "fails", "skips", "hangs"] {
            account.take(CaseLine::Started(name.to_owned()), start);
        }
        for (name, verdict) in [
            ("passes", Verdict::Passed(20)),
            ("fails", Verdict::Failed("no finding".to_owned())),
            ("skips", Verdict::Skipped("no IOAPIC".to_owned())),
            ("surprise", Verdict::Passed(1)),
        ] {
            account.take(
                CaseLine::Ended(name.to_owned(), verdict),
                start + Duration::from_secs(1),
            );
        }
        account.take(CaseLine::SuiteDone, start);
        assert!(account.done);
        let judged = judge(&expected, &account);
        assert_eq!(judged.len(), 6);
        let passed: Vec<_> = judged.iter().filter(|end| end.failure.is_none()).collect();
        assert_eq!(
            passed,
            [&CaseEnd {
                name: "passes".to_owned(),
                failure: None,
                took: Duration::from_secs(1)
            }]
        );
    }
}
