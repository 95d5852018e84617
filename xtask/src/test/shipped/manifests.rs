//! The Kubernetes manifests: YAML, and no more rights than the page says.

use std::collections::BTreeSet;

use anyhow::{Context as _, Result, ensure};
use yaml_rust2::Yaml;

use super::{read, text, yaml};

const DAEMON_SET: &str = "packaging/kubernetes/daemonset.yaml";
const POD_MONITOR: &str = "packaging/kubernetes/podmonitor.yaml";
const CONTAINERFILE: &str = "packaging/Containerfile";
const PAGE: &str = "docs/kubernetes.md";
const NODE_LABEL: &str = "kubevirt.io/schedulable";

/// All that the container may.
const CAPABILITIES: [&str; 4] = ["SETGID", "SETUID", "SYSLOG", "SYS_ADMIN"];

/// Fails with what is wrong.
pub(super) fn check() -> Result<()> {
    let documents = yaml(DAEMON_SET)?;
    let set = documents
        .iter()
        .find(|document| text(document, &["kind"]) == Some("DaemonSet"))
        .with_context(|| format!("{DAEMON_SET} has no DaemonSet"))?;
    check_pod(&set["spec"]["template"]["spec"]).context(DAEMON_SET)?;

    // What is built by hand names this release's image.
    let image = concat!("ldrscope:", env!("CARGO_PKG_VERSION"));
    for path in [DAEMON_SET, CONTAINERFILE, PAGE] {
        ensure!(read(path)?.contains(image), "{path} does not name {image}");
    }

    let selector = &set["spec"]["selector"]["matchLabels"];
    ensure!(
        !selector.is_badvalue() && *selector == set["spec"]["template"]["metadata"]["labels"],
        "{DAEMON_SET}: selector and labels differ"
    );
    for monitor in yaml(POD_MONITOR)? {
        ensure!(
            monitor["spec"]["selector"]["matchLabels"] == *selector,
            "{POD_MONITOR} selects other pods than those of {DAEMON_SET}"
        );
    }
    Ok(())
}

fn check_pod(pod: &Yaml) -> Result<()> {
    ensure!(
        pod["hostPID"].as_bool() == Some(true),
        "it must see the host's processes"
    );
    ensure!(pod["hostNetwork"].is_badvalue(), "it needs no host network");
    ensure!(
        text(pod, &["nodeSelector", NODE_LABEL]) == Some("true"),
        "it must run on KubeVirt's nodes only"
    );
    let containers = pod["containers"].as_vec().context("it has no containers")?;
    let [container] = &containers[..] else {
        anyhow::bail!("it has {} containers", containers.len());
    };
    let rights = &container["securityContext"];
    ensure!(
        rights["privileged"].as_bool() == Some(false),
        "it must not be privileged"
    );
    ensure!(
        rights["readOnlyRootFilesystem"].as_bool() == Some(true),
        "its root must be read-only"
    );
    ensure!(
        words(&rights["capabilities"]["drop"]) == BTreeSet::from(["ALL"]),
        "it must drop all capabilities"
    );
    let added = words(&rights["capabilities"]["add"]);
    ensure!(
        added == BTreeSet::from(CAPABILITIES),
        "its capabilities are {added:?}"
    );
    for mount in container["volumeMounts"].as_vec().into_iter().flatten() {
        ensure!(
            mount["readOnly"].as_bool() == Some(true),
            "the mount {:?} is writable",
            text(mount, &["name"])
        );
    }
    Ok(())
}

fn words(list: &Yaml) -> BTreeSet<&str> {
    list.as_vec()
        .into_iter()
        .flatten()
        .filter_map(Yaml::as_str)
        .collect()
}
