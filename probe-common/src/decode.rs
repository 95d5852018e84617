//! Bytes to checked records. A record that is short, long, of another version or of an unknown kind is an
//! error with its numbers, never a guess; kinds become an enum here, so that nothing past this point can
//! meet an integer without a meaning.

use thiserror::Error;

use crate::{
    ABI_VERSION,
    event::{Event, kind, route, valid},
    regs::{self, Registers},
};

/// Why a record could not be decoded.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
pub enum DecodeError {
    /// The record has the wrong length.
    #[error("a record of {got} bytes arrived where {want} were expected")]
    Length {
        /// Bytes expected.
        want: usize,
        /// Bytes received.
        got: usize,
    },
    /// The record is of another version: kernel side and userspace do not belong together.
    #[error("a record of version {got} arrived where version {want} was expected")]
    Abi {
        /// Version expected.
        want: u16,
        /// Version received.
        got: u16,
    },
    /// The kind is not known.
    #[error("a record of unknown kind {0} arrived")]
    Kind(u16),
    /// The route or register that a record names is not known.
    #[error("a record of kind {kind} names the unknown route or register {what:#x}")]
    What {
        /// The record's kind.
        kind: u16,
        /// The unknown number.
        what: u32,
    },
}

/// A checked event.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Decoded {
    /// `CLOCK_BOOTTIME` in nanoseconds.
    pub at: u64,
    /// Address of `struct kvm`.
    pub kvm: u64,
    /// Birth number, `None` where the kernel side did not know the VM.
    pub generation: Option<u64>,
    /// Completed recalculations of this VM, this one included.
    pub recalculations: u64,
    /// Thread id in the initial pid namespace.
    pub tid: u32,
    /// Thread-group id in the initial pid namespace.
    pub tgid: u32,
    /// Name of the thread, NUL-padded, any bytes.
    pub comm: [u8; 16],
    /// `vcpu->vcpu_id` of the vCPU it happened to, or that ran.
    pub vcpu_id: Option<u32>,
    /// The vCPU's registers.
    pub regs: Option<Registers>,
    /// What happened.
    pub kind: Kind,
}

/// What happened.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// A VM is being created.
    VmBorn,
    /// A VM ends.
    VmGone,
    /// A vCPU became visible.
    VcpuBorn,
    /// KVM published a new map.
    Recalculated {
        /// Nanoseconds from the entry of the recalculation, precise hooks only.
        spent_ns: Option<u64>,
    },
    /// IOAPIC pins or MSI routes changed.
    RoutesChanged,
    /// A route other than a guest's write was entered.
    Entered(EnteredRoute),
    /// A guest writes a register.
    Wrote {
        /// Which.
        register: WrittenRegister,
        /// Its value before, where the page still held it.
        old: Option<u64>,
        /// The value written.
        new: u64,
        /// Guest instruction pointer.
        guest_rip: Option<u64>,
    },
}

/// The routes of [`Kind::Entered`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum EnteredRoute {
    /// KVM_SET_LAPIC.
    SetLapic,
    /// Reset.
    Reset,
    /// INIT.
    Init,
    /// The APIC-base setter, with the value given.
    ApicBase {
        /// IA32_APIC_BASE as given.
        new: u64,
    },
}

/// The registers of [`Kind::Wrote`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum WrittenRegister {
    /// APIC ID.
    Id,
    /// LDR.
    Ldr,
    /// DFR.
    Dfr,
    /// SVR.
    Svr,
}

