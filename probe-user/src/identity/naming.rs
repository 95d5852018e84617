//! A name out of everything that is known: what the process, its control group and libvirt say, put together.

use super::{
    Belongs,
    cgroup::{self, Machine, Place},
    cmdline::{self, Words},
    libvirt::{self, Domain},
    process::{Process, ProcessSource},
    text::bounded,
};

/// Who gave a VM its name; the later, the more it is worth.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum NamedBy {
    /// Nobody: it is called by its process id.
    Nobody,
    /// The process, by its comm.
    Process,
    /// The VMM or libvirt.
    Vmm,
    /// What manages libvirt: Nova or KubeVirt.
    Platform,
}

/// What people are told of a VM.
pub(super) struct Named {
    pub(super) name: String,
    pub(super) by: NamedBy,
    pub(super) uuid: Option<String>,
    pub(super) vmm: String,
    pub(super) belongs: Belongs,
}

/// Names the VM of that process.
pub(super) fn name(pid: u32, process: &Process, source: &dyn ProcessSource) -> Named {
    let own_pid = Some(process.own_pid).filter(|own_pid| *own_pid != 0);
    let words = cmdline::parse(&process.cmdline, &process.comm, own_pid);
    let place = cgroup::parse(&process.cgroup);
    let comm = bounded(&process.comm);
    let vmm = words.vmm.map(str::to_owned).or_else(|| comm.clone());
    let status = status(pid, &words, &place, source);
    let uuid = status
        .as_ref()
        .and_then(|domain| domain.uuid.clone())
        .or_else(|| words.uuid.clone());
    let (platform_name, vmm_name, belongs) = belonging(words, place, status);
    let (name, by) = platform_name
        .map(|name| (name, NamedBy::Platform))
        .or(vmm_name.map(|name| (name, NamedBy::Vmm)))
        .or(comm.map(|name| (name, NamedBy::Process)))
        .unwrap_or_else(|| (format!("pid {pid}"), NamedBy::Nobody));
    Named {
        name,
        by,
        uuid,
        vmm: vmm.unwrap_or_else(|| "unknown".to_owned()),
        belongs,
    }
}

/// libvirt's run-time file, if it is of this process. Under Kubernetes libvirt runs in the pod, and a file of the
/// same name out here would be another VM's.
fn status(pid: u32, words: &Words, place: &Place, source: &dyn ProcessSource) -> Option<Domain> {
    if place.pod_uid.is_some() {
        return None;
    }
    let driver = match (&place.machine, words.vmm) {
        (Some(machine), _) => machine.driver,
        (None, Some("qemu")) => "qemu",
        (None, _) => return None,
    };
    // The scope's name is shortened where the command line's is not.
    let name = words
        .name
        .as_ref()
        .or(place.machine.as_ref().map(|machine| &machine.name))?;
    let file = source.libvirt_status(driver, &libvirt::file_name(name)?)?;
    let domain = libvirt::parse(&file)?;
    let another = words.uuid.is_some() && domain.uuid.is_some() && words.uuid != domain.uuid;
    (domain.pid == pid && !another).then_some(domain)
}

/// Name by the platform, name by the VMM or libvirt, and the rest.
fn belonging(
    words: Words,
    place: Place,
    status: Option<Domain>,
) -> (Option<String>, Option<String>, Belongs) {
    let workload = place
        .pod_uid
        .as_ref()
        .filter(|_| words.vmm == Some("qemu"))
        .and(words.name.as_deref())
        .and_then(kubevirt_names);
    let by_libvirt = status.is_some() || place.machine.is_some() || workload.is_some();
    let Domain {
        name, title, nova, ..
    } = status.unwrap_or_default();
    let vmm_name = name
        .or(words.name)
        .or(place.machine.map(|Machine { name, .. }| name));
    let platform_name = workload
        .as_ref()
        .and_then(|(namespace, workload)| bounded(&format!("{namespace}/{workload}")))
        .or(nova.name);
    let (namespace, workload) = workload.unzip();
    let belongs = Belongs {
        domain: vmm_name.clone().filter(|_| by_libvirt),
        title,
        namespace,
        workload,
        pod_uid: place.pod_uid,
        project: nova.project,
        project_id: nova.project_id,
        owner: nova.owner,
        unit: place.unit,
    };
    (platform_name, vmm_name, belongs)
}

/// Namespace and name of the VirtualMachineInstance in `NAMESPACE_NAME`, as KubeVirt calls its domains. Kubernetes
/// allows no `_` in either.
fn kubevirt_names(domain: &str) -> Option<(String, String)> {
    let (namespace, name) = domain.split_once('_')?;
    let label = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'-';
    let valid = !namespace.is_empty()
        && !name.is_empty()
        && namespace.bytes().all(label)
        && name.bytes().all(|byte| label(byte) || byte == b'.');
    valid.then(|| (namespace.to_owned(), name.to_owned()))
}
