//! Copies of a VM in the window: whole ones, and such as a race or a damaged kernel would leave, put together and
//! taken to the analysis' own terms, and judged.
//!
//! An input is a healthy VM and patches on the bytes of its copies, so that a few bytes reach every field.

use std::{collections::HashSet, convert::Infallible, mem::offset_of};

use bytemuck::Zeroable as _;
use ldrscope::{
    bpf::window::{Adopt, Copies},
    kernel::{
        inhibits::InhibitTable,
        layout::{Encoding, MapModeKind},
    },
    observer::reading,
};
use probe_apic::{
    host::Host,
    id::{BootTime, VmId},
    observation::{Irqchip, Observation, VmSample},
    rules::judge,
};
use probe_common::{
    ABI_VERSION,
    regs::Registers,
    window::{PHYSICAL, ROUTES, Route, RouteCopy, Stamp, UNKNOWN, VCPUS, Vcpu, VmCopy},
};

/// More vCPUs than two copies hold, few enough to be judged quickly.
const MOST_VCPUS: usize = 2 * VCPUS + 2;
/// GSIs for each step of [`Input::gsis`], so that two copies may not hold them either.
const GSIS_A_STEP: u32 = 3;
/// What four attempts at the largest VM that a read believes take: 65,535 vCPUs and GSIs, 64 of either a copy.
const MOST_COPIES: usize = 4 * (1024 + 1024);

#[derive(Clone, Debug)]
struct Input {
    map_mode: MapModeKind,
    /// vCPUs of the healthy VM.
    vcpus: usize,
    /// GSIs of its routes.
    gsis: u32,
    patches: Vec<Patch>,
}

/// A word that a copy holds in place of the healthy one: eight bytes of an input.
#[derive(Clone, Debug)]
struct Patch {
    /// Which copy it begins with.
    from: usize,
    /// The damage comes and goes, or stays.
    once: bool,
    place: Place,
    word: u32,
}

/// Where, in words of four bytes: by what the word decides rather than by how many there are.
#[derive(Clone, Copy, Debug)]
enum Place {
    /// Stamps, counts and flags of a VM's copy, and its pins.
    Head {
        word: u8,
    },
    /// Its logical and physical map.
    Map {
        word: u16,
    },
    Vcpu {
        which: u8,
        word: u8,
    },
    /// Counts and flags of a copy of routes.
    RoutesHead {
        word: u8,
    },
    Route {
        which: u8,
        word: u8,
    },
}

impl Input {
    /// What these bytes mean; `None` where they are too few for a VM.
    fn of(bytes: &[u8]) -> Option<Self> {
        let (&[mode, vcpus, gsis], patches) = bytes.split_first_chunk::<3>()?;
        Some(Self {
            map_mode: if mode & 1 == 1 {
                MapModeKind::Enum
            } else {
                MapModeKind::Bits
            },
            vcpus: usize::from(vcpus) % MOST_VCPUS,
            gsis: u32::from(gsis) * GSIS_A_STEP,
            patches: patches.as_chunks().0.iter().map(Patch::of).collect(),
        })
    }
}

impl Patch {
    fn of(&[from, place, which, word, w0, w1, w2, w3]: &[u8; 8]) -> Self {
        Self {
            from: usize::from(from >> 1),
            once: from & 1 == 1,
            place: match place % 5 {
                0 => Place::Head { word },
                1 => Place::Map {
                    word: u16::from_le_bytes([word, which]),
                },
                2 => Place::Vcpu { which, word },
                3 => Place::RoutesHead { word },
                _ => Place::Route { which, word },
            },
            word: u32::from_le_bytes([w0, w1, w2, w3]),
        }
    }
}

/// Of which kind of copy a word is, and at which byte.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Byte {
    OfVm(usize),
    OfRoutes(usize),
}

