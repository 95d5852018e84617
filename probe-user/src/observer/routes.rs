//! The interrupt routes of a VM read whole: as many copies as its table takes, all of one table.
//!
//! Which of them aim at a destination is [`super::aims`]' business.

use probe_common::window::{ROUTES, Route};

use crate::bpf::window::Copies;

/// More GSIs than KVM allows (`KVM_MAX_IRQ_ROUTES` is 4,096): a torn read.
const IMPOSSIBLE: u32 = 1 << 16;

/// The routes of the VM of that birth number, by ascending GSI. `None` where they were replaced while they were read.
pub(super) fn read<C: Copies>(
    copies: &mut C,
    kvm: u64,
    generation: u64,
) -> Result<Option<Vec<Route>>, C::Error> {
    let mut routes = Vec::new();
    let mut table = None;
    let mut first = 0;
    loop {
        let copy = copies.routes(kvm, first)?;
        let whole = copy.made == 1 && copy.failed == 0 && copy.generation == generation;
        if !whole || copy.gsis >= IMPOSSIBLE || *table.get_or_insert(copy.table) != copy.table {
            return Ok(None);
        }
        for (gsi, route) in (first..copy.gsis).zip(&copy.routes) {
            if !is_sound(route, gsi) {
                return Ok(None);
            }
            if route.node != 0 {
                routes.push(*route);
            }
        }
        first += ROUTES as u32;
        if first >= copy.gsis {
            return Ok(Some(routes));
        }
    }
}

/// Whether it was read whole and is what the table's place for `gsi` leads to.
const fn is_sound(route: &Route, gsi: u32) -> bool {
    route.failed == 0 && (route.node == 0 || route.gsi == gsi)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_route_says_of_which_gsi_it_is() {
        let nowhere: Route = bytemuck::Zeroable::zeroed();
        assert!(is_sound(&nowhere, 7));
        let route = Route {
            node: 1,
            gsi: 7,
            ..nowhere
        };
        assert!(is_sound(&route, 7));
        assert!(!is_sound(&route, 8));
        assert!(!is_sound(&Route { failed: 1, ..route }, 7));
    }
}
