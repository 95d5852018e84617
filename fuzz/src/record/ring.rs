//! A record of the ring: decoded whole or refused, and nothing in it that was not in the bytes.

use probe_common::{
    ABI_VERSION,
    decode::{self, DecodeError, Decoded, Kind},
    event::{Event, kind, route, valid},
    regs,
};

/// One record of every kind, each with everything that its kind may carry.
pub(super) fn seeds() -> Vec<Vec<u8>> {
    let records = (kind::VM_BORN..=kind::WROTE).map(|kind| Event {
        abi: ABI_VERSION,
        kind,
        valid: valid::VCPU | valid::REGS | valid::OLD | valid::EXTRA,
        generation: 1,
        what: if kind == kind::WROTE {
            regs::APIC_LDR
        } else {
            route::INIT
        },
        ..Event::ZERO
    });
    records.map(|event| bytemuck::bytes_of(&event).to_vec()).collect()
}

pub(super) fn show(bytes: &[u8]) -> String {
    format!("{:?}", decode::event(bytes))
}

pub(super) fn check(bytes: &[u8]) {
    let decoded = decode::event(bytes);
    let Ok(raw) = bytemuck::try_pod_read_unaligned::<Event>(bytes) else {
        let want = size_of::<Event>();
        assert_eq!(
            decoded,
            Err(DecodeError::Length {
                want,
                got: bytes.len()
            })
        );
        return;
    };
    match decoded {
        Ok(decoded) => assert_came_from(&decoded, &raw),
        Err(error) => {
            assert!(
                raw.abi != ABI_VERSION || !is_known(&raw),
                "refused without a reason: {error}"
            );
            assert!(!error.to_string().is_empty());
        }
    }
}

fn is_known(raw: &Event) -> bool {
    match raw.kind {
        kind::ENTERED => (route::SET_LAPIC..=route::APIC_BASE).contains(&raw.what),
        kind::WROTE => [regs::APIC_ID, regs::APIC_LDR, regs::APIC_DFR, regs::APIC_SVR].contains(&raw.what),
        kind => (kind::VM_BORN..=kind::ROUTES_CHANGED).contains(&kind),
    }
}

fn assert_came_from(decoded: &Decoded, raw: &Event) {
    assert!(raw.abi == ABI_VERSION && is_known(raw));
    assert_eq!(
        (decoded.at, decoded.kvm, decoded.recalculations),
        (raw.at, raw.kvm, raw.recalculations)
    );
    assert_eq!(
        (decoded.tid, decoded.tgid, decoded.comm),
        (raw.tid, raw.tgid, raw.comm)
    );
    assert_eq!(decoded.generation.unwrap_or(0), raw.generation);
    let has = |bit: u32| raw.valid & bit != 0;
    assert_eq!(decoded.vcpu_id, has(valid::VCPU).then_some(raw.vcpu_id));
    assert_eq!(decoded.regs, has(valid::REGS).then_some(raw.regs));
    match decoded.kind {
        Kind::Wrote {
            old, new, guest_rip, ..
        } => {
            assert_eq!((old, new), (has(valid::OLD).then_some(raw.old), raw.new));
            assert_eq!(guest_rip, has(valid::EXTRA).then_some(raw.extra));
        }
        Kind::Recalculated { spent_ns } => assert_eq!(spent_ns, has(valid::EXTRA).then_some(raw.extra)),
        Kind::VmBorn | Kind::VmGone | Kind::VcpuBorn | Kind::RoutesChanged | Kind::Entered(_) => {}
    }
}
