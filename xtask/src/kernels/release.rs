//! A kernel as Debian's archive offers it: which packages, which version, from where.

use std::fmt;

/// One kernel as the archive offers it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Release {
    /// The packages that hold kernel and modules.
    pub(crate) packages: Vec<String>,
    /// Debian's version of all of them.
    pub(crate) version: String,
    /// The suite it was found in.
    pub(crate) suite: String,
}

impl fmt::Display for Release {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            formatter,
            "{} {} from {}",
            self.packages.join(", "),
            self.version,
            self.suite
        )
    }
}
