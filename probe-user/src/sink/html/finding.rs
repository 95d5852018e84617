//! A finding: its sentence, what it breaks, who did it, the registers behind it, and the way to its explanation.

use maud::{Markup, html};
use probe_apic::finding::Rule;

use super::{badge, class};
use crate::{
    escape::escape_line,
    explain,
    message::{Evidence, Finding, meaning},
    sink::phrase,
};

pub(super) fn card(id: &str, finding: &Finding) -> Markup {
    let slots: Vec<_> = finding.slots.iter().copied().map(meaning::slot).collect();
    let severity = meaning::severity(finding);
    let rule: Option<Rule> = finding.rule.parse().ok();
    html! {
        article.finding.(class(severity)) id=(id) data-rule=(escape_line(&finding.rule)) {
            h4 {
                (badge(severity, &finding.severity)) " "
                @match rule {
                    Some(rule) => a href={ "#rule-" (rule) } { (rule) },
                    None => (escape_line(&finding.rule)),
                }
                @if let Some(slots) = phrase::slots(&slots) { ", " (slots) }
                @if let Some(words) = phrase::told_reservation(finding) { span.quiet { " (" (words) ")" } }
            }
            p { (escape_line(&finding.summary)) "." }
            dl {
                dt { "Effect" } dd { (phrase::effect(&meaning::effect(&finding.effect))) }
                @if let Some(cause) = finding.cause.as_ref().and_then(meaning::cause) {
                    dt { "Cause" } dd { (phrase::cause(&cause)) }
                }
                @if let Some(rule) = rule { dt { "Means" } dd { (explain::gist(rule)) } }
            }
            p.quiet.fine {
                @if let Some(since) = &finding.since { "since " (escape_line(since)) ", " }
                "finding " code { (escape_line(&finding.id)) }
            }
            (evidence(&finding.evidence))
        }
    }
}

fn evidence(evidence: &[Evidence]) -> Markup {
    let table = html! {
        div.scroll tabindex="0" role="region" aria-label="Registers" {
            table {
                thead { tr { th { "vCPU" } th { "APIC ID" } th { "LDR" } th { "DFR" } th { "SVR" } th { "APIC base" } } }
                tbody {
                    @for one in evidence {
                        tr {
                            td { (one.vcpu_id) }
                            td { (one.apic_id) }
                            td.mono { (format!("{:#010x}", one.ldr)) }
                            td.mono { (format!("{:#010x}", one.dfr)) }
                            td.mono { (format!("{:#05x}", one.svr)) }
                            td.mono { (format!("{:#x}", one.apic_base)) }
                        }
                    }
                }
            }
        }
    };
    html! {
        @match evidence.len() {
            0 => {},
            1 => details { summary { "Registers of 1 vCPU" } (table) },
            many => details { summary { "Registers of " (many) " vCPUs" } (table) },
        }
    }
}
