//! Figures as Markdown, and as one JSON document.

use std::{collections::BTreeMap, fmt::Write as _};

use serde_json::{Map, Value, json};

use super::cost::{Cost, Spread};

/// What the figures are of.
#[derive(Debug)]
pub(super) struct Head {
    pub(super) kernel: String,
    pub(super) commit: String,
    pub(super) command: String,
}

impl Head {
    /// The figures as they came, under this head.
    pub(super) fn with(&self, lines: &[Value]) -> Value {
        json!({"kernel": self.kernel, "commit": self.commit, "command": self.command, "figures": lines})
    }
}

/// All of it.
pub(super) fn text(head: &Head, costs: &[Cost], lines: &[Value]) -> String {
    let mut text = format!(
        "# Kernel {}\n\nCommit {}, by `{}`. What the columns mean is in [README.md](README.md).\n\n",
        head.kernel, head.commit, head.command
    );
    text.push_str("## What a guest pays\n\n");
    text.push_str(&cost_table(costs));
    for (measure, lines) in measures(lines) {
        let _ = write!(text, "\n## {measure}\n\n{}", plain_table(&lines));
    }
    text
}

fn cost_table(costs: &[Cost]) -> String {
    let mut observers: Vec<&String> = costs.iter().flat_map(|cost| cost.added.keys()).collect();
    observers.sort_unstable();
    observers.dedup();
    let mut head = vec!["path".to_owned(), "vCPUs".to_owned(), "bare".to_owned()];
    head.extend(observers.iter().map(|observer| (*observer).clone()));
    let rows = costs.iter().map(|cost| {
        let mut row = vec![cost.path.clone(), cost.vcpus.to_string(), bare(cost.bare)];
        row.extend(observers.iter().map(|observer| {
            let added = cost.added.get(*observer);
            added.map_or_else(String::new, |added| with_share(*added, cost.bare.median))
        }));
        row
    });
    table(&head, rows)
}

fn bare(spread: Spread) -> String {
    if spread.least == spread.most {
        spread.median.to_string()
    } else {
        format!("{} ({} to {})", spread.median, spread.least, spread.most)
    }
}

fn with_share(added: Spread, base: i64) -> String {
    let share = added.median as f64 * 100.0 / base.max(1) as f64;
    let spread = if added.least == added.most {
        String::new()
    } else {
        format!(" ({:+} to {:+})", added.least, added.most)
    };
    format!("{:+}{spread}, {share:.1}%", added.median)
}

/// Lines of the same measurement together, by its name.
fn measures(lines: &[Value]) -> BTreeMap<String, Vec<&Map<String, Value>>> {
    let mut measures: BTreeMap<String, Vec<_>> = BTreeMap::new();
    for line in lines.iter().filter_map(Value::as_object) {
        if let Some(measure) = line.get("measure").and_then(Value::as_str) {
            // Lines of one measurement with other fields are another table.
            let fields: Vec<&str> = line
                .keys()
                .map(String::as_str)
                .filter(|key| *key != "measure")
                .collect();
            let name = format!("{measure}: {}", fields.join(", ").replace('_', " "));
            measures.entry(name).or_default().push(line);
        }
    }
    measures
}

fn plain_table(lines: &[&Map<String, Value>]) -> String {
    let keys: Vec<&String> = lines
        .first()
        .into_iter()
        .flat_map(|line| line.keys())
        .filter(|key| *key != "measure")
        .collect();
    let head: Vec<String> = keys.iter().map(|key| key.replace('_', " ")).collect();
    let rows = lines
        .iter()
        .map(|line| keys.iter().map(|key| cell(line.get(*key))).collect());
    table(&head, rows)
}

fn cell(value: Option<&Value>) -> String {
    match value {
        Some(Value::String(text)) => text.clone(),
        Some(Value::Null) | None => "not known".to_owned(),
        Some(other) => other.to_string(),
    }
}

fn table(head: &[String], rows: impl Iterator<Item = Vec<String>>) -> String {
    let line = |cells: &[String]| format!("| {} |\n", cells.join(" | "));
    let mut text = line(head);
    text.push_str(&line(&vec!["---".to_owned(); head.len()]));
    for row in rows {
        text.push_str(&line(&row));
    }
    text
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::{Head, text};
    use crate::bench::cost;

    #[test]
    fn a_page_holds_costs_and_measurements() {
        let lines = [
            json!({"path":"eoi","vcpus":1,"observer":"none","median":3000}),
            json!({"path":"eoi","vcpus":1,"observer":"precise","median":3300}),
            json!({"measure":"startup","what":"whole","us":12}),
        ];
        let head = Head {
            kernel: "6.1".to_owned(),
            commit: "0123".to_owned(),
            command: "cargo xtask bench".to_owned(),
        };
        let page = text(&head, &cost::of(&lines), &lines);
        assert!(page.contains("| eoi | 1 | 3000 | +300, 10.0% |"), "{page}");
        assert!(page.contains("| 12 | whole |"), "{page}");
    }
}
