//! The dashboard: JSON whose expressions promtool understands, about families that exist, and about all of them.

use std::{collections::BTreeSet, fs};

use anyhow::{Context as _, Result, ensure};
use serde_json::Value;

use super::{families, read};
use crate::tool;

const DASHBOARD: &str = "packaging/grafana/ldrscope.json";

/// What Grafana puts in the place of its variables, as far as it matters for syntax.
const VARIABLES: [(&str, &str); 3] = [("$__rate_interval", "5m"), ("$instance", ".*"), ("$vm", ".*")];

/// Fails with what is wrong.
pub(super) fn check() -> Result<()> {
    let dashboard: Value =
        serde_json::from_str(&read(DASHBOARD)?).with_context(|| format!("{DASHBOARD} is no JSON"))?;
    let mut expressions = Vec::new();
    collect(&dashboard, &mut expressions);
    ensure!(!expressions.is_empty(), "{DASHBOARD} asks for nothing");

    let known = families::all()?;
    let named: BTreeSet<String> = expressions
        .iter()
        .flat_map(|expression| families::named_in(expression))
        .collect();
    let strange: Vec<_> = named.difference(&known).map(String::as_str).collect();
    ensure!(
        strange.is_empty(),
        "{DASHBOARD} asks for {}, which nobody exposes",
        strange.join(", ")
    );
    let unseen: Vec<_> = known.difference(&named).map(String::as_str).collect();
    ensure!(
        unseen.is_empty(),
        "{DASHBOARD} shows nothing of {}",
        unseen.join(", ")
    );
    promtool_understands(&expressions)
}

/// Every panel's expressions, however deep the panel is.
fn collect<'a>(part: &'a Value, found: &mut Vec<&'a str>) {
    match part {
        Value::Object(members) => {
            for (name, value) in members {
                match value.as_str() {
                    Some(expression) if name == "expr" => found.push(expression),
                    _ => collect(value, found),
                }
            }
        }
        Value::Array(items) => items.iter().for_each(|item| collect(item, found)),
        _ => {}
    }
}

/// promtool has no check for one expression, but one for rules: JSON is YAML.
fn promtool_understands(expressions: &[&str]) -> Result<()> {
    let rules: Vec<Value> = expressions
        .iter()
        .enumerate()
        .map(|(place, expression)| {
            let plain = VARIABLES
                .iter()
                .fold((*expression).to_owned(), |text, (name, value)| {
                    text.replace(name, value)
                });
            serde_json::json!({"record": format!("panel:expression:{place}"), "expr": plain})
        })
        .collect();
    let file = tempfile::NamedTempFile::new().context("cannot make a temporary file")?;
    let groups = serde_json::json!({"groups": [{"name": "dashboard", "rules": rules}]});
    fs::write(&file, groups.to_string()).context("cannot write the temporary file")?;
    tool::quiet(
        tool::command("promtool")
            .args(["check", "rules"])
            .arg(file.path()),
    )
}
