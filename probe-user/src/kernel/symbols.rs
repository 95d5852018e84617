//! Functions and variables of the running kernel, from `/proc/kallsyms`.
//!
//! Only names that ldrscope may use are kept. Addresses are zero where the kernel hides them
//! (`kptr_restrict`, missing capability): then nothing can be read, which is said and not guessed.

use std::{
    collections::BTreeMap,
    fs::File,
    io::{self, Read},
};

use memchr::{memchr, memmem::Finder, memrchr};
use probe_common::layout::Layout;

use super::obstacle::Obstacle;

/// One symbol as kallsyms prints it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Symbol {
    /// Its address; 0 where the kernel hides it.
    pub address: u64,
    /// Whether it is code.
    pub is_function: bool,
    /// The module it belongs to; `None` for the kernel itself.
    pub module: Option<String>,
}

/// The symbols of KVM and of what hangs together with it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Symbols(BTreeMap<String, Vec<Symbol>>);

impl FromIterator<(String, Symbol)> for Symbols {
    fn from_iter<I: IntoIterator<Item = (String, Symbol)>>(found: I) -> Self {
        let mut symbols = Self::default();
        for (name, symbol) in found {
            symbols.0.entry(name).or_default().push(symbol);
        }
        symbols
    }
}

const VM_LIST: &str = "vm_list";
const RUNNING_VCPU: &str = "kvm_running_vcpu";
const PER_CPU_BASES: &str = "__per_cpu_offset";

/// The variables that the kernel side reads.
pub struct Variables {
    /// KVM's.
    pub of_kvm: [&'static str; 2],
    /// The kernel's own.
    pub of_kernel: [&'static str; 1],
}

/// All of them.
pub const VARIABLES: Variables = Variables {
    of_kvm: [VM_LIST, RUNNING_VCPU],
    of_kernel: [PER_CPU_BASES],
};

impl Variables {
    /// Their names.
    pub fn all(&self) -> impl Iterator<Item = &'static str> {
        self.of_kvm.into_iter().chain(self.of_kernel)
    }
}

/// Name of the file that lists the kernel's symbols.
pub const KALLSYMS: &str = "/proc/kallsyms";

impl Symbols {
    /// Reads the running kernel's symbols.
    ///
    /// # Errors
    ///
    /// [`Obstacle::AddressesHidden`] where `/proc/kallsyms` is there and may not be read, as in a unit with
    /// `ProtectKernelTunables=yes`; otherwise what else is wrong with it.
    pub fn read() -> Result<Self, Obstacle> {
        let symbols = File::open(KALLSYMS).and_then(Self::parse);
        symbols.map_err(|error| match error.kind() {
            io::ErrorKind::PermissionDenied => Obstacle::AddressesHidden,
            _ => Obstacle::internal("reading the kernel's list of symbols", error),
        })
    }

    /// Parses kallsyms' format: address, type, name, and a module in brackets. A kernel lists two hundred thousand symbols,
    /// its modules' behind its own, each module's in one stretch: nothing is read beyond that of kvm.
    ///
    /// # Errors
    ///
    /// Where reading fails.
    pub fn parse(mut listing: impl Read) -> io::Result<Self> {
        let names = Names::new();
        let mut symbols = Self::default();
        let mut block = vec![0; BLOCK];
        let mut filled = 0;
        loop {
            let read = match listing.read(&mut block[filled..]) {
                Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
                read => read?,
            };
            filled += read;
            let whole = match memrchr(b'\n', &block[..filled]) {
                Some(last) if read > 0 => last + 1,
                None if filled == block.len() => return Err(io::ErrorKind::InvalidData.into()),
                None if read > 0 => 0,
                _ => filled,
            };
            let lines = &block[..whole];
            names.lines(lines, |line| symbols.take(line));
            if read == 0 || symbols.ends_before(lines) {
                return Ok(symbols);
            }
            block.copy_within(whole..filled, 0);
            filled -= whole;
        }
    }

    /// Whether the stretch of module kvm is over with these lines.
    fn ends_before(&self, lines: &[u8]) -> bool {
        let in_another = lines.ends_with(b"]\n") && !lines.ends_with(b"[kvm]\n");
        in_another && self.0.values().flatten().any(Symbol::is_of_kvm)
    }

