//! `top`: what its screens show of fabricated hosts, at several sizes, with and without colour, whatever is pressed.

use std::{fs, os::unix::fs::PermissionsExt as _, path::Path};

use ldrscope::{
    clock::WallClock,
    engine::Engine,
    escape::is_unsafe,
    top::{
        keys::Action,
        model::{
            Model, Request, Source, State,
            place::{Pane, Step},
        },
        screen::{self, Theme},
        snapshot::SnapshotDirectory,
    },
};
use probe_apic::{
    id::BootTime,
    map_rules::MapRules,
    observation::{Irqchip, VmSample},
};
use ratatui::{
    Terminal,
    backend::TestBackend,
    style::{Color, Modifier},
};

use crate::{
    command_line::run,
    fixture::{MS, bigsmp, clustered, engine, feed, gone, healthy, pin, read as sampled, sample, seen, vcpu},
};

const WALL: WallClock = WallClock::booted_at(1_700_000_000_000_000_000);
const COLOURLESS: Theme = Theme { colour: false };
const SIZES: [(u16, u16); 3] = [(60, 16), (80, 24), (200, 60)];

/// A person before a host of these engines.
struct Eye {
    model: Model,
    engine: Engine,
    at: u64,
}

impl Eye {
    fn on(engine: Engine) -> Self {
        let mut model = Model::new(Source::Live);
        model.state = State::Watching;
        let mut eye = Self { model, engine, at: 0 };
        eye.look();
        eye
    }

    fn sees(&mut self, at: u64, reports: impl IntoIterator<Item = ldrscope::observer::Report>) {
        let told = feed(&mut self.engine, at, reports);
        self.model.note(Some(&self.engine), &told);
        self.at = at;
        self.look();
    }

    /// A read twice, since a divergence has to be confirmed, and settled.
    fn watches(&mut self, samples: &[VmSample]) {
        for at in [MS, 100 * MS, 500 * MS] {
            let again = samples.iter().cloned().map(|sample| VmSample {
                at: BootTime(at),
                ..sample
            });
            self.sees(at, again.map(sampled).collect::<Vec<_>>());
        }
    }

    fn look(&mut self) {
        self.model.refresh(Some(&self.engine), BootTime(self.at), WALL);
    }

    fn press(&mut self, actions: &[Action]) -> Option<Request> {
        let mut request = None;
        for action in actions {
            request = self.model.act(*action, Some(&self.engine));
            self.draw((80, 24), COLOURLESS);
        }
        request
    }

    fn draw(&mut self, (width, height): (u16, u16), theme: Theme) -> Terminal<TestBackend> {
        let mut terminal = Terminal::new(TestBackend::new(width, height)).unwrap();
        let mut sight = Default::default();
        terminal
            .draw(|frame| sight = screen::draw(&self.model, theme, frame.area(), frame.buffer_mut()))
            .unwrap();
        self.model.seen(sight);
        terminal
    }

    /// The screen as text, line by line, which is safe to show.
    fn text(&mut self, size: (u16, u16)) -> String {
        let terminal = self.draw(size, COLOURLESS);
        let buffer = terminal.backend().buffer();
        let lines = buffer.content().chunks(size.0.into()).map(|row| {
            let line: String = row.iter().map(|cell| cell.symbol()).collect();
            line.trim_end().to_owned()
        });
        let text = lines.collect::<Vec<_>>().join("\n");
        assert!(!text.chars().any(|one| one != '\n' && is_unsafe(one)), "{text}");
        text
    }
}

#[track_caller]
fn holds(text: &str, parts: &[&str]) {
    for part in parts {
        assert!(text.contains(part), "no `{part}` in\n{text}");
    }
}

/// The crashed guest of 2019 under the rules of 6.1.
fn crashed(vm: u64) -> VmSample {
    let mut vcpus = bigsmp(16);
    vcpus[0] = vcpu(0, 1);
    let mut sample = sample(vm, MS, vcpus, MapRules::Overwrite);
    sample.aims.push(pin(2, 0x01));
    sample
}

