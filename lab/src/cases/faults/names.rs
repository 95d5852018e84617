//! Who a VM is, where the process that says so is hostile, or its id was another's a moment ago.

use std::collections::BTreeMap;
use std::ffi::{OsStr, OsString};
use std::fs;
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::path::{Path, PathBuf};
use std::thread;

use super::{CaseError, note, scaled};
use crate::cases::{Bench, CaseResult, Context, require};
use crate::contract::EventKind;
use crate::load::{End, Kind, Load, LoadProcess};
use crate::tool::{PATIENCE, Standing, Watch, command, run_to_end};

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

    for arguments in [
        &[
            "watch",
            "-v",
            "--format",
            "text",
            "--duration",
            "1500ms",
            "--hooks",
            context.hooks.word(),
        ][..],
        &[
            "watch",
            "-v",
            "--format",
            "jsonl",
            "--duration",
            "1500ms",
            "--hooks",
            "precise",
        ],
        &["snapshot", "--format", "table"],
        &["snapshot", "--format", "json"],
        &["deliver", "--only-bad", "--format", "table"],
        &["deliver", "--only-bad", "--format", "json"],
        &["snapshot", "--vm", "no-such-vm"],
    ] {
        let outcome = run_to_end(command(arguments))?;
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
        })?;
    }
    drop(vmms);
    fs::remove_dir(&group)?;
    Ok(())
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

/// The host hands process ids out again within seconds; each VM must have its own process's name.
pub(in crate::cases) fn reused_pids(context: &Context, bench: &mut Bench) -> CaseResult {
    const PID_MAX: &str = "/proc/sys/kernel/pid_max";
    /// As low as kernels allow, but for some room.
    const FEW: &str = "400";
    bench.clear();
    let before = fs::read_to_string(PID_MAX)?;
    let mut watch = Watch::ready_with(context.hooks, &["--settle", "0"])?;
    fs::write(PID_MAX, FEW)?;
    let outcome = name_many(&mut watch);
    fs::write(PID_MAX, before.trim())?;
    outcome
}

fn name_many(watch: &mut Watch) -> CaseResult {
    let qemu = link(OsStr::new("qemu-system-x86_64"))?;
    let mut used: BTreeMap<u32, u32> = BTreeMap::new();
    for number in 0..scaled(24, 300) {
        // Uses the ids up that lie between.
        for _ in 0..100 {
            let _ = thread::spawn(|| ()).join();
        }
        let name = format!("vm-{number}");
        let said = format!("guest={name}");
        watch.forget();
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
    let reused = used.values().filter(|times| **times > 1).count();
    note(&format!("{reused} of {} process ids were used again", used.len()))?;
    require(reused > 0, || {
        "no process id was used again: nothing was tried".to_owned()
    })
}
