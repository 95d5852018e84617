//! Loads the kernel-side object into the running kernel and attaches its hooks. Dropping an [`Attachment`]
//! detaches everything; so does the death of the process.

use std::{
    collections::BTreeMap,
    io,
    os::fd::{AsFd as _, BorrowedFd, OwnedFd},
    thread,
    time::Duration,
};

use aya::{
    Ebpf,
    maps::Map,
    programs::{KProbe, Program, ProgramError, RawTracePoint, kprobe::KProbeLinkId},
};
use aya_log::EbpfLogger;
use probe_common::speaking::Speaking;

use super::{
    fentry::{Fentries, Site},
    handles::Handles,
    loader,
    speaking::Voices,
    syscall,
    window::PROGRAMS,
};
use crate::kernel::{
    hook::{HOOKS, Hook, INTERRUPT, Need, Set},
    layout::Resolved,
    obstacle::{Obstacle, Source},
    symbols::Symbols,
};

/// The object, where this binary carries it.
#[cfg(ebpf_object)]
const OBJECT: Option<&[u8]> = Some(aya::include_bytes_aligned!(concat!(
    env!("OUT_DIR"),
    "/ldrscope-ebpf"
)));
#[cfg(not(ebpf_object))]
const OBJECT: Option<&[u8]> = None;

/// How to load and attach.
#[derive(Clone, Copy, Debug)]
pub struct AttachOptions {
    /// Size of the ring in bytes: a power of two, at least a page.
    pub ring_bytes: u32,
    /// Whether to attach the precise hooks on top.
    pub precise: bool,
    /// Whether to attach the hook that counts interrupts on top.
    pub interrupts: bool,
    /// Whether the kernel side logs (through the `log` crate).
    pub log: bool,
    /// Whether the kernel times every run of every program, ldrscope's and others', meanwhile.
    pub run_time: bool,
}

impl AttachOptions {
    const fn wants(&self, set: Set) -> bool {
        match set {
            Set::Cold => true,
            Set::Precise => self.precise,
            Set::Interrupts => self.interrupts,
        }
    }
}

/// How long both programs of a hook speak while one takes the other's place: longer than a CPU may be between the two.
const OVERLAP: Duration = Duration::from_millis(10);

/// The loaded and attached kernel side: its programs and links. It is observed through its [`Handles`].
///
/// Its hooks are kprobes at first, which pin nothing. While there are VMs [`Self::quicken`] puts cheaper programs in their
/// place, which pin the kvm module.
pub struct Attachment {
    ebpf: Ebpf,
    /// The hooks that found their function.
    attached: Vec<Attached>,
    voices: Voices,
    /// Type ids of the hooks' functions.
    functions: BTreeMap<&'static str, u32>,
    fentries: Option<Fentries>,
    logger: Option<EbpfLogger<&'static dyn log::Log>>,
    /// Open for as long as the kernel is to keep its statistics.
    _run_time: Option<OwnedFd>,
}

/// A hook and where it sits.
struct Attached {
    hook: &'static Hook,
    sites: Vec<&'static str>,
    /// Of its kprobes; none while another program has their place.
    links: Vec<KProbeLinkId>,
}

impl Attachment {
    /// Loads the object and attaches every hook of the chosen set.
    ///
    /// # Errors
    ///
    /// Where the kernel refuses a map, a program or an attachment, or a required function does not exist.
    pub fn make(options: AttachOptions, resolved: &Resolved, symbols: &Symbols) -> Result<Self, Obstacle> {
        let object = OBJECT.ok_or(Obstacle::NoObject)?;
        let precise = u32::from(options.precise);
        let log_level = if options.log { log::Level::Trace as u8 } else { 0 };
        let mut ebpf = loader::without_types()
            .override_global("LAYOUT", bytemuck::bytes_of(&resolved.layout), true)
            .override_global("PRECISE", bytemuck::bytes_of(&precise), true)
            .override_global("AYA_LOG_LEVEL", bytemuck::bytes_of(&log_level), false)
            .map_max_entries("EVENTS", options.ring_bytes)
            .map_max_entries("BANKS", if options.interrupts { banks()? } else { 1 })
            .load(object)
            .map_err(|error| refused("the object", error))?;
        for name in PROGRAMS {
            load::<RawTracePoint>(&mut ebpf, name, RawTracePoint::load)?;
        }
        let mut voices = Voices::new(map(&ebpf, "SPEAKING")?)?;
        voices.set(Speaking {
            kprobes: 1,
            fentries: 0,
        });
        let mut attached = Vec::new();
        for hook in HOOKS.iter().filter(|hook| options.wants(hook.set)) {
            let sites = hook.sites(symbols);
            match (sites.as_slice(), hook.need) {
                ([], Need::Required) => {
                    return Err(Obstacle::SymbolMissing {
                        name: hook.functions[0].to_owned(),
                    });
                }
                ([], Need::Optional(lost)) => {
                    log::warn!(
                        "the kernel function `{}` does not exist here: {lost}",
                        hook.functions[0]
                    );
                }
                _ => {
                    load::<KProbe>(&mut ebpf, hook.program, KProbe::load)?;
                    let links = attach(&mut ebpf, hook.program, &sites)?;
                    attached.push(Attached { hook, sites, links });
                }
            }
        }
        give_memory_back();
        let logger = if options.log {
            EbpfLogger::init(&mut ebpf).ok()
        } else {
            None
        };
        Ok(Self {
            ebpf,
            attached,
            voices,
            functions: resolved.functions.clone(),
            fentries: None,
            logger,
            _run_time: options.run_time.then(keep_run_time).flatten(),
        })
    }

