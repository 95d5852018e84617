//! `explain`: its arguments. A rule is a word of a closed list, so that clap names the nearest and shells complete it.

use clap::{
    Args, ValueEnum,
    builder::{PossibleValue, PossibleValuesParser, TypedValueParser},
};
use probe_apic::finding::Rule;

use crate::explain;

const EXAMPLES: &str = "\
Examples:
  ldrscope explain                                     all rules, one line each
  ldrscope explain ldr-collision                       one, with its story and what to do
  ldrscope explain ldr-collision --format markdown     the same, to paste into a ticket

It needs no privileges and looks at nothing: it runs on any machine.";

const EXIT_CODES: &str = "\
Exit codes:
  0  done
  2  there is no such rule
  3  the standard output cannot be written";

/// `explain`.
#[derive(Debug, Args)]
#[command(after_help = format!("{EXAMPLES}\n\n{EXIT_CODES}"))]
pub struct Explain {
    /// The rule, as it stands in a finding; without one all are listed
    #[arg(value_name = "RULE", value_parser = rule(), ignore_case = true)]
    pub rule: Option<Rule>,

    /// How to print
    #[arg(long, value_enum, default_value_t = ExplainFormat::Text)]
    pub format: ExplainFormat,
}

/// How `explain` prints.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum ExplainFormat {
    /// Paragraphs for people
    Text,
    /// Markdown
    Markdown,
}

fn rule() -> impl TypedValueParser<Value = Rule> {
    let words = Rule::ALL.map(|rule| PossibleValue::new(rule.name()).help(explain::gist(rule)));
    PossibleValuesParser::new(words).try_map(|word| word.to_ascii_lowercase().parse::<Rule>())
}
