//! Command lines as they are met, and as nobody should meet them.

use proptest::prelude::*;

use super::*;
use crate::identity::text::MAX_TEXT;

const UUID: &str = "0a1b2c3d-4e5f-6071-8293-a4b5c6d7e8f9";

fn words(arguments: &[&str]) -> Words {
    parse(arguments.join("\0").as_bytes(), "", Some(7))
}

fn name(arguments: &[&str]) -> Option<String> {
    words(arguments).name
}

#[test]
fn qemu_names_come_with_or_without_their_key() {
    assert_eq!(
        name(&[
            "/usr/bin/qemu-system-x86_64",
            "-name",
            "guest=web,debug-threads=on"
        ])
        .as_deref(),
        Some("web")
    );
    assert_eq!(
        name(&["qemu-kvm", "-name", "web,process=w"]).as_deref(),
        Some("web")
    );
    assert_eq!(
        name(&["kvm", "--name", "process=w,guest=web"]).as_deref(),
        Some("web")
    );
    assert_eq!(name(&["kvm", "-name", "debug-threads=on"]), None);
    assert_eq!(name(&["kvm", "-name"]), None);
}

#[test]
fn a_doubled_comma_is_a_comma() {
    assert_eq!(
        name(&["kvm", "-name", "guest=a,,b,,,process=x"]).as_deref(),
        Some("a,b,")
    );
    assert_eq!(name(&["kvm", "-name", ",,,,"]).as_deref(), Some(",,"));
}

#[test]
fn the_uuid_option_wins_over_smbios_of_type_1() {
    let other = "11111111-2222-3333-4444-555555555555";
    let smbios = format!("type=1,manufacturer=x,uuid={UUID}");
    assert_eq!(words(&["kvm", "-smbios", &smbios]).uuid.as_deref(), Some(UUID));
    assert_eq!(
        words(&["kvm", "-uuid", other, "-smbios", &smbios])
            .uuid
            .as_deref(),
        Some(other)
    );
    let other_type = format!("type=2,uuid={UUID}");
    assert_eq!(words(&["kvm", "-smbios", &other_type]).uuid, None);
}

#[test]
fn a_proxmox_vm_is_named_by_its_own_name_not_by_its_number() {
    let smbios = format!("type=1,uuid={UUID}");
    let words = words(&[
        "/usr/bin/kvm",
        "-id",
        "100",
        "-name",
        "web,debug-threads=on",
        "-no-shutdown",
        "-smbios",
        &smbios,
    ]);
    assert_eq!(
        (words.name.as_deref(), words.uuid.as_deref()),
        (Some("web"), Some(UUID))
    );
}

#[test]
fn firecracker_is_named_by_its_id() {
    assert_eq!(
        name(&["/firecracker-v1.10", "--id", "fc-1", "--api-sock", "x"]).as_deref(),
        Some("fc-1")
    );
    let jailed = ["/firecracker", "--id=fc-2", "--start-time-us", "11"];
    assert_eq!(name(&jailed).as_deref(), Some("fc-2"));
    assert_eq!(name(&["firecracker", "--", "--id", "fc-3"]), None);
    assert_eq!(name(&["firecracker", "--id"]), None);
    assert_eq!(parse(b"\0", "firecracker", None).vmm, Some("firecracker"));
}

#[test]
fn cloud_hypervisor_has_a_uuid_and_no_name() {
    for platform in [
        format!("--platform\0num_pci_segments=2,uuid={UUID}"),
        format!("--platform=system_uuid={UUID},oem_strings=[a,uuid=b]"),
        format!("--platform=oem_strings=[\"x,]\",uuid=c],system_uuid=\"{UUID}\""),
    ] {
        let words = words(&[
            "/usr/local/bin/cloud-hypervisor-static",
            "--api-socket",
            "/run/ch.sock",
            &platform,
        ]);
        let found = (words.name, words.uuid.as_deref(), words.vmm);
        assert_eq!(found, (None, Some(UUID), Some("cloud-hypervisor")), "{platform}");
    }
    assert_eq!(
        words(&["cloud-hypervisor", "--platform", "oem_strings=[uuid=a]"]).uuid,
        None
    );
    assert_eq!(parse(b"", "cloud-hyperviso", None).vmm, Some("cloud-hypervisor"));
}

