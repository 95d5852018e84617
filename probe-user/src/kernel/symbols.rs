//! Functions and variables of the running kernel, from `/proc/kallsyms`.
//!
//! Only names that ldrscope may use are kept. Addresses are zero where the kernel hides them
//! (`kptr_restrict`, missing capability): then nothing can be read, which is said and not guessed.

use std::{
    collections::BTreeMap,
    fs::File,
    io::{self, BufRead, BufReader},
};

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
        let symbols = File::open(KALLSYMS).and_then(|file| Self::parse(BufReader::new(file)));
        symbols.map_err(|error| match error.kind() {
            io::ErrorKind::PermissionDenied => Obstacle::AddressesHidden,
            _ => Obstacle::internal("reading the kernel's list of symbols", error),
        })
    }

    /// Parses kallsyms' format: address, type, name, and a module in brackets.
    ///
    /// # Errors
    ///
    /// Where reading fails.
    pub fn parse(mut lines: impl BufRead) -> io::Result<Self> {
        let mut symbols = Self::default();
        let mut line = String::new();
        while lines.read_line(&mut line)? > 0 {
            symbols.take(&line);
            line.clear();
        }
        Ok(symbols)
    }

    fn take(&mut self, line: &str) {
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
        let of_kvm = all.iter().find(|symbol| symbol.module.as_deref() == Some("kvm"));
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
        const LIST: &str = "vm_list";
        let missing = || Obstacle::SymbolMissing {
            name: LIST.to_owned(),
        };
        layout.vm_list_head = self.variable(LIST).ok_or_else(missing)?;
        match (
            self.variable("kvm_running_vcpu"),
            self.variable("__per_cpu_offset"),
        ) {
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

fn is_of_interest(name: &str) -> bool {
    name.contains("kvm")
        || name.contains("recalculate_apic_map")
        || matches!(name, "vm_list" | "__per_cpu_offset")
}

#[cfg(test)]
mod tests {
    use super::*;

    const LISTING: &str = "\
ffffffff82a3a8c0 R __per_cpu_offset
ffffffffc0a01000 t kvm_recalculate_apic_map\t[kvm]
ffffffffc0a02000 t kvm_recalculate_apic_map.part.0\t[kvm]
ffffffffc0b00000 D vm_list\t[kvm]
ffffffffc0c00000 d vm_list\t[vboxdrv]
ffffffff81000000 T _stext
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
