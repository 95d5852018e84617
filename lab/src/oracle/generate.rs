//! Random states. Most are nearly well-formed, with a few oddities: in wild ones a first conflict hides what follows. What
//! a state may be made of is in `state`; nothing here knows what KVM does with it.

use std::collections::BTreeMap;

use lab_protocol::Seed;

use super::state::{State, Step};
use crate::guest::lapic::ApicMode::{self, Off, X2apic, Xapic};
use crate::guest::lapic::ApicReg::{self, Dfr, Id, Ldr, Svr};
use crate::guest::lapic::{DFR_CLUSTER, DFR_FLAT, cluster_id, ldr};
use crate::random::Random;

/// vCPU ids stay below this: the least that a kernel of the matrix allows (5.10's KVM_MAX_VCPU_ID is 1,023).
const VCPU_IDS: u32 = 1000;

/// The model that a guest's operating system would have chosen.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Flavour {
    Flat,
    Cluster,
    X2apic,
    Mixed,
}

/// The `number`-th state under `seed`.
pub(super) fn state(seed: Seed, number: u64) -> State {
    let mut random = Random::numbered(seed.0, number);
    let flavour = random.pick([
        Flavour::Flat,
        Flavour::Flat,
        Flavour::Flat,
        Flavour::Cluster,
        Flavour::Cluster,
        Flavour::Cluster,
        Flavour::X2apic,
        Flavour::X2apic,
        Flavour::Mixed,
    ]);
    let draft = Draft {
        flavour,
        oddity: random.pick([60, 25, 12, 4]),
        guest_code: random.one_in(10),
        wide_ids: random.one_in(4),
        modes: BTreeMap::new(),
        steps: Vec::new(),
        random,
    };
    draft.finish()
}

/// A state in the making.
struct Draft {
    random: Random,
    flavour: Flavour,
    /// One choice in so many is an odd one.
    oddity: u32,
    /// Whether some vCPUs are brought up by guest code.
    guest_code: bool,
    wide_ids: bool,
    /// The vCPUs created so far, and the modes they are in.
    modes: BTreeMap<u32, ApicMode>,
    steps: Vec<Step>,
}

impl Draft {
    fn finish(mut self) -> State {
        if self.wide_ids {
            self.steps.push(Step::WideIds);
        }
        if self.random.one_in(5) {
            self.steps.push(Step::NoBroadcastQuirk);
        }
        let ids = self.vcpu_ids();
        let late = if self.random.one_in(6) { 1 } else { 0 };
        let (early, late) = ids.split_at(ids.len() - late.min(ids.len() - 1));
        self.bring_up(early);
        for _ in 0..self.events() {
            let vcpu = early[self.random.below(early.len() as u32) as usize];
            self.event(vcpu);
        }
        for &vcpu in late {
            // Absent from the map until the next recalculation, which may never come.
            self.create(vcpu);
            if self.random.one_in(2) {
                self.configure(vcpu, ids.len() as u32 - 1);
            }
        }
        State(self.steps)
    }

    /// The ids of all vCPUs, in order of creation.
    fn vcpu_ids(&mut self) -> Vec<u32> {
        let random = &mut self.random;
        let count = match random.below(100) {
            0..8 => 1,
            8..82 => 2 + random.below(7),
            82..96 => 9 + random.below(8),
            _ => 17 + random.below(48),
        };
        let mut ids: Vec<u32> = match random.below(10) {
            0..7 => (0..count).collect(),
            // With gaps.
            7 => {
                let mut ids: Vec<u32> = (0..255).collect();
                random.shuffle(&mut ids);
                ids.truncate(count as usize);
                ids.sort_unstable();
                ids
            }
            // Beyond what an xAPIC ID holds: those that it cuts short to the same one, or any.
            8 => (0..count).map(|id| id / 2 + (id % 2) * 256).collect(),
            _ => {
                let mut ids: Vec<u32> = (0..VCPU_IDS).collect();
                random.shuffle(&mut ids);
                ids.truncate(count as usize);
                ids
            }
        };
        if random.one_in(3) {
            random.shuffle(&mut ids);
        }
        ids
    }

    fn bring_up(&mut self, ids: &[u32]) {
        let one_by_one = self.random.one_in(3);
        if one_by_one {
            for (index, &vcpu) in ids.iter().enumerate() {
                self.create(vcpu);
                self.configure(vcpu, index as u32);
            }
            return;
        }
        for &vcpu in ids {
            self.create(vcpu);
        }
        let mut order: Vec<(usize, u32)> = ids.iter().copied().enumerate().collect();
        if self.random.one_in(2) {
            self.random.shuffle(&mut order);
        }
        for (index, vcpu) in order {
            self.configure(vcpu, index as u32);
        }
    }

