//! Events of the wire in the analysis' own terms: the only place that sees both.

use probe_apic::{
    cause::{Register, Route, Task},
    comm::Comm,
    id::{BootTime, VcpuId, VmId},
    observation::{Touch, Touched},
};
use probe_common::decode::{Decoded, EnteredRoute, Kind, WrittenRegister};

use super::sample::lapic;

/// A map-relevant event as an observation; `None` for births, ends and mere changes of routes.
pub(super) fn touched(event: &Decoded, vm: VmId) -> Option<Touched> {
    let what = match event.kind {
        Kind::Recalculated { .. } => Touch::Recalculated,
        Kind::VcpuBorn => Touch::VcpuBorn,
        Kind::Entered(route) => Touch::Entered(match route {
            EnteredRoute::SetLapic => Route::SetLapic,
            EnteredRoute::Reset => Route::Reset,
            EnteredRoute::Init => Route::Init,
            EnteredRoute::ApicBase { .. } => Route::ApicBase,
        }),
        Kind::Wrote {
            register,
            old,
            new,
            guest_rip,
        } => {
            let register = match register {
                WrittenRegister::Id => Register::Id,
                WrittenRegister::Ldr => Register::Ldr,
                WrittenRegister::Dfr => Register::Dfr,
                WrittenRegister::Svr => Register::Svr,
            };
            Touch::Wrote {
                register,
                old,
                new,
                guest_rip,
            }
        }
        Kind::VmBorn | Kind::VmGone | Kind::RoutesChanged => return None,
    };
    Some(Touched {
        vm,
        at: BootTime(event.at),
        recalculations: event.recalculations,
        what,
        vcpu: event.vcpu_id.map(VcpuId),
        lapic: event.regs.as_ref().map(lapic),
        task: Task {
            tid: event.tid,
            tgid: event.tgid,
            comm: Comm::new(event.comm),
        },
    })
}

/// Logs what only the precise hooks see (`-v`): every single write, and the time KVM spent.
pub(super) fn log_detail(event: &Decoded) {
    if !log::log_enabled!(log::Level::Debug) {
        return;
    }
    let vcpu = event
        .vcpu_id
        .map_or_else(|| "a vCPU".to_owned(), |id| format!("vCPU {id}"));
    match event.kind {
        Kind::Wrote {
            register,
            old,
            new,
            guest_rip,
        } => {
            let old = old.map_or_else(|| "not known".to_owned(), |old| format!("{old:#010x}"));
            let rip = guest_rip.map_or_else(String::new, |rip| format!(", guest RIP {rip:#x}"));
            log::debug!(
                "process {}, {vcpu} writes {register:?}: {old} -> {new:#010x}{rip}",
                event.tgid
            );
        }
        Kind::Recalculated {
            spent_ns: Some(spent_ns),
        } => {
            log::debug!(
                "process {}, {vcpu} recalculated the map in {spent_ns} ns",
                event.tgid
            );
        }
        _ => {}
    }
}
