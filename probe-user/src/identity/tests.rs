//! Which names VMs get, and that they keep them.

use std::collections::HashMap;

use proptest::prelude::*;

use super::*;
use crate::identity::text::MAX_TEXT;

const UUID: &str = "30ad89ac-5906-49ca-8d52-3c6343c598f6";
const POD: &str = "8b1c6a5e-0d2f-4c3b-9a48-1f2e3d4c5b6a";

/// Processes by the id that is asked for, and libvirt's files.
#[derive(Default)]
struct Host {
    processes: HashMap<u32, Process>,
    files: HashMap<String, String>,
}

impl ProcessSource for Host {
    fn read(&self, id: u32) -> Option<Process> {
        self.processes.get(&id).cloned()
    }

    fn libvirt_status(&self, driver: &str, file: &str) -> Option<Vec<u8>> {
        let text = self.files.get(&format!("{driver}/{file}"))?;
        Some(text.clone().into_bytes())
    }
}

impl Host {
    fn with(pid: u32, process: Process) -> Self {
        Self {
            processes: HashMap::from([(pid, process)]),
            ..Self::default()
        }
    }

    fn and_file(mut self, file: &str, text: String) -> Self {
        self.files.insert(file.to_owned(), text);
        self
    }

    fn name(&self, pid: u32) -> VmIdentity {
        VmIdentity::unknown().resolved(pid, "d".to_owned(), self)
    }
}

fn process(cmdline: &[u8], comm: &str) -> Process {
    Process {
        cmdline: cmdline.to_vec(),
        comm: comm.to_owned(),
        start_time: 77,
        ..Process::default()
    }
}

fn qemu(name: &str, cgroup: &str) -> Process {
    Process {
        cgroup: format!("0::{cgroup}\n").into_bytes(),
        ..process(
            format!("/usr/bin/qemu-system-x86_64\0-name\0guest={name},debug-threads=on\0-uuid\0{UUID}\0")
                .as_bytes(),
            "qemu-system-x86",
        )
    }
}

fn nova_file(pid: u32, uuid: &str) -> String {
    format!(
        "<domstatus state='running' pid='{pid}'><domain><name>instance-00000abc</name><uuid>{uuid}</uuid><metadata>\
         <nova:instance xmlns:nova='http://openstack.org/xmlns/libvirt/nova/1.0'><nova:name>shop</nova:name>\
         <nova:owner><nova:user uuid='u'>alice</nova:user><nova:project uuid='p1'>web</nova:project></nova:owner>\
         </nova:instance></metadata></domain></domstatus>"
    )
}

const NOVA_SCOPE: &str = r"/machine.slice/machine-qemu\x2d12\x2dinstance\x2d00000abc.scope/libvirt/emulator";

fn text(text: &str) -> Option<String> {
    Some(text.to_owned())
}

#[test]
fn a_qemu_is_named_by_its_command_line() {
    let vm = Host::with(9, qemu("web", "/")).name(9);
    assert_eq!(
        (vm.name.as_str(), vm.vmm.as_str(), vm.pid, vm.named_by),
        ("web", "qemu", Some(9), NamedBy::Vmm)
    );
    assert_eq!(vm.start_time, Some(77));
    assert_eq!(*vm.belongs, Belongs::default(), "it is nobody's domain");
}

#[test]
fn any_other_vmm_is_named_by_its_comm_and_one_without_by_its_pid() {
    let vm = Host::with(9, process(b"/opt/my-vmm\0--name\0x\0", "my-vmm")).name(9);
    assert_eq!((vm.name.as_str(), vm.vmm.as_str()), ("my-vmm", "my-vmm"));
    let vm = Host::with(9, process(b"", "")).name(9);
    assert_eq!((vm.name.as_str(), vm.vmm.as_str()), ("pid 9", "unknown"));
}