    /// Puts fentry programs in the place of kprobes, hook by hook that has one, without an event between the two being
    /// lost. They pin the kvm module: not to be left where no VM is.
    ///
    /// # Errors
    ///
    /// Where this kernel or these privileges do not allow it; everything is then as before.
    pub fn quicken(&mut self) -> io::Result<()> {
        let (Some(object), None) = (OBJECT, &self.fentries) else {
            return Ok(());
        };
        let sites: Vec<Site> = self
            .fast()
            .map(|(attached, program)| self.site(attached, program))
            .collect::<io::Result<_>>()?;
        self.fentries = Some(Fentries::attach(object, &self.ebpf, &sites)?);
        self.pass_the_word(0, 1);
        for attached in self
            .attached
            .iter_mut()
            .filter(|attached| attached.hook.fast.is_some())
        {
            let Ok(program) = kprobe(&mut self.ebpf, attached.hook.program) else {
                continue;
            };
            for link in attached.links.drain(..) {
                if let Err(error) = program.detach(link) {
                    log::warn!("`{}` stays attached: {error}", attached.hook.program);
                }
            }
        }
        give_memory_back();
        Ok(())
    }

    /// Whether the fast programs are in.
    #[must_use]
    pub const fn is_fast(&self) -> bool {
        self.fentries.is_some()
    }

    /// The kprobes again, so that the kvm module can be unloaded.
    ///
    /// # Errors
    ///
    /// Where one of them cannot be attached again.
    pub fn slacken(&mut self) -> Result<(), Obstacle> {
        if self.fentries.is_none() {
            return Ok(());
        }
        for attached in self
            .attached
            .iter_mut()
            .filter(|attached| attached.links.is_empty())
        {
            attached.links = attach(&mut self.ebpf, attached.hook.program, &attached.sites)?;
        }
        self.pass_the_word(1, 0);
        self.fentries = None;
        Ok(())
    }

    /// The same, and [`Self::quicken`] refuses from now on.
    ///
    /// # Errors
    ///
    /// As [`Self::slacken`].
    pub fn slacken_for_good(&mut self) -> Result<(), Obstacle> {
        self.functions.clear();
        self.slacken()
    }

    /// Who spoke goes on until the other surely does.
    fn pass_the_word(&mut self, kprobes: u32, fentries: u32) {
        self.voices.set(Speaking {
            kprobes: 1,
            fentries: 1,
        });
        thread::sleep(OVERLAP);
        self.voices.set(Speaking { kprobes, fentries });
    }

    /// The hooks that have a faster program, with it.
    fn fast(&self) -> impl Iterator<Item = (&Attached, &'static str)> {
        self.attached
            .iter()
            .filter_map(|attached| Some((attached, attached.hook.fast?)))
    }

    fn site(&self, attached: &Attached, program: &'static str) -> io::Result<Site> {
        let function = match attached.sites[..] {
            [only] => self.functions.get(only).copied(),
            _ => None,
        };
        let function = function.ok_or_else(|| {
            io::Error::other(format!(
                "the kernel's types do not tell where `{}` is",
                attached.hook.functions[0]
            ))
        })?;
        Ok(Site { program, function })
    }

    /// Descriptors of its own for whoever is to observe.
    ///
    /// # Errors
    ///
    /// Where the process may have no more descriptors.
    pub fn handles(&self) -> Result<Handles, Obstacle> {
        let [vm, routes, list] = PROGRAMS;
        let counts_interrupts = self
            .attached
            .iter()
            .any(|attached| attached.hook.program == INTERRUPT);
        Ok(Handles {
            interrupts: if counts_interrupts {
                Some([map(&self.ebpf, "BANKS")?, map(&self.ebpf, "PULSE")?])
            } else {
                None
            },
            ring: map(&self.ebpf, "EVENTS")?,
            window: map(&self.ebpf, "WINDOW")?,
            counts: map(&self.ebpf, "COUNTS")?,
            copiers: [self.program(vm)?, self.program(routes)?, self.program(list)?],
            hooks: self
                .attached
                .iter()
                .map(|attached| Ok((attached.hook.program, self.program(attached.hook.program)?)))
                .collect::<Result<_, Obstacle>>()?,
        })
    }