impl Place {
    fn byte(self) -> Byte {
        let nth = |start: usize, bytes: usize, word: usize| start + word * 4 % bytes;
        let (map, vcpus) = (offset_of!(VmCopy, slots), offset_of!(VmCopy, vcpus));
        let routes = offset_of!(RouteCopy, routes);
        match self {
            Self::Head { word } => Byte::OfVm(nth(0, map, word.into())),
            Self::Map { word } => Byte::OfVm(nth(map, vcpus - map, word.into())),
            Self::Vcpu { which, word } => {
                let vcpu = usize::from(which) % VCPUS * size_of::<Vcpu>();
                Byte::OfVm(nth(vcpus + vcpu, size_of::<Vcpu>(), word.into()))
            }
            Self::RoutesHead { word } => Byte::OfRoutes(nth(0, routes, word.into())),
            Self::Route { which, word } => {
                let route = usize::from(which) % ROUTES * size_of::<Route>();
                Byte::OfRoutes(nth(routes + route, size_of::<Route>(), word.into()))
            }
        }
    }
}

/// The healthy VM's copies, patched.
struct Patched<'a> {
    input: &'a Input,
    made: usize,
}

/// The address of the VM, and of what belongs to it.
const KVM: u64 = 0xffff_8000_0000_0000;
const GENERATION: u64 = 7;

fn lapic_of(index: usize) -> u64 {
    KVM + 0x2_0000 + index as u64 * 0x100
}

impl Patched<'_> {
    fn stamp(&self) -> Stamp {
        Stamp {
            generation: GENERATION,
            apic_map: KVM + 0x1_0000,
            recalculations: 3,
            dirty: 0,
            online_vcpus: self.input.vcpus as u32,
            linked: 1,
            mapped_vcpus: UNKNOWN,
        }
    }

    fn vcpu(index: usize) -> Vcpu {
        let address = KVM + 0x10_0000 + index as u64 * 0x1000;
        Vcpu {
            vcpu: address,
            lapic: lapic_of(index),
            lapic_vcpu: address,
            vcpu_id: index as u32,
            vcpu_idx: index as u32,
            regs: Registers {
                apic_base: 0xfee0_0800,
                id: (index as u32) << 24,
                ldr: 0x0100_0000 << (index % 8),
                dfr: u32::MAX,
                svr: 0x1ff,
                sw_enabled: 1,
                reserved: 0,
            },
            ..Vcpu::zeroed()
        }
    }

    fn patch<T: bytemuck::Pod>(&mut self, copy: &mut T, kind: fn(usize) -> Byte) {
        let number = self.made;
        self.made += 1;
        assert!(self.made <= MOST_COPIES, "a read does not end");
        let bytes = bytemuck::bytes_of_mut(copy);
        for patch in &self.input.patches {
            let applies = number == patch.from || !patch.once && number > patch.from;
            let (Byte::OfVm(at) | Byte::OfRoutes(at)) = patch.place.byte();
            if applies && patch.place.byte() == kind(at) {
                bytes[at..at + 4].copy_from_slice(&patch.word.to_le_bytes());
            }
        }
    }
}

