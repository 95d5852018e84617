//! `cargo xtask dist`: what is released, as a tarball, a `.deb` and an `.rpm`, with their digests.
//!
//! The same sources give the same bytes: every time is that of the sources, every list is sorted, every owner is root, and
//! nothing knows where it was built, and [`again`] holds it to that. What a release consists of is [`content`]'s, where it
//! goes [`place`]'s; one file a format writes it down.

pub(crate) mod again;
mod content;
mod deb;
mod gzip;
mod notices;
mod place;
mod rpm;
mod tarball;

use std::{
    env,
    fmt::Write as _,
    fs,
    path::{Path, PathBuf},
    process::Command,
};

use anyhow::{Context as _, Result};
use sha2::{Digest as _, Sha256};

pub(crate) use self::content::Content;
use crate::{
    build::{self, Binaries, Profile},
    paths, progress, tool,
};

const SUMS: &str = "SHA256SUMS";

/// `cargo xtask dist`.
#[derive(Debug, clap::Args)]
pub(crate) struct Arguments {
    /// Package a second time, and fail unless every byte is the same
    #[arg(long)]
    check: bool,
    /// Build the last commit a second time, in a checkout elsewhere, and fail unless every byte is the same
    #[arg(long)]
    check_build: bool,
    /// Package the binary of the last build, without building
    #[arg(long)]
    no_build: bool,
}

/// Which release it is.
#[derive(Debug, Clone)]
pub(crate) struct Release {
    /// As in the workspace's manifest.
    pub(crate) version: String,
    /// The time of everything in it, in seconds of Unix time.
    pub(crate) epoch: u32,
}

/// Builds, packages, and prints where each package is.
#[expect(clippy::print_stdout, reason = "the paths are this command's result")]
pub(crate) fn run(arguments: &Arguments) -> Result<()> {
    let binaries = if arguments.no_build {
        Binaries::of_last_build(Profile::Release)?
    } else {
        build::build(Profile::Release)?
    };
    let directory = paths::target().join("dist");
    let made = packages(&binaries.ldrscope, &directory)?;
    if arguments.check {
        again::package(&binaries.ldrscope, &directory)?;
    }
    if arguments.check_build {
        again::build(&binaries.ldrscope)?;
    }
    for path in made {
        println!("{}", path.display());
    }
    Ok(())
}

/// Makes all packages of `binary` in `directory`, which is emptied before, and their digests.
pub(crate) fn packages(binary: &Path, directory: &Path) -> Result<Vec<PathBuf>> {
    let step = progress::step("dist", "the packages");
    if directory.exists() {
        fs::remove_dir_all(directory).with_context(|| format!("cannot empty {}", directory.display()))?;
    }
    fs::create_dir_all(directory).with_context(|| format!("cannot create {}", directory.display()))?;
    let release = Release::of_the_sources()?;
    let content = Content::gather(&release, binary)?;
    let mut made = Vec::new();
    for (name, bytes) in [
        tarball::write(&release, &content)?,
        deb::write(&release, &content)?,
        rpm::write(&release, &content)?,
    ] {
        made.push(put(directory, &name, &bytes)?);
    }
    made.push(put(directory, SUMS, sums(&made)?.as_bytes())?);
    step.done("made");
    Ok(made)
}

/// Makes only the `.deb`, as `release`, of `content`.
pub(crate) fn deb(release: &Release, content: &Content, directory: &Path) -> Result<PathBuf> {
    let (name, bytes) = deb::write(release, content)?;
    put(directory, &name, &bytes)
}

impl Release {
    /// What the sources say that they are: their version, and `SOURCE_DATE_EPOCH` or the time of the last commit.
    pub(crate) fn of_the_sources() -> Result<Self> {
        let epoch = match env::var("SOURCE_DATE_EPOCH") {
            Ok(epoch) => epoch,
            Err(_) => tool::capture(Command::new("git").current_dir(paths::workspace()).args([
                "log",
                "-1",
                "--format=%ct",
            ]))
            .context("set SOURCE_DATE_EPOCH where there is no git history")?,
        };
        let epoch = epoch
            .trim()
            .parse()
            .with_context(|| format!("SOURCE_DATE_EPOCH is no time: {epoch:?}"))?;
        Ok(Self {
            version: env!("CARGO_PKG_VERSION").to_owned(),
            epoch,
        })
    }
}

fn put(directory: &Path, name: &str, bytes: &[u8]) -> Result<PathBuf> {
    let path = directory.join(name);
    fs::write(&path, bytes).with_context(|| format!("cannot write {}", path.display()))?;
    Ok(path)
}

/// As `sha256sum --check` reads it.
fn sums(files: &[PathBuf]) -> Result<String> {
    let mut text = String::new();
    for path in files {
        let bytes = fs::read(path).with_context(|| format!("cannot read {}", path.display()))?;
        let name = path.file_name().context("a package without a name")?;
        for byte in Sha256::digest(&bytes) {
            // Writing to a String cannot fail.
            let _ = write!(text, "{byte:02x}");
        }
        let _ = writeln!(text, "  {}", name.display());
    }
    Ok(text)
}
