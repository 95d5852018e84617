//! Where things are: the workspace, its target directory, and the user's cache that outlives clones.

use std::{
    env,
    path::{Path, PathBuf},
};

use anyhow::{Context as _, Result};

/// The workspace's root.
pub(crate) fn workspace() -> &'static Path {
    let manifest = Path::new(env!("CARGO_MANIFEST_DIR"));
    manifest.parent().unwrap_or(manifest)
}

/// Cargo's target directory: `CARGO_TARGET_DIR`, else `target` in the workspace. Absolute.
pub(crate) fn target() -> PathBuf {
    match env::var_os("CARGO_TARGET_DIR") {
        Some(directory) => workspace().join(directory),
        None => workspace().join("target"),
    }
}

/// `$XDG_CACHE_HOME/ldrscope`, by default `~/.cache/ldrscope`: kernels and tools, shared by all checkouts.
pub(crate) fn cache() -> Result<PathBuf> {
    let base = match env::var_os("XDG_CACHE_HOME")
        .map(PathBuf::from)
        .filter(|path| path.is_absolute())
    {
        Some(directory) => directory,
        None => {
            let home =
                env::var_os("HOME").context("neither XDG_CACHE_HOME nor HOME is set; set one of them")?;
            PathBuf::from(home).join(".cache")
        }
    };
    Ok(base.join("ldrscope"))
}