    fn create(&mut self, vcpu: u32) {
        self.modes.insert(vcpu, Xapic);
        self.steps.push(Step::Create(vcpu));
    }

    /// Brings the `index`-th vCPU up, more or less as its flavour would.
    fn configure(&mut self, vcpu: u32, index: u32) {
        if self.odd() && self.random.one_in(3) {
            return;
        }
        let by_guest = self.guest_code && self.random.one_in(3);
        let mut registers = self.registers(index);
        if self.random.one_in(2) {
            self.random.shuffle(&mut registers);
        }
        // Registers before the mode, after it, or some of each.
        let before = match self.random.below(4) {
            0 => registers.len(),
            1 => self.random.below(registers.len() as u32 + 1) as usize,
            _ => 0,
        };
        let (before, after) = registers.split_at(before);
        self.set_registers(vcpu, by_guest, before);
        for &mode in self.modes_to_go_through() {
            self.go_to(vcpu, by_guest, mode);
        }
        self.set_registers(vcpu, by_guest, after);
    }

    fn modes_to_go_through(&mut self) -> &'static [ApicMode] {
        let odd = self.odd();
        match (odd, self.flavour) {
            (true, _) => self.random.pick([
                &[Off][..],
                &[X2apic],
                &[],
                &[X2apic, Off],
                // Leaves the 32-bit LDR behind.
                &[X2apic, Off, Xapic],
                &[Off, Xapic],
            ]),
            (false, Flavour::X2apic) => &[X2apic],
            (false, Flavour::Mixed) => self.random.pick([&[][..], &[X2apic], &[X2apic, Off, Xapic]]),
            (false, Flavour::Flat | Flavour::Cluster) => &[],
        }
    }

    fn registers(&mut self, index: u32) -> Vec<(ApicReg, u32)> {
        let mut registers = vec![(Dfr, self.dfr()), (Ldr, self.ldr(index)), (Svr, self.svr())];
        if self.odd() {
            // What a restore or a guest may leave out.
            let gone = self.random.below(3) as usize;
            registers.remove(gone);
        }
        if self.odd() && self.random.one_in(2) {
            let any = self.random.below(256);
            let id = self.random.pick([index, index / 2, any]);
            registers.push((Id, id << 24));
        }
        registers
    }

    fn ldr(&mut self, index: u32) -> u32 {
        let orderly = match self.flavour {
            Flavour::Cluster => ldr(cluster_id(index)),
            Flavour::Mixed if self.random.one_in(3) => ldr(cluster_id(index)),
            _ => ldr(1 << (index % 8)),
        };
        if !self.odd() {
            return orderly;
        }
        let any = self.random.word();
        match self.random.below(8) {
            0 => 0,
            // As bigsmp wrote it.
            1 => index << 24,
            2 => ldr(any as u8),
            3 => ldr(1 << (any % 8)),
            4 => ldr(1 << (any % 8)) | orderly,
            // Bits that no xAPIC has; KVM_SET_LAPIC does not mask.
            5 => any & 0x00FF_FFFF,
            6 => 1,
            _ => any,
        }
    }

    fn dfr(&mut self) -> u32 {
        let usual = match self.flavour {
            Flavour::Cluster => DFR_CLUSTER,
            Flavour::Mixed if self.random.one_in(3) => DFR_CLUSTER,
            _ => DFR_FLAT,
        };
        if !self.odd() {
            return usual;
        }
        let any = self.random.word();
        self.random
            .pick([DFR_FLAT, DFR_CLUSTER, any | 0x0FFF_FFFF, 0, 0xF000_0000, any])
    }

    fn svr(&mut self) -> u32 {
        const SOFTWARE_ENABLE: u32 = 1 << 8;
        let enabled = !self.random.one_in(10) || !self.odd() && self.random.one_in(2);
        let vector = if self.odd() { self.random.below(256) } else { 0xFF };
        vector | if enabled { SOFTWARE_ENABLE } else { 0 }
    }

    /// How many things happen after all vCPUs are up.
    fn events(&mut self) -> u32 {
        match self.random.below(6) {
            0..4 => 0,
            4 => 1,
            _ => 2 + self.random.below(3),
        }
    }

    fn event(&mut self, vcpu: u32) {
        let by_guest = self.guest_code;
        match self.random.below(8) {
            0 => self.steps.push(Step::Init(vcpu)),
            1 => self.set_registers(vcpu, by_guest, &[(Svr, 0xFF)]),
            2 => self.set_registers(vcpu, by_guest, &[(Svr, 0xFF), (Svr, 0x1FF)]),
            3 => {
                let index = self.random.below(16);
                let value = self.ldr(index);
                self.set_registers(vcpu, by_guest, &[(Ldr, value)]);
            }
            4 => {
                let value = self.dfr();
                self.set_registers(vcpu, by_guest, &[(Dfr, value)]);
            }
            5 => {
                for mode in [X2apic, Off, Xapic] {
                    self.go_to(vcpu, by_guest, mode);
                }
                self.set_registers(vcpu, by_guest, &[(Svr, 0x1FF)]);
            }
            6 => {
                let mode = self.random.pick([Off, Xapic, X2apic]);
                self.go_to(vcpu, false, mode);
            }
            _ => self.set_registers(vcpu, false, &[(Svr, 0x1FF)]),
        }
    }

    fn set_registers(&mut self, vcpu: u32, by_guest: bool, registers: &[(ApicReg, u32)]) {
        let x2apic = self.modes.get(&vcpu) == Some(&X2apic);
        for &(reg, value) in registers {
            match (by_guest, x2apic, reg) {
                // KVM refuses any ID but the vCPU's own.
                (false, true, Id) if self.wide_ids => {}
                (false, ..) => self.steps.push(Step::Restore(vcpu, reg, value)),
                (true, false, _) => self.steps.push(Step::Write(vcpu, reg, value)),
                (true, true, Svr) => self.steps.push(Step::WriteMsr(vcpu, reg, value)),
                // The others are read-only in x2APIC mode, or do not exist: the guest would fault.
                (true, true, _) => {}
            }
        }
    }

    /// A guest may only go round: xAPIC, x2APIC, off (SDM vol. 3, "x2APIC State Transitions"); a VMM anywhere.
    fn go_to(&mut self, vcpu: u32, by_guest: bool, mode: ApicMode) {
        let from = self.modes.get(&vcpu).copied();
        if from == Some(mode) {
            return;
        }
        if (from, mode) == (Some(X2apic), Xapic) {
            // Straight on, KVM up to 6.2 does not recalculate the map, and what is rebuilt cannot be what KVM has.
            self.go_to(vcpu, by_guest, Off);
        }
        let from = self.modes.insert(vcpu, mode);
        let legal = matches!(
            (from, mode),
            (Some(Xapic), X2apic | Off) | (Some(X2apic), Off) | (Some(Off), Xapic)
        );
        self.steps.push(if by_guest && legal {
            Step::WriteMode(vcpu, mode)
        } else {
            Step::SetMode(vcpu, mode)
        });
    }

    fn odd(&mut self) -> bool {
        self.random.one_in(self.oddity)
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use lab_protocol::Seed;

    use super::{VCPU_IDS, state};
    use crate::oracle::state::Step;

    #[test]
    fn a_state_comes_back_by_its_seed_and_number() {
        assert_eq!(state(Seed(7), 3), state(Seed(7), 3));
        assert_ne!(state(Seed(7), 3), state(Seed(7), 4));
        assert_ne!(state(Seed(7), 3), state(Seed(8), 3));
    }

    #[test]
    fn states_are_of_every_kind() {
        let states: Vec<_> = (0..2000).map(|number| state(Seed(1), number)).collect();
        let sizes: BTreeSet<_> = states.iter().map(|state| state.vcpus().len()).collect();
        assert!(sizes.first() == Some(&1) && sizes.last() > Some(&40) && sizes.last() <= Some(&64));
        let kinds: BTreeSet<_> = states
            .iter()
            .flat_map(|state| &state.0)
            .map(|step| {
                format!("{step:?}")
                    .split('(')
                    .next()
                    .unwrap_or_default()
                    .to_owned()
            })
            .collect();
        assert_eq!(kinds.len(), 9, "{kinds:?}");
        let out_of_order = |ids: &[u32]| !ids.is_sorted();
        assert!(states.iter().any(|state| out_of_order(&state.vcpus())));
        assert!(
            states
                .iter()
                .flat_map(|state| state.vcpus())
                .any(|id| id > 255 && id < VCPU_IDS)
        );
    }

    #[test]
    fn steps_are_about_vcpus_that_exist_and_none_is_created_twice() {
        for state in (0..2000).map(|number| state(Seed(2), number)) {
            let mut there = BTreeSet::new();
            for step in &state.0 {
                match step {
                    Step::Create(id) => assert!(there.insert(*id), "{state}"),
                    other => assert!(other.vcpu().is_none_or(|id| there.contains(&id)), "{state}"),
                }
            }
        }
    }
}