#[test]
fn crosvm_is_named_after_its_verb() {
    let words = words(&[
        "/usr/bin/crosvm",
        "--log-level=debug",
        "run",
        "--name",
        "arcvm",
        "--smbios",
        &format!("serial-number=1,uuid={UUID}"),
        "vmlinux",
    ]);
    let found = (words.name.as_deref(), words.uuid.as_deref(), words.vmm);
    assert_eq!(found, (Some("arcvm"), Some(UUID), Some("crosvm")));
    assert_eq!(
        name(&["crosvm", "run", "--name=termina"]).as_deref(),
        Some("termina")
    );
    assert_eq!(name(&["crosvm", "--name", "x", "stop"]), None);
    assert_eq!(name(&["crosvm", "run", "-n", "x"]), None);
}

#[test]
fn kvmtool_has_a_name_for_every_vm_but_one_named_by_its_root_directory() {
    for argv0 in ["/usr/bin/lkvm", "vm", "lkvm-static"] {
        assert_eq!(
            name(&[argv0, "run", "-k", "bzImage", "--name", "tiny"]).as_deref(),
            Some("tiny")
        );
        assert_eq!(
            name(&[argv0, "run", "-n", "mode=user"]).as_deref(),
            Some("guest-7")
        );
    }
    assert_eq!(name(&["lkvm", "run", "-d", "debian"]), None);
    assert_eq!(name(&["lkvm", "stop", "--name", "x"]), None);
    assert_eq!(
        name(&["lkvm", "run", "--", "--name", "x"]).as_deref(),
        Some("guest-7")
    );
    assert_eq!(parse(b"lkvm\0run\0", "", None).name, None);
    assert_eq!(
        words(&["/opt/vm", "--name", "x"]),
        Words::default(),
        "any program may be called vm"
    );
}

#[test]
fn other_programs_say_nothing() {
    assert_eq!(words(&["stratovirt", "-name", "x"]), Words::default());
    assert_eq!(parse(b"", "", None), Words::default());
}

#[test]
fn hostile_bytes_are_bounded_and_made_valid() {
    let mut argv = b"kvm\0-name\0guest=\x1b[31m\xff\xfe".to_vec();
    argv.extend(std::iter::repeat_n("€".as_bytes(), 64 * 1024).flatten());
    let name = parse(&argv, "", None).name.unwrap();
    assert!(name.starts_with("\x1b[31m\u{fffd}\u{fffd}€"));
    assert!(name.len() <= MAX_TEXT);
}

/// An option, or the start of one, of any of the VMMs, or bytes.
fn argument() -> impl Strategy<Value = Vec<u8>> {
    let word = prop::sample::select(vec![
        "qemu-system-x86_64",
        "kvm",
        "firecracker",
        "cloud-hypervisor",
        "crosvm",
        "lkvm",
        "vm",
        "run",
        "--",
        "-name",
        "guest=",
        "-uuid",
        "-smbios",
        "type=1,uuid=",
        "--id",
        "--id=",
        "--platform",
        "--platform=",
        "uuid=[\"",
        "--name",
        "--name=",
        "-d",
        "\u{202e}\r\n\x1b[2J\"'",
        UUID,
    ]);
    let bytes = prop::collection::vec(any::<u8>(), 0..40);
    (word, bytes, any::<bool>()).prop_map(|(word, bytes, both)| {
        let mut argument = word.as_bytes().to_vec();
        if both {
            argument.extend(bytes);
        }
        argument
    })
}

proptest! {
    #[test]
    fn whatever_the_arguments_hold_what_is_kept_is_bounded(
        arguments in prop::collection::vec(argument(), 0..12),
        comm in ".{0,16}",
        own_pid in any::<Option<u32>>(),
    ) {
        let words = parse(&arguments.join(&0), &comm, own_pid);
        prop_assert!(words.name.is_none_or(|name| !name.is_empty() && name.len() <= MAX_TEXT));
        prop_assert!(words.uuid.is_none_or(|uuid| canonical_uuid(&uuid).as_ref() == Some(&uuid)));
    }
}
