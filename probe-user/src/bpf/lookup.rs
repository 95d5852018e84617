//! Where KVM's functions and variables are, asked of the kernel by their names.
//!
//! `/proc/kallsyms` has the kernel print two hundred thousand symbols to find a dozen, which is a third of a start. The helper
//! `bpf_kallsyms_lookup_name` (5.16 on) finds one at once, for a program that is run on demand: one is written here for the
//! names that are wanted, run once and let go of.

use std::{io, os::fd::AsFd as _};

use super::syscall;
use crate::kernel::{
    hook::{HOOKS, Set},
    obstacle::Obstacle,
    support::{KernelSupport, Kvm},
    symbols::{Symbol, Symbols, VARIABLES},
};

/// The module that KVM's own are looked up in.
const MODULE: &str = "kvm";

/// The symbols of KVM: asked for one by one where the kernel finds one by its name at once, which also works where
/// `/proc/kallsyms` is out of sight; else from the list of all.
///
/// # Errors
///
/// Those of [`Symbols::read`].
pub fn symbols(support: &KernelSupport) -> Result<Symbols, Obstacle> {
    /// Kernels whose symbols are also sorted by name (commit 60443c88f3a8). Before, each look-up goes through half of them.
    const SORTED_BY_NAME: (u32, u32) = (6, 2);
    let quick = support.kvm == Kvm::Module && support.version() >= Some(SORTED_BY_NAME);
    match quick.then(by_name).flatten() {
        Some(symbols) => Ok(symbols),
        None => Symbols::read(),
    }
}

/// The symbols of a KVM that is a module. `None` where the kernel cannot be asked, hides its addresses, or lacks anything: what
/// that amounts to the list of all symbols tells.
fn by_name() -> Option<Symbols> {
    let functions = HOOKS.iter().flat_map(|hook| hook.functions);
    let wanted: Vec<Wanted> = functions
        .map(|&name| Wanted::of_module(name, true))
        .chain(VARIABLES.of_kvm.map(|name| Wanted::of_module(name, false)))
        .chain(VARIABLES.of_kernel.map(Wanted::of_kernel))
        .collect();
    let addresses = look_up(&wanted)
        .inspect_err(|error| log::debug!("the kernel does not look symbols up: {error}"))
        .ok()?;
    let found = wanted.iter().zip(addresses).filter(|(_, address)| *address != 0);
    let symbols: Symbols = found.map(|(wanted, address)| wanted.found_at(address)).collect();
    let needed = HOOKS.iter().filter(|hook| hook.set != Set::Interrupts);
    let is_whole = needed
        .map(|hook| hook.sites(&symbols))
        .all(|sites| !sites.is_empty())
        && VARIABLES.all().all(|name| symbols.variable(name).is_some());
    is_whole.then_some(symbols)
}

/// A name to look up.
struct Wanted {
    name: &'static str,
    is_function: bool,
    module: Option<&'static str>,
}

impl Wanted {
    const fn of_module(name: &'static str, is_function: bool) -> Self {
        Self {
            name,
            is_function,
            module: Some(MODULE),
        }
    }

    const fn of_kernel(name: &'static str) -> Self {
        Self {
            name,
            is_function: false,
            module: None,
        }
    }

    /// As `module_kallsyms_lookup_name` (kernel/module/kallsyms.c) reads it.
    fn qualified(&self) -> String {
        match self.module {
            Some(module) => format!("{module}:{}", self.name),
            None => self.name.to_owned(),
        }
    }

    fn found_at(&self, address: u64) -> (String, Symbol) {
        let symbol = Symbol {
            address,
            is_function: self.is_function,
            module: self.module.map(str::to_owned),
        };
        (self.name.to_owned(), symbol)
    }
}

/// The address of each; 0 where there is none of that name.
fn look_up(wanted: &[Wanted]) -> io::Result<Vec<u64>> {
    let names: Vec<String> = wanted.iter().map(Wanted::qualified).collect();
    let program = syscall::load_on_demand(&program(&names))?;
    let mut addresses = vec![0; names.len()];
    syscall::run_on_demand(program.as_fd(), &mut addresses)?;
    Ok(addresses)
}

/// Registers (Documentation/bpf/standardization/instruction-set.rst).
mod register {
    pub(super) const RESULT: u8 = 0;
    pub(super) const ARGUMENTS: [u8; 4] = [1, 2, 3, 4];
    /// Kept over calls.
    pub(super) const CONTEXT: u8 = 6;
    pub(super) const FRAME: u8 = 10;
}

