//! The alert rules: sound and tested for promtool, about families that exist, each with a test and a page of the runbook.

use std::collections::BTreeSet;

use anyhow::{Context as _, Result, ensure};
use yaml_rust2::Yaml;

use super::{families, read, text, yaml};
use crate::{paths, tool};

const DIRECTORY: &str = "packaging/prometheus";
const RULES: &str = "packaging/prometheus/ldrscope.rules.yml";
const TESTS: &str = "packaging/prometheus/ldrscope.rules.test.yml";
const RUNBOOK: &str = "docs/runbook.md";

/// Fails with what is wrong.
pub(super) fn check() -> Result<()> {
    for (subcommand, file) in [("check", RULES), ("test", TESTS)] {
        tool::quiet(
            tool::command("promtool")
                .current_dir(paths::workspace().join(DIRECTORY))
                .args([subcommand, "rules"])
                .arg(paths::workspace().join(file)),
        )?;
    }
    let known = families::all()?;
    let pages = anchors(&read(RUNBOOK)?);
    let tests = read(TESTS)?;
    for document in yaml(RULES)? {
        for rule in document["groups"]
            .as_vec()
            .into_iter()
            .flatten()
            .flat_map(rules_of)
        {
            check_one(rule, &known, &pages, &tests)?;
        }
    }
    Ok(())
}

fn rules_of(group: &Yaml) -> impl Iterator<Item = &Yaml> {
    group["rules"].as_vec().into_iter().flatten()
}

fn check_one(rule: &Yaml, known: &BTreeSet<String>, pages: &BTreeSet<String>, tests: &str) -> Result<()> {
    let name = text(rule, &["alert"]).context("a rule that is no alert")?;
    let need = |place: &[&str]| {
        text(rule, place)
            .filter(|text| !text.is_empty())
            .with_context(|| format!("{name} has no {}", place.join(".")))
    };
    for place in [
        &["labels", "severity"],
        &["annotations", "summary"],
        &["annotations", "description"],
    ] {
        need(place)?;
    }
    for family in families::named_in(need(&["expr"])?) {
        ensure!(
            known.contains(&family),
            "{name} asks for {family}, which nobody exposes"
        );
    }
    let url = need(&["annotations", "runbook_url"])?;
    let wanted = format!("{RUNBOOK}#{}", name.to_lowercase());
    ensure!(url == wanted, "{name}: its runbook_url is {url}, not {wanted}");
    ensure!(
        pages.contains(&name.to_lowercase()),
        "{RUNBOOK} has no section {name}"
    );
    ensure!(
        tests.contains(&format!("alertname=\"{name}\"")) || tests.contains(&format!("alertname: {name}\n")),
        "no test of {TESTS} makes {name} fire"
    );
    Ok(())
}

/// The anchors of a page's headings, as far as headings are one word.
fn anchors(page: &str) -> BTreeSet<String> {
    page.lines()
        .filter_map(|line| Some(line.strip_prefix('#')?.trim_start_matches('#').trim()))
        .map(|heading| heading.trim_matches('`').to_lowercase())
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_heading_is_an_anchor_in_lower_case() {
        let found = anchors("# Runbook\n\n### LdrscopeDown\n\ntext\n\n### `ldr-stale`\n");
        assert!(
            found.contains("ldrscopedown") && found.contains("ldr-stale"),
            "{found:?}"
        );
    }
}
