//! Who a VM is, where the process that says so is hostile, or its id was another's a moment ago.

use std::collections::BTreeMap;
use std::ffi::{OsStr, OsString};
use std::fs::{self, File};
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::thread;
use std::time::{Duration, Instant};

use rustix::process::Signal;

use super::{CaseError, note};
use crate::cases::{Bench, CaseResult, Context, require};
use crate::contract::EventKind;
use crate::load::{End, Kind, Load, LoadProcess};
use crate::outside::process::signal;
use crate::reap;
use crate::tool::{Outcome, PATIENCE, Standing, Watch, command, run_to_end};

const COLLIDING: Load = Load {
    kind: Kind::Idle,
    vms: 1,
    vcpus: 2,
    end: End::Colliding,
};

/// Escapes, line ends, quotes, separators of every format, a C1 control, reversed text, and what is no UTF-8.
const HOSTILE: &[u8] =
    b"a\x1b[2J\x1b]0;t\x07\r\n\t\"'`${x}\\,{}=<b>\xc2\x9b31m\xe2\x80\xae\xe2\x80\xa8\xff\xfe\x7f";

/// Characters that reorder or hide what a person reads.
const DECEPTIVE: [char; 4] = ['\u{202e}', '\u{2028}', '\u{200b}', '\u{feff}'];

/// A link to this program in a directory of its own.
fn link(name: &OsStr) -> Result<PathBuf, CaseError> {
    let directory = Path::new("/tmp/vmms");
    fs::create_dir_all(directory)?;
    let link = directory.join(name);
    if fs::symlink_metadata(&link).is_err() {
        std::os::unix::fs::symlink(std::env::current_exe()?, &link)?;
    }
    Ok(link)
}

/// Names in argv, comm and cgroup; each through every format.
pub(in crate::cases) fn hostile(context: &Context, bench: &mut Bench) -> CaseResult {
    const CGROUP: &[u8] = b"machine-qemu\\x2d1\\x2d\x1b[31m\"\xe2\x80\xae\xff.scope";
    bench.clear();
    let long = [b"guest=".as_slice(), &HOSTILE.repeat(2000)].concat();
    let named = [b"guest=".as_slice(), HOSTILE].concat();
    let qemu = link(OsStr::new("qemu-system-x86_64"))?;
    let [named, long] = [named, long].map(OsString::from_vec);
    let words = |name| [OsStr::new("-name"), name];
    let mut vmms = vec![
        LoadProcess::start_as(&COLLIDING, &qemu, &words(&named))?,
        LoadProcess::start_as(&COLLIDING, &qemu, &words(&long))?,
    ];
    for comm in [b"\x1b[31mred\n\"".as_slice(), b"\xff\xe2\x80\xae\x9b2J'<i>"] {
        vmms.push(LoadProcess::start_as(
            &COLLIDING,
            &link(OsStr::from_bytes(comm))?,
            &[],
        )?);
    }
    let group = Path::new("/sys/fs/cgroup").join(OsStr::from_bytes(CGROUP));
    fs::create_dir_all(&group)?;
    fs::write(group.join("cgroup.procs"), vmms[0].pid().to_string())?;

    for format in ["text", "jsonl"] {
        let arguments = ["watch", "-v", "--format", format, "--hooks", context.hooks.word()];
        let outcome = run_until_it_speaks(&arguments)?;
        is_harmless(&arguments, &outcome)?;
    }
    for arguments in [
        &["snapshot", "--format", "table"][..],
        &["snapshot", "--format", "json"],
        &["deliver", "--only-bad", "--format", "table"],
        &["deliver", "--only-bad", "--format", "json"],
        &["snapshot", "--vm", "no-such-vm"],
    ] {
        is_harmless(arguments, &run_to_end(command(arguments))?)?;
    }
    drop(vmms);
    fs::remove_dir(&group)?;
    Ok(())
}