/// Three VMs: one crashed, one hostile by its name and healthy, one that nobody can look into.
fn three() -> Eye {
    let mut engine = engine(MapRules::Overwrite, None);
    for (vm, pid) in [(1, 200), (2, 100), (3, 300)] {
        feed(&mut engine, MS, seen(vm, pid, MS));
    }
    let mut eye = Eye::on(engine);
    let healthy = sample(1, MS, healthy(8), MapRules::Overwrite);
    let mut unseen = sample(3, MS, Vec::new(), MapRules::Overwrite);
    unseen.irqchip = Irqchip::Userspace;
    unseen.published = None;
    eye.watches(&[healthy, crashed(2), unseen]);
    eye
}

#[test]
fn an_empty_host_says_that_it_is_watched() {
    let mut eye = Eye::on(engine(MapRules::Overwrite, None));
    for size in SIZES {
        holds(
            &eye.text(size),
            &["No VM runs on this host", "0 VMs", "map rules overwrite", "live"],
        );
    }
    eye.model.state = State::Waiting("the kvm module is not loaded".to_owned());
    eye.model.refresh(None, BootTime(0), WALL);
    holds(&eye.text((80, 24)), &["waiting: the kvm module is not loaded"]);
}

#[test]
fn the_worst_vm_comes_first_and_what_cannot_be_seen_is_said() {
    let mut eye = three();
    for size in SIZES {
        let text = eye.text(size);
        holds(&text, &["? help", "q quit"]);
        holds(&text, &["3 VMs: 1 critical", "1 unobservable"]);
        let place = |part: &str| {
            text.find(part)
                .unwrap_or_else(|| panic!("no `{part}` in\n{text}"))
        };
        assert!(place("critical  web (pid") < place("ok  "), "{text}");
    }
    holds(
        &eye.text((80, 24)),
        &[
            "web (pid 100)",
            "flat",
            "yes",
            "unobservable",
            "nothing lost",
            "5c",
        ],
    );
    holds(
        &eye.text((200, 60)),
        &["UUID", "qemu", "e\\x1b[31mvil\\u{202e} (pid 200)"],
    );
}

#[test]
fn what_is_selected_stays_selected_when_the_order_changes() {
    let mut eye = three();
    eye.press(&[Action::Move(Step::Down)]);
    let selected = eye.model.selected();
    eye.press(&[Action::Sort]);
    assert_eq!(eye.model.selected(), selected);
    holds(&eye.text((80, 24)), &["by name"]);
    eye.press(&[
        Action::Move(Step::End),
        Action::Move(Step::Down),
        Action::Move(Step::PageUp),
    ]);
    assert_eq!(eye.model.selected(), Some(eye.model.listed()[0].id));
}

#[test]
fn a_filter_lists_what_has_it_in_its_name_uuid_pid_or_rule() {
    let mut eye = three();
    for (filter, listed) in [
        ("WEB", 1),
        ("0a1b2c3d", 1),
        ("200", 1),
        ("ldr-coll", 1),
        ("critical", 1),
        ("none", 0),
    ] {
        eye.press(&[Action::Abandon, Action::Filter]);
        let typed: Vec<_> = filter.chars().map(Action::Type).collect();
        eye.press(&typed);
        assert_eq!(eye.model.listed().len(), listed, "{filter}");
        holds(
            &eye.text((80, 24)),
            &[&format!("filter: {filter}_"), &format!("{listed} of 3")],
        );
    }
    holds(&eye.text((80, 24)), &["None of the VMs matches `none`."]);
    eye.press(&[Action::Erase, Action::Accept, Action::Back]);
    assert_eq!(eye.model.listed().len(), 3);
}

#[test]
fn a_vm_shows_its_map_with_marks_and_who_claims_what() {
    let mut eye = three();
    eye.press(&[Action::Open]);
    let text = eye.text((80, 24));
    holds(
        &text,
        &[
            "web (pid 100)",
            "maps agree",
            "published  15!     14!     12!     8!",
            "rebuilt    15!     14!     12!     8!",
            "claimed by 0,1,3..",
            "critical ldr-collision  slot 0",
            "IOAPIC pin 2, vector 0x30",
        ],
    );
    eye.press(&[Action::Show(Pane::Map)]);
    holds(
        &eye.text((80, 24)),
        &[
            "! slot 0: vCPU 15 has it alone; vCPUs 0, 1, 3, 5, 7, 9, 11, 13 claim it as well",
            "The physical map has 16 entries.",
        ],
    );
    eye.press(&[Action::NextPane, Action::NextPane, Action::Move(Step::End)]);
    holds(&eye.text((80, 24)), &["0x0f000000 0000 1111 flat", "0x1ff"]);
    eye.press(&[Action::NextPane]);
    holds(&eye.text((80, 24)), &["vCPU 15, LDR 0x00000000 -> 0x0f000000"]);
    holds(
        &eye.text((200, 60)),
        &[
            "1 map",
            "2 findings (",
            "3 vCPUs (16)",
            "4 timeline (",
            "bits 0-3",
        ],
    );
    eye.sees(600 * MS, [gone(2, 600 * MS)]);
    holds(
        &eye.text((80, 24)),
        &["This VM is gone; this is how it was seen last.", "15!"],
    );
    eye.press(&[Action::Back]);
    holds(&eye.text((80, 24)), &["2 VMs"]);
}

