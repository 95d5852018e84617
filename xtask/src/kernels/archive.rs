//! Debian's package archive, read beside the machine's own package lists and never into them.
//!
//! Owns a private apt configuration (source list, list directory, no installed packages) in the cache. The mirror is the
//! one that the machine's own apt uses. Signatures and hashes are apt's to verify; no option here weakens that.

use std::{
    collections::BTreeSet,
    fs,
    path::{Path, PathBuf},
    process::Command,
};

use anyhow::{Context as _, Result, bail, ensure};

use super::{release::Release, series::Series};
use crate::{progress, tool};

const KEYRING: &str = "/usr/share/keyrings/debian-archive-keyring.gpg";

/// Where to read Debian's archive, if not where the machine's own apt does.
#[derive(Debug, Default, clap::Args)]
pub(crate) struct Mirrors {
    /// URI of a Debian archive; by default the machine's own apt names it
    #[arg(long, value_name = "URI")]
    mirror: Option<String>,
    /// URI of a Debian security archive; by default the machine's own apt names it
    #[arg(long, value_name = "URI")]
    security_mirror: Option<String>,
}

/// The archive with fresh package lists.
#[derive(Debug)]
pub(crate) struct Archive {
    configuration: PathBuf,
}

impl Archive {
    /// Fetches the package lists of all suites that `wanted` may be in.
    pub(crate) fn open(root: &Path, wanted: &[Series], mirrors: &Mirrors) -> Result<Self> {
        ensure!(
            Path::new(KEYRING).exists(),
            "Debian's archive keys are missing ({KEYRING}); install the package debian-archive-keyring"
        );
        let directory = root.join("apt");
        for part in ["lists/partial", "cache/archives/partial", "state"] {
            fs::create_dir_all(directory.join(part))
                .with_context(|| format!("cannot create {}", directory.join(part).display()))?;
        }
        let sources = source_list(wanted, &Known::find(mirrors)?)?;
        write(&directory.join("sources.list"), &sources)?;
        let configuration = directory.join("apt.conf");
        write(&configuration, &configuration_text(&directory))?;
        let archive = Self { configuration };
        // A suite that has left the mirror fails the update but not the others: what is missing shows in the choice.
        if let Err(error) = tool::quiet(archive.command("apt-get").arg("update")) {
            progress::note(format_args!("some package lists could not be fetched: {error:#}"));
        }
        Ok(archive)
    }

    /// An apt program that sees only this archive.
    pub(crate) fn command(&self, program: &str) -> Command {
        let mut command = Command::new(program);
        command.env("APT_CONFIG", &self.configuration).env("LC_ALL", "C");
        command
    }

    /// Downloads the packages of `release` into `directory`; apt checks their hashes against the signed lists.
    pub(crate) fn download(&self, release: &Release, directory: &Path) -> Result<Vec<PathBuf>> {
        let wanted = release
            .packages
            .iter()
            .map(|name| format!("{name}={}", release.version));
        tool::quiet(
            self.command("apt-get")
                .arg("download")
                .args(wanted)
                .current_dir(directory),
        )?;
        let mut files = Vec::new();
        for entry in fs::read_dir(directory).context("cannot list the downloaded packages")? {
            let path = entry.context("cannot list the downloaded packages")?.path();
            if path.extension().is_some_and(|extension| extension == "deb") {
                files.push(path);
            }
        }
        ensure!(
            files.len() == release.packages.len(),
            "apt-get downloaded {} packages of {release}",
            files.len()
        );
        Ok(files)
    }
}

/// The two archives that Debian's suites are spread over.
#[derive(Debug, Default)]
struct Known {
    main: Option<String>,
    security: Option<String>,
}

