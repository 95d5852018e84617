//! 5.10, whose kvm module has no BTF: types from the module's debug data, and what is refused without types and without
//! proof. All other cases run there on what ldrscope knows of the build.

use super::refusal::{colliding, refuses};
use super::{Bench, CaseError, CaseResult, Context, require};
use crate::contract::Rule;
use crate::tool::{command, run_to_end, snapshot};

/// What `pahole` makes of the debug data of Debian's 5.10 kvm module, cut down to the structures that matter.
const DEBUG_DATA: &[u8] = include_bytes!("../../../probe-user/fixtures/btf/5.10.debug.btf");

/// With types of its own the kernel needs no test VM to be believed.
pub(super) fn debug_data_types(_: &Context, bench: &mut Bench) -> CaseResult {
    bench.clear();
    let path = std::env::temp_dir().join("debug.kvm.btf");
    std::fs::write(&path, DEBUG_DATA)
        .map_err(|e| CaseError::Unmet(format!("cannot write {}: {e}", path.display())))?;
    let path = path.to_string_lossy();
    let _guest = colliding()?;
    for args in [&["--btf", &*path][..], &["--btf", &path, "--no-canary"]] {
        let vms = snapshot(args)?.vms;
        let [vm] = vms.as_slice() else {
            return require(false, || {
                format!("{args:?}: snapshot should hold one VM, holds {}", vms.len())
            });
        };
        require(vm.map.agrees == Some(true), || {
            format!("{args:?}: the maps should agree: {vm:?}")
        })?;
        require(
            vm.findings
                .iter()
                .any(|finding| finding.rule == Rule::LdrCollision),
            || format!("{args:?}: a collision should be found: {:?}", vm.findings),
        )?;
    }
    Ok(())
}

/// What is known of a build may be wrong of the one that runs: nothing is said before a test VM was read by it.
pub(super) fn unproven_build(_: &Context, bench: &mut Bench) -> CaseResult {
    bench.clear();
    let unproven = command(&["snapshot", "--format", "json", "--no-canary"]);
    refuses(&run_to_end(unproven)?, &["no-btf"])
}

/// A file that is named counts alone, even where it lacks what ldrscope knows of the build.
pub(super) fn types_without_lapic(_: &Context, bench: &mut Bench) -> CaseResult {
    bench.clear();
    let lacking = command(&["snapshot", "--format", "json", "--btf", "/sys/kernel/btf/vmlinux"]);
    refuses(&run_to_end(lacking)?, &["unknown-layout"])
}
