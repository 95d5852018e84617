//! The documented command lines that look at a host, run on one: a lab boot with two VMs in trouble, one of them called
//! as the documents call theirs.

use std::{fs, path::Path, time::Duration};

use anyhow::{Context as _, Result, ensure};
use lab_protocol::Userland;

use super::{Scratch, lines::Documented};
use crate::{build::Binaries, kernels::Kernel, test::shipped::script::Script};

/// What happens there.
const DOCUMENTED: Script = Script {
    name: "documented.sh",
    text: include_str!("documented.sh"),
    userland: Userland::Host,
    limit: Duration::from_secs(600),
};

/// Runs the lines on `kernel`.
pub(super) fn run(kernel: Kernel, binaries: &Binaries, lines: &[Documented]) -> Result<()> {
    let exchange = tempfile::tempdir().context("cannot make a temporary directory")?;
    prepare(&binaries.ldrscope, exchange.path(), lines)?;
    let said = DOCUMENTED.run(kernel, binaries, exchange.path())?;
    let begun = said.lines().filter(|line| line.starts_with("== ")).count();
    ensure!(
        begun == lines.len(),
        "of {} documented command lines {begun} were run",
        lines.len()
    );
    Ok(())
}

/// The lines, and the files that they name.
fn prepare(ldrscope: &Path, exchange: &Path, lines: &[Documented]) -> Result<()> {
    let files = exchange.join("files");
    fs::create_dir(&files).context("cannot make a directory")?;
    let scratch = Scratch::prepare(ldrscope)?;
    for entry in fs::read_dir(scratch.directory.path()).context("cannot list the scratch directory")? {
        let from = entry.context("cannot list the scratch directory")?.path();
        if from.is_file() {
            let name = from.file_name().context("a file without a name")?;
            fs::copy(&from, files.join(name)).with_context(|| format!("cannot copy {}", from.display()))?;
        }
    }
    let rows = lines
        .iter()
        .map(|line| format!("{}\t{}\n", line.place, line.whole))
        .collect::<String>();
    fs::write(exchange.join("lines"), rows).context("cannot write the lines")
}
