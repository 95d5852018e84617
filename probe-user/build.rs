//! Hands the kernel-side object to the crate: `cargo xtask build` builds it and names it in
//! `LDRSCOPE_EBPF_OBJECT`. Without it the crate still builds and tests, and says at run time that it
//! carries no programs.

use std::{env, error::Error, fs, path::PathBuf};

const OBJECT: &str = "LDRSCOPE_EBPF_OBJECT";

fn main() -> Result<(), Box<dyn Error>> {
    println!("cargo::rerun-if-changed=build.rs");
    println!("cargo::rerun-if-env-changed={OBJECT}");
    println!("cargo::rustc-check-cfg=cfg(ebpf_object)");
    if let Some(object) = env::var_os(OBJECT) {
        let object = PathBuf::from(object);
        println!("cargo::rerun-if-changed={}", object.display());
        let copy = PathBuf::from(env::var("OUT_DIR")?).join("ldrscope-ebpf");
        fs::copy(&object, copy).map_err(|error| format!("{OBJECT}={}: {error}", object.display()))?;
        println!("cargo::rustc-cfg=ebpf_object");
    }
    Ok(())
}
