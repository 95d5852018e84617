//! `cargo xtask fuzz`: libFuzzer on the targets of the crate `fuzz`, for as long as asked.
//!
//! Coverage feedback needs no nightly: LLVM's pass for it is in every rustc, and its flags are stable (`fuzz/rustc.sh`). What
//! must hold is the crate's business; here it is built, run within bounds, and a found input is made ready to be kept.

use std::{
    ffi::OsString,
    fs,
    path::{Path, PathBuf},
    process::{Command, ExitCode, Stdio},
    time::Duration,
};

use anyhow::{Context as _, Result, bail, ensure};

use crate::{paths, progress, setup, tally::Tally, tool};

/// `cargo xtask fuzz`.
#[derive(Debug, clap::Args)]
pub(crate) struct Arguments {
    /// Fuzz this target only
    target: Option<Target>,
    /// How long to fuzz each target
    #[arg(long, value_name = "N", default_value_t = 60)]
    seconds: u64,
}

/// The targets of the crate `fuzz`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
pub(crate) enum Target {
    /// The BTF reader and the layout
    Btf,
    /// Records of the ring and copies in the window
    Record,
    /// Recordings with any content in their frames
    Recording,
    /// Observations through host, rules and tracker
    Rules,
}

impl Target {
    /// All of them.
    pub(crate) const ALL: [Self; 4] = [Self::Btf, Self::Record, Self::Recording, Self::Rules];

    /// The name of its binary's source, and of its directory of kept inputs.
    pub(crate) const fn name(self) -> &'static str {
        match self {
            Self::Btf => "btf",
            Self::Record => "record",
            Self::Recording => "recording",
            Self::Rules => "rules",
        }
    }
}

/// When a run ends, if nothing is found.
#[derive(Debug, Clone, Copy)]
struct Bounds {
    /// After so many inputs; `None` for any number.
    inputs: Option<u64>,
    /// After this time at the latest.
    time: Duration,
    /// The same inputs in every run, as far as the bounds allow.
    repeatable: bool,
}

/// What a part of `cargo xtask test` is worth: enough for coverage to settle, and no more than some seconds.
const IN_TEST: Bounds = Bounds {
    inputs: Some(2_000),
    time: Duration::from_secs(30),
    repeatable: true,
};

/// A run with fewer inputs than this tried nothing: far below what the slowest target does in a second.
const TOO_FEW: u64 = 100;

/// Time for making a found input smaller.
const SHRINKING: Duration = Duration::from_secs(10);

/// How the targets are compiled: cargo's name of the profile, and that of its directory.
#[derive(Debug, Clone, Copy)]
struct Profile {
    name: &'static str,
    directory: &'static str,
}

/// For many inputs: [`Bounds::time`] is what counts.
const QUICK_TO_RUN: Profile = Profile {
    name: "fuzz",
    directory: "fuzz",
};

/// For few: whatever the unit tests are linked to is there already.
const QUICK_TO_BUILD: Profile = Profile {
    name: "dev",
    directory: "debug",
};

/// Fuzzes as asked, each target on top of what earlier runs found interesting.
pub(crate) fn run(arguments: &Arguments) -> Result<ExitCode> {
    let bounds = Bounds {
        inputs: None,
        time: Duration::from_secs(arguments.seconds),
        repeatable: false,
    };
    let targets = arguments
        .target
        .map_or(Target::ALL.to_vec(), |target| vec![target]);
    setup::fuzz()?;
    let binaries = build(QUICK_TO_RUN)?;
    let mut tally = Tally::default();
    for target in targets {
        tally.check(&title(target), "libFuzzer", || binaries.fuzz(target, bounds));
    }
    Ok(tally.close())
}

/// The same for some seconds, as a part of a larger account.
pub(crate) fn checks(tally: &mut Tally) {
    let mut binaries = None;
    let built = tally.check("fuzz targets", "cargo, with coverage counters", || {
        binaries = Some(build(QUICK_TO_BUILD)?);
        Ok(())
    });
    for target in Target::ALL {
        match &binaries {
            Some(binaries) if built => {
                tally.check(&title(target), "libFuzzer", || binaries.fuzz(target, IN_TEST));
            }
            _ => tally.failed(title(target), "not run: the build failed"),
        }
    }
}

fn title(target: Target) -> String {
    format!("fuzz {}", target.name())
}

/// Where the targets' binaries are.
#[derive(Debug)]
struct Binaries(PathBuf);

fn build(profile: Profile) -> Result<Binaries> {
    let mut cargo = tool::cargo("build");
    cargo
        // All members, so that what they depend on has the features that it has for the unit tests.
        .args(["--workspace", "--exclude", "probe-ebpf"])
        .args(["--features", "fuzz/libfuzzer"])
        .args(
            Target::ALL
                .iter()
                .flat_map(|&target| ["--bin".to_owned(), binary(target)]),
        )
        .args(["--profile", profile.name, "--quiet", "--target-dir"])
        .arg(paths::target())
        // Of the workspace's crates alone: what is fuzzed is ldrscope's own.
        .env(
            "RUSTC_WORKSPACE_WRAPPER",
            paths::workspace().join("fuzz/rustc.sh"),
        );
    tool::stream(&mut cargo)?;
    Ok(Binaries(paths::target().join(profile.directory)))
}

fn binary(target: Target) -> String {
    format!("fuzz-{}", target.name())
}

impl Binaries {
    fn command(&self, target: Target) -> Command {
        let mut command = Command::new(self.0.join(binary(target)));
        command.current_dir(paths::workspace()).stdin(Stdio::null());
        command
    }