/// Decodes one record of the ring buffer.
///
/// # Errors
///
/// Where the bytes are not one whole, known record of this version.
pub fn event(bytes: &[u8]) -> Result<Decoded, DecodeError> {
    let want = size_of::<Event>();
    let raw: Event = bytemuck::try_pod_read_unaligned(bytes).map_err(|_| DecodeError::Length {
        want,
        got: bytes.len(),
    })?;
    if raw.abi != ABI_VERSION {
        return Err(DecodeError::Abi {
            want: ABI_VERSION,
            got: raw.abi,
        });
    }
    let has = |bit: u32| raw.valid & bit != 0;
    let unknown = DecodeError::What {
        kind: raw.kind,
        what: raw.what,
    };
    let kind = match raw.kind {
        kind::VM_BORN => Kind::VmBorn,
        kind::VM_GONE => Kind::VmGone,
        kind::VCPU_BORN => Kind::VcpuBorn,
        kind::RECALCULATED => Kind::Recalculated {
            spent_ns: has(valid::EXTRA).then_some(raw.extra),
        },
        kind::ROUTES_CHANGED => Kind::RoutesChanged,
        kind::ENTERED => Kind::Entered(match raw.what {
            route::SET_LAPIC => EnteredRoute::SetLapic,
            route::RESET => EnteredRoute::Reset,
            route::INIT => EnteredRoute::Init,
            route::APIC_BASE => EnteredRoute::ApicBase { new: raw.new },
            _ => return Err(unknown),
        }),
        kind::WROTE => Kind::Wrote {
            register: match raw.what {
                regs::APIC_ID => WrittenRegister::Id,
                regs::APIC_LDR => WrittenRegister::Ldr,
                regs::APIC_DFR => WrittenRegister::Dfr,
                regs::APIC_SVR => WrittenRegister::Svr,
                _ => return Err(unknown),
            },
            old: has(valid::OLD).then_some(raw.old),
            new: raw.new,
            guest_rip: has(valid::EXTRA).then_some(raw.extra),
        },
        other => return Err(DecodeError::Kind(other)),
    };
    Ok(Decoded {
        at: raw.at,
        kvm: raw.kvm,
        generation: (raw.generation != 0).then_some(raw.generation),
        recalculations: raw.recalculations,
        tid: raw.tid,
        tgid: raw.tgid,
        comm: raw.comm,
        vcpu_id: has(valid::VCPU).then_some(raw.vcpu_id),
        regs: has(valid::REGS).then_some(raw.regs),
        kind,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn bytes(event: &Event) -> Vec<u8> {
        bytemuck::bytes_of(event).to_vec()
    }

    fn recalculated() -> Event {
        Event {
            abi: ABI_VERSION,
            kind: kind::RECALCULATED,
            generation: 7,
            ..Event::ZERO
        }
    }

    #[test]
    fn a_short_record_names_both_lengths() {
        let short = &bytes(&recalculated())[..40];
        assert_eq!(event(short), Err(DecodeError::Length { want: 128, got: 40 }));
        assert_eq!(event(&[]), Err(DecodeError::Length { want: 128, got: 0 }));
    }

    #[test]
    fn a_long_record_is_refused() {
        let mut long = bytes(&recalculated());
        long.push(0);
        assert_eq!(event(&long), Err(DecodeError::Length { want: 128, got: 129 }));
    }

    #[test]
    fn a_zeroed_record_is_no_event() {
        assert_eq!(
            event(&[0; 128]),
            Err(DecodeError::Abi {
                want: ABI_VERSION,
                got: 0
            })
        );
    }

    #[test]
    fn a_record_of_another_version_is_refused() {
        let other = Event {
            abi: ABI_VERSION + 1,
            ..recalculated()
        };
        let want = DecodeError::Abi {
            want: ABI_VERSION,
            got: ABI_VERSION + 1,
        };
        assert_eq!(event(&bytes(&other)), Err(want));
    }

    #[test]
    fn an_unknown_kind_is_refused() {
        let other = Event {
            kind: 99,
            ..recalculated()
        };
        assert_eq!(event(&bytes(&other)), Err(DecodeError::Kind(99)));
    }

    #[test]
    fn an_unknown_route_or_register_is_refused() {
        for kind in [kind::ENTERED, kind::WROTE] {
            let other = Event {
                kind,
                what: 0x30,
                ..recalculated()
            };
            assert_eq!(event(&bytes(&other)), Err(DecodeError::What { kind, what: 0x30 }));
        }
    }

    #[test]
    fn absent_groups_are_none_and_not_zero() {
        let decoded = event(&bytes(&recalculated())).unwrap();
        assert_eq!(decoded.vcpu_id, None);
        assert_eq!(decoded.regs, None);
        assert_eq!(decoded.kind, Kind::Recalculated { spent_ns: None });
        let unknown_vm = event(&bytes(&Event {
            generation: 0,
            ..recalculated()
        }))
        .unwrap();
        assert_eq!(unknown_vm.generation, None);
    }

    #[test]
    fn each_valid_bit_unlocks_its_own_group() {
        let with = |valid: u32| {
            let raw = Event {
                kind: kind::WROTE,
                what: regs::APIC_LDR,
                valid,
                ..recalculated()
            };
            event(&bytes(&raw)).unwrap()
        };
        assert_eq!(with(valid::VCPU).vcpu_id, Some(0));
        assert_eq!(with(valid::VCPU).regs, None);
        assert_eq!(with(valid::REGS).regs, Some(Registers::ZERO));
        assert_eq!(with(valid::REGS).vcpu_id, None);
        let wrote = |old, guest_rip| Kind::Wrote {
            register: WrittenRegister::Ldr,
            old,
            new: 0,
            guest_rip,
        };
        assert_eq!(with(valid::OLD).kind, wrote(Some(0), None));
        assert_eq!(with(valid::EXTRA).kind, wrote(None, Some(0)));
    }
}
