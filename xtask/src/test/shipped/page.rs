//! The page of a snapshot in a real browser: nothing to say on its console, the cells and findings in what it made of the page, no markup
//! from hostile names. Pages and screenshots stay in `target/pages`, to be looked at.

use std::{
    collections::BTreeSet,
    fs,
    path::{Path, PathBuf},
};

use anyhow::{Context as _, Result, ensure};

use crate::{paths, tool};

/// Pages that a test of ldrscope's makes of hosts of every kind, and what the browser has to find in each.
const PAGES: [Expected; 7] = [
    Expected::new("no-vm", 0, 0),
    Expected::new("power-on", 1, 0),
    Expected::new("crashed", 1, 16),
    Expected::new("as-kvm", 1, 8),
    Expected::new("many", 6, 16 + 8 + 16 + 120),
    Expected::new("hostile", 2, 32),
    Expected::new("vcpus-1024", 1, 16),
];

const LIGHT: Sight = ("light", &["--window-size=1280,3000"]);
const DARK: Sight = (
    "dark",
    &[
        "--window-size=1280,3000",
        "--blink-settings=preferredColorScheme=0",
    ],
);
const NARROW: Sight = ("narrow", &["--window-size=500,3000"]);

/// A way of looking at a page: its name, and the browser's flags for it.
type Sight = (&'static str, &'static [&'static str]);

/// What is looked at, by day, by night, on a telephone.
const PICTURES: [(&str, Sight); 5] = [
    ("crashed", LIGHT),
    ("crashed", DARK),
    ("crashed", NARROW),
    ("many", LIGHT),
    ("vcpus-1024", NARROW),
];

/// A page of text is larger than this as a picture, an empty one smaller.
const EMPTY_PICTURE: u64 = 20_000;

struct Expected {
    name: &'static str,
    vms: usize,
    /// Cells of maps.
    slots: usize,
}

impl Expected {
    const fn new(name: &'static str, vms: usize, slots: usize) -> Self {
        Self { name, vms, slots }
    }

    fn check(&self, dom: &str) -> Result<()> {
        let vms = dom.matches("<section class=\"vm\" id=\"vm-").count();
        ensure!(vms == self.vms, "{vms} VMs in place of {}", self.vms);
        let slots = values(dom, "data-slot").len();
        ensure!(
            slots == self.slots,
            "{slots} cells of maps in place of {}",
            self.slots
        );
        for marker in ["<script", "<img", "onerror=\""] {
            ensure!(!dom.contains(marker), "a text has become markup: {marker}");
        }
        let ids: BTreeSet<&str> = values(dom, "id").into_iter().collect();
        for rule in values(dom, "data-rule") {
            let id = format!("rule-{rule}");
            ensure!(ids.contains(&*id), "a finding of {rule} is not explained");
        }
        for place in values(dom, "href") {
            let there = place.strip_prefix('#').is_some_and(|id| ids.contains(id));
            ensure!(there, "a link leads to `{place}`, which is not there");
        }
        Ok(())
    }
}

/// Fails with what a page lacks, or with what the browser says.
pub(super) fn check() -> Result<()> {
    let directory = paths::target().join("pages");
    fs::create_dir_all(&directory).with_context(|| format!("cannot create {}", directory.display()))?;
    tool::quiet(
        tool::cargo("test")
            // Of all members, so that they are as the unit tests left them.
            .args(["--workspace", "--exclude", "probe-ebpf"])
            .args(["--test", "contract", "page::"])
            .env("PAGES", &directory),
    )?;
    for page in &PAGES {
        let said = browse(&directory, page.name, &["--dump-dom"])?;
        page.check(&said).with_context(|| format!("{}.html", page.name))?;
    }
    for (name, (sight, flags)) in PICTURES {
        let picture = directory.join(format!("{name}-{sight}.png"));
        let screenshot = format!("--screenshot={}", picture.display());
        browse(&directory, name, &[flags, &[&screenshot]].concat())?;
        let size = fs::metadata(&picture)
            .with_context(|| format!("there is no {}", picture.display()))?
            .len();
        ensure!(size > EMPTY_PICTURE, "{} is empty", picture.display());
    }
    Ok(())
}

/// What the browser says of a page, which must be nothing on its console.
fn browse(directory: &Path, name: &str, flags: &[&str]) -> Result<String> {
    let profile = tempfile::tempdir().context("cannot make a temporary directory")?;
    let page: PathBuf = directory.join(format!("{name}.html"));
    let said = tool::said_by(
        tool::command("timeout")
            .args([
                "120",
                "chromium",
                "--headless",
                "--disable-gpu",
                "--hide-scrollbars",
            ])
            // The page is ours, and root has no sandbox.
            .arg("--no-sandbox")
            .args(["--enable-logging=stderr", "--v=0"])
            .arg(format!("--user-data-dir={}", profile.path().display()))
            .args(flags)
            .arg(format!("file://{}", page.display())),
    )?;
    let console: Vec<_> = said.lines().filter(|line| line.contains(":CONSOLE:")).collect();
    ensure!(
        console.is_empty(),
        "{name}.html: the browser's console says:\n{}",
        console.join("\n")
    );
    Ok(said)
}

/// The values of an attribute, in their order.
fn values<'a>(dom: &'a str, attribute: &str) -> Vec<&'a str> {
    let before = format!(" {attribute}=\"");
    let parts = dom.split(before.as_str()).skip(1);
    parts.filter_map(|part| part.split('"').next()).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    const DOM: &str = "<section class=\"vm\" id=\"vm-1\"><g data-slot=\"0:0\"></g><a href=\"#rule-x\">x</a>\
                       <article data-rule=\"x\"></article></section><i id=\"rule-x\"></i>";

    #[test]
    fn a_page_is_held_to_its_cells_links_and_explanations() {
        let page = Expected::new("a", 1, 1);
        page.check(DOM).unwrap();
        for (part, other) in [
            ("data-slot", "data-place"),
            ("id=\"vm-1\"", "id=\"x\""),
            ("href=\"#rule-x\"", "href=\"#rule-y\""),
            ("id=\"rule-x\"", "id=\"y\""),
            ("<i", "<img src=\"x\"><i"),
        ] {
            assert!(page.check(&DOM.replace(part, other)).is_err(), "{part}");
        }
    }
}