    fn take(&mut self, line: &[u8]) {
        let Ok(line) = str::from_utf8(line) else { return };
        let mut fields = line.split_ascii_whitespace();
        let (Some(address), Some(kind), Some(name)) = (fields.next(), fields.next(), fields.next()) else {
            return;
        };
        if !is_of_interest(name) {
            return;
        }
        let Ok(address) = u64::from_str_radix(address, 16) else {
            return;
        };
        let module = fields
            .next()
            .map(|module| module.trim_matches(['[', ']']).to_owned());
        let symbol = Symbol {
            address,
            is_function: matches!(kind, "t" | "T" | "w" | "W"),
            module,
        };
        self.0.entry(name.to_owned()).or_default().push(symbol);
    }

    /// Whether there is a function of that name that a probe can be put on.
    #[must_use]
    pub fn has_function(&self, name: &str) -> bool {
        self.all(name).any(|symbol| symbol.is_function)
    }

    /// The address of KVM's variable of that name: the one of module kvm, else the only one there is. `None`
    /// where there is none, where the kernel hides it, or where it is ambiguous.
    #[must_use]
    pub fn variable(&self, name: &str) -> Option<u64> {
        let all: Vec<_> = self.all(name).filter(|symbol| !symbol.is_function).collect();
        let of_kvm = all.iter().find(|symbol| symbol.is_of_kvm());
        match (of_kvm, all.as_slice()) {
            (Some(symbol), _) | (None, [symbol]) => Some(symbol.address).filter(|&address| address != 0),
            _ => None,
        }
    }

    /// Adds the addresses of the variables that the kernel side reads.
    ///
    /// # Errors
    ///
    /// Where addresses are hidden, or the head of KVM's list of VMs is not known. Without the rest, register
    /// changes have no writer.
    pub fn locate(&self, layout: &mut Layout) -> Result<(), Obstacle> {
        if self.hidden() {
            return Err(Obstacle::AddressesHidden);
        }
        let missing = || Obstacle::SymbolMissing {
            name: VM_LIST.to_owned(),
        };
        layout.vm_list_head = self.variable(VM_LIST).ok_or_else(missing)?;
        match (self.variable(RUNNING_VCPU), self.variable(PER_CPU_BASES)) {
            (Some(running), Some(bases)) => (layout.running_vcpu, layout.per_cpu_offset) = (running, bases),
            _ => log::warn!("the kernel does not say which vCPU runs: register changes will have no writer"),
        }
        Ok(())
    }

    fn all(&self, name: &str) -> impl Iterator<Item = &Symbol> {
        self.0.get(name).into_iter().flatten()
    }

    /// Whether the kernel shows any address.
    #[must_use]
    pub fn shown(&self) -> bool {
        self.0.values().flatten().any(|symbol| symbol.address != 0)
    }

    /// Whether the kernel hides all addresses.
    #[must_use]
    pub fn hidden(&self) -> bool {
        !self.0.is_empty() && !self.shown()
    }
}

impl Symbol {
    fn is_of_kvm(&self) -> bool {
        self.module.as_deref() == Some(KVM)
    }
}

/// Bytes that one read takes at most; the kernel gives a page at a time.
const BLOCK: usize = 64 * 1024;

/// What the names of KVM's own symbols contain, and what its module is called.
const KVM: &str = "kvm";
/// Those that do not.
const OTHERS: [&str; 2] = [VM_LIST, PER_CPU_BASES];

fn is_of_interest(name: &str) -> bool {
    name.contains(KVM) || OTHERS.contains(&name)
}

/// Finds lines by what they must contain to be of interest, without looking at each.
struct Names {
    kvm: Finder<'static>,
    others: [Finder<'static>; OTHERS.len()],
}

impl Names {
    fn new() -> Self {
        Self {
            kvm: Finder::new(KVM),
            others: OTHERS.map(Finder::new),
        }
    }

