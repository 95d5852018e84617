//! The line of `check`, against a golden file and against what monitoring systems make of it.

use std::{fs::File, process::Stdio, time::Duration};

use ldrscope::{
    engine::{
        Engine,
        health::{Grade, Health},
    },
    escape::is_unsafe,
    identity::{
        filter::VmFilter,
        process::{Process, ProcessSource},
    },
    sink::check_line,
};
use probe_apic::{
    id::BootTime,
    map_rules::MapRules,
    observation::{Irqchip, VcpuSample, VmSample},
};

use crate::command_line::{ldrscope, run};
use crate::fixture::{MS, bigsmp, engine, facts, feed, golden, healthy, pin, read, sample, seen, vcpu};

const RULES: MapRules = MapRules::Overwrite;
const TOOK: Duration = Duration::from_millis(812);

fn line(engine: &Engine, unread: usize, list_is_whole: bool) -> (Grade, String) {
    let host = engine.view(BootTime(2 * MS));
    let health = Health::of(&host, unread, list_is_whole);
    (health.grade(), check_line::of(&health, host.as_kvm, TOOK))
}

/// A host with these VMs, of processes 100 and 200 in turn.
fn host(samples: Vec<VmSample>) -> Engine {
    let mut engine = engine(RULES, None);
    for sample in samples {
        let pid = if sample.vm.0 % 2 == 1 { 100 } else { 200 };
        feed(&mut engine, 0, seen(sample.vm.0, pid, 0));
        feed(&mut engine, MS, [read(sample)]);
    }
    engine
}

fn at(vm: u64, vcpus: Vec<VcpuSample>) -> VmSample {
    sample(vm, MS, vcpus, RULES)
}

fn critical(vm: u64) -> VmSample {
    VmSample {
        aims: vec![pin(2, 0x01)],
        ..at(vm, bigsmp(16))
    }
}

fn warning(vm: u64) -> VmSample {
    at(vm, vec![vcpu(0, 1), vcpu(1, 1)])
}

fn torn(vm: u64) -> VmSample {
    VmSample {
        consistent: false,
        ..at(vm, healthy(2))
    }
}

fn unobservable(vm: u64) -> VmSample {
    VmSample {
        irqchip: Irqchip::Userspace,
        ..at(vm, Vec::new())
    }
}

/// A left-over LDR: harmless under these rules.
fn notice(vm: u64) -> VmSample {
    let mut left_over = vcpu(1, 1);
    left_over.lapic.sw_enabled = false;
    left_over.lapic.svr = probe_apic::reg::Svr(0xff);
    at(vm, vec![vcpu(0, 1), left_over])
}

#[test]
fn every_grade_has_its_line() {
    let many = |sample: fn(u64) -> VmSample| (1..=12).map(sample).collect::<Vec<_>>();
    let cases: Vec<(&str, Grade, Engine, usize, bool)> = vec![
        ("no VM", Grade::Ok, host(Vec::new()), 0, true),
        ("healthy", Grade::Ok, host(vec![at(1, healthy(8))]), 0, true),
        (
            "a notice",
            Grade::Ok,
            host(vec![at(1, healthy(8)), notice(2)]),
            0,
            true,
        ),
        (
            "unobservable",
            Grade::Ok,
            host(vec![at(1, healthy(8)), unobservable(2)]),
            0,
            true,
        ),
        (
            "critical",
            Grade::Critical,
            host(vec![critical(1), at(2, healthy(4))]),
            0,
            true,
        ),
        (
            "warning",
            Grade::Warning,
            host(vec![at(1, healthy(4)), warning(2)]),
            0,
            true,
        ),
        (
            "torn",
            Grade::Unknown,
            host(vec![at(1, healthy(4)), torn(2)]),
            0,
            true,
        ),
        ("unread", Grade::Unknown, host(vec![at(1, healthy(4))]), 1, true),
        (
            "a list that never holds still",
            Grade::Unknown,
            host(Vec::new()),
            0,
            false,
        ),
        (
            "all of it",
            Grade::Critical,
            host(vec![critical(1), warning(2), torn(3), unobservable(4), notice(5)]),
            1,
            false,
        ),
        (
            "a torn VM and a warning",
            Grade::Warning,
            host(vec![torn(1), warning(2)]),
            0,
            true,
        ),
        ("many", Grade::Critical, host(many(critical)), 0, true),
        (
            "as another KVM",
            Grade::Warning,
            host(vec![warning(1)]).as_kvm(Some(MapRules::ConflictDisables)),
            0,
            true,
        ),
    ];
    let mut text = String::new();
    for (name, expected, engine, unread, list_is_whole) in cases {
        let (grade, line) = line(&engine, unread, list_is_whole);
        assert_eq!(grade, expected, "{name}: {line}");
        assert!(line.len() < 1500, "{name}");
        holds_for_a_monitor(&line);
        text.push_str(&format!("{name}\n    {line}\n"));
    }
    golden("check", &text);
}