#[test]
fn a_libvirt_domain_is_named_by_its_command_line_rather_than_its_shortened_scope() {
    let host = Host::with(
        9,
        qemu("web_1!", r"/machine.slice/machine-qemu\x2d1\x2dweb1.scope"),
    );
    let vm = host.name(9);
    assert_eq!(vm.name, "web_1!");
    assert_eq!(vm.belongs.domain, text("web_1!"));
    assert_eq!(vm.belongs.unit, text(r"machine-qemu\x2d1\x2dweb1.scope"));

    let bare = Process {
        cmdline: b"qemu-kvm\0".to_vec(),
        ..qemu("", r"/machine.slice/machine-qemu\x2d1\x2dweb1.scope")
    };
    let vm = Host::with(9, bare).name(9);
    assert_eq!((vm.name.as_str(), vm.belongs.domain), ("web1", text("web1")));
}

#[test]
fn a_nova_instance_has_novas_name_and_keeps_libvirts_for_joins() {
    let host = Host::with(9, qemu("instance-00000abc", NOVA_SCOPE))
        .and_file("qemu/instance-00000abc.xml", nova_file(9, UUID));
    let vm = host.name(9);
    assert_eq!((vm.name.as_str(), vm.named_by), ("shop", NamedBy::Platform));
    let belongs = Belongs {
        domain: text("instance-00000abc"),
        project: text("web"),
        project_id: text("p1"),
        owner: text("alice"),
        unit: text(r"machine-qemu\x2d12\x2dinstance\x2d00000abc.scope"),
        ..Belongs::default()
    };
    assert_eq!(*vm.belongs, belongs);
    assert_eq!(vm.uuid.as_deref(), Some(UUID));
}

#[test]
fn a_libvirt_file_of_another_process_or_uuid_is_ignored() {
    let other = "11111111-2222-3333-4444-555555555555";
    for file in [nova_file(10, UUID), nova_file(9, other), "<domstatus".to_owned()] {
        let host =
            Host::with(9, qemu("instance-00000abc", NOVA_SCOPE)).and_file("qemu/instance-00000abc.xml", file);
        let vm = host.name(9);
        assert_eq!(vm.name, "instance-00000abc");
        assert_eq!(vm.belongs.domain, text("instance-00000abc"));
        assert_eq!((vm.belongs.project, vm.uuid), (None, text(UUID)));
    }
}

#[test]
fn a_kubevirt_vm_has_a_namespace_and_a_name_of_its_own() {
    let pod = format!("/kubepods/burstable/pod{POD}/9f");
    let host = Host::with(9, qemu("shop_web.1", &pod)).and_file("qemu/shop_web.1.xml", nova_file(9, UUID));
    let vm = host.name(9);
    assert_eq!((vm.name.as_str(), vm.named_by), ("shop/web.1", NamedBy::Platform));
    let belongs = Belongs {
        domain: text("shop_web.1"),
        namespace: text("shop"),
        workload: text("web.1"),
        pod_uid: text(POD),
        ..Belongs::default()
    };
    assert_eq!(*vm.belongs, belongs, "a file of the host is not the pod's");
}

#[test]
fn an_underscore_outside_a_pod_or_in_no_name_of_kubernetes_is_an_underscore() {
    let vm = Host::with(
        9,
        qemu("shop_web", r"/machine.slice/machine-qemu\x2d1\x2dshopweb.scope"),
    )
    .name(9);
    assert_eq!((vm.name.as_str(), vm.belongs.namespace), ("shop_web", None));
    let pod = format!("/kubepods/burstable/pod{POD}/9f");
    for odd in [
        "_web",
        "shop_",
        "Shop_web",
        "shop_web_1",
        "shop_we/b",
        "sandbox-9f",
    ] {
        let vm = Host::with(9, qemu(odd, &pod)).name(9);
        assert_eq!((vm.name.as_str(), vm.belongs.namespace), (odd, None));
        assert_eq!(vm.belongs.pod_uid, text(POD));
    }
}

#[test]
fn what_was_known_outlives_the_process_and_a_stranger_is_named_by_its_pid() {
    let known = Host::with(9, process(b"firecracker\0--id\0f1\0", "firecracker")).name(9);
    let gone = Host::default();
    assert_eq!(known.resolved(9, "d".to_owned(), &gone), known);
    let stranger = known.resolved(10, "e".to_owned(), &gone);
    assert_eq!((stranger.name.as_str(), stranger.pid), ("pid 10", Some(10)));
}

