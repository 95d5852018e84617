//! Events of the wire in the analysis' own terms: the only place that sees both.

use probe_apic::{
    cause::{Register, Route, Task},
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
        what,
        vcpu: event.vcpu_id.map(VcpuId),
        lapic: event.regs.as_ref().map(lapic),
        task: Task {
            tid: event.tid,
            tgid: event.tgid,
            comm: comm(event),
        },
    })
}

/// The thread's name as text; bytes that are no UTF-8 are replaced. Still hostile: sinks escape it.
pub(super) fn comm(event: &Decoded) -> String {
    let end = event
        .comm
        .iter()
        .position(|&byte| byte == 0)
        .unwrap_or(event.comm.len());
    String::from_utf8_lossy(&event.comm[..end]).into_owned()
}
