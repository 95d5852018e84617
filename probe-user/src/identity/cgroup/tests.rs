//! Control groups as they are met, and as nobody should meet them.

use proptest::prelude::*;

use super::*;
use crate::identity::text::MAX_TEXT;

const UID: &str = "8b1c6a5e-0d2f-4c3b-9a48-1f2e3d4c5b6a";

fn machine_of(path: &str) -> Option<(String, String)> {
    let machine = parse(format!("0::{path}\n").as_bytes()).machine?;
    Some((machine.driver.to_owned(), machine.name))
}

fn pod_of(path: &str) -> Option<String> {
    parse(format!("0::{path}\n").as_bytes()).pod_uid
}

#[test]
fn libvirt_scopes_name_their_domain() {
    for (scope, name) in [
        (r"machine-qemu\x2d1\x2dweb.scope", "web"),
        (
            r"machine-qemu\x2d12\x2dinstance\x2d00000abc.scope/libvirt/emulator",
            "instance-00000abc",
        ),
        (r"machine-qemu\x2dold\x2dlegacy.scope", "old-legacy"),
        (r"machine-qemu\x2d3\x2d7\x2d9.scope", "7-9"),
        (r"machine-qemu\x2dembed\x2d0991f456\x2d1\x2ddemo.scope", "demo"),
        (
            r"machine-qemu\x2d5\x2dbull\xf0\x9f\x92\xa9.scope",
            "bull\u{1f4a9}",
        ),
    ] {
        assert_eq!(
            machine_of(&format!("/machine.slice/{scope}")),
            Some(("qemu".to_owned(), name.to_owned())),
            "{scope}"
        );
    }
    assert_eq!(
        machine_of(r"/machine.slice/machine-prod.slice/machine-ch\x2d2\x2dlean.scope"),
        Some(("ch".to_owned(), "lean".to_owned()))
    );
    for other in [
        r"/machine.slice/machine-lxc\x2d4\x2dbox.scope",
        "/machine.slice/machine-qemu.scope",
        r"/machine.slice/machine-qemu\x2d.scope",
        "/system.slice/libvirtd.service",
    ] {
        assert_eq!(machine_of(other), None, "{other}");
    }
}

#[test]
fn groups_of_libvirt_without_systemd_name_their_domain() {
    for (path, name) in [
        ("/machine/qemu-2-old_guest.libvirt-qemu/emulator", "old_guest"),
        ("/machine/prod.partition/guest7.libvirt-qemu/vcpu1", "guest7"),
        ("/machine/instance-000065d7.libvirt-qemu", "instance-000065d7"),
        ("/machine/_cpu.libvirt-qemu", "cpu"),
        ("/libvirt/qemu/web/vcpu0", "web"),
        ("/system.slice/libvirtd.service/libvirt/qemu/web", "web"),
    ] {
        assert_eq!(
            machine_of(path),
            Some(("qemu".to_owned(), name.to_owned())),
            "{path}"
        );
    }
    assert_eq!(machine_of("/machine/x.libvirt-lxc"), None);
}

#[test]
fn pods_are_found_whoever_makes_the_groups() {
    let systemd = UID.replace('-', "_");
    for path in [
        format!(
            "/kubepods.slice/kubepods-burstable.slice/kubepods-burstable-pod{systemd}.slice/cri-containerd-9f.scope"
        ),
        format!("/kubepods.slice/kubepods-pod{systemd}.slice/crio-9f.scope/container"),
        format!(
            "/kubelet.slice/kubelet-kubepods.slice/kubelet-kubepods-besteffort.slice/kubelet-kubepods-besteffort-pod{systemd}.slice/cri-containerd-9f.scope"
        ),
        format!("/kubepods/burstable/pod{UID}/9f"),
        format!("/kubepods/pod{UID}/9f/libvirt"),
        format!("/../../pod{UID}/9f"),
        format!("/../kubepods-burstable-pod{systemd}.slice/cri-containerd-9f.scope"),
    ] {
        assert_eq!(pod_of(&path).as_deref(), Some(UID), "{path}");
    }
    for path in [
        format!("/machine.slice/pod{UID}"),
        format!("/user.slice/user-1000.slice/kubepods/pod{UID}/9f"),
        "/kubepods/burstable/podweb/9f".to_owned(),
        "/kubepods.slice".to_owned(),
    ] {
        assert_eq!(pod_of(&path), None, "{path}");
    }
}

#[test]
fn the_unified_hierarchy_and_systemds_own_go_before_the_others() {
    let place = parse(
        b"12:cpuset:/machine/other.libvirt-qemu/emulator\n\
          4:memory:/system.slice/other.service\n\
          1:name=systemd:/machine.slice/machine-qemu\\x2d1\\x2dweb.scope\n\
          0::/\n",
    );
    let Place { unit, machine, .. } = place;
    assert_eq!(unit.as_deref(), Some(r"machine-qemu\x2d1\x2dweb.scope"));
    assert_eq!(machine.map(|machine| machine.name).as_deref(), Some("web"));

    let old = parse(b"3:devices:/machine/web.libvirt-qemu\n2:cpu,cpuacct:/\n");
    assert_eq!(old.machine.map(|machine| machine.name).as_deref(), Some("web"));
}

#[test]
fn the_innermost_unit_is_the_unit() {
    let unit = |path: &str| parse(format!("0::{path}\n").as_bytes()).unit;
    assert_eq!(
        unit("/system.slice/firecracker@a.service").as_deref(),
        Some("firecracker@a.service")
    );
    assert_eq!(unit("/qemu.slice/100.scope").as_deref(), Some("100.scope"));
    assert_eq!(
        unit("/user.slice/user-0.slice/session-1.scope (deleted)").as_deref(),
        Some("session-1.scope")
    );
    assert_eq!(unit("/"), None);
}

#[test]
fn lines_that_do_not_parse_say_nothing() {
    for odd in [
        &b""[..],
        b"\n\n",
        b"0:",
        b"0::",
        b"x",
        b"\xff:\xff:\xff",
        &[b'/'; 9000],
    ] {
        assert_eq!(parse(odd), Place::default());
    }
}

proptest! {
    #[test]
    fn whatever_the_path_holds_what_is_kept_is_bounded(
        parts in prop::collection::vec(
            (
                prop::sample::select(vec![
                    "/", "0::", "1:name=systemd:", "\n", "machine-qemu", "\\x2d", "\\x", "\\xff", "-12-", ".scope",
                    ".libvirt-qemu", "libvirt/qemu/", "kubepods", "-pod", ".slice", UID, " (deleted)",
                ]),
                prop::collection::vec(any::<u8>(), 0..4),
            ),
            0..60,
        ),
    ) {
        let mut cgroup = b"0::/".to_vec();
        for (word, bytes) in parts {
            cgroup.extend(word.as_bytes());
            cgroup.extend(bytes);
        }
        let place = parse(&cgroup);
        let kept = [place.unit, place.machine.map(|machine| machine.name), place.pod_uid];
        prop_assert!(kept.into_iter().flatten().all(|text| !text.is_empty() && text.len() <= MAX_TEXT));
    }
}