    /// The programs that have taken the place of a hook's kprobe, by the name of that hook's kprobe.
    ///
    /// # Errors
    ///
    /// Where the process may have no more descriptors.
    pub fn fast_programs(&self) -> Result<Vec<(&'static str, OwnedFd)>, Obstacle> {
        let Some(fentries) = &self.fentries else {
            return Ok(Vec::new());
        };
        self.fast()
            .filter_map(|(attached, fast)| Some((attached.hook.program, fentries.programs.get(fast)?)))
            .map(|(name, program)| Ok((name, duplicate(program.as_fd())?)))
            .collect()
    }

    /// Passes what the kernel side logged on to the `log` crate.
    pub fn flush_log(&mut self) {
        if let Some(logger) = &mut self.logger {
            logger.flush();
        }
    }

    /// Whether the kernel side logs.
    #[must_use]
    pub const fn logs(&self) -> bool {
        self.logger.is_some()
    }

    fn program(&self, name: &'static str) -> Result<OwnedFd, Obstacle> {
        let program = self.ebpf.program(name).ok_or_else(|| missing(name))?;
        duplicate(program.fd().map_err(|error| refused(name, error))?.as_fd())
    }
}

/// Two for each CPU that there may ever be.
fn banks() -> Result<u32, Obstacle> {
    let cpus = aya::util::nr_cpus().map_err(|(path, source)| {
        Obstacle::internal(
            "counting the host's CPUs",
            io::Error::new(source.kind(), format!("{path}: {source}")),
        )
    })?;
    u32::try_from(cpus * 2)
        .map_err(|error| Obstacle::internal("counting the host's CPUs", io::Error::other(error)))
}

fn map(ebpf: &Ebpf, name: &'static str) -> Result<OwnedFd, Obstacle> {
    let map = match ebpf.map(name) {
        Some(Map::RingBuf(map) | Map::Array(map)) => map,
        _ => return Err(missing(name)),
    };
    duplicate(map.fd().as_fd())
}

fn duplicate(descriptor: BorrowedFd<'_>) -> Result<OwnedFd, Obstacle> {
    descriptor
        .try_clone_to_owned()
        .map_err(|source| Obstacle::internal("duplicating a descriptor", source))
}

/// Statistics are worth a warning and no more.
fn keep_run_time() -> Option<OwnedFd> {
    syscall::enable_stats()
        .inspect_err(|error| log::warn!("the run time of the kernel-side programs is not known: {error}"))
        .ok()
}

/// What was read of the kernel's types and of the object is let go of by now, and the allocator would keep it for as long as
/// ldrscope runs.
fn give_memory_back() {
    // SAFETY: takes no pointer and touches free memory only. Its answer, whether any was given back, does not
    // matter.
    let _ = unsafe { libc::malloc_trim(0) };
}

/// Loads the program of that name, of kind `P`.
fn load<'e, P>(
    ebpf: &'e mut Ebpf,
    name: &'static str,
    load: impl FnOnce(&mut P) -> Result<(), ProgramError>,
) -> Result<&'e mut P, Obstacle>
where
    &'e mut P: TryFrom<&'e mut Program, Error = ProgramError>,
{
    let program = ebpf.program_mut(name).ok_or_else(|| missing(name))?;
    let program: &'e mut P = program.try_into().map_err(|error| refused(name, error))?;
    load(program).map_err(|error| refused(name, error))?;
    Ok(program)
}

fn kprobe<'e>(ebpf: &'e mut Ebpf, name: &'static str) -> Result<&'e mut KProbe, Obstacle> {
    let program = ebpf.program_mut(name).ok_or_else(|| missing(name))?;
    program
        .try_into()
        .map_err(|error: ProgramError| refused(name, error))
}

/// Attaches a kprobe that is loaded.
fn attach(
    ebpf: &mut Ebpf,
    name: &'static str,
    sites: &[&'static str],
) -> Result<Vec<KProbeLinkId>, Obstacle> {
    let program = kprobe(ebpf, name)?;
    let attach = |site: &&'static str| {
        program
            .attach(*site, 0)
            .map_err(|error| attach_refused(site, error))
    };
    sites.iter().map(attach).collect()
}

fn missing(part: &'static str) -> Obstacle {
    refused(part, io::Error::other("the embedded object does not hold it"))
}

fn refused(program: &str, source: impl Into<Source>) -> Obstacle {
    Obstacle::LoadRefused {
        program: program.to_owned(),
        source: source.into(),
    }
}

fn attach_refused(function: &str, error: ProgramError) -> Obstacle {
    Obstacle::AttachFailed {
        function: function.to_owned(),
        source: error.into(),
    }
}
