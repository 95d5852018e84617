//! `explain`: the binary without privileges, its text against a golden file, and the page made of all texts.

use std::{fs, path::PathBuf};

use ldrscope::{
    explain,
    sink::{explanation, terminal::Style},
};
use probe_apic::finding::Rule;

use crate::{command_line::run, fixture::golden};

fn written(write: impl FnOnce(&mut dyn std::io::Write) -> std::io::Result<()>) -> String {
    let mut text = Vec::new();
    write(&mut text).unwrap();
    String::from_utf8(text).unwrap()
}

const NARROW: Style = Style {
    colour: false,
    width: Some(80),
};

#[test]
fn a_rule_in_80_columns() {
    golden(
        "explain-80",
        &written(|out| explanation::write_text(out, Rule::LdrCollision, NARROW)),
    );
    golden(
        "explain-list-80",
        &written(|out| explanation::write_list(out, NARROW)),
    );
}

#[test]
fn every_rule_is_explained_in_both_formats() {
    for rule in Rule::ALL {
        let (code, text, stderr) = run(&["explain", rule.name()]);
        assert_eq!((code, stderr.as_str()), (Some(0), ""), "{rule}");
        assert!(
            text.starts_with(&format!("{rule}\n  {}\n", explain::gist(rule))),
            "{text}"
        );
        let (code, markdown, _) = run(&["explain", rule.name(), "--format", "markdown"]);
        assert_eq!(
            (code, markdown.as_str()),
            (Some(0), explain::text(rule)),
            "{rule}"
        );
    }
}

#[test]
fn without_a_rule_each_is_a_line() {
    for format in ["text", "markdown"] {
        let (code, stdout, _) = run(&["explain", "--format", format]);
        assert_eq!((code, stdout.lines().count()), (Some(0), Rule::ALL.len()));
        for (line, rule) in stdout.lines().zip(Rule::ALL) {
            assert!(
                line.contains(rule.name()) && line.ends_with(explain::gist(rule)),
                "{line}"
            );
        }
    }
}

#[test]
fn an_unknown_rule_is_2_and_the_nearest_is_named() {
    for (wrong, near) in [
        ("ldr-colision", "ldr-collision"),
        ("collision", "ldr-collision"),
        ("map_disabled", "map-disabled"),
        ("apicv", "apicv-inhibited"),
    ] {
        let (code, stdout, stderr) = run(&["explain", wrong]);
        assert_eq!((code, stdout.as_str()), (Some(2), ""), "{wrong}");
        assert!(stderr.contains(&format!("'{near}'")), "{stderr}");
    }
}

#[test]
fn the_case_of_a_rule_does_not_matter() {
    assert_eq!(run(&["explain", "LDR-Stale"]), run(&["explain", "ldr-stale"]));
}

/// `BLESS=1 cargo test -p probe-user` writes the page anew.
#[test]
fn the_page_of_findings_is_made_of_the_texts() {
    let path = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../docs/findings.md");
    if std::env::var_os("BLESS").is_some() {
        fs::write(&path, explain::book()).unwrap();
    }
    let page = fs::read_to_string(&path).unwrap_or_default();
    assert!(
        page == explain::book(),
        "docs/findings.md is not what the texts of probe-user/src/explain make; renew it: BLESS=1 cargo test -p \
         probe-user --test contract explain"
    );
}