#[test]
fn a_map_that_differs_from_what_the_registers_make_says_who_should_own_what() {
    let mut engine = engine(MapRules::Overwrite, None);
    feed(&mut engine, MS, seen(1, 100, MS));
    let mut odd = sample(1, MS, healthy(4), MapRules::Overwrite);
    let published = odd.published.as_mut().unwrap();
    published.slots[0].1 = published.slots[1].1;
    published.slots.pop();
    let mut eye = Eye::on(engine);
    eye.watches(&[odd]);
    eye.press(&[Action::Open, Action::Show(Pane::Map)]);
    let text = eye.text((80, 24));
    holds(
        &text,
        &[
            "MAPS DISAGREE",
            "published  1x      1       2       -?",
            "rebuilt    0       1       2       3",
            "x published: slot 0: vCPU 1 has it; it should be vCPU 0's, who alone claims it",
            "? published: slot 3: nobody has it; it should be vCPU 3's, who alone claims it",
        ],
    );
}

#[test]
fn clusters_are_drawn_published_beside_rebuilt() {
    let mut engine = engine(MapRules::Overwrite, None);
    feed(&mut engine, MS, seen(1, 100, MS));
    let mut vcpus = clustered(60);
    vcpus[7].lapic.ldr = vcpus[6].lapic.ldr;
    let mut eye = Eye::on(engine);
    eye.watches(&[sample(1, MS, vcpus, MapRules::Overwrite)]);
    eye.press(&[Action::Open]);
    holds(&eye.text((80, 24)), &["Slots of clusters: press 1."]);
    eye.press(&[Action::Show(Pane::Map)]);
    let text = eye.text((80, 24));
    holds(
        &text,
        &["cluster", "published", "rebuilt", "4      5      7!     -"],
    );
    assert_eq!(text.matches("7!").count(), 2, "{text}");
    eye.press(&[Action::Move(Step::End)]);
    holds(
        &eye.text((80, 24)),
        &[
            "56     57     58     59",
            "! slot 1:2: vCPU 7 has it alone; vCPU 6 claims it as well",
        ],
    );
    holds(
        &eye.text((200, 60)),
        &["56     57     58     59", "4      5      7!"],
    );
}

#[test]
fn a_thousand_vcpus_scroll_to_the_last_and_no_further() {
    let mut engine = engine(MapRules::ConflictDisables, None);
    feed(&mut engine, MS, seen(1, 100, MS));
    let vcpus = (0..1024).map(|number| vcpu(number, 0)).collect();
    let mut eye = Eye::on(engine);
    eye.watches(&[sample(1, MS, vcpus, MapRules::ConflictDisables)]);
    eye.press(&[Action::Open, Action::Show(Pane::Vcpus)]);
    holds(&eye.text((80, 24)), &["vCPUs (1024)", "1-", " of 1024"]);
    eye.press(&[
        Action::Move(Step::End),
        Action::Move(Step::PageDown),
        Action::Move(Step::Down),
    ]);
    holds(&eye.text((80, 24)), &["\n 1023 ", "-1024 of 1024"]);
    eye.press(&[Action::Move(Step::Up)]);
    holds(&eye.text((80, 24)), &["-1023 of 1024"]);
}

#[test]
fn help_and_log_lie_over_the_screen_until_another_key() {
    let mut eye = three();
    eye.press(&[Action::Help]);
    for size in SIZES {
        holds(&eye.text(size), &["Up Down", "any other key closes"]);
    }
    eye.press(&[Action::Back]);
    assert!(!eye.text((80, 24)).contains("Up Down"));
    eye.model.logged("ldrscope: warn: \u{1b}[2Jlost".to_owned());
    holds(&eye.text((80, 24)), &["ldrscope: warn: \\x1b[2Jlost"]);
    eye.press(&[Action::Log]);
    holds(
        &eye.text((80, 24)),
        &["The last lines of the log", "\\x1b[2Jlost"],
    );
}

