//! Loads kernel modules in the order and with the parameters that the order names.
//!
//! Dependencies were resolved on the outer machine (`cargo xtask kernels`), so PID 1 needs no modprobe and no index.

use std::{ffi::CString, fs::File};

use anyhow::{Context as _, Result};
use lab_protocol::Module;
use rustix::{io::Errno, system::finit_module};

/// Loads `modules` one after the other. One that is loaded already is passed over, parameters and all.
pub(crate) fn load(modules: &[Module]) -> Result<()> {
    for Module { path, parameters } in modules {
        let file = File::open(path).with_context(|| format!("the initramfs lacks the module {path}"))?;
        let arguments = CString::new(parameters.as_str()).context("module parameters hold a NUL byte")?;
        match finit_module(&file, &arguments, 0) {
            Ok(()) | Err(Errno::EXIST) => {}
            Err(error) => {
                return Err(error)
                    .with_context(|| format!("the kernel refuses the module {path} ({parameters:?})"));
            }
        }
    }
    Ok(())
}
