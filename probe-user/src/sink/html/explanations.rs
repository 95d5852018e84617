//! What the findings on the page mean: the texts of `explain`, each once.

use std::collections::BTreeSet;

use maud::{Markup, PreEscaped, html};
use probe_apic::finding::Rule;
use pulldown_cmark::{Event, HeadingLevel, Parser, Tag, TagEnd, html::push_html};

use crate::{explain, message::Snapshot};

pub(super) fn section(snapshot: &Snapshot) -> Markup {
    let findings = snapshot.vms.iter().flat_map(|vm| &vm.findings);
    let rules: BTreeSet<Rule> = findings.filter_map(|finding| finding.rule.parse().ok()).collect();
    html! {
        @if !rules.is_empty() {
            section.vm #meaning {
                h2 { "What the findings mean" }
                @for rule in rules {
                    article.rule id={ "rule-" (rule) } {
                        h4 { (rule) }
                        p { (explain::gist(rule)) }
                        (body(rule))
                    }
                }
            }
        }
    }
}

/// The text's parts, their headings below that of the rule.
fn body(rule: Rule) -> Markup {
    let events = Parser::new(explain::body(rule)).map(|event| match event {
        Event::Start(Tag::Heading {
            id, classes, attrs, ..
        }) => Event::Start(Tag::Heading {
            level: HeadingLevel::H5,
            id,
            classes,
            attrs,
        }),
        Event::End(TagEnd::Heading(_)) => Event::End(TagEnd::Heading(HeadingLevel::H5)),
        other => other,
    });
    let mut markup = String::new();
    push_html(&mut markup, events);
    PreEscaped(markup)
}
