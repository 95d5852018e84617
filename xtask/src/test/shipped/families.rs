//! The list of metric families, which is all that alert rules and dashboard may speak of.

use std::collections::BTreeSet;

use anyhow::Result;

const LIST: &str = "packaging/prometheus/families.txt";

/// How the names of families begin that are ldrscope's own, or about its process.
const PREFIXES: [&str; 2] = ["ldrscope_", "process_"];

/// Every family's name.
pub(super) fn all() -> Result<BTreeSet<String>> {
    let text = super::read(LIST)?;
    let names = text
        .lines()
        .filter(|line| !line.starts_with('#'))
        .filter_map(|line| line.split(' ').next());
    Ok(names.map(str::to_owned).collect())
}

/// The families that an expression of PromQL speaks of.
pub(super) fn named_in(expression: &str) -> BTreeSet<String> {
    expression
        .split(|character: char| !(character.is_ascii_alphanumeric() || character == '_'))
        .filter(|word| PREFIXES.iter().any(|prefix| word.starts_with(prefix)))
        .map(str::to_owned)
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn families_are_told_from_labels_and_functions() {
        let named = named_in(r#"sum(rate(ldrscope_records_total{job="ldrscope"}[5m])) by (vm) > up"#);
        assert_eq!(named.into_iter().collect::<Vec<_>>(), ["ldrscope_records_total"]);
    }

    #[test]
    fn the_list_has_each_family_once_and_only_families() {
        let lines = crate::test::shipped::read(LIST).unwrap();
        let count = lines.lines().filter(|line| !line.starts_with('#')).count();
        let all = all().unwrap();
        assert_eq!(all.len(), count);
        for name in all {
            assert_eq!(named_in(&name).len(), 1, "{name}");
        }
    }
}