    /// Calls `take` once with every line of `block` that may be of interest.
    fn lines<'a>(&self, block: &'a [u8], mut take: impl FnMut(&'a [u8])) {
        lines_with(&self.kvm, block).for_each(&mut take);
        for other in &self.others {
            lines_with(other, block)
                .filter(|line| self.kvm.find(line).is_none())
                .for_each(&mut take);
        }
    }
}

/// The lines of `block` that contain what `finder` finds.
fn lines_with<'a>(finder: &Finder<'_>, block: &'a [u8]) -> impl Iterator<Item = &'a [u8]> {
    let mut rest = block;
    std::iter::from_fn(move || {
        let at = finder.find(rest)?;
        let from = memrchr(b'\n', &rest[..at]).map_or(0, |before| before + 1);
        let to = memchr(b'\n', &rest[at..]).map_or(rest.len(), |end| at + end);
        let line = &rest[from..to];
        rest = &rest[to..];
        Some(line)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    const LISTING: &str = "\
ffffffff81000000 T _stext
ffffffff82a3a8c0 R __per_cpu_offset
ffffffffc0c00000 d vm_list\t[vboxdrv]
ffffffffc0a01000 t kvm_recalculate_apic_map\t[kvm]
ffffffffc0a02000 t kvm_recalculate_apic_map.part.0\t[kvm]
ffffffffc0b00000 D vm_list\t[kvm]
0000000000036e80 d kvm_running_vcpu\t[kvm]
garbage
";

    fn listing() -> Symbols {
        Symbols::parse(LISTING.as_bytes()).unwrap()
    }

    #[test]
    fn functions_are_found_with_their_clones() {
        assert!(listing().has_function("kvm_recalculate_apic_map"));
        assert!(listing().has_function("kvm_recalculate_apic_map.part.0"));
        assert!(!listing().has_function("vm_list"));
        assert!(!listing().has_function("_stext"));
    }

    #[test]
    fn of_several_variables_kvm_s_own_is_taken() {
        assert_eq!(listing().variable("vm_list"), Some(0xffff_ffff_c0b0_0000));
        assert_eq!(listing().variable("kvm_running_vcpu"), Some(0x36e80));
    }

    fn by_address(mut symbols: Symbols) -> Symbols {
        for same_name in symbols.0.values_mut() {
            same_name.sort_by_key(|symbol| symbol.address);
        }
        symbols
    }

    /// Gives a few bytes at a time.
    struct Sips<'a>(&'a [u8]);

    impl Read for Sips<'_> {
        fn read(&mut self, to: &mut [u8]) -> io::Result<usize> {
            let most = to.len().min(7);
            self.0.read(&mut to[..most])
        }
    }

    #[test]
    fn it_does_not_matter_where_one_read_ends_and_the_next_begins() {
        let last_line_cut = LISTING.trim_end();
        for text in [LISTING, last_line_cut, "", "\n"] {
            let at_once = Symbols::parse(text.as_bytes()).unwrap();
            let sipped = Symbols::parse(Sips(text.as_bytes())).unwrap();
            assert_eq!(by_address(sipped), by_address(at_once));
        }
        // Blocks of many lines, and one read after another.
        let mut long = "ffffffff81000000 T _text\n".repeat(2 * BLOCK / 25);
        long.push_str(LISTING);
        assert_eq!(Symbols::parse(long.as_bytes()).unwrap(), listing());
    }

    #[test]
    fn what_is_behind_the_module_s_stretch_is_not_waited_for() {
        struct Endless;
        impl Read for Endless {
            fn read(&mut self, to: &mut [u8]) -> io::Result<usize> {
                let line = b"ffffffffc0e00000 t nf_hook\t[nf_tables]\n";
                to[..line.len()].copy_from_slice(line);
                Ok(line.len())
            }
        }
        let read = Symbols::parse(LISTING.as_bytes().chain(Endless)).unwrap();
        assert!(read.has_function("kvm_recalculate_apic_map"));
    }

    #[test]
    fn a_line_without_end_is_no_list_of_symbols() {
        assert!(Symbols::parse(io::repeat(b'x')).is_err());
    }

    #[test]
    fn an_ambiguous_variable_is_not_guessed() {
        let two = "ffffffff82000000 d vm_list\nffffffff82000010 d vm_list\n";
        assert_eq!(Symbols::parse(two.as_bytes()).unwrap().variable("vm_list"), None);
    }

    #[test]
    fn hidden_addresses_are_no_addresses() {
        let hidden = Symbols::parse("0000000000000000 D vm_list\t[kvm]\n".as_bytes()).unwrap();
        assert_eq!(hidden.variable("vm_list"), None);
        assert!(hidden.hidden() && !hidden.shown());
    }
}