#[test]
fn a_process_that_has_the_pid_of_one_that_is_gone_names_nothing() {
    let known = Host::with(9, qemu("web", "/")).name(9);
    let another = Process {
        start_time: 78,
        ..qemu("db", "/")
    };
    let host = Host::with(9, another);
    assert_eq!(known.resolved(9, "d".to_owned(), &host), known);
    // It was gone when first looked for: what has its pid now is another.
    let unfound = Host::default().name(9);
    assert_eq!(unfound.resolved(9, "d".to_owned(), &host).name, "pid 9");
}

#[test]
fn a_process_or_thread_that_is_younger_than_the_vm_did_not_make_it() {
    let seen = VmIdentity::seen(BootTime(770_000_000));
    let of = |start_time, thread_start_time| {
        let process = Process {
            pid: 9,
            start_time,
            thread_start_time,
            ..qemu("web", "/")
        };
        let vm = seen.resolved(11, String::new(), &Host::with(11, process));
        (vm.name, vm.pid)
    };
    assert_eq!(of(77, 0), ("web".to_owned(), Some(9)), "in the same tick");
    assert_eq!(of(70, 77), ("web".to_owned(), Some(9)));
    assert_eq!(of(78, 0), ("pid 11".to_owned(), Some(11)));
    assert_eq!(of(70, 78), ("pid 11".to_owned(), Some(11)));
}

#[test]
fn a_vm_made_by_a_thread_is_its_processs_for_good() {
    let process = Process {
        pid: 9,
        thread_start_time: 78,
        ..qemu("web", "/")
    };
    let known = Host::with(11, process).name(11);
    assert_eq!(
        (known.name.as_str(), known.pid, known.owner),
        ("web", Some(9), Some(11))
    );
    assert_eq!(known.resolved(11, "d".to_owned(), &Host::default()), known);
}

#[test]
fn a_later_look_that_finds_less_takes_nothing_away() {
    let host = Host::with(9, qemu("instance-00000abc", NOVA_SCOPE))
        .and_file("qemu/instance-00000abc.xml", nova_file(9, UUID));
    let known = host.name(9);
    for less in [
        process(b"", "qemu-system-x86"),
        qemu("instance-00000abc", NOVA_SCOPE),
    ] {
        let later = known.resolved(9, "e".to_owned(), &Host::with(9, less));
        assert_eq!((later.name.as_str(), later.discriminator.as_str()), ("shop", "e"));
        assert_eq!(later.uuid, known.uuid);
    }
    let early = Host::with(9, qemu("instance-00000abc", NOVA_SCOPE)).name(9);
    assert_eq!(early.resolved(9, "e".to_owned(), &host).name, "shop");
}

proptest! {
    #[test]
    fn whatever_a_process_says_its_vm_has_a_bounded_name(
        cmdline in prop::collection::vec(any::<u8>(), 0..300),
        name in "\\PC{0,100}|[a-z]{1,3}_[a-z]{1,300}",
        comm in ".{0,400}",
        cgroup in prop::collection::vec(any::<u8>(), 0..300),
        in_pod in any::<bool>(),
        own_pid in any::<u32>(),
    ) {
        let mut argv = b"kvm\0-name\0".to_vec();
        argv.extend(name.as_bytes());
        argv.push(0);
        argv.extend(cmdline);
        let mut group = if in_pod { format!("0::/kubepods/pod{POD}/").into_bytes() } else { Vec::new() };
        group.extend(cgroup);
        let process = Process { cmdline: argv, comm, cgroup: group, own_pid, ..Process::default() };
        let vm = Host::with(9, process).name(9);
        let Belongs { domain, title, namespace, workload, pod_uid, project, project_id, owner, unit } = *vm.belongs;
        let optional = [domain, title, namespace, workload, pod_uid, project, project_id, owner, unit, vm.uuid];
        let kept = optional.into_iter().flatten().chain([vm.name, vm.vmm]);
        for text in kept {
            prop_assert!(!text.is_empty() && text.len() <= MAX_TEXT, "{text:?}");
        }
    }
}
