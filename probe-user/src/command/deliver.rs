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
    engine::{
        deliveries::{Deliveries, Question, deliveries},
        view::VmView,
    },
    exit::Exit,
    identity::VmIdentity,
    sink::{OutputError, deliver_json, deliver_table, phrase, terminal::Style},
};

/// Why there is nothing to tell.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Untold {
    /// There are VMs, but none of which anything can be told; stderr has said why of each.
    #[error("of no VM can be told who gets its interrupts")]
    NoVm,
    /// KVM picks the vCPU that was picked least often so far (`kvm_apic_compare_prio`), a count that is not read.
    #[error(
        "whom KVM picks for an interrupt of lowest priority cannot be told: its parameter vector_hashing is off, or \
         cannot be read"
    )]
    LowestPriority,
}

impl Untold {
    /// The fixed word for scripts.
    #[must_use]
    pub const fn word(self) -> &'static str {
        match self {
            Self::NoVm => "unobservable",
            Self::LowestPriority => "vector-hashing",
        }
    }

    /// What to do about it.
    #[must_use]
    pub const fn remedy(self) -> &'static str {
        match self {
            Self::NoVm => {
                "try again if a VM was changing; a VM needs its local APICs in the kernel (QEMU: kernel-irqchip=on or \
                 split)"
            }
            Self::LowestPriority => {
                "ask without --lowest-priority, for those who may be picked, or load kvm with vector_hashing=1"
            }
        }
    }
}

/// Looks, prints, ends.
///
/// # Errors
/// An [`Obstacle`](crate::kernel::obstacle::Obstacle), a filter that matches nothing, [`Untold`], or an output that
/// fails.
pub fn run(arguments: &Deliver) -> Result<Exit> {
    let look = look(&arguments.place, &arguments.subject)?;
    let question = question(arguments);
    let view = look.view();
    // Of another KVM's parameters nothing is known: they are taken as they come.
    let hashed = view.as_kvm.is_some() || view.facts.vector_hashing == Some(true);
    if question.delivery_mode != DeliveryMode::Fixed && !hashed {
        return Err(Untold::LowestPriority.into());
    }
    let answers: Vec<(&VmIdentity, Deliveries)> = view
        .vms
        .iter()
        .filter_map(|view| Some((view.identity, answer(view, &question)?)))
        .collect();
    if answers.is_empty() && !view.vms.is_empty() {
        return Err(Untold::NoVm.into());
    }
    let mut out = BufWriter::new(io::stdout().lock());
    match arguments.format {
        DeliverFormat::Table => deliver_table::write(
            &mut out,
            &view,
            &question,
            &answers,
            look.wall,
            Style::of_stdout(),
        ),
        DeliverFormat::Json => deliver_json::write(&mut out, &answers),
    }
    .map_err(OutputError)?;
    Ok(Exit::Done)
}

fn question(arguments: &Deliver) -> Question {
    Question {
        destinations: arguments
            .dest
            .as_ref()
            .map_or_else(|| (0..=255).collect(), |dests| dests.0.clone()),
        destination_mode: if arguments.physical {
            DestinationMode::Physical
        } else {
            DestinationMode::Logical
        },
        delivery_mode: arguments.lowest_priority.map_or(DeliveryMode::Fixed, |vector| {
            DeliveryMode::LowestPriority { vector }
        }),
        only_bad: arguments.only_bad,
    }
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
    if question.destinations.last().is_some_and(|&last| last > 0xff) && !view.vm.x2apic_format() {
        log::warn!(
            "VM {name} has no 32-bit APIC IDs (its VMM did not ask for KVM_CAP_X2APIC_API): KVM takes the low 8 bits of \
             a destination"
        );
    }
    answer
}
