//! `reproduce`: its arguments.

use std::path::PathBuf;

use clap::Args;

use super::{recording, value};
use crate::tape::Moment;

const EXAMPLES: &str = "\
Examples:
  sudo ldrscope snapshot --format json > host.json
  ldrscope reproduce --from host.json --vm web > reproduce.c
  ldrscope reproduce --from web.ldrrec --at 90s > reproduce.c
  cc -Wall -Wextra -o reproduce reproduce.c && sudo ./reproduce

The program needs <linux/kvm.h> and libc, and /dev/kvm. It looks at no VM but the one that it makes.";

const EXIT_CODES: &str = "\
Exit codes:
  0  the program was printed
  2  wrong usage, something that is neither snapshot nor recording, --vm names no VM or --vm is needed, or nothing breaks and
     --dest is needed
  3  the VM cannot be reproduced, or the file or the standard output fails; stderr says why";

/// `reproduce`.
#[derive(Debug, Args)]
#[command(after_help = EXIT_CODES, after_long_help = format!("{EXAMPLES}\n\n{EXIT_CODES}"))]
pub struct Reproduce {
    /// A snapshot, as `ldrscope snapshot --format json` or the daemon wrote it, or a recording; `-` for the standard input
    #[arg(long, value_name = "FILE|-")]
    pub from: PathBuf,

    /// Of a recording: as it was at this moment, RFC 3339 or a time since its beginning, such as 90s [default: its end]
    #[arg(long, value_name = "TIME", value_parser = recording::moment)]
    pub at: Option<Moment>,

    /// Reproduce the VM with this name, UUID or process id; needed where there are several
    #[arg(long, value_name = "NAME|UUID|PID")]
    pub vm: Option<String>,

    /// Send the interrupt to this destination, decimal or 0x... [default: the first that something aims at and that does not
    /// reach whom it should, else the first that does not]
    #[arg(long, value_name = "DEST", value_parser = value::destination)]
    pub dest: Option<u32>,

    /// It is a physical destination (an APIC ID) instead of a logical one
    #[arg(long, requires = "dest")]
    pub physical: bool,
}