#[test]
fn too_small_a_terminal_gets_a_sentence() {
    let mut eye = three();
    for size in [(59, 24), (80, 15), (20, 5), (1, 1)] {
        let text = eye.text(size);
        assert!(size.0 < 40 || text.contains("needs at"), "{text}");
    }
}

#[test]
fn nothing_is_told_by_colour_alone_and_without_it_there_is_none() {
    let mut eye = three();
    for actions in [
        &[][..],
        &[Action::Open],
        &[Action::Show(Pane::Map)],
        &[Action::Help],
    ] {
        eye.press(actions);
        for (theme, is_allowed) in [(COLOURLESS, false), (Theme { colour: true }, true)] {
            let terminal = eye.draw((80, 24), theme);
            let cells = terminal.backend().buffer().content();
            let is_coloured = cells
                .iter()
                .any(|cell| cell.fg != Color::Reset || cell.bg != Color::Reset);
            assert!(is_allowed || !is_coloured);
            // What is selected, and bars, are seen without it.
            assert!(
                cells
                    .iter()
                    .any(|cell| cell.modifier.contains(Modifier::REVERSED))
            );
        }
    }
}

#[test]
fn keys_ask_for_what_the_model_cannot_do() {
    let mut eye = three();
    assert_eq!(eye.press(&[Action::Snapshot]), Some(Request::Snapshot));
    assert_eq!(eye.press(&[Action::Help, Action::Quit]), Some(Request::Quit));
    // A live host cannot be stopped, a recording can.
    eye.press(&[Action::Back, Action::Pause]);
    assert_eq!(eye.model.state, State::Watching);
    eye.model.source = Source::Tape {
        name: "web\u{1b}.ldrrec".to_owned(),
        speed: "10x".to_owned(),
    };
    eye.press(&[Action::Pause]);
    assert_eq!(eye.model.state, State::Paused);
    holds(&eye.text((80, 24)), &["web\\x1b.ldrrec  PAUSED  22:13:20.500Z"]);
    eye.model.state = State::Ended("this is the end of the recording".to_owned());
    holds(&eye.text((80, 24)), &["END", "this is the end of the recording"]);
}

#[test]
fn a_snapshot_is_a_file_of_its_own_and_never_another_s() {
    let eye = three();
    let directory = tempfile::tempdir().unwrap();
    let snapshots = SnapshotDirectory::open(directory.path()).unwrap();
    let view = eye.engine.view(BootTime(eye.at));
    let [first, second] = [(); 2].map(|()| snapshots.write(&view, WALL).unwrap());
    assert_eq!(first.file_name().unwrap(), "ldrscope-20231114T221320Z.json");
    assert_eq!(second.file_name().unwrap(), "ldrscope-20231114T221320Z-2.json");
    let text = fs::read_to_string(&first).unwrap();
    crate::schema::hold(&serde_json::from_str(&text).unwrap());
    assert_eq!(fs::metadata(&first).unwrap().permissions().mode() & 0o777, 0o640);
    assert!(SnapshotDirectory::open(&first).is_err());
    assert!(SnapshotDirectory::open(Path::new("/nonexistent")).is_err());
}

#[test]
fn without_a_terminal_it_names_the_verb_that_needs_none() {
    let example = concat!(
        env!("CARGO_MANIFEST_DIR"),
        "/../docs/examples/kdump-2019-on-6.1.ldrrec"
    );
    for arguments in [&["top"][..], &["top", "--from", example]] {
        let (code, stdout, stderr) = run(arguments);
        assert_eq!((code, stdout.as_str()), (Some(2), ""), "{arguments:?}");
        assert!(stderr.starts_with("error[no-terminal]: "), "{stderr}");
        assert!(stderr.contains("`ldrscope watch`"), "{stderr}");
    }
    for arguments in [
        &["top", "--from", "-"][..],
        &["top", "--speed", "max"],
        &["top", "--from", example, "--hooks", "cold"],
        &["top", "--from", example, "--speed", "fast"],
    ] {
        assert_eq!(run(arguments).0, Some(2), "{arguments:?}");
    }
}