impl Copies for Patched<'_> {
    type Error = Infallible;

    fn vm(
        &mut self,
        kvm: u64,
        first_vcpu: u32,
        first_physical: u32,
        _: Adopt,
    ) -> Result<Box<VmCopy>, Infallible> {
        assert_eq!(kvm, KVM);
        assert_eq!(first_vcpu as usize % VCPUS, 0);
        let mut copy = Box::new(VmCopy {
            abi: ABI_VERSION,
            made: 1,
            irqchip_mode: 1,
            before: self.stamp(),
            after: self.stamp(),
            map_mode: match self.input.map_mode {
                MapModeKind::Bits => 8,
                MapModeKind::Enum => 2,
            },
            max_apic_id: 255,
            first_vcpu,
            first_physical,
            has_pins: 1,
            ..VmCopy::zeroed()
        });
        for (place, index) in (first_vcpu as usize..self.input.vcpus).take(VCPUS).enumerate() {
            copy.vcpus[place] = Self::vcpu(index);
        }
        for (place, index) in (first_physical as usize..self.input.vcpus)
            .take(PHYSICAL)
            .enumerate()
        {
            copy.physical[place] = lapic_of(index);
        }
        for (bit, slot) in copy.slots.iter_mut().enumerate().take(self.input.vcpus.min(8)) {
            *slot = lapic_of(bit);
        }
        self.patch(&mut *copy, Byte::OfVm);
        Ok(copy)
    }

    fn routes(&mut self, kvm: u64, first_gsi: u32) -> Result<Box<RouteCopy>, Infallible> {
        assert_eq!(kvm, KVM);
        let mut copy = Box::new(RouteCopy {
            abi: ABI_VERSION,
            made: 1,
            gsis: self.input.gsis,
            first: first_gsi,
            generation: GENERATION,
            table: KVM + 0x3_0000,
            ..RouteCopy::zeroed()
        });
        for (place, gsi) in (first_gsi..self.input.gsis).take(ROUTES).enumerate() {
            copy.routes[place] = Route {
                node: KVM + 0x4_0000 + u64::from(gsi),
                gsi,
                kind: 2,
                address_lo: 0xfee0_1004,
                address_hi: 0,
                data: 0x30,
                failed: 0,
            };
        }
        self.patch(&mut *copy, Byte::OfRoutes);
        Ok(copy)
    }
}

/// The healthy VM needs no more than its first bytes; patches come by mutation.
pub(super) fn seeds() -> Vec<Vec<u8>> {
    [1_u8, 8, 64, 65, 129]
        .map(|vcpus| vec![vcpus & 1, vcpus, vcpus])
        .to_vec()
}

pub(super) fn show(bytes: &[u8]) -> String {
    Input::of(bytes).map_or_else(|| "too few bytes".to_owned(), |input| format!("{input:#?}"))
}

fn read(input: &Input) -> Option<VmSample> {
    let mut copies = Patched { input, made: 0 };
    let Ok(reading) = reading::read(&mut copies, KVM, GENERATION);
    let encoding = Encoding {
        map_mode: input.map_mode,
        inhibits: InhibitTable::default(),
        tells_owner: true,
    };
    reading.map(|reading| reading.into_sample(BootTime(2), BootTime(1), &encoding))
}

pub(super) fn check(bytes: &[u8]) {
    let Some(input) = Input::of(bytes) else { return };
    let sample = read(&input);
    if input.patches.is_empty() {
        let sample = sample.as_ref().expect("a healthy VM is read");
        assert!(sample.consistent, "a healthy VM is read whole");
        assert_eq!(sample.vcpus.len(), input.vcpus);
        let physical = sample.published.as_ref().map(|map| map.physical.len());
        assert_eq!(physical, Some(sample.vcpus.len()));
    }
    let Some(sample) = sample else { return };
    assert_eq!(sample.vm, VmId(GENERATION));
    if sample.consistent && sample.irqchip != Irqchip::Userspace {
        check_published(&sample);
    }
    let mut host = Host::new(input.map_mode.possible_rules().iter().copied());
    host.apply(&Observation::Sample(sample));
    for vm in host.vms() {
        let _ = judge(vm);
    }
}

/// KVM's map, where it was read together with the vCPUs, leads to those vCPUs.
fn check_published(sample: &VmSample) {
    let known: HashSet<_> = sample.vcpus.iter().map(|vcpu| vcpu.idx).collect();
    let Some(map) = &sample.published else { return };
    assert!(map.slots.is_sorted_by(|one, next| one.0 < next.0));
    assert!(map.physical.is_sorted_by(|one, next| one.0 < next.0));
    let owners = map
        .slots
        .iter()
        .map(|entry| entry.1)
        .chain(map.physical.iter().map(|entry| entry.1));
    for idx in owners {
        assert!(
            known.contains(&idx),
            "the map leads to {idx:?}, which is not there"
        );
    }
}