/// Ends a `watch` in order once it has told of every VM.
fn run_until_it_speaks(arguments: &[&str]) -> Result<Outcome, CaseError> {
    let files = ["/tmp/stdout", "/tmp/stderr"];
    let [out, err] = files.map(File::create);
    let mut child = command(arguments)
        .stdin(Stdio::null())
        .stdout(out?)
        .stderr(err?)
        .spawn()?;
    let deadline = Instant::now() + 2 * PATIENCE;
    while fs::metadata(files[0])?.len() == 0 && Instant::now() < deadline {
        thread::sleep(Duration::from_millis(50));
    }
    thread::sleep(Duration::from_secs(1));
    signal(child.id(), Signal::TERM)?;
    let ended = reap::wait_at_most(&mut child, PATIENCE)?;
    reap::kill(&mut child);
    let read =
        |path| fs::read(path).map(|bytes| String::from_utf8(bytes).unwrap_or_else(|_| "\u{1b}".to_owned()));
    match ended {
        Some(status) => Ok(Outcome {
            status,
            stdout: read(files[0])?,
            stderr: read(files[1])?,
        }),
        None => Err(CaseError::Unmet("SIGTERM should end it".to_owned())),
    }
}

/// Everything that was said is harmless, and where it is to be JSON it is.
fn is_harmless(arguments: &[&str], outcome: &Outcome) -> CaseResult {
    let what = arguments.join(" ");
    for text in [&outcome.stdout, &outcome.stderr] {
        harmless(text, &what)?;
    }
    let json = arguments.iter().any(|word| word.starts_with("json"));
    let parses = |line| serde_json::from_str::<serde_json::Value>(line).is_ok();
    require(!json || outcome.stdout.lines().all(parses), || {
        format!("every line of `{what}` should be JSON: {}", outcome.stdout)
    })?;
    let told = outcome.stdout.len() + outcome.stderr.len();
    require(told > 200 && !outcome.stderr.contains("panicked"), || {
        format!(
            "`{what}` should tell of these VMs: {} {}",
            outcome.stdout, outcome.stderr
        )
    })
}

/// No control byte but line ends, and nothing that deceives.
fn harmless(text: &str, what: &str) -> CaseResult {
    let culprit = text
        .chars()
        .find(|c| (c.is_control() && *c != '\n') || DECEPTIVE.contains(c));
    require(culprit.is_none(), || {
        let line = text.lines().find(|line| line.chars().any(|c| Some(c) == culprit));
        format!("`{what}` should not hold {culprit:?}: {line:?}")
    })
}

/// A process id is another process's as soon as its process has ended; each VM must have its own process's name.
pub(in crate::cases) fn reused_pids(context: &Context, bench: &mut Bench) -> CaseResult {
    /// The id given out last; the next one is sought from here on.
    const LAST_PID: &str = "/proc/sys/kernel/ns_last_pid";
    bench.clear();
    let mut watch = Watch::ready_with(context.hooks, &["--settle", "0"])?;
    let qemu = link(OsStr::new("qemu-system-x86_64"))?;
    let mut used: BTreeMap<u32, u32> = BTreeMap::new();
    for number in 0..context.scaled(10, 300) {
        let name = format!("vm-{number}");
        let said = format!("guest={name}");
        watch.forget();
        if let Some(first) = used.keys().next() {
            fs::write(LAST_PID, (first - 1).to_string())?;
        }
        let vmm = LoadProcess::start_as(&COLLIDING, &qemu, &["-name", &said].map(OsStr::new))?;
        *used.entry(vmm.pid()).or_default() += 1;
        let event = watch.wait_for_event("a VM's collision is told", 0, |event| {
            event.event == EventKind::Raised
        })?;
        watch.require(
            event.vm.name == name && event.vm.pid == vmm.pid(),
            &format!("this VM is {name} of process {}", vmm.pid()),
        )?;
        drop(vmm);
        watch.wait_for("its end is told", PATIENCE, Standing::is_empty)?;
    }
    let most = used.values().max().copied().unwrap_or_default();
    note(&format!("one process id was used {most} times"))?;
    require(most > 4, || {
        "hardly any process id was used again: little was tried".to_owned()
    })
}
