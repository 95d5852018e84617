//! What each rule's finding means: its story, what each generation of KVM makes of it, what to do, and the commits that changed it.
//!
//! One text a rule, in Markdown, beside this file: the only source of what `explain`, the HTML page and `docs/findings.md` say. How it is
//! shown is left to [`crate::sink`].

use probe_apic::finding::Rule;

/// The parts of every text, in this order, as its headings of the second level.
pub const PARTS: [&str; 5] = [
    "The story",
    "What KVM makes of it",
    "On the guest",
    "On the host",
    "Commits",
];

/// What stands before the texts in `docs/findings.md`.
const PREFACE: &str = include_str!("explain/preface.md");

/// A rule's text: its name as the heading, one sentence, then [`PARTS`].
#[must_use]
pub const fn text(rule: Rule) -> &'static str {
    match rule {
        Rule::LdrMultiBit => include_str!("explain/ldr-multi-bit.md"),
        Rule::LdrCollision => include_str!("explain/ldr-collision.md"),
        Rule::LdrStale => include_str!("explain/ldr-stale.md"),
        Rule::LdrUnset => include_str!("explain/ldr-unset.md"),
        Rule::ModeMixed => include_str!("explain/mode-mixed.md"),
        Rule::DfrInvalid => include_str!("explain/dfr-invalid.md"),
        Rule::X2apicIdMismatch => include_str!("explain/x2apic-id-mismatch.md"),
        Rule::PhysicalAlias => include_str!("explain/physical-alias.md"),
        Rule::MapDisabled => include_str!("explain/map-disabled.md"),
        Rule::ApicvInhibited => include_str!("explain/apicv-inhibited.md"),
        Rule::MapDivergence => include_str!("explain/map-divergence.md"),
        Rule::InterruptLost => include_str!("explain/interrupt-lost.md"),
        Rule::InterruptMisrouted => include_str!("explain/interrupt-misrouted.md"),
    }
}

/// A rule in one sentence.
#[must_use]
pub fn gist(rule: Rule) -> &'static str {
    text(rule)
        .lines()
        .find(|line| !line.is_empty() && !line.starts_with('#'))
        .unwrap_or_default()
}

/// A rule's text without its heading and its sentence.
#[must_use]
pub fn body(rule: Rule) -> &'static str {
    let text = text(rule);
    text.find("\n## ").map_or("", |at| &text[at + 1..])
}

/// All texts as one page, `docs/findings.md`.
#[must_use]
pub fn book() -> String {
    let mut book = PREFACE.to_owned();
    for rule in Rule::ALL {
        book.push('\n');
        for line in text(rule).lines() {
            // One level down, under the page's own heading.
            if line.starts_with('#') {
                book.push('#');
            }
            book.push_str(line);
            book.push('\n');
        }
    }
    book
}

#[cfg(test)]
mod tests {
    use probe_apic::map_rules::MapRules;

    use super::*;

    #[test]
    fn every_text_has_its_name_one_sentence_and_all_parts_in_order() {
        for rule in Rule::ALL {
            let text = text(rule);
            assert!(
                text.starts_with(&format!("# {rule}\n\n{}\n\n## ", gist(rule))),
                "{rule}"
            );
            assert!(gist(rule).ends_with('.') && gist(rule).len() < 120, "{rule}");
            let headings: Vec<&str> = text.lines().filter_map(|line| line.strip_prefix("## ")).collect();
            assert_eq!(headings, PARTS, "{rule}");
            assert!(body(rule).starts_with("## The story\n"), "{rule}");
        }
    }

    #[test]
    fn every_text_tells_what_each_generation_makes_of_it() {
        for rule in Rule::ALL {
            for rules in MapRules::ALL {
                let bullet = format!("\n- **`{rules}` (");
                assert_eq!(text(rule).matches(&bullet).count(), 1, "{rule}: {rules}");
            }
        }
    }

    #[test]
    fn texts_name_no_rule_that_does_not_exist() {
        for rule in Rule::ALL {
            // A word of lower case with a hyphen, in code, is a rule or a set of map rules.
            let code = text(rule).split('`').skip(1).step_by(2);
            for word in code.filter(|word| word.contains('-') && !word.contains(' ')) {
                let known = word.parse::<Rule>().is_ok() || word.parse::<MapRules>().is_ok();
                assert!(known || word.starts_with("--"), "{rule}: {word}");
            }
        }
    }
}
