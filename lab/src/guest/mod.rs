//! A VMM of a few hundred lines, made for writing local APIC registers: real VMs whose vCPUs run real guest
//! code, stepped synchronously by the test that owns them. No firmware, no guest kernel, no devices beyond
//! KVM's own irqchip and PIT. What guests do is in `scenario` and `cases`; watching them is for ldrscope.

mod error;
mod irqchip;
pub mod lapic;
pub mod layout;
mod machine;
mod memory;
mod msi;
mod program;
mod routing;
mod timing;
mod vcpu;

pub use error::GuestError;
pub use irqchip::Irqchip;
pub use machine::Guest;
pub use msi::{Delivery, Msi};
pub use program::Op;
pub use routing::{MsiRoute, TIMER_PIN};
