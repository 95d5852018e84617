//! The hidden verb that packagers use: manual pages and completions, made from the very definitions of the command line.

use clap::{Args, Subcommand};
use clap_complete::Shell;

/// `print`.
#[derive(Debug, Args)]
pub struct Print {
    /// What to print.
    #[command(subcommand)]
    pub what: What,
}

/// What `print` prints.
#[derive(Clone, Debug, PartialEq, Eq, Subcommand)]
pub enum What {
    /// Print the manual page of ldrscope, or of one of its verbs, as roff
    Man {
        /// A verb; see `print verbs`
        verb: Option<String>,
    },
    /// Print a shell's completions
    Completions {
        /// The shell
        shell: Shell,
    },
    /// Say whether these words are a command line of ldrscope's, and do nothing
    Parsed {
        /// Its arguments
        #[arg(trailing_var_arg = true, allow_hyphen_values = true, required = true)]
        words: Vec<String>,
    },
    /// Print the verbs that have a manual page, one a line
    Verbs,
}
