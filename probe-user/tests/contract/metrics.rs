//! The text that Prometheus gets: against a golden file, against `promtool`, and with hostile names.

use std::{
    collections::{BTreeMap, HashMap},
    time::Duration,
};

use ldrscope::{
    bpf::access::ProgramRuns,
    daemon::metrics::{
        HttpCounters, OutputCounters, Telemetry, process::ProcessStats, render, render_textfile,
    },
    engine::{Engine, tally::Tally},
    escape::is_unsafe,
    identity::{
        filter::VmFilter,
        process::{Process, ProcessSource},
    },
    observer::{Counts, Report},
};
use probe_apic::{
    id::BootTime,
    map_rules::MapRules,
    observation::{Irqchip, Observation, VmSample},
};

use crate::exposition::{distinct, promtool_accepts, series};
use crate::fixture::{MS, SETTLE, UUID, engine, facts, feed, golden, healthy, read, sample, seen, vcpu};

const RULES: MapRules = MapRules::Overwrite;
const MOMENT: BootTime = BootTime(2 * SETTLE);

/// Every metric that the endpoint may show: name, type, labels, `opt-in`. Alert rules and dashboard are held to it as well.
const FAMILIES: &str = include_str!("../../../packaging/prometheus/families.txt");

/// Names with types and labels, by name.
fn families() -> BTreeMap<&'static str, (&'static str, Vec<&'static str>)> {
    let lines = FAMILIES.lines().filter(|line| !line.starts_with('#'));
    let family = |line: &'static str| {
        let mut words = line.split(' ').filter(|word| *word != "opt-in");
        let (name, kind) = (words.next().unwrap(), words.next().unwrap());
        (name, (kind, words.collect()))
    };
    lines.map(family).collect()
}

/// What does not come from the engine.
struct Rest {
    programs: Vec<ProgramRuns>,
    outputs: OutputCounters,
    http: HttpCounters,
    process: Option<ProcessStats>,
}

/// Everything that can be shown.
fn full() -> Rest {
    Rest {
        programs: vec![ProgramRuns {
            program: "recalculated",
            runs: 12,
            time: Duration::from_nanos(3_500),
        }],
        outputs: OutputCounters {
            suppressed_lines: 3,
            errors: BTreeMap::from([("event-log", 2), ("journal", 0)]),
            snapshots: BTreeMap::from([("critical", 1), ("signal", 4)]),
            recordings: BTreeMap::from([("critical", 1), ("signal", 0)]),
            recording_bytes: Some(1_234_567),
        },
        http: HttpCounters {
            requests: BTreeMap::from([(200, 17), (404, 1)]),
            refused: 5,
        },
        process: Some(ProcessStats {
            cpu_seconds: 1.25,
            resident_bytes: 9_437_184,
            threads: 1,
            open_fds: Some(23),
            max_fds: Some(1024),
            start_seconds: 1_700_000_000.25,
        }),
    }
}

/// Nothing but what is always there.
fn bare() -> Rest {
    Rest {
        programs: Vec::new(),
        outputs: OutputCounters::default(),
        http: HttpCounters::default(),
        process: None,
    }
}

fn rendered(engine: &Engine, rest: &Rest, vcpu_metrics: bool) -> String {
    let host = engine.standing(MOMENT);
    render(&Telemetry {
        up: true,
        host: Some(&host),
        vcpu_metrics,
        tally: engine.tally(),
        counts: Counts {
            records: 1_000,
            dropped: 7,
            missed: 2,
            skipped: 300,
            undecodable: 0,
            untracked: 0,
            scans: 2,
            reads: 40,
        },
        attachments: 1,
        programs: &rest.programs,
        outputs: &rest.outputs,
        http: &rest.http,
        process: rest.process,
    })
}

/// A healthy VM, one with a collision, one that KVM knows nothing of, one that was lost sight of.
fn varied() -> Engine {
    let mut engine = engine(RULES, None);
    for (vm, pid) in [(1, 100), (2, 200), (3, 200), (4, 200)] {
        feed(&mut engine, 0, seen(vm, pid, 0));
    }
    let mut userspace = sample(3, MS, Vec::new(), RULES);
    userspace.irqchip = Irqchip::Userspace;
    let torn = VmSample {
        consistent: false,
        ..sample(4, MS, healthy(2), RULES)
    };
    let collision = sample(2, MS, vec![vcpu(0, 1), vcpu(1, 1)], RULES);
    let samples = [sample(1, MS, healthy(2), RULES), collision, userspace, torn];
    feed(&mut engine, MS, samples.map(read));
    engine.poll(MOMENT);
    engine
}

#[test]
fn the_exposition_is_as_it_was_agreed() {
    let text = rendered(&varied(), &full(), true);
    golden("metrics", &text.replace(env!("CARGO_PKG_VERSION"), "VERSION"));
    distinct(&text);
    assert_eq!(text, rendered(&varied(), &full(), true));
}

#[test]
fn names_types_and_labels_are_those_of_the_contract() {
    let text = rendered(&varied(), &full(), true);
    let types: BTreeMap<&str, &str> = text
        .lines()
        .filter_map(|line| line.strip_prefix("# TYPE ")?.split_once(' '))
        .collect();
    let families = families();
    let agreed: BTreeMap<&str, &str> = families.iter().map(|(name, (kind, _))| (*name, *kind)).collect();
    assert_eq!(types, agreed);
    for (name, labels) in series(&text) {
        let (_, agreed) = &families[name.as_str()];
        let labels: Vec<&str> = labels.iter().map(|(label, _)| label.as_str()).collect();
        assert_eq!(labels, *agreed, "{name}");
        assert!(text.contains(&format!("# HELP {name} ")));
    }
}

