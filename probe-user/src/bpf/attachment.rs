//! Loads the kernel-side object into the running kernel and attaches its hooks. Dropping an [`Attachment`]
//! detaches everything; so does the death of the process.

use std::{
    io,
    os::fd::{AsFd as _, BorrowedFd, OwnedFd},
};

use aya::{
    Ebpf,
    maps::Map,
    programs::{KProbe, Program, ProgramError, RawTracePoint},
};
use aya_log::EbpfLogger;
use probe_common::layout::Layout;

use super::{handles::Handles, loader, syscall, window::PROGRAMS};
use crate::kernel::{
    hook::{HOOKS, Need, Set},
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
    /// Whether the kernel side logs (through the `log` crate).
    pub log: bool,
    /// Whether the kernel times every run of every program, ldrscope's and others', meanwhile.
    pub run_time: bool,
}

/// The loaded and attached kernel side: its programs and links. It is observed through its [`Handles`].
pub struct Attachment {
    ebpf: Ebpf,
    /// Programs of the hooks that found their function.
    attached: Vec<&'static str>,
    logger: Option<EbpfLogger<&'static dyn log::Log>>,
    /// Open for as long as the kernel is to keep its statistics.
    _run_time: Option<OwnedFd>,
}

impl Attachment {
    /// Loads the object and attaches every hook of the chosen set.
    ///
    /// # Errors
    ///
    /// Where the kernel refuses a map, a program or an attachment, or a required function does not exist.
    pub fn make(options: AttachOptions, layout: &Layout, symbols: &Symbols) -> Result<Self, Obstacle> {
        let object = OBJECT.ok_or(Obstacle::NoObject)?;
        let precise = u32::from(options.precise);
        let log_level = if options.log { log::Level::Trace as u8 } else { 0 };
        let mut ebpf = loader::without_types()
            .override_global("LAYOUT", bytemuck::bytes_of(layout), true)
            .override_global("PRECISE", bytemuck::bytes_of(&precise), true)
            .override_global("AYA_LOG_LEVEL", bytemuck::bytes_of(&log_level), false)
            .map_max_entries("EVENTS", options.ring_bytes)
            .load(object)
            .map_err(|error| refused("the object", error))?;
        for name in PROGRAMS {
            load::<RawTracePoint>(&mut ebpf, name, RawTracePoint::load)?;
        }
        let mut attached = Vec::new();
        for hook in HOOKS
            .iter()
            .filter(|hook| hook.set == Set::Cold || options.precise)
        {
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
                (sites, _) => {
                    attach(&mut ebpf, hook.program, sites)?;
                    attached.push(hook.program);
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
            logger,
            _run_time: options.run_time.then(keep_run_time).flatten(),
        })
    }

    /// Descriptors of its own for whoever is to observe.
    ///
    /// # Errors
    ///
    /// Where the process may have no more descriptors.
    pub fn handles(&self) -> Result<Handles, Obstacle> {
        let [vm, routes, list] = PROGRAMS;
        Ok(Handles {
            ring: self.map("EVENTS")?,
            window: self.map("WINDOW")?,
            counts: self.map("COUNTS")?,
            copiers: [self.program(vm)?, self.program(routes)?, self.program(list)?],
            hooks: self
                .attached
                .iter()
                .map(|&name| Ok((name, self.program(name)?)))
                .collect::<Result<_, Obstacle>>()?,
        })
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

    fn map(&self, name: &'static str) -> Result<OwnedFd, Obstacle> {
        let map = match self.ebpf.map(name) {
            Some(Map::RingBuf(map) | Map::Array(map)) => map,
            _ => return Err(missing(name)),
        };
        duplicate(map.fd().as_fd())
    }

    fn program(&self, name: &'static str) -> Result<OwnedFd, Obstacle> {
        let program = self.ebpf.program(name).ok_or_else(|| missing(name))?;
        duplicate(program.fd().map_err(|error| refused(name, error))?.as_fd())
    }
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

fn attach(ebpf: &mut Ebpf, name: &'static str, sites: &[&'static str]) -> Result<(), Obstacle> {
    let program = load::<KProbe>(ebpf, name, KProbe::load)?;
    for site in sites {
        program
            .attach(site, 0)
            .map_err(|error| attach_refused(site, error))?;
    }
    Ok(())
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
