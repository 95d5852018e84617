//! `diff`: reads two snapshots and tells what is different. Looks at nothing else.

use std::{
    fs::File,
    io::{self, BufWriter},
};

use anyhow::Result;

use crate::{
    cli::{Diff, DiffFormat},
    diff::{Named, compare},
    exit::Exit,
    identity::{VmIdentity, filter::VmFilter},
    message::{
        Snapshot, Vm, meaning,
        read::{self, BadSnapshot},
    },
    sink::{OutputError, diff_json, diff_text, terminal::Style},
};

const STDIN: &str = "-";
const STDIN_NAME: &str = "standard input";

/// Both snapshots are to come from the standard input.
#[derive(Debug, thiserror::Error)]
#[error("the standard input cannot be both snapshots")]
pub struct BothFromStdin;

/// Reads, compares, prints.
///
/// # Errors
/// [`BothFromStdin`], a [`BadSnapshot`], a filter that matches nothing, or an output that fails.
pub fn run(arguments: &Diff) -> Result<Exit> {
    if arguments.before == STDIN && arguments.after == STDIN {
        return Err(BothFromStdin.into());
    }
    let mut before = read(&arguments.before)?;
    let mut after = read(&arguments.after)?;
    let filter = VmFilter::new(arguments.vm.clone());
    let identities = |snapshot: &Snapshot| -> Vec<VmIdentity> {
        let vms = snapshot.vms.iter();
        vms.map(|vm| meaning::identity(&vm.vm)).collect()
    };
    let all = [identities(&before), identities(&after)].concat();
    filter.check(all.iter())?;
    let is_meant = |vm: &Vm| filter.matches(&meaning::identity(&vm.vm));
    before.vms.retain(is_meant);
    after.vms.retain(is_meant);

    let named = |source, snapshot| Named { source, snapshot };
    let diff = compare(
        named(name(&arguments.before), &before),
        named(name(&arguments.after), &after),
    );
    let mut out = BufWriter::new(io::stdout().lock());
    match arguments.format {
        DiffFormat::Text => diff_text::write(&mut out, &diff, Style::of_stdout()),
        DiffFormat::Json => diff_json::write(&mut out, &diff),
    }
    .map_err(OutputError)?;
    Ok(if diff.different && arguments.exit_code {
        Exit::Different
    } else {
        Exit::Done
    })
}

fn name(source: &str) -> &str {
    if source == STDIN { STDIN_NAME } else { source }
}

fn read(source: &str) -> Result<Snapshot, BadSnapshot> {
    if source == STDIN {
        return read::snapshot(STDIN_NAME, io::stdin().lock());
    }
    let file = File::open(source).map_err(|error| BadSnapshot::Unreadable {
        name: source.to_owned(),
        source: error,
    })?;
    read::snapshot(source, file)
}
