//! The command lines of the documents, every one that starts `ldrscope` or `cargo xtask`. What needs no host is run, in a
//! scratch directory, on the recordings that ship; the rest is parsed by the very program that it is for, and what looks at
//! a host is run on one ([`live`]). None is left out.

mod lines;
mod live;

use std::{
    collections::HashSet,
    fs,
    path::{Path, PathBuf},
    process::{Command, Stdio},
};

use anyhow::{Context as _, Result, bail, ensure};
use clap::Parser as _;

use self::lines::{Documented, arguments_of, commands};
use crate::{build::Binaries, kernels::Kernel, paths, progress, tally::Parts, test::suite::CaseEnd, tool};

/// Documents by name, and directories of them.
const DOCUMENTS: [&str; 5] = [
    "README.md",
    "ARCHITECTURE.md",
    "CHANGELOG.md",
    "CONTRIBUTING.md",
    "docs",
];

/// Verbs that look at no host, whatever their arguments.
const OF_FILES: [&str; 5] = ["diff", "explain", "print", "replay", "reproduce"];

/// Draws on a terminal, even of a recording.
const ON_A_TERMINAL: &str = "top";

/// Where a command runs: the names of files that documents use, made of what ships.
struct Scratch {
    directory: tempfile::TempDir,
    ldrscope: PathBuf,
}

const RECORDING: &str = "docs/examples/kdump-2019-on-6.1.ldrrec";
/// What the VM of the recording is called.
const VM: &str = "task-1";
/// Moments of it at which the VM is there: before the crash, and when its interrupt is stolen.
const MOMENTS: [(&str, &str); 3] = [
    ("before.json", "2026-11-26T01:21:33Z"),
    ("after.json", "2026-11-26T01:21:35Z"),
    ("host.json", "2026-11-26T01:21:35Z"),
];

/// How a command was tried.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Trial {
    Run,
    Parsed,
}

/// How many hold, and how many do not; what is wrong with those is said at once.
pub(super) fn check(ldrscope: &Path) -> Result<Parts> {
    let scratch = Scratch::prepare(ldrscope)?;
    let (mut run, mut parsed) = (0, 0);
    let mut failures = Vec::new();
    for command in documented()? {
        match scratch.try_out(&command.words) {
            None => {}
            Some(Ok(Trial::Run)) => run += 1,
            Some(Ok(Trial::Parsed)) => parsed += 1,
            Some(Err(error)) => {
                let failure = format!("{}: `{}`: {error:#}", command.place, command.words.join(" "));
                progress::quote(&failure);
                failures.push(failure);
            }
        }
    }
    ensure!(
        run > 0 && parsed > 0,
        "the documents have no command line any more"
    );
    progress::note(format_args!(
        "documented command lines: {run} run, {parsed} parsed, {} failed",
        failures.len()
    ));
    Ok(Parts {
        passed: run + parsed,
        failed: failures.len(),
        reasons: failures.join("\n"),
    })
}

/// Runs those that look at a host on `kernel`.
pub(in crate::test) fn on_a_host(kernel: Kernel, binaries: &Binaries) -> CaseEnd {
    let name = format!("{} documented", kernel.series());
    CaseEnd::of(name, "the lab, for the documents' command lines", || {
        let mut lines = documented()?;
        lines.retain(|command| {
            arguments_of(&command.words, &["ldrscope"]).is_some_and(|arguments| !needs_no_host(arguments))
        });
        // A line may have more than one such command, and documents repeat each other's.
        let mut seen = HashSet::new();
        lines.retain(|command| seen.insert(command.place.clone()) && seen.insert(command.words.join(" ")));
        live::run(kernel, binaries, &lines)
    })
}

/// The commands of all documents, in their order.
fn documented() -> Result<Vec<Documented>> {
    let mut found = Vec::new();
    for path in documents()? {
        let name = path.strip_prefix(paths::workspace()).unwrap_or(&path);
        let text = fs::read_to_string(&path).with_context(|| format!("cannot read {}", name.display()))?;
        found.extend(commands(&name.display().to_string(), &text));
    }
    Ok(found)
}

/// Every document, sorted.
fn documents() -> Result<Vec<PathBuf>> {
    let mut found = Vec::new();
    for name in DOCUMENTS {
        collect(&paths::workspace().join(name), &mut found)?;
    }
    found.sort();
    Ok(found)
}

fn collect(path: &Path, found: &mut Vec<PathBuf>) -> Result<()> {
    let context = || format!("cannot list {}", path.display());
    if path.is_dir() {
        for entry in fs::read_dir(path).with_context(context)? {
            collect(&entry.with_context(context)?.path(), found)?;
        }
    } else if path.extension().is_some_and(|extension| extension == "md") {
        found.push(path.to_owned());
    }
    Ok(())
}

