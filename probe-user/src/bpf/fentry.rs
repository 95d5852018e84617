//! Programs on the entry of a module's functions, which Aya cannot attach yet (its issue 301): it looks a function up in the
//! kernel's own BTF alone. What it has no part in is short: the object's code is linked against the maps that are loaded
//! already, by the library beneath Aya, and bpf(2) is told in which BTF the function is.
//!
//! They cost a third of a kprobe and pin the module that they are attached to.

use std::{
    collections::{BTreeMap, HashSet},
    io,
    os::fd::{AsFd as _, AsRawFd as _, OwnedFd},
};

use aya::{
    Ebpf,
    maps::{Map, MapData},
};
use aya_obj::Object;

use super::syscall::{self, Function};

/// The module that holds KVM's common functions.
const MODULE: &str = "kvm";

/// A program and the function that it is to be entered with.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Site {
    /// In the object.
    pub(super) program: &'static str,
    /// The function's type id.
    pub(super) function: u32,
}

/// Attached as long as it lives.
#[derive(Debug)]
pub(super) struct Fentries {
    /// Dropped before the programs.
    _links: Vec<OwnedFd>,
    /// By their names in the object.
    pub(super) programs: BTreeMap<&'static str, OwnedFd>,
}

impl Fentries {
    /// Loads the programs of `sites` out of `object`, over the maps of `loaded`, and attaches them. All of them or none.
    pub(super) fn attach(object: &[u8], loaded: &Ebpf, sites: &[Site]) -> io::Result<Self> {
        let object = link(object, loaded)?;
        // None where KVM is built in: the functions are then the kernel's own.
        let module = syscall::module_btf(MODULE)?;
        let mut programs = BTreeMap::new();
        for site in sites {
            let program = object.programs.get(site.program);
            let (program, code) = program
                .and_then(|program| Some((program, object.functions.get(&program.function_key())?)))
                .ok_or_else(|| {
                    io::Error::other(format!("the embedded object holds no `{}`", site.program))
                })?;
            let function = Function {
                module: module.as_ref().map(|btf| btf.as_fd()),
                id: site.function,
            };
            let loaded =
                syscall::load_fentry(site.program, &code.instructions, &program.license, function)
                    .map_err(|error| io::Error::new(error.kind(), format!("`{}`: {error}", site.program)))?;
            programs.insert(site.program, loaded);
        }
        let links = programs
            .values()
            .map(|program| syscall::attach_fentry(program.as_fd()))
            .collect::<io::Result<_>>()?;
        Ok(Self {
            _links: links,
            programs,
        })
    }
}

/// The object's code with the loaded maps in it.
fn link(object: &[u8], loaded: &Ebpf) -> io::Result<Object> {
    let mut object = Object::parse(object).map_err(io::Error::other)?;
    let maps = std::mem::take(&mut object.maps);
    let descriptors = maps.iter().filter_map(|(name, map)| {
        let loaded = data(loaded.map(name)?)?;
        Some((name.as_str(), loaded.fd().as_fd().as_raw_fd(), map))
    });
    let text: HashSet<usize> = object.functions.keys().map(|(section, _)| *section).collect();
    object
        .relocate_maps(descriptors, &text)
        .map_err(io::Error::other)?;
    object.relocate_calls(&text).map_err(io::Error::other)?;
    Ok(object)
}

/// A map of one of the kinds that the object has.
fn data(map: &Map) -> Option<&MapData> {
    match map {
        Map::Array(data) | Map::HashMap(data) | Map::PerCpuArray(data) | Map::RingBuf(data) => Some(data),
        _ => None,
    }
}
