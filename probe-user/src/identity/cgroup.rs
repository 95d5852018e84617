//! What a process's control group says about its VM: who manages it, and what they call it.
//!
//! Pure over the bytes of `/proc/PID/cgroup` (cgroups(7)). libvirt gives every VM a scope or a directory of its own;
//! Kubernetes puts a pod's processes under the pod's UID. Whoever may make groups may give them any name: what comes
//! out is bounded text, not truth.

use super::text::{bounded, bounded_bytes, canonical_uuid};

/// Where a process is.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Place {
    /// The systemd unit, as systemd spells it.
    pub unit: Option<String>,
    /// The machine that libvirt registered.
    pub machine: Option<Machine>,
    /// UID of the Kubernetes pod, canonical.
    pub pod_uid: Option<String>,
}

/// A VM as libvirt registers it with systemd or, without systemd, names its group.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Machine {
    /// libvirt's driver, lower case: `qemu` or `ch`.
    pub driver: &'static str,
    /// The domain's name. libvirt leaves out what no host name may hold and cuts it to 64 characters, the driver's
    /// name and the domain's number included.
    pub name: String,
}

/// Hierarchies that are looked at: version 1 has a dozen.
const MAX_LINES: usize = 64;
/// Directories of a path that are looked at.
const MAX_DEPTH: usize = 32;

/// Reads `HIERARCHY:CONTROLLERS:PATH` lines. The unified hierarchy says most, then systemd's own, then the others.
#[must_use]
pub fn parse(cgroup: &[u8]) -> Place {
    let mut paths: Vec<(u8, &[u8])> = cgroup
        .split(|byte| *byte == b'\n')
        .take(MAX_LINES)
        .filter_map(ranked_path)
        .collect();
    paths.sort_by_key(|(rank, _)| *rank);
    let mut place = Place::default();
    for (_, path) in paths {
        let directories: Vec<&[u8]> = path
            .split(|byte| *byte == b'/')
            .filter(|directory| !directory.is_empty())
            .take(MAX_DEPTH)
            .collect();
        place.unit = place.unit.or_else(|| unit(&directories));
        place.machine = place.machine.or_else(|| machine(&directories));
        place.pod_uid = place.pod_uid.or_else(|| pod_uid(&directories));
    }
    place
}

fn ranked_path(line: &[u8]) -> Option<(u8, &[u8])> {
    let mut fields = line.splitn(3, |byte| *byte == b':');
    let (hierarchy, controllers, path) = (fields.next()?, fields.next()?, fields.next()?);
    let rank = match (hierarchy, controllers) {
        (b"0", b"") => 0,
        (_, b"name=systemd") => 1,
        _ => 2,
    };
    // What the kernel adds to the path of a group that was removed.
    Some((rank, path.strip_suffix(b" (deleted)").unwrap_or(path)))
}

/// The innermost scope or service.
fn unit(directories: &[&[u8]]) -> Option<String> {
    let is_unit = |name: &&&[u8]| name.ends_with(b".scope") || name.ends_with(b".service");
    bounded_bytes(directories.iter().rev().find(is_unit)?)
}

fn machine(directories: &[&[u8]]) -> Option<Machine> {
    let of_directory = |directory: &&[u8]| {
        // libvirt puts a `_` before a name that the kernel could take for a file of its own.
        let directory = directory.strip_prefix(b"_").unwrap_or(directory);
        scope(directory).or_else(|| partition_member(directory))
    };
    let flat = directories.iter().find_map(of_directory);
    // Before libvirt 1.1: `/libvirt/qemu/NAME`, below whatever group libvirtd was in.
    flat.or_else(|| {
        let nested = |window: &[&[u8]]| match window {
            [b"libvirt", b"qemu", name] => named("qemu", bounded_bytes(name)?),
            _ => None,
        };
        directories.windows(3).find_map(nested)
    })
}

