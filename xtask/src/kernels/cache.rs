//! Kernels on disk: one directory a series, with a manifest that vouches for every file in it.
//!
//! A kernel is put in place by one rename and checked file by file on every use: a damaged or half-written one is
//! reported as absent, and fetched again. The cache may be deleted at any time.

use std::{
    fmt, fs, io,
    path::{Path, PathBuf},
};

use anyhow::{Context as _, Result, ensure};
use lab_protocol::KvmBuild;
use serde::{Deserialize, Serialize};
use sha2::{Digest as _, Sha256};

use super::{release::Release, series::Series, unpack::Unpacked};

/// Goes up when the meaning of a manifest or the choice of kept files changes.
const FORMAT: u32 = 1;

const MANIFEST: &str = "manifest.json";

/// A kernel in the cache, checked.
#[derive(Debug, Clone)]
pub(crate) struct Kernel {
    series: Series,
    directory: PathBuf,
    manifest: Manifest,
    kvm: KvmBuild,
    /// What is loaded in the place of the kernel's own `kvm.ko`.
    other_kvm: Option<PathBuf>,
}

#[derive(Debug, Clone, Serialize, Deserialize)]
struct Manifest {
    format: u32,
    packages: Vec<String>,
    version: String,
    suite: String,
    release: String,
    transport_modules: Vec<PathBuf>,
    kvm_modules: Vec<PathBuf>,
    files: Vec<KeptFile>,
}

#[derive(Debug, Clone, Serialize, Deserialize)]
struct KeptFile {
    path: PathBuf,
    sha256: String,
}