/// One line, one bar, and behind it labels without blanks and plain numbers.
fn holds_for_a_monitor(line: &str) {
    assert!(!line.chars().any(is_unsafe), "{line}");
    let (words, figures) = line.split_once(" | ").unwrap();
    assert!(words.starts_with("LDRSCOPE ") && !line[words.len() + 3..].contains('|') && !words.contains('|'));
    for figure in figures.split(' ') {
        let (label, values) = figure.split_once('=').unwrap();
        assert!(label.bytes().all(|byte| byte.is_ascii_lowercase()), "{figure}");
        let mut fields = values.split(';');
        let value = fields.next().unwrap();
        value.trim_end_matches('s').parse::<f64>().unwrap();
        assert!(
            fields.all(|field| field.is_empty() || field.parse::<u64>().is_ok()),
            "{figure}"
        );
    }
}

struct Hostile;

impl ProcessSource for Hostile {
    fn read(&self, pid: u32) -> Option<Process> {
        let name = format!("a|b=1;;;\n\x1b[2J\u{202e} OK -{pid} {}", "x|".repeat(40_000));
        Some(Process {
            cmdline: format!("qemu-system-x86_64\0-name\0{name}\0").into_bytes(),
            comm: name,
            ..Process::default()
        })
    }
}

#[test]
fn a_hostile_name_breaks_neither_the_line_nor_the_figures() {
    let mut engine = Engine::new(facts(RULES), 0, VmFilter::default(), Box::new(Hostile));
    for vm in 1..=200 {
        feed(&mut engine, 0, seen(vm, 100, 0));
        let state = if vm % 2 == 0 { critical(vm) } else { warning(vm) };
        feed(&mut engine, MS, [read(state)]);
    }
    let (_, line) = line(&engine, 0, true);
    assert!(line.len() < 3000, "{}", line.len());
    holds_for_a_monitor(&line);
    let failure = check_line::failure("no-such-vm", "no VM matches `a|b`\nfoo\x1b");
    assert_eq!(
        failure,
        "LDRSCOPE UNKNOWN - error[no-such-vm]: no VM matches `a\\x7cb`\\x0afoo\\x1b"
    );
}

#[test]
fn wrong_usage_is_unknown_for_this_verb_alone() {
    for arguments in [
        &["check", "--warning", "1"][..],
        &["check", "--vm"],
        &["-v", "check", "--as-kvm", "newest"],
        &["check", "--ring-size", "3MiB"],
    ] {
        let (code, stdout, stderr) = run(arguments);
        assert_eq!(code, Some(3), "{arguments:?}");
        assert!(
            stdout.starts_with("LDRSCOPE UNKNOWN - error[usage]: ") && stdout.lines().count() == 1,
            "{stdout}"
        );
        assert!(stderr.contains("--help"), "{stderr}");
    }
    assert_eq!(run(&["check", "--help"]).0, Some(0));
    assert_eq!(run(&["snapshot", "--vm"]).0, Some(2));
}

/// Here nothing can be looked at, or the line is a whole one.
#[test]
fn it_says_one_line_wherever_it_runs_and_needs_no_reader() {
    let (code, stdout, _) = run(&["check"]);
    assert!(matches!(code, Some(0..=3)));
    assert!(
        stdout.starts_with("LDRSCOPE ") && stdout.lines().count() == 1,
        "{stdout}"
    );

    let mut child = ldrscope(&["check"]).stdout(Stdio::piped()).spawn().unwrap();
    drop(child.stdout.take());
    assert_eq!(child.wait().unwrap().code(), code);

    let full = File::options().write(true).open("/dev/full").unwrap();
    let status = ldrscope(&["check"]).stdout(full).status().unwrap();
    assert_eq!(status.code(), Some(3));
}