impl Known {
    /// From the command line, else from the machine's apt, whose lists are fetched if it has none yet.
    fn find(mirrors: &Mirrors) -> Result<Self> {
        let mut known = Self::of_machine()?;
        if known.main.is_none() && mirrors.mirror.is_none() && rustix::process::geteuid().is_root() {
            progress::note("apt knows no Debian archive yet; its package lists are fetched first");
            tool::quiet(Command::new("apt-get").args(["-q", "update"]))?;
            known = Self::of_machine()?;
        }
        if mirrors.mirror.is_some() {
            known.main.clone_from(&mirrors.mirror);
        }
        if mirrors.security_mirror.is_some() {
            known.security.clone_from(&mirrors.security_mirror);
        }
        if known.main.is_none() {
            bail!(
                "this machine's apt names no Debian archive; name one: \
                 cargo xtask kernels --mirror URI --security-mirror URI"
            );
        }
        Ok(known)
    }

    fn of_machine() -> Result<Self> {
        let format = "$(ORIGIN) $(RELEASE) $(REPO_URI)";
        let targets = tool::capture(Command::new("apt-get").args([
            "indextargets",
            "--format",
            format,
            "Created-By: Packages",
        ]))?;
        Ok(Self::of_targets(&targets))
    }

    fn of_targets(targets: &str) -> Self {
        let mut known = Self::default();
        for line in targets.lines() {
            let Some((suite, uri)) = line.strip_prefix("Debian ").and_then(|rest| rest.split_once(' '))
            else {
                continue;
            };
            let archive = if is_security(suite) {
                &mut known.security
            } else {
                &mut known.main
            };
            archive.get_or_insert_with(|| uri.to_owned());
        }
        known
    }
}

fn is_security(suite: &str) -> bool {
    suite.ends_with("-security")
}

fn source_list(wanted: &[Series], known: &Known) -> Result<String> {
    let suites: BTreeSet<&str> = wanted
        .iter()
        .flat_map(|series| series.suites())
        .copied()
        .collect();
    let mut text = String::new();
    for suite in suites {
        let archive = if is_security(suite) {
            &known.security
        } else {
            &known.main
        };
        match archive {
            Some(uri) => text.push_str(&format!(
                "deb [arch=amd64 signed-by={KEYRING}] {uri} {suite} main\n"
            )),
            None => progress::note(format_args!(
                "no archive known for {suite}; add it to apt or pass --security-mirror"
            )),
        }
    }
    ensure!(
        !text.is_empty(),
        "none of the suites with these kernels can be reached"
    );
    Ok(text)
}

/// `DEP-11` and translations are megabytes of desktop data that no kernel needs.
fn configuration_text(directory: &Path) -> String {
    let at = |part: &str| directory.join(part).display().to_string();
    format!(
        "Dir::Etc::SourceList \"{sources}\";\n\
         Dir::Etc::SourceParts \"-\";\n\
         Dir::State \"{state}\";\n\
         Dir::State::Lists \"{lists}\";\n\
         Dir::State::Status \"/dev/null\";\n\
         Dir::Cache \"{cache}\";\n\
         APT::Architecture \"amd64\";\n\
         APT::Sandbox::User \"\";\n\
         Acquire::Languages \"none\";\n\
         Acquire::IndexTargets::deb::DEP-11::DefaultEnabled \"false\";\n\
         Acquire::Retries \"3\";\n",
        sources = at("sources.list"),
        state = at("state"),
        lists = at("lists"),
        cache = at("cache"),
    )
}

fn write(path: &Path, text: &str) -> Result<()> {
    fs::write(path, text).with_context(|| format!("cannot write {}", path.display()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_debian_archives_count_and_security_is_apart() {
        let known = Known::of_targets(
            "Other stable http://other.test/\n\
             Debian bookworm http://main.test/debian/\n\
             Debian bookworm-updates http://main.test/debian/\n\
             Debian bookworm-security http://security.test/debian-security/\n",
        );
        assert_eq!(known.main.as_deref(), Some("http://main.test/debian/"));
        assert_eq!(
            known.security.as_deref(),
            Some("http://security.test/debian-security/")
        );
    }

    #[test]
    fn each_suite_is_listed_once_and_signed() {
        let known = Known {
            main: Some("http://a.test/".into()),
            security: None,
        };
        let list = source_list(&[Series::V6_18, Series::V7_3], &known).unwrap();
        assert_eq!(
            list,
            format!("deb [arch=amd64 signed-by={KEYRING}] http://a.test/ trixie-backports main\n")
        );
    }
}
