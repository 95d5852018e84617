//! `deliver`: looks once and tells, destination by destination, who should get an interrupt and who does.

use std::io::{self, BufWriter};

use anyhow::Result;
use probe_apic::{
    delivery::{DeliveryMode, DestinationMode},
    finding::Confidence,
};

use super::look::look;
use crate::{
    cli::{Deliver, DeliverFormat},
    clock::{self, WallClock},
    engine::{
        deliveries::{Deliveries, Question, deliveries},
        view::VmView,
    },
    exit::Exit,
    identity::VmIdentity,
    sink::{OutputError, deliver_json, deliver_table, phrase, terminal::Style},
};

/// There are VMs, but none whose deliveries can be told; stderr has said why of each.
#[derive(Debug, thiserror::Error)]
#[error("of no VM can be told who gets its interrupts")]
pub struct NothingToShow;

/// Looks, prints, ends.
///
/// # Errors
/// An [`Obstacle`](crate::kernel::obstacle::Obstacle), a filter that matches nothing, [`NothingToShow`], or an output
/// that fails.
pub fn run(arguments: &Deliver) -> Result<Exit> {
    let engine = look(&arguments.observe, &arguments.subject)?;

    let question = Question {
        destinations: arguments
            .dest
            .as_ref()
            .map_or_else(|| (0..=255).collect(), |dests| dests.0.clone()),
        destination_mode: DestinationMode::Logical,
        delivery_mode: DeliveryMode::Fixed,
        only_bad: arguments.only_bad,
    };
    let view = engine.view(clock::now());
    let answers: Vec<(&VmIdentity, Deliveries)> = view
        .vms
        .iter()
        .filter_map(|view| Some((view.identity, answer(view, &question)?)))
        .collect();
    if answers.is_empty() && !view.vms.is_empty() {
        return Err(NothingToShow.into());
    }
    let mut out = BufWriter::new(io::stdout().lock());
    match arguments.format {
        DeliverFormat::Table => {
            let wall = WallClock::read();
            deliver_table::write(&mut out, &view, &answers, wall, Style::of_stdout())
        }
        DeliverFormat::Json => deliver_json::write(&mut out, &answers),
    }
    .map_err(OutputError)?;
    Ok(Exit::Done)
}

/// What can be told of a VM; what cannot, and what is not certain, is said on stderr.
fn answer(view: &VmView<'_>, question: &Question) -> Option<Deliveries> {
    let name = phrase::vm(view.identity);
    let confidence = view.vm.confidence();
    if confidence == Confidence::Unobservable {
        log::warn!("VM {name} is left out: its VMM emulates the local APICs itself, KVM has none to look at");
        return None;
    }
    let answer = deliveries(view.vm, question);
    if answer.is_none() {
        log::warn!(
            "VM {name} is left out: its registers changed while they were read, and no map rules are known"
        );
    } else if confidence == Confidence::Uncertain {
        log::warn!("VM {name} changed while it was read: what is shown of it may be out of date");
    }
    answer
}
