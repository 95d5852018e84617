//! Pseudonyms in the place of names: the same one for the same name throughout a recording, and of no use outside it.
//!
//! They are numbered as they come up, not computed from what they replace, so that nothing can be guessed back. Registers,
//! times, the kernel's release and the words for known VMMs stay.

use std::collections::HashMap;

use probe_apic::{comm::Comm, observation::Observation};

use crate::entry::{Identity, Namer};

/// Names that are told apart, of each kind; a process can take any number of names. The others share one pseudonym.
const MOST: usize = 1 << 16;

/// The VMMs that ldrscope names itself.
const KNOWN_VMMS: [&str; 6] = [
    "qemu",
    "firecracker",
    "cloud-hypervisor",
    "crosvm",
    "kvmtool",
    "unknown",
];

/// Who is called what.
#[derive(Debug, Default)]
pub struct Pseudonyms {
    texts: HashMap<(Kind, String), usize>,
    counts: HashMap<Kind, usize>,
    tasks: HashMap<u32, u32>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
enum Kind {
    Vm,
    Uuid,
    Comm,
    InProcess,
    Title,
    Namespace,
    Workload,
    Project,
    User,
    Unit,
}

impl Kind {
    const fn word(self) -> &'static str {
        match self {
            Self::Vm => "vm",
            Self::Uuid => "",
            Self::Comm => "task",
            Self::InProcess => "in-process",
            Self::Title => "title",
            Self::Namespace => "namespace",
            Self::Workload => "workload",
            Self::Project => "project",
            Self::User => "user",
            Self::Unit => "unit",
        }
    }
}

impl Pseudonyms {
    /// Nobody has one yet.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Hides who ran.
    pub fn hide_in(&mut self, observation: &mut Observation) {
        if let Observation::Touched(touched) = observation {
            let task = &mut touched.task;
            task.tid = self.task(task.tid);
            task.tgid = self.task(task.tgid);
            task.comm = Comm::from(self.text(Kind::Comm, &task.comm.text()).as_str());
        }
    }

    /// Hides who a VM is.
    pub fn hide(&mut self, identity: &mut Identity) {
        identity.pid = identity.pid.map(|pid| self.task(pid));
        identity.owner = identity.owner.map(|owner| self.task(owner));
        identity.name = match (identity.named_by, identity.pid) {
            (Namer::Nobody, Some(pid)) => format!("pid {pid}"),
            (Namer::Process, _) => self.text(Kind::Comm, &identity.name),
            _ => self.text(Kind::Vm, &identity.name),
        };
        identity.uuid = identity.uuid.take().map(|uuid| self.text(Kind::Uuid, &uuid));
        if !KNOWN_VMMS.contains(&identity.vmm.as_str()) {
            identity.vmm = self.text(Kind::Comm, &identity.vmm);
        }
        // A birth number tells nothing.
        if !identity.discriminator.starts_with('#') {
            identity.discriminator = self.text(Kind::InProcess, &identity.discriminator);
        }
        let kinds = [
            Kind::Vm,
            Kind::Title,
            Kind::Namespace,
            Kind::Workload,
            Kind::Uuid,
            Kind::Project,
            Kind::Uuid,
            Kind::User,
            Kind::Unit,
        ];
        for (kind, field) in kinds.into_iter().zip(identity.belongs.fields_mut()) {
            *field = field.take().map(|text| self.text(kind, &text));
        }
    }

    fn text(&mut self, kind: Kind, text: &str) -> String {
        if text.is_empty() {
            return String::new();
        }
        let count = self.counts.entry(kind).or_default();
        let number = match self.texts.get(&(kind, text.to_owned())) {
            Some(number) => *number,
            None if *count == MOST => MOST + 1,
            None => {
                *count += 1;
                self.texts.insert((kind, text.to_owned()), *count);
                *count
            }
        };
        match kind {
            Kind::Uuid => format!("00000000-0000-4000-8000-{number:012x}"),
            _ => format!("{}-{number}", kind.word()),
        }
    }

    /// A process or a thread; 0 is none.
    fn task(&mut self, id: u32) -> u32 {
        if id == 0 {
            return 0;
        }
        let next = u32::try_from(self.tasks.len())
            .unwrap_or(u32::MAX)
            .saturating_add(1);
        if self.tasks.len() < MOST {
            *self.tasks.entry(id).or_insert(next)
        } else {
            self.tasks.get(&id).copied().unwrap_or(next)
        }
    }
}