#[test]
fn a_healthy_vm_costs_two_series() {
    let count = |vms: u64| {
        let mut engine = engine(RULES, None);
        for vm in 1..=vms {
            feed(&mut engine, 0, seen(vm, 100, 0));
            feed(&mut engine, 0, [read(sample(vm, 0, healthy(8), RULES))]);
        }
        engine.poll(MOMENT);
        series(&rendered(&engine, &bare(), false)).len()
    };
    assert_eq!(count(50) - count(0), 100);
}

#[test]
fn without_kvm_it_is_down_and_goes_on_counting() {
    let rest = full();
    let text = render(&Telemetry {
        up: false,
        host: None,
        vcpu_metrics: true,
        tally: &Tally::default(),
        counts: Counts::default(),
        attachments: 0,
        programs: &[],
        outputs: &rest.outputs,
        http: &rest.http,
        process: rest.process,
    });
    assert!(text.contains("\nldrscope_up 0\n"));
    assert!(text.contains("\nldrscope_records_total 0\n"));
    assert!(
        series(&text)
            .iter()
            .all(|(name, _)| !name.starts_with("ldrscope_vm_info"))
    );
    assert!(!text.contains("ldrscope_findings{") && !text.contains("ldrscope_host_info"));
}

#[test]
fn a_textfile_holds_nothing_that_node_exporter_has_itself() {
    let rest = full();
    let engine = varied();
    let host = engine.standing(MOMENT);
    let telemetry = Telemetry {
        up: true,
        host: Some(&host),
        vcpu_metrics: false,
        tally: engine.tally(),
        counts: Counts::default(),
        attachments: 0,
        programs: &[],
        outputs: &rest.outputs,
        http: &rest.http,
        process: rest.process,
    };
    let text = render_textfile(&telemetry);
    assert!(
        series(&text)
            .iter()
            .all(|(name, _)| name.starts_with("ldrscope_"))
    );
    assert!(render(&telemetry).starts_with(&text));
}

/// Process 1 is a QEMU whose command line is of an attacker's making, 2 a VMM with many VMs.
struct Hostile;

const NAME: &str = "a\"} 1\nldrscope_up 0\r\x1b[2J\\\u{202e}\u{2028}|{é";

impl ProcessSource for Hostile {
    fn read(&self, pid: u32) -> Option<Process> {
        let vmms = HashMap::from([(1, format!("{NAME}{}", "x".repeat(65_536))), (2, NAME.to_owned())]);
        let name = vmms.get(&pid)?;
        Some(Process {
            cmdline: format!("qemu-system-x86_64\0-name\0{name}\0-uuid\0{UUID}\0")
                .replace(UUID, if pid == 1 { UUID } else { "none" })
                .into_bytes(),
            comm: NAME.to_owned(),
            ..Process::default()
        })
    }
}

#[test]
fn hostile_names_and_twins_neither_break_the_text_nor_merge_series() {
    let mut engine = Engine::new(facts(RULES), SETTLE, VmFilter::default(), Box::new(Hostile));
    for (vm, pid) in [(1, 1), (2, 1), (3, 1), (4, 2), (5, 2), (6, 3)] {
        let [seen, process] = seen(vm, pid, 0);
        let discriminator = match vm {
            5 => "2-12\n\"".to_owned(),
            _ => format!("#{}", vm.min(4)),
        };
        let process = match process {
            Report::Process { vm, pid, .. } => Report::Process {
                vm,
                pid,
                discriminator,
            },
            Report::Observation(_) | Report::Dropped { .. } | Report::Uncounted { .. } => {
                panic!("no process")
            }
        };
        feed(&mut engine, 0, [seen, process]);
        let collision = sample(vm, 0, vec![vcpu(0, 1), vcpu(1, 1)], RULES);
        feed(
            &mut engine,
            0,
            [Report::Observation(Observation::Sample(collision))],
        );
    }
    engine.poll(MOMENT);
    let text = rendered(&engine, &full(), true);
    distinct(&text);
    assert!(
        text.chars()
            .all(|character| character == '\n' || !is_unsafe(character))
    );
    let all = series(&text);
    let up: Vec<_> = all.iter().filter(|(name, _)| name == "ldrscope_up").collect();
    assert_eq!(up.len(), 1);
    for (_, labels) in &all {
        assert!(labels.iter().all(|(_, value)| value.chars().count() <= 256));
    }
    let ids: Vec<&str> = all
        .iter()
        .filter(|(name, _)| name == "ldrscope_vm_info")
        .map(|(_, labels)| labels[0].1.as_str())
        .collect();
    let twin = |number: u32| format!("{UUID}-{number}");
    assert_eq!(
        ids,
        [UUID, &twin(2), &twin(3), "2-0-b4", "2-0-12\\x0a\"", "3-0-b4"]
    );
    promtool_accepts(&text);
}

#[test]
fn promtool_finds_nothing_to_say_against_it() {
    promtool_accepts(&rendered(&varied(), &full(), true));
    promtool_accepts(&rendered(&varied(), &bare(), false));
}
