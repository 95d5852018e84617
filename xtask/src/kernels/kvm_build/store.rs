//! Built modules on disk: one directory a build, with a manifest that says what it was made from and vouches for the module.
//!
//! One that was made from another version of the kernel, or with another patch, counts as absent.

use std::{
    fs,
    path::{Path, PathBuf},
};

use anyhow::{Context as _, Result};
use serde::{Deserialize, Serialize};

use super::Recipe;
use crate::kernels::cache::{self, CacheError, Kernel};

/// Goes up when a module is built in another way.
const FORMAT: u32 = 1;

const MANIFEST: &str = "manifest.json";
const MODULE: &str = "kvm.ko";

#[derive(Debug, PartialEq, Eq, Serialize, Deserialize)]
struct Manifest {
    format: u32,
    made_from: Origin,
    sha256: String,
}

/// What decides what a module does.
#[derive(Debug, PartialEq, Eq, Serialize, Deserialize)]
struct Origin {
    kernel_version: String,
    patch_sha256: String,
}

impl Origin {
    fn of(recipe: &Recipe, kernel: &Kernel) -> Self {
        Self {
            kernel_version: kernel.version().to_owned(),
            patch_sha256: cache::digest_of(recipe.patch.as_bytes()),
        }
    }
}

/// The module by `recipe` for `kernel`, if it is there and whole.
pub(super) fn load(root: &Path, recipe: &Recipe, kernel: &Kernel) -> Result<PathBuf, CacheError> {
    let directory = place(root, recipe);
    let Ok(bytes) = fs::read(directory.join(MANIFEST)) else {
        return Err(CacheError::Absent);
    };
    let manifest: Manifest = serde_json::from_slice(&bytes)?;
    if manifest.format != FORMAT {
        return Err(CacheError::Format);
    }
    if manifest.made_from != Origin::of(recipe, kernel) {
        return Err(CacheError::OtherOrigin);
    }
    cache::check(&directory, Path::new(MODULE), &manifest.sha256)?;
    Ok(directory.join(MODULE))
}

/// Puts `module` in place of whatever the cache had of this build.
pub(super) fn store(root: &Path, recipe: &Recipe, kernel: &Kernel, module: &Path) -> Result<()> {
    let bytes = fs::read(module).context("cannot read the built kvm.ko")?;
    let manifest = Manifest {
        format: FORMAT,
        made_from: Origin::of(recipe, kernel),
        sha256: cache::digest_of(&bytes),
    };
    let fresh = tempfile::tempdir_in(root).context("cannot make a directory in the kernel cache")?;
    fs::write(fresh.path().join(MODULE), bytes).context("cannot keep the built kvm.ko")?;
    let text = serde_json::to_vec_pretty(&manifest).context("cannot write the manifest")?;
    fs::write(fresh.path().join(MANIFEST), text).context("cannot write the manifest")?;
    cache::put(fresh.path(), &place(root, recipe))
}

fn place(root: &Path, recipe: &Recipe) -> PathBuf {
    root.join(format!("kvm-{}", recipe.build))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::kernels::{cache::tests::cached, kvm_build::RECIPES};

    #[test]
    fn a_module_is_found_until_it_or_what_made_it_changes() {
        let root = tempfile::tempdir().unwrap();
        let kernel = cached(root.path());
        let recipe = &RECIPES[0];
        let load = |recipe| load(root.path(), recipe, &kernel);
        assert!(matches!(load(recipe), Err(CacheError::Absent)));

        let built = root.path().join("built.ko");
        fs::write(&built, "module").unwrap();
        store(root.path(), recipe, &kernel, &built).unwrap();
        let module = load(recipe).unwrap();
        assert_eq!(fs::read(&module).unwrap(), b"module");

        let other = Recipe {
            build: recipe.build,
            series: recipe.series,
            patch: "another",
        };
        assert!(matches!(load(&other), Err(CacheError::OtherOrigin)));
        fs::write(&module, "modulf").unwrap();
        assert!(matches!(load(recipe), Err(CacheError::Damaged(_))));
        store(root.path(), recipe, &kernel, &built).unwrap();
        assert!(load(recipe).is_ok());
    }
}