    /// Fuzzes `target` within `bounds`.
    ///
    /// # Errors
    /// When an input was found for which something does not hold; it says how to keep it.
    fn fuzz(&self, target: Target, bounds: Bounds) -> Result<()> {
        let place = paths::target().join("fuzzing").join(target.name());
        let (corpus, found) = (place.join("corpus"), place.join("found"));
        if bounds.repeatable {
            // What another run left would lead elsewhere.
            remove(&corpus)?;
        }
        remove(&found)?;
        for directory in [&corpus, &found] {
            fs::create_dir_all(directory)
                .with_context(|| format!("cannot create {}", directory.display()))?;
        }
        let mut command = self.command(target);
        command
            .arg(format!("-artifact_prefix={}/", found.display()))
            .arg(format!("-max_total_time={}", bounds.time.as_secs()))
            .args(["-timeout=5", "-rss_limit_mb=512", "-print_final_stats=1"])
            .args(bounds.inputs.map(|inputs| format!("-runs={inputs}")))
            .args(bounds.repeatable.then_some("-seed=1"))
            .arg(&corpus)
            .args(Some(kept(target)).filter(|directory| directory.is_dir()))
            .env("LDRSCOPE_FUZZ_SEEDS", &corpus);
        let output = command.output().context("cannot start the fuzz target")?;
        let said = String::from_utf8_lossy(&output.stderr);
        if !output.status.success() {
            progress::quote(&said);
            bail!(self.describe(target, &found)?);
        }
        let inputs = executed(&said).context("libFuzzer did not say how many inputs it tried")?;
        ensure!(
            inputs >= TOO_FEW,
            "only {inputs} inputs were tried; is the machine overloaded?"
        );
        progress::note(format_args!("{}: {inputs} inputs held", title(target)));
        Ok(())
    }

    /// The found input, as small as it can be made in a moment: what it means and how to keep it.
    fn describe(&self, target: Target, found: &Path) -> Result<String> {
        let first = fs::read_dir(found).ok().and_then(|mut entries| entries.next());
        let Some(Ok(entry)) = first else {
            return Ok(format!(
                "{} ended without an input to blame; what it said is above",
                title(target)
            ));
        };
        let input = self.shrink(target, &entry.path());
        let bytes = fs::read(&input).with_context(|| format!("cannot read {}", input.display()))?;
        let shown = tool::capture(self.command(target).env("LDRSCOPE_FUZZ_SHOW", &input));
        Ok(format!(
            "an input does not hold:\n{}\nAs bytes: {}\nKeep it as a case that `cargo test --package fuzz` replays:\n\
             mkdir -p {keep} && cp {} {keep}/NAME",
            shown.unwrap_or_else(|error| format!("({error:#})")),
            literal(&bytes),
            input.display(),
            keep = kept(target).display(),
        ))
    }

    /// A smaller input that fails too, or the same one.
    fn shrink(&self, target: Target, input: &Path) -> PathBuf {
        let smaller = input.with_file_name("smallest");
        let mut option = OsString::from("-exact_artifact_path=");
        option.push(&smaller);
        let mut command = self.command(target);
        command
            .args(["-minimize_crash=1", "-timeout=5", "-rss_limit_mb=512"])
            .arg(format!("-max_total_time={}", SHRINKING.as_secs()))
            .args([option.as_os_str(), input.as_os_str()]);
        // It fails by design: what counts is whether there is a file.
        drop(command.output());
        if smaller.exists() {
            smaller
        } else {
            input.to_owned()
        }
    }
}

/// Where inputs are kept that once failed.
fn kept(target: Target) -> PathBuf {
    paths::workspace().join("fuzz/cases").join(target.name())
}

fn remove(directory: &Path) -> Result<()> {
    match fs::remove_dir_all(directory) {
        Err(error) if error.kind() != std::io::ErrorKind::NotFound => {
            Err(error).with_context(|| format!("cannot remove {}", directory.display()))
        }
        _ => Ok(()),
    }
}

/// The number of inputs in libFuzzer's final statistics.
fn executed(said: &str) -> Option<u64> {
    let line = said
        .lines()
        .find_map(|line| line.strip_prefix("stat::number_of_executed_units:"))?;
    line.trim().parse().ok()
}

/// Bytes as Rust writes them, if they are few enough to be read.
fn literal(bytes: &[u8]) -> String {
    const READABLE: usize = 512;
    if bytes.len() > READABLE {
        return format!("{} of them, too many to show", bytes.len());
    }
    format!("b\"{}\"", bytes.escape_ascii())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_target_has_a_binary_and_every_binary_a_target() {
        let directory = paths::workspace().join("fuzz/src/bin");
        let mut binaries: Vec<_> = fs::read_dir(directory)
            .unwrap()
            .map(|entry| entry.unwrap().path().file_stem().unwrap().to_owned())
            .collect();
        binaries.sort();
        assert_eq!(binaries, Target::ALL.map(Target::name));
    }

    #[test]
    fn libfuzzers_count_of_inputs_is_read() {
        let said =
            "#200000 DONE cov: 40\nstat::number_of_executed_units: 200001\nstat::average_exec_per_sec: 9\n";
        assert_eq!(executed(said), Some(200_001));
        assert_eq!(executed("==1== ERROR: libFuzzer: timeout\n"), None);
    }

    #[test]
    fn found_bytes_can_be_pasted_into_a_test() {
        assert_eq!(literal(b"a\0\xff\""), r#"b"a\x00\xff\"""#);
        assert!(literal(&[0; 513]).starts_with("513"));
    }
}
