//! The window: memory shared with the kernel side, and the programs that fill it when asked.
//!
//! UNSAFETY: reads the window's memory, which the kernel side writes. Only this module does.

use std::{
    io,
    os::fd::{AsFd as _, OwnedFd},
    ptr,
};

use probe_common::window::{ListCopy, RouteCopy, VmCopy, Window};

use super::{mapped::Mapped, syscall};
use crate::kernel::obstacle::Obstacle;

/// The window's memory, mapped read-only.
#[derive(Debug)]
pub struct WindowView(Mapped<Window>);

impl WindowView {
    /// Maps the window.
    ///
    /// # Errors
    ///
    /// Where the kernel refuses to map it.
    pub fn new(map: OwnedFd) -> Result<Self, Obstacle> {
        Mapped::new(map).map(Self)
    }

    fn vm(&self) -> Box<VmCopy> {
        // SAFETY: a field's address within the mapping, which holds a whole Window.
        let vm = unsafe { &raw const (*self.0.place()).vm };
        // SAFETY: the mapping lives as long as self and holds plain integers. The programs that write it run
        // only inside `Copier`'s calls, which have returned; nobody writes meanwhile.
        Box::new(unsafe { ptr::read_volatile(vm) })
    }

    fn routes(&self) -> Box<RouteCopy> {
        // SAFETY: as in `vm`.
        let routes = unsafe { &raw const (*self.0.place()).routes };
        // SAFETY: as in `vm`.
        Box::new(unsafe { ptr::read_volatile(routes) })
    }

    fn list(&self) -> ListCopy {
        // SAFETY: as in `vm`.
        let list = unsafe { &raw const (*self.0.place()).list };
        // SAFETY: as in `vm`.
        unsafe { ptr::read_volatile(list) }
    }
}

/// Whether a copy may give a birth number to a VM that is not known yet.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Adopt {
    /// It may: the VM was found on KVM's list.
    Yes,
    /// It may not.
    No,
}

/// The programs that fill the window; loaded, never attached.
pub const PROGRAMS: [&str; 3] = ["copy_vm", "copy_routes", "walk_list"];

/// A source of copies of VMs. What puts them together takes any, so that it can be tried on copies that no kernel
/// would make.
pub trait Copies {
    /// Why a copy could not be made.
    type Error;

    /// Copies a VM: 64 vCPUs from `first_vcpu` on (a multiple of 64), 256 entries of the physical map from
    /// `first_physical` on, everything else whole. `kvm` is the address of its `struct kvm`.
    ///
    /// # Errors
    ///
    /// Where no copy could be made; a VM that is not known is a copy that was not [`VmCopy::made`].
    fn vm(
        &mut self,
        kvm: u64,
        first_vcpu: u32,
        first_physical: u32,
        adopt: Adopt,
    ) -> Result<Box<VmCopy>, Self::Error>;

    /// Copies the routes of 64 GSIs of a VM from `first_gsi` on. `kvm` is the address of its `struct kvm`.
    ///
    /// # Errors
    ///
    /// Where no copy could be made.
    fn routes(&mut self, kvm: u64, first_gsi: u32) -> Result<Box<RouteCopy>, Self::Error>;
}

/// Copies kernel state on demand.
#[derive(Debug)]
pub struct Copier {
    copy_vm: OwnedFd,
    copy_routes: OwnedFd,
    walk_list: OwnedFd,
    window: WindowView,
}

/// Fails where the kernel refuses to run a program.
impl Copies for Copier {
    type Error = io::Error;

    fn vm(
        &mut self,
        kvm: u64,
        first_vcpu: u32,
        first_physical: u32,
        adopt: Adopt,
    ) -> io::Result<Box<VmCopy>> {
        let adopt = u64::from(adopt == Adopt::Yes);
        let context = [kvm, first_vcpu.into(), first_physical.into(), adopt];
        syscall::run(self.copy_vm.as_fd(), &context)?;
        Ok(self.window.vm())
    }

    fn routes(&mut self, kvm: u64, first_gsi: u32) -> io::Result<Box<RouteCopy>> {
        syscall::run(self.copy_routes.as_fd(), &[kvm, first_gsi.into(), 0, 0])?;
        Ok(self.window.routes())
    }
}

impl Copier {
    /// Takes over the programs, in the order of [`PROGRAMS`], and the window they write.
    #[must_use]
    pub fn new(programs: [OwnedFd; 3], window: WindowView) -> Self {
        let [copy_vm, copy_routes, walk_list] = programs;
        Self {
            copy_vm,
            copy_routes,
            walk_list,
            window,
        }
    }

    /// Copies a stretch of KVM's list of VMs from `node` on; 0 is its head.
    ///
    /// # Errors
    ///
    /// Where the kernel refuses to run the program.
    pub fn list(&mut self, node: u64) -> io::Result<ListCopy> {
        syscall::run(self.walk_list.as_fd(), &[node, 0, 0, 0])?;
        Ok(self.window.list())
    }
}
