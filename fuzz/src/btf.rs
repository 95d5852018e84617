//! Any bytes as BTF: the reader ends, neither panics nor asks for much memory, and contradicts itself nowhere.
//!
//! The first byte of an input chooses what the others are: a base, or a module's half on top of a real kernel's.

use ldrscope::kernel::{
    btf::{Btf, TypeId},
    layout,
};

use crate::Target;

mod seed;

/// The target.
pub const TARGET: Target = Target {
    name: "btf",
    check,
    seeds,
    show,
};

macro_rules! fixture {
    ($name:literal) => {
        include_bytes!(concat!(
            env!("CARGO_MANIFEST_DIR"),
            "/../probe-user/fixtures/btf/",
            $name
        ))
    };
}

/// Real kernels' halves; 5.10 has no module's.
const BASES: [&[u8]; 5] = [
    fixture!("5.10.vmlinux.btf"),
    fixture!("6.1.vmlinux.btf"),
    fixture!("6.12.vmlinux.btf"),
    fixture!("6.18.vmlinux.btf"),
    fixture!("7.3.vmlinux.btf"),
];
const MODULES: [&[u8]; 4] = [
    fixture!("6.1.kvm.btf"),
    fixture!("6.12.kvm.btf"),
    fixture!("6.18.kvm.btf"),
    fixture!("7.3.kvm.btf"),
];

/// Structures that a layout asks for, one that is in no kernel, and one without a name.
const STRUCTURES: [&str; 7] = [
    "kvm",
    "kvm_vcpu",
    "kvm_lapic",
    "kvm_apic_map",
    "xa_node",
    "nothing",
    "",
];

fn seeds() -> Vec<Vec<u8>> {
    let chosen = |choice: usize, bytes: &[u8]| [&[choice as u8], bytes].concat();
    let small = chosen(0, &seed::small_kernel());
    let newest = chosen(0, BASES[BASES.len() - 1]);
    let modules = MODULES
        .iter()
        .zip(2..)
        .map(|(module, choice)| chosen(choice, module));
    [small, newest].into_iter().chain(modules).collect()
}

fn halves(input: &[u8]) -> Option<(&[u8], Option<&[u8]>)> {
    let (&choice, bytes) = input.split_first()?;
    Some(match usize::from(choice) % (BASES.len() + 1) {
        0 => (bytes, None),
        base => (BASES[base - 1], Some(bytes)),
    })
}

fn show(input: &[u8]) -> String {
    match halves(input) {
        None => "nothing".to_owned(),
        Some((base, None)) => format!("a base of {} bytes", base.len()),
        Some((base, Some(split))) => {
            let place = BASES.iter().position(|known| *known == base).unwrap_or_default();
            format!("{} bytes on top of base {place}", split.len())
        }
    }
}

fn check(input: &[u8]) {
    let Some((base, split)) = halves(input) else {
        return;
    };
    let _ = Btf::stands_alone(base);
    let Ok(btf) = Btf::parse(base, split) else { return };
    for name in STRUCTURES {
        for id in btf.structs(name) {
            ask(&btf, id);
        }
    }
    for (name, _) in btf.enumerators("kvm_apicv_inhibit") {
        assert!(!name.contains('\0'), "a name goes on behind its end: {name:?}");
    }
    if let Ok(resolved) = layout::resolve(&btf, None) {
        assert_eq!(
            resolved.layout.vm_list_head, 0,
            "an address cannot come from types"
        );
        // One reason a bit, whether the types name it or not.
        let all = resolved.encoding.inhibits.decode(u64::MAX);
        assert_eq!(all.iter().count(), 64);
        assert!([1, 4].contains(&resolved.layout.map_mode_bytes));
        assert_eq!(Ok(resolved), layout::resolve(&btf, None));
    }
}

fn ask(btf: &Btf<'_>, id: TypeId) {
    let _ = btf.size(id);
    let Some(arch) = btf.member(id, "arch") else {
        return;
    };
    let _ = btf.size(arch.type_id);
    // A path is the sum of its steps.
    let whole = btf.member(id, "arch.apic_map");
    let stepwise = btf.member(arch.type_id, "apic_map");
    if let (Some(whole), Some(last)) = (whole, stepwise) {
        assert_eq!(whole.type_id, last.type_id);
        assert_eq!(Some(whole.offset), arch.offset.checked_add(last.offset));
    }
}
