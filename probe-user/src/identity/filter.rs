//! `--vm NAME|UUID|PID`: which VMs are meant. A name is the one that is shown, libvirt's, or KubeVirt's `NAMESPACE/NAME`.

use super::{VmIdentity, text::canonical_uuid};
use std::collections::BTreeSet;

use crate::escape::escape_line;

/// Selects VMs by name, UUID or process id.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct VmFilter {
    wanted: Option<String>,
}

/// Nothing matches the filter.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
#[error("no VM matches `{}`: {}", escape_line(.wanted), list(.present))]
pub struct NoSuchVm {
    /// What was asked for.
    pub wanted: String,
    /// The VMs there are, as `name (pid PID)`.
    pub present: Vec<String>,
}

impl VmFilter {
    /// A filter for `wanted`; `None` lets every VM pass.
    #[must_use]
    pub const fn new(wanted: Option<String>) -> Self {
        Self { wanted }
    }

    /// Whether not every VM is meant.
    #[must_use]
    pub const fn is_set(&self) -> bool {
        self.wanted.is_some()
    }

    /// Whether this VM is meant. Names match whole and in their case, UUIDs in any spelling.
    #[must_use]
    pub fn matches(&self, vm: &VmIdentity) -> bool {
        let Some(wanted) = &self.wanted else { return true };
        let belongs = &vm.belongs;
        let workload = belongs.namespace.as_ref().zip(belongs.workload.as_ref());
        vm.name == *wanted
            || belongs.domain.as_ref() == Some(wanted)
            || workload.is_some_and(|(namespace, name)| wanted.split_once('/') == Some((namespace, name)))
            || vm.pid.is_some_and(|pid| wanted.parse() == Ok(pid))
            || vm
                .uuid
                .as_ref()
                .is_some_and(|uuid| canonical_uuid(wanted).as_ref() == Some(uuid))
    }

    /// Refuses a filter that none of the VMs passes. Without a filter, no VM at all is fine.
    ///
    /// # Errors
    /// [`NoSuchVm`], with the VMs there are.
    pub fn check<'a>(&self, vms: impl Iterator<Item = &'a VmIdentity> + Clone) -> Result<(), NoSuchVm> {
        match &self.wanted {
            Some(wanted) if !vms.clone().any(|vm| self.matches(vm)) => Err(NoSuchVm {
                wanted: wanted.clone(),
                present: vms.map(label).collect::<BTreeSet<_>>().into_iter().collect(),
            }),
            _ => Ok(()),
        }
    }
}

/// VMs that an error names.
const LISTED: usize = 10;

fn label(vm: &VmIdentity) -> String {
    vm.pid
        .map_or_else(|| vm.name.clone(), |pid| format!("{} (pid {pid})", vm.name))
}

fn list(present: &[String]) -> String {
    match present {
        [] => "there is no VM on this host".to_owned(),
        _ => {
            let named = escape_line(&present[..present.len().min(LISTED)].join(", ")).into_owned();
            match present.len().saturating_sub(LISTED) {
                0 => format!("there are {named}"),
                more => format!("there are {named} and {more} more"),
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::identity::Belongs;

    fn vm() -> VmIdentity {
        VmIdentity {
            name: "web\x1b".to_owned(),
            uuid: Some("0a1b2c3d-4e5f-6071-8293-a4b5c6d7e8f9".to_owned()),
            pid: Some(42),
            ..VmIdentity::unknown()
        }
    }

    fn matches(wanted: &str) -> bool {
        VmFilter::new(Some(wanted.to_owned())).matches(&vm())
    }

    #[test]
    fn a_vm_is_found_by_name_uuid_or_pid() {
        assert!(matches("web\x1b"));
        assert!(matches("42"));
        assert!(matches("0A1B2C3D4E5F60718293A4B5C6D7E8F9"));
        assert!(!matches("web"));
        assert!(!matches("4"));
        assert!(VmFilter::default().matches(&vm()));
    }

    #[test]
    fn a_vm_is_found_by_the_names_of_those_who_manage_it() {
        let vm = VmIdentity {
            belongs: Box::new(Belongs {
                domain: Some("shop_web".to_owned()),
                namespace: Some("shop".to_owned()),
                workload: Some("web".to_owned()),
                ..Belongs::default()
            }),
            ..vm()
        };
        let matches = |wanted: &str| VmFilter::new(Some(wanted.to_owned())).matches(&vm);
        assert!(matches("shop_web"));
        assert!(matches("shop/web"));
        assert!(matches("web\x1b"));
        for other in ["web", "shop", "/web", "shop/", "shop/web/", "db/web"] {
            assert!(!matches(other), "{other}");
        }
    }

    #[test]
    fn no_match_lists_the_vms_there_are_harmlessly() {
        let filter = VmFilter::new(Some("db".to_owned()));
        let error = filter.check([vm()].iter()).unwrap_err();
        assert_eq!(
            error.to_string(),
            "no VM matches `db`: there are web\\x1b (pid 42)"
        );
        let error = filter.check([].iter()).unwrap_err();
        assert_eq!(
            error.to_string(),
            "no VM matches `db`: there is no VM on this host"
        );
        assert_eq!(VmFilter::default().check([].iter()), Ok(()));
    }
}
