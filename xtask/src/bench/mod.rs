//! `cargo xtask bench`: what ldrscope costs guests and what it takes itself, counted in instructions in the lab, kernel by
//! kernel, as tables under `docs/performance`.
//!
//! What is measured and how is the lab crate's (`lab-case bench`, `lab-case measure`); here machines are booted for it, and the
//! lines that come back are put together: [`cost`] of them, [`table`] as text.

mod cost;
mod table;

use std::{
    fs,
    io::{self, Write},
    path::Path,
    process::ExitCode,
    sync::{Arc, Mutex},
};

use anyhow::{Context as _, Result, ensure};
use lab_protocol::Userland;
use serde_json::Value;

use crate::{
    build::{self, Binaries, Profile},
    commit,
    kernels::{self, Series},
    lab::{Channels, Host, Input, Session},
    paths, progress, setup, tool,
};

/// The oldest kernel that fentry programs may be attached to, and one each of what came after.
const KERNELS: [Series; 3] = [Series::V6_1, Series::V6_12, Series::V7_3];

/// What is measured beside the cost to guests, unless told otherwise.
const QUICK: [&str; 2] = ["programs", "startup"];

/// Room for a thousand VMs.
const MEMORY_MIB: u32 = 4096;

/// `cargo xtask bench`.
#[derive(Debug, clap::Args)]
pub(crate) struct Arguments {
    /// Kernel series, several with commas [default: 6.1,6.12,7.3]
    #[arg(long, value_name = "SERIES", value_delimiter = ',')]
    kernel: Vec<Series>,
    /// How often all of it: the spread shows how much to make of a figure
    #[arg(long, default_value_t = 2)]
    rounds: u32,
    /// What ldrscope itself takes: any of startup, scan, latency, memory, idle, event, programs; empty for none
    #[arg(long, value_name = "WHAT", value_delimiter = ',', num_args = 0.., default_values_t = QUICK.map(str::to_owned))]
    measure: Vec<String>,
    /// Boot with the binaries of the last build, without building
    #[arg(long)]
    no_build: bool,
    /// Print the tables alone, and leave those under docs/performance as they are
    #[arg(long)]
    dry: bool,
}

/// Boots the kernels one after the other and writes their tables.
pub(crate) fn run(arguments: &Arguments) -> Result<ExitCode> {
    setup::lab()?;
    let binaries = if arguments.no_build {
        Binaries::of_last_build(Profile::Release)?
    } else {
        build::build(Profile::Release)?
    };
    let series = if arguments.kernel.is_empty() {
        &KERNELS[..]
    } else {
        &arguments.kernel
    };
    for &series in series {
        bench(series, arguments, &binaries)?;
    }
    Ok(ExitCode::SUCCESS)
}

fn bench(series: Series, arguments: &Arguments, binaries: &Binaries) -> Result<()> {
    let kernel = kernels::ensure(series)?;
    let step = progress::step(
        "bench",
        format_args!("the lab, kernel {kernel}, to count instructions"),
    );
    let mut script = format!("lab-case bench --rounds {}", arguments.rounds);
    for what in arguments.measure.iter().filter(|what| !what.is_empty()) {
        script.push_str(&format!(" && lab-case measure {what}"));
    }
    let output = Arc::new(Mutex::new(Vec::new()));
    let session = Session {
        host: Host {
            counts_instructions: true,
            memory_mib: MEMORY_MIB,
            userland: userland(),
            ..Host::plain(series)
        },
        kernel: kernel.clone(),
        binaries: binaries.clone(),
        argv: ["sh", "-c", &script].map(str::to_owned).to_vec(),
        directory: "/".to_owned(),
        timeout: None,
    };
    let channels = Channels {
        output: Box::new(Collected(Arc::clone(&output))),
        ..Channels::to_standard_streams()
    };
    let status = session
        .run(Input::Empty, channels)
        .map_err(|error| anyhow::anyhow!("{error}"))?;
    ensure!(
        status == 0,
        "`{script}` ended with status {status} on kernel {series}"
    );
    step.done("counted");
    let output = output.lock().map(|lines| lines.clone()).unwrap_or_default();
    let lines: Vec<Value> = String::from_utf8_lossy(&output)
        .lines()
        .map(serde_json::from_str)
        .collect::<Result<_, _>>()
        .context("the lab's figures are no JSON")?;
    let head = table::Head {
        kernel: kernel.to_string(),
        commit: commit::current(),
        command: format!(
            "cargo xtask bench --kernel {series} --rounds {}",
            arguments.rounds
        ),
    };
    let text = table::text(&head, &cost::of(&lines), &lines);
    io::stdout().write_all(text.as_bytes())?;
    if arguments.dry {
        return Ok(());
    }
    let directory = paths::workspace().join("docs/performance");
    fs::create_dir_all(&directory)?;
    keep(&directory.join(format!("{series}.md")), text.as_bytes())?;
    let mut json = serde_json::to_vec_pretty(&head.with(&lines))?;
    json.push(b'\n');
    keep(&directory.join(format!("{series}.json")), &json)
}

/// That of this machine where it has a bpftrace to compare with, which needs its libraries.
fn userland() -> Userland {
    if tool::find("bpftrace").is_some() {
        Userland::Host
    } else {
        progress::note(
            "bench: there is no bpftrace on this machine to compare with; `apt-get install bpftrace`",
        );
        Userland::Tiny
    }
}

fn keep(path: &Path, bytes: &[u8]) -> Result<()> {
    fs::write(path, bytes).with_context(|| format!("cannot write {}", path.display()))?;
    progress::note(format_args!("written: {}", path.display()));
    Ok(())
}

/// The command's output, for later.
struct Collected(Arc<Mutex<Vec<u8>>>);

impl Write for Collected {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let mut collected = self.0.lock().map_err(|_| io::ErrorKind::BrokenPipe)?;
        collected.extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}
