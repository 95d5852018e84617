//! `deliver --format json`: one document a VM, one line each.

use std::io::{self, Write};

use super::{convert, json};
use crate::{engine::deliveries::Deliveries, identity::VmIdentity};

/// Writes the documents.
///
/// # Errors
/// When `out` cannot be written.
pub fn write(out: &mut dyn Write, vms: &[(&VmIdentity, Deliveries)]) -> io::Result<()> {
    for (vm, deliveries) in vms {
        json::write_line(out, &convert::deliver(vm, deliveries))?;
    }
    out.flush()
}
