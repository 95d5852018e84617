//! The recordings that ship: made on real kernels while the failure of 2019 happened in a guest, and what is said of them.
//! `BLESS=1 cargo test -p probe-user` writes anew what is said.

use std::{fs, path::PathBuf};

use serde_json::Value;

use crate::{command_line::run, schema::hold};

/// Made on 6.1, where a later vCPU takes the slot, and on 6.12, where KVM gives the map up.
const EXAMPLES: [&str; 2] = ["kdump-2019-on-6.1", "kdump-2019-on-6.12"];

fn path(file: &str) -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join(format!("../docs/examples/{file}"))
}

fn replay(name: &str, more: &[&str]) -> String {
    let recording = path(&format!("{name}.ldrrec"));
    let words = ["replay", recording.to_str().unwrap(), "--format", "jsonl"];
    let (code, stdout, stderr) = run(&[&words, more].concat());
    assert_eq!((code, stderr.as_str()), (Some(0), ""), "{name}");
    stdout
}

fn lines(text: &str) -> Vec<Value> {
    text.lines()
        .map(|line| serde_json::from_str(line).unwrap())
        .collect()
}

/// The severity of the collision in slot 0 at its worst.
fn worst_of_slot_0(text: &str) -> Option<String> {
    let severities = ["info", "notice", "warning", "critical"];
    let slot = serde_json::json!([{"cluster": 0, "bit": 0}]);
    lines(text)
        .iter()
        .filter(|line| line["finding"]["rule"] == "ldr-collision" && line["finding"]["slots"] == slot)
        .filter_map(|line| {
            let severity = line["finding"]["severity"].as_str()?;
            severities.iter().position(|one| *one == severity)
        })
        .max()
        .map(|worst| severities[worst].to_owned())
}

#[test]
fn what_is_said_of_them_is_what_was_said() {
    for name in EXAMPLES {
        let told = replay(name, &[]);
        let expected = path(&format!("{name}.jsonl"));
        if std::env::var_os("BLESS").is_some() {
            fs::write(&expected, &told).unwrap();
        }
        assert!(
            told == fs::read_to_string(&expected).unwrap_or_default(),
            "{name} is not told as it was; it is now told as:\n{told}"
        );
        lines(&told).iter().for_each(hold);
    }
}

#[test]
fn the_slot_of_2019_was_stolen_where_a_later_vcpu_takes_it() {
    let [overwrite, conflict] = EXAMPLES.map(|name| worst_of_slot_0(&replay(name, &[])));
    assert_eq!(overwrite.as_deref(), Some("critical"));
    assert_eq!(conflict.as_deref(), Some("warning"));
    for name in EXAMPLES {
        let as_kvm = |rules| worst_of_slot_0(&replay(name, &["--as-kvm", rules]));
        assert_eq!(as_kvm("6.1").as_deref(), Some("critical"), "{name}");
        assert_eq!(as_kvm("6.12").as_deref(), Some("warning"), "{name}");
    }
}

#[test]
fn they_are_small_and_name_nobody() {
    for name in EXAMPLES {
        let bytes = fs::read(path(&format!("{name}.ldrrec"))).unwrap();
        assert!(bytes.len() < 32 << 10, "{name}: {} bytes", bytes.len());
        let reader = recording::Reader::open(&bytes[..]).unwrap();
        assert!(reader.flags().anonymised, "{name}");
        assert!(!replay(name, &[]).contains("lab-case"), "{name}");
    }
}