/// A program that looks each name up and puts its address into the context's word of that number.
fn program(names: &[String]) -> Vec<u64> {
    use register::{ARGUMENTS, CONTEXT, FRAME, RESULT};
    /// The helper's number (include/uapi/linux/bpf.h).
    const KALLSYMS_LOOKUP_NAME: i32 = 179;
    /// Where in the frame the helper puts an address, and below it the name.
    const ADDRESS: i16 = -8;
    let [name_at, length, flags, address_at] = ARGUMENTS;
    let mut code = vec![copy(CONTEXT, ARGUMENTS[0])];
    for (name, word) in names.iter().zip(0_i16..) {
        let mut bytes = [name.as_bytes(), b"\0"].concat();
        let with_end = bytes.len() as i32;
        bytes.resize(bytes.len().next_multiple_of(8), 0);
        let start = ADDRESS - bytes.len() as i16;
        for (part, at) in bytes.as_chunks().0.iter().zip((start..).step_by(8)) {
            code.extend(set_wide(length, u64::from_le_bytes(*part)));
            code.push(store(FRAME, at, length));
        }
        code.extend([
            set(flags, 0),
            store(FRAME, ADDRESS, flags),
            copy(name_at, FRAME),
            add(name_at, start),
            set(length, with_end),
            copy(address_at, FRAME),
            add(address_at, ADDRESS),
            call(KALLSYMS_LOOKUP_NAME),
            // Zero where the name is unknown.
            load(RESULT, FRAME, ADDRESS),
            store(CONTEXT, word * 8, RESULT),
        ]);
    }
    code.extend([set(RESULT, 0), EXIT]);
    code
}

const EXIT: u64 = instruction(0x95, 0, 0, 0, 0);

/// `struct bpf_insn`.
const fn instruction(code: u8, to: u8, from: u8, offset: i16, value: i32) -> u64 {
    code as u64
        | (to as u64 | (from as u64) << 4) << 8
        | (offset.cast_unsigned() as u64) << 16
        | (value.cast_unsigned() as u64) << 32
}

const fn set(to: u8, value: i32) -> u64 {
    instruction(0xb7, to, 0, 0, value)
}

/// The one instruction that takes two places.
fn set_wide(to: u8, value: u64) -> [u64; 2] {
    let half = |bits: u64| (bits as u32).cast_signed();
    [
        instruction(0x18, to, 0, 0, half(value)),
        instruction(0, 0, 0, 0, half(value >> 32)),
    ]
}

const fn copy(to: u8, from: u8) -> u64 {
    instruction(0xbf, to, from, 0, 0)
}

const fn add(to: u8, value: i16) -> u64 {
    instruction(0x07, to, 0, 0, value as i32)
}

const fn load(to: u8, base: u8, offset: i16) -> u64 {
    instruction(0x79, to, base, offset, 0)
}

const fn store(base: u8, offset: i16, from: u8) -> u64 {
    instruction(0x7b, base, from, offset, 0)
}

const fn call(helper: i32) -> u64 {
    instruction(0x85, 0, 0, 0, helper)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What the kernel's own assembler macros make of the same (include/linux/filter.h).
    #[test]
    fn instructions_are_as_the_kernel_encodes_them() {
        assert_eq!(set(7, -1), 0xffff_ffff_0000_07b7);
        assert_eq!(copy(6, 1), 0x16bf);
        assert_eq!(add(1, -16), 0xffff_fff0_0000_0107);
        assert_eq!(load(0, 10, -8), 0xfff8_a079);
        assert_eq!(store(10, -8, 3), 0xfff8_3a7b);
        assert_eq!(call(179), 0xb3_0000_0085);
        assert_eq!(EXIT, 0x95);
        assert_eq!(
            set_wide(2, 0x1122_3344_5566_7788),
            [0x5566_7788_0000_0218, 0x1122_3344_0000_0000]
        );
    }

    #[test]
    fn names_fit_the_frame_and_answers_the_context() {
        const FRAME_BYTES: usize = 512;
        let functions = HOOKS.iter().flat_map(|hook| hook.functions);
        let longest = functions.map(|name| name.len()).max().unwrap();
        assert!(MODULE.len() + 1 + longest + 1 + 8 + 8 <= FRAME_BYTES);
        let one = program(&["kvm:vm_list".to_owned()]);
        let stores = |code: &u64| code & 0xff == 0x7b;
        // Two parts of the name, the place for the address, the answer.
        assert_eq!(one.iter().filter(|code| stores(code)).count(), 4);
    }
}