/// `machine-qemu\x2d12\x2dNAME.scope`, of libvirt before 1.3 without the number.
fn scope(directory: &[u8]) -> Option<Machine> {
    let escaped = directory.strip_prefix(b"machine-")?.strip_suffix(b".scope")?;
    let text = String::from_utf8_lossy(&unescaped(escaped)).into_owned();
    let (driver, rest) = text.split_once('-')?;
    named(known_driver(driver)?, without_number(rest).to_owned())
}

/// `qemu-1-NAME.libvirt-qemu`, of libvirt before 1.3 `NAME.libvirt-qemu`.
fn partition_member(directory: &[u8]) -> Option<Machine> {
    let text = bounded_bytes(directory)?;
    let (name, driver) = text.rsplit_once(".libvirt-")?;
    let driver = known_driver(driver)?;
    let numbered = name
        .split_once('-')
        .filter(|(prefix, rest)| known_driver(prefix) == Some(driver) && without_number(rest) != *rest);
    named(
        driver,
        numbered.map_or(name, |(_, rest)| without_number(rest)).to_owned(),
    )
}

fn named(driver: &'static str, name: String) -> Option<Machine> {
    Some(Machine {
        driver,
        name: bounded(&name)?,
    })
}

fn known_driver(word: &str) -> Option<&'static str> {
    ["qemu", "ch"]
        .into_iter()
        .find(|driver| word.eq_ignore_ascii_case(driver))
}

/// `NAME` of `12-NAME`, and of `embed-0123abcd-12-NAME`, as applications that carry QEMU's driver in themselves have it.
fn without_number(rest: &str) -> &str {
    let embedded = rest
        .strip_prefix("embed-")
        .and_then(|rest| rest.split_once('-'))
        .map_or(rest, |(_, rest)| rest);
    match embedded.split_once('-') {
        Some((number, name)) if !number.is_empty() && number.bytes().all(|byte| byte.is_ascii_digit()) => {
            name
        }
        _ => rest,
    }
}

/// Undoes systemd's `\xHH` (systemd.unit(5)); whatever else follows a backslash stays.
fn unescaped(mut text: &[u8]) -> Vec<u8> {
    let hex = |digit: u8| char::from(digit).to_digit(16);
    let mut plain = Vec::with_capacity(text.len());
    while let Some((first, rest)) = text.split_first() {
        text = match text {
            [b'\\', b'x', high, low, after @ ..] => match (hex(*high), hex(*low)) {
                (Some(high), Some(low)) => {
                    plain.push((high << 4 | low) as u8);
                    after
                }
                _ => {
                    plain.push(*first);
                    rest
                }
            },
            _ => {
                plain.push(*first);
                rest
            }
        };
    }
    plain
}

/// `kubepods-burstable-podUID.slice` where systemd makes the groups, `kubepods/burstable/podUID` where the kubelet
/// does. A reader with a cgroup namespace of its own sees the path from there, `/../../podUID/...`. What is under
/// `user.slice` was made by a user, who may call it anything.
fn pod_uid(directories: &[&[u8]]) -> Option<String> {
    if directories.first() == Some(&&b"user.slice"[..]) {
        return None;
    }
    let kubepods = |name: &[u8]| name.windows(8).any(|part| part == b"kubepods");
    let relative = directories.first() == Some(&&b".."[..]);
    let mut within = relative;
    for directory in directories {
        within |= kubepods(directory);
        let name = directory.strip_suffix(b".slice").unwrap_or(directory);
        let of_pod = match name.strip_prefix(b"pod") {
            Some(uid) => Some(uid),
            None => name
                .windows(4)
                .rposition(|part| part == b"-pod")
                .map(|start| &name[start + 4..]),
        };
        if let Some(uid) = of_pod.filter(|_| within).and_then(bounded_bytes)
            // systemd's unit names have no dash to spare.
            && let Some(uid) = canonical_uuid(&uid.replace('_', "-"))
        {
            return Some(uid);
        }
    }
    None
}

#[cfg(test)]
mod tests;