/// Why the cache has no usable kernel of a series.
#[derive(Debug, thiserror::Error)]
pub(crate) enum CacheError {
    #[error("not in the cache")]
    Absent,
    #[error("its manifest cannot be read ({0})")]
    Manifest(#[from] serde_json::Error),
    #[error("it was cached by another version of xtask")]
    Format,
    #[error("it was made from another version of the kernel, or with another patch")]
    OtherOrigin,
    #[error("its file {} is damaged", .0.display())]
    Damaged(PathBuf),
    #[error("its file {} cannot be read ({})", .0.display(), .1)]
    Unreadable(PathBuf, #[source] io::Error),
}

impl Kernel {
    /// Its place in the matrix.
    pub(crate) const fn series(&self) -> Series {
        self.series
    }

    /// The image to boot.
    pub(crate) fn image(&self) -> PathBuf {
        self.directory.join("vmlinuz")
    }

    /// The file to take for `path`, one of [`Self::module_tree`].
    pub(crate) fn file(&self, path: &Path) -> PathBuf {
        match &self.other_kvm {
            Some(other) if is_kvm(path) => other.clone(),
            _ => self.directory.join(path),
        }
    }

    /// The kernel's own `kvm.ko` where another is loaded in its place: where it goes beside that one, and its file.
    pub(crate) fn kvm_beside(&self) -> Option<(PathBuf, PathBuf)> {
        self.other_kvm.as_ref()?;
        let path = self.kvm_modules().iter().find(|path| is_kvm(path))?;
        Some((path.with_file_name("kvm.stock.ko"), self.directory.join(path)))
    }

    /// The files below `lib/modules`: modules and their indexes. The paths of the module lists are among them.
    pub(crate) fn module_tree(&self) -> impl Iterator<Item = &Path> {
        self.manifest
            .files
            .iter()
            .map(|file| file.path.as_path())
            .filter(|path| path.starts_with("lib"))
    }

    /// Modules of the lab's ports and of the 9p root, in load order.
    pub(crate) fn transport_modules(&self) -> &[PathBuf] {
        &self.manifest.transport_modules
    }

    /// KVM's modules, in load order.
    pub(crate) fn kvm_modules(&self) -> &[PathBuf] {
        &self.manifest.kvm_modules
    }

    /// Debian's version of its packages.
    pub(crate) fn version(&self) -> &str {
        &self.manifest.version
    }

    /// The suite that it comes from.
    pub(crate) fn suite(&self) -> &str {
        &self.manifest.suite
    }

    /// `uname -r`.
    pub(crate) fn release(&self) -> &str {
        &self.manifest.release
    }

    /// The same kernel with `module` in the place of its own `kvm.ko`.
    pub(super) fn with_kvm(self, kvm: KvmBuild, module: PathBuf) -> Result<Self> {
        ensure!(
            self.kvm_modules().iter().any(|path| is_kvm(path)),
            "kernel {} has no kvm.ko that another could take the place of",
            self.series
        );
        Ok(Self {
            kvm,
            other_kvm: Some(module),
            ..self
        })
    }
}

fn is_kvm(path: &Path) -> bool {
    path.file_name().is_some_and(|name| name == "kvm.ko")
}

impl fmt::Display for Kernel {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Manifest {
            release,
            version,
            suite,
            ..
        } = &self.manifest;
        write!(
            formatter,
            "{}: {release} (Debian {version}, {suite})",
            self.series
        )?;
        match self.kvm {
            KvmBuild::Stock => Ok(()),
            build => write!(formatter, " with KVM {build}"),
        }
    }
}

/// The kernel of `series` below `root`, if it is there and whole.
pub(crate) fn load(root: &Path, series: Series) -> Result<Kernel, CacheError> {
    let directory = root.join(series.name());
    let Ok(bytes) = fs::read(directory.join(MANIFEST)) else {
        return Err(CacheError::Absent);
    };
    let manifest: Manifest = serde_json::from_slice(&bytes)?;
    if manifest.format != FORMAT {
        return Err(CacheError::Format);
    }
    for KeptFile { path, sha256 } in &manifest.files {
        check(&directory, path, sha256)?;
    }
    Ok(Kernel {
        series,
        directory,
        manifest,
        kvm: KvmBuild::Stock,
        other_kvm: None,
    })
}

/// Holds a cached file to its hash.
pub(super) fn check(directory: &Path, path: &Path, sha256: &str) -> Result<(), CacheError> {
    let found =
        digest(&directory.join(path)).map_err(|error| CacheError::Unreadable(path.to_owned(), error))?;
    if found == sha256 {
        Ok(())
    } else {
        Err(CacheError::Damaged(path.to_owned()))
    }
}

/// Puts an unpacked kernel in place of whatever the cache had of its series.
pub(crate) fn store(root: &Path, series: Series, release: &Release, unpacked: &Unpacked) -> Result<()> {
    let mut files = Vec::new();
    list(&unpacked.directory, Path::new(""), &mut files)?;
    let manifest = Manifest {
        format: FORMAT,
        packages: release.packages.clone(),
        version: release.version.clone(),
        suite: release.suite.clone(),
        release: unpacked.release.clone(),
        transport_modules: unpacked.transport.clone(),
        kvm_modules: unpacked.kvm.clone(),
        files,
    };
    let text = serde_json::to_vec_pretty(&manifest).context("cannot write the manifest")?;
    fs::write(unpacked.directory.join(MANIFEST), text).context("cannot write the manifest")?;
    put(&unpacked.directory, &root.join(series.name()))
}

/// Moves a finished directory to `place` by one rename, in place of what is there.
pub(super) fn put(finished: &Path, place: &Path) -> Result<()> {
    match fs::remove_dir_all(place) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => {
            return Err(error).with_context(|| format!("cannot replace {}", place.display()));
        }
        _ => {}
    }
    fs::rename(finished, place).with_context(|| format!("cannot put anything at {}", place.display()))
}

