//! `reproduce`: makes a program of a snapshot, or of a moment of a recording.

use std::{
    fs::File,
    io::{self, BufWriter, Cursor, Read},
    path::Path,
};

use anyhow::Result;
use probe_apic::delivery::Destination;

use super::look::recorded;
use crate::{
    cli::Reproduce,
    exit::Exit,
    identity::{VmIdentity, filter::VmFilter},
    message::{
        Snapshot, meaning,
        read::{self, BadSnapshot},
    },
    reproduce::plan,
    sink::{OutputError, convert, reproducer},
};

/// A snapshot is one moment.
#[derive(Debug, thiserror::Error)]
#[error("`--at` names a moment, and a snapshot has only one")]
pub struct AtOfSnapshot;

/// Reads, plans, prints.
///
/// # Errors
/// What is wrong with the file, a filter that matches nothing,
/// [`Irreproducible`](crate::reproduce::Irreproducible), or an output that fails.
pub fn run(arguments: &Reproduce) -> Result<Exit> {
    let snapshot = snapshot(arguments)?;
    let dest = arguments.dest.map(|dest| match arguments.physical {
        true => Destination::physical(dest),
        false => Destination::logical(dest),
    });
    let reproduction = plan(&snapshot, dest)?;
    let mut out = BufWriter::new(io::stdout().lock());
    reproducer::write(&mut out, &reproduction).map_err(OutputError)?;
    Ok(Exit::Done)
}

/// The VMs that are meant, whatever the file is.
fn snapshot(arguments: &Reproduce) -> Result<Snapshot> {
    let (name, input) = open(&arguments.from)?;
    let (is_recording, input) = sniff(&name, input)?;
    let filter = VmFilter::new(arguments.vm.clone());
    if is_recording {
        let look = recorded::look_at(name.into(), input, arguments.at, filter, None)?;
        return Ok(convert::snapshot(&look.view(), look.wall));
    }
    if arguments.at.is_some() {
        return Err(AtOfSnapshot.into());
    }
    let mut snapshot = read::snapshot(&name, input)?;
    let identities: Vec<VmIdentity> = snapshot.vms.iter().map(|vm| meaning::identity(&vm.vm)).collect();
    filter.check(identities.iter())?;
    snapshot
        .vms
        .retain(|vm| filter.matches(&meaning::identity(&vm.vm)));
    Ok(snapshot)
}

fn open(path: &Path) -> Result<(String, Box<dyn Read>), BadSnapshot> {
    if path.as_os_str() == "-" {
        return Ok(("standard input".to_owned(), Box::new(io::stdin().lock())));
    }
    let name = path.display().to_string();
    match File::open(path) {
        Ok(file) => Ok((name, Box::new(file))),
        Err(source) => Err(BadSnapshot::Unreadable { name, source }),
    }
}

/// Whether it begins as a recording does, and all of it.
fn sniff(name: &str, mut input: Box<dyn Read>) -> Result<(bool, Box<dyn Read>), BadSnapshot> {
    let mut begin = Vec::new();
    let read = input
        .by_ref()
        .take(recording::MAGIC.len() as u64)
        .read_to_end(&mut begin);
    read.map_err(|source| BadSnapshot::Unreadable {
        name: name.to_owned(),
        source,
    })?;
    let is_recording = begin == recording::MAGIC;
    Ok((is_recording, Box::new(Cursor::new(begin).chain(input))))
}
