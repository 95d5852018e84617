//! The documented command lines that look at a host, run on one: a lab boot with two VMs in trouble, one of them called
//! as the documents call theirs.

use std::{
    fs::{self, File},
    path::Path,
    time::Duration,
};

use anyhow::{Context as _, Result, bail, ensure};
use lab_protocol::Userland;

use super::{Scratch, lines::Documented};
use crate::{
    build::Binaries,
    kernels::Kernel,
    lab::{Channels, Host, Input, Session},
    paths,
};

const SCRIPT: &str = include_str!("live.sh");
const SCRIPT_NAME: &str = "live.sh";

const LIMIT: Duration = Duration::from_secs(600);

/// Runs the lines on `kernel`.
pub(super) fn run(kernel: Kernel, binaries: &Binaries, lines: &[Documented]) -> Result<()> {
    let exchange = tempfile::tempdir().context("cannot make a temporary directory")?;
    prepare(&binaries.ldrscope, exchange.path(), lines)?;
    let directory = paths::target().join("lab");
    fs::create_dir_all(&directory).with_context(|| format!("cannot create {}", directory.display()))?;
    let path = directory.join("documented.log");
    let log = File::create(&path).with_context(|| format!("cannot create {}", path.display()))?;
    let session = Session {
        host: Host {
            userland: Userland::Host,
            exchange: Some(exchange.path().to_owned()),
            ..Host::plain(kernel.series())
        },
        kernel,
        binaries: binaries.clone(),
        argv: vec![
            "sh".to_owned(),
            format!("{}/{SCRIPT_NAME}", lab_protocol::order::EXCHANGE),
        ],
        directory: "/".to_owned(),
        timeout: Some(LIMIT),
    };
    let channels = Channels {
        output: Box::new(log.try_clone().context("cannot duplicate the log")?),
        error: Box::new(log),
        on_case: Box::new(|_| ()),
    };
    let status = session.run(Input::Empty, channels)?;
    let said = fs::read_to_string(&path).with_context(|| format!("cannot read {}", path.display()))?;
    let broken: Vec<_> = said.lines().filter(|line| line.starts_with("BROKEN")).collect();
    if status != 0 {
        bail!(
            "{} documented command lines do not end as they should, what they said is in {}:\n{}",
            broken.len(),
            path.display(),
            broken.join("\n")
        );
    }
    let begun = said.lines().filter(|line| line.starts_with("== ")).count();
    ensure!(
        begun == lines.len(),
        "of {} documented command lines {begun} were run",
        lines.len()
    );
    Ok(())
}

/// The script, its lines, and the files that they name.
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
    for (name, text) in [("lines", rows.as_str()), (SCRIPT_NAME, SCRIPT)] {
        fs::write(exchange.join(name), text).with_context(|| format!("cannot write {name}"))?;
    }
    Ok(())
}