fn list(root: &Path, below: &Path, files: &mut Vec<KeptFile>) -> Result<()> {
    let directory = root.join(below);
    let unreadable = || format!("cannot list {}", directory.display());
    for entry in fs::read_dir(&directory).with_context(unreadable)? {
        let entry = entry.with_context(unreadable)?;
        let path = below.join(entry.file_name());
        if entry.file_type().with_context(unreadable)?.is_dir() {
            list(root, &path, files)?;
        } else {
            let sha256 = digest(&root.join(&path)).with_context(unreadable)?;
            files.push(KeptFile { path, sha256 });
        }
    }
    files.sort_by(|one, other| one.path.cmp(&other.path));
    Ok(())
}

fn digest(path: &Path) -> io::Result<String> {
    let mut hash = Sha256::new();
    io::copy(&mut fs::File::open(path)?, &mut hash)?;
    Ok(in_hexadecimal(hash))
}

/// The hash of `bytes` as manifests have it.
pub(super) fn digest_of(bytes: &[u8]) -> String {
    in_hexadecimal(Sha256::new_with_prefix(bytes))
}

fn in_hexadecimal(hash: Sha256) -> String {
    hash.finalize().iter().map(|byte| format!("{byte:02x}")).collect()
}

#[cfg(test)]
pub(super) mod tests {
    use super::*;

    /// A kernel of two files in the cache below `root`.
    pub(in crate::kernels) fn cached(root: &Path) -> Kernel {
        let directory = root.join("fresh");
        fs::create_dir_all(directory.join("lib/modules/6.1.0")).unwrap();
        fs::write(directory.join("vmlinuz"), "image").unwrap();
        fs::write(directory.join("lib/modules/6.1.0/kvm.ko"), "module").unwrap();
        let release = Release {
            packages: vec!["p".into()],
            version: "6.1.1-1".into(),
            suite: "s".into(),
        };
        let kvm = vec![PathBuf::from("lib/modules/6.1.0/kvm.ko")];
        let unpacked = Unpacked {
            release: "6.1.0".into(),
            directory,
            transport: Vec::new(),
            kvm,
        };
        store(root, Series::V6_1, &release, &unpacked).unwrap();
        load(root, Series::V6_1).unwrap()
    }

    #[test]
    fn what_was_stored_is_found_whole() {
        let root = tempfile::tempdir().unwrap();
        let kernel = cached(root.path());
        assert_eq!(kernel.version(), "6.1.1-1");
        assert_eq!(
            kernel.module_tree().collect::<Vec<_>>(),
            [Path::new("lib/modules/6.1.0/kvm.ko")]
        );
        assert!(matches!(
            load(root.path(), Series::V6_12),
            Err(CacheError::Absent)
        ));
    }

    #[test]
    fn another_kvm_takes_the_place_of_its_own_alone() {
        let root = tempfile::tempdir().unwrap();
        let kernel = cached(root.path());
        let (own, other) = (
            Path::new("lib/modules/6.1.0/kvm.ko"),
            Path::new("elsewhere/kvm.ko"),
        );
        assert_eq!(kernel.file(own), root.path().join("6.1").join(own));
        let fitted = kernel.with_kvm(KvmBuild::KeepDisabled, other.to_owned()).unwrap();
        assert_eq!(fitted.file(own), other);
        let index = Path::new("lib/modules/6.1.0/modules.dep");
        assert_eq!(fitted.file(index), root.path().join("6.1").join(index));
        assert!(fitted.to_string().ends_with(" with KVM keep-disabled"));
    }

    #[test]
    fn a_changed_or_missing_file_is_noticed() {
        let root = tempfile::tempdir().unwrap();
        let kernel = cached(root.path());
        fs::write(kernel.image(), "imagf").unwrap();
        assert!(
            matches!(load(root.path(), Series::V6_1), Err(CacheError::Damaged(path)) if path == Path::new("vmlinuz"))
        );
        fs::remove_file(kernel.image()).unwrap();
        assert!(matches!(
            load(root.path(), Series::V6_1),
            Err(CacheError::Unreadable(..))
        ));
    }
}
