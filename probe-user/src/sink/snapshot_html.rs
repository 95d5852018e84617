//! `snapshot --format html`: the page of a host.

use std::io::{self, Write};

use probe_apic::delivery::{DeliveryMode, DestinationMode};

use super::{
    convert,
    html::{self, Page},
};
use crate::{
    clock::WallClock,
    engine::{
        deliveries::{Question, deliveries},
        view::HostView,
    },
};

/// Writes the page.
///
/// # Errors
/// When `out` cannot be written.
pub fn write(out: &mut dyn Write, host: &HostView<'_>, wall: WallClock) -> io::Result<()> {
    let question = Question {
        destinations: (0..=255).collect(),
        destination_mode: DestinationMode::Logical,
        delivery_mode: DeliveryMode::Fixed,
        only_bad: false,
    };
    let deliveries: Vec<_> = host
        .vms
        .iter()
        .map(|view| deliveries(view.vm, &question))
        .collect();
    let page = html::render(&Page {
        snapshot: &convert::snapshot(host, wall),
        deliveries: &deliveries,
        as_kvm: host.as_kvm,
    });
    out.write_all(page.as_bytes())?;
    out.write_all(b"\n")?;
    out.flush()
}