impl Scratch {
    fn prepare(ldrscope: &Path) -> Result<Self> {
        let directory = tempfile::tempdir().context("cannot make a temporary directory")?;
        let scratch = Self {
            directory,
            ldrscope: ldrscope.to_owned(),
        };
        let docs = paths::workspace().join("docs");
        std::os::unix::fs::symlink(docs, scratch.at("docs")).context("cannot make a link")?;
        for (name, moment) in MOMENTS {
            let look = [
                "snapshot", "--format", "json", "--from", RECORDING, "--at", moment,
            ];
            let document = tool::capture(scratch.command().args(look))?;
            fs::write(scratch.at(name), document).with_context(|| format!("cannot write {name}"))?;
        }
        // The VM ends before the recording does; of one that was cut it is still there.
        let whole = fs::read(scratch.at(RECORDING)).context("the recording does not ship")?;
        let last_with_vm = (1..whole.len()).rev().step_by(64).find(|&length| {
            let cut = fs::write(scratch.at("web.ldrrec"), &whole[..length]);
            let look = ["check", "--vm", VM, "--from", "web.ldrrec"];
            let status = scratch
                .command()
                .args(look)
                .stderr(Stdio::null())
                .stdout(Stdio::null())
                .status();
            cut.is_ok() && status.is_ok_and(|status| status.code() == Some(2))
        });
        ensure!(last_with_vm.is_some(), "{RECORDING} shows no VM");
        Ok(scratch)
    }

    fn at(&self, name: &str) -> PathBuf {
        self.directory.path().join(name)
    }

    fn command(&self) -> Command {
        let mut command = Command::new(&self.ldrscope);
        command.current_dir(self.directory.path());
        command
    }

    /// What came of a command; `None` where it is somebody else's.
    fn try_out(&self, words: &[String]) -> Option<Result<Trial>> {
        if let Some(arguments) = arguments_of(words, &["cargo", "xtask"]) {
            return Some(parse_xtask(arguments));
        }
        let arguments = arguments_of(words, &["ldrscope"])?;
        Some(if needs_no_host(arguments) {
            self.run(arguments).map(|()| Trial::Run)
        } else {
            self.parse(arguments).map(|()| Trial::Parsed)
        })
    }

    /// Runs it; it must end well and say something.
    fn run(&self, arguments: &[String]) -> Result<()> {
        let arguments = with_what_is_there(arguments);
        let reads = |verb: &str| arguments.first().is_some_and(|word| word == verb);
        let stdin = if reads("diff") { "after.json" } else { "web.ldrrec" };
        let stdin = fs::File::open(self.at(stdin)).context("cannot open the input")?;
        let output = self
            .command()
            .args(&arguments)
            .stdin(stdin)
            .output()
            .context("cannot start ldrscope")?;
        let said = String::from_utf8_lossy(&output.stderr);
        let good: &[i32] = match arguments.first().map(String::as_str) {
            Some("check") => &[0, 1, 2],
            Some("diff") if arguments.iter().any(|word| word == "--exit-code") => &[1],
            _ => &[0],
        };
        match output.status.code() {
            Some(code) if good.contains(&code) && !output.stdout.is_empty() => Ok(()),
            Some(code) if good.contains(&code) => bail!("it says nothing: {said}"),
            _ => bail!("it ends with {}: {said}", output.status),
        }
    }

    fn parse(&self, arguments: &[String]) -> Result<()> {
        tool::quiet(self.command().args(["print", "parsed", "--"]).args(arguments))
    }
}

/// About how long those that look at a host take, in a suite's cases.
pub(in crate::test) const WEIGHT: usize = 20;

/// Whether it looks at files only, and prints.
fn needs_no_host(arguments: &[String]) -> bool {
    let has = |flag: &str| arguments.iter().any(|word| word == flag);
    let verb = arguments.first().map_or("", String::as_str);
    if verb == ON_A_TERMINAL {
        return false;
    }
    OF_FILES.contains(&verb) || has("--from") || has("--check-config") || has("--help") || has("--version")
}

/// Documents call VMs as they like, and name recordings where a daemon would have put them.
fn with_what_is_there(arguments: &[String]) -> Vec<String> {
    let mut after_vm = false;
    let there = arguments.iter().map(|word| {
        let is_name = std::mem::replace(&mut after_vm, word == "--vm");
        let is_recording = word.starts_with('/') && word.ends_with(".ldrrec");
        match (is_name, is_recording) {
            (true, _) => VM.to_owned(),
            (_, true) => "web.ldrrec".to_owned(),
            _ => word.clone(),
        }
    });
    there.collect()
}

fn parse_xtask(arguments: &[String]) -> Result<Trial> {
    let words = std::iter::once("xtask").chain(arguments.iter().map(String::as_str));
    match crate::Command::try_parse_from(words) {
        Err(error) if error.use_stderr() => bail!("{error}"),
        _ => Ok(Trial::Parsed),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn words(text: &str) -> Vec<String> {
        text.split(' ').map(str::to_owned).collect()
    }

    #[test]
    fn only_what_looks_at_files_is_run() {
        for line in ["explain", "snapshot --from x", "serve --check-config", "diff a b"] {
            assert!(needs_no_host(&words(line)), "{line}");
        }
        for line in [
            "watch",
            "snapshot",
            "record -o x",
            "serve",
            "doctor",
            "top --from x",
        ] {
            assert!(!needs_no_host(&words(line)), "{line}");
        }
    }

    #[test]
    fn names_of_documents_become_those_that_are_there() {
        let there = with_what_is_there(&words("replay /var/x.ldrrec --vm web --at 1s"));
        assert_eq!(there, words("replay web.ldrrec --vm task-1 --at 1s"));
    }

    #[test]
    fn an_xtask_command_line_is_judged_by_its_own_parser() {
        assert_eq!(parse_xtask(&words("test --kernel 6.1")).unwrap(), Trial::Parsed);
        assert_eq!(
            parse_xtask(&words("lab -- ldrscope doctor")).unwrap(),
            Trial::Parsed
        );
        assert!(parse_xtask(&words("test --colonel 6.1")).is_err());
    }
}
