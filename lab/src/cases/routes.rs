//! MSI routes: one that aims at a slot which a collision broke makes the finding worse, and its end makes it better
//! again. With KVM's own IOAPIC and with a VMM's, since KVM tells of new routes in different ways.

use super::expect::{Expected, settles_at};
use super::{Bench, CaseError, CaseResult, Context, require};
use crate::contract::{Aimed, AimedSource, Rule, Severity};
use crate::guest::lapic::{DFR_FLAT, SVR_ENABLED};
use crate::guest::{Guest, GuestError, MsiRoute};
use crate::host::MapRules;
use crate::tool::snapshot;

/// The slot's own destination.
const STOLEN: u8 = 0x01;
/// A GSI of a device's own, behind the stretch that one read of ldrscope's takes in.
const FAR: MsiRoute = MsiRoute {
    gsi: 700,
    dest: STOLEN,
    vector: 0x41,
};

pub(super) fn aimed(context: &Context, bench: &mut Bench) -> CaseResult {
    worsen_and_mend(context, bench, Guest::with_vcpus)
}

pub(super) fn aimed_past_split_irqchip(context: &Context, bench: &mut Bench) -> CaseResult {
    worsen_and_mend(context, bench, Guest::with_split_irqchip)
}

fn worsen_and_mend(
    context: &Context,
    bench: &mut Bench,
    make: fn(u32) -> Result<Guest, GuestError>,
) -> CaseResult {
    let watch = bench.watch(context.hooks)?;
    let mut guest = make(2)?;
    for id in 0..2 {
        guest.write_logical_id(id, DFR_FLAT, STOLEN, SVR_ENABLED)?;
    }
    let elsewhere = MsiRoute {
        gsi: 24,
        dest: 0x80,
        ..FAR
    };
    let [unaimed, aimed] = match context.rules {
        MapRules::KeepDisabled | MapRules::Overwrite => [Severity::Warning, Severity::Critical],
        MapRules::ConflictDisables => [Severity::Notice, Severity::Warning],
    };
    let expected = |severity| {
        let mut expected = vec![Expected::collision(0, 0, [0, 1]).at(severity)];
        if context.rules == MapRules::ConflictDisables {
            expected.push(Expected::rule(Rule::MapDisabled).at_most(severity));
        }
        expected
    };
    settles_at(watch, None, &expected(unaimed))?;
    require_aims(&[])?;

    guest.route_messages(&[elsewhere, FAR])?;
    settles_at(watch, None, &expected(aimed))?;
    require_aims(&[elsewhere, FAR])?;
    let findings = watch.standing().findings();
    let collision = findings.iter().find(|finding| finding.rule == Rule::LdrCollision);
    let named = collision.is_some_and(|finding| finding.summary.contains("MSI route of GSI 700"));
    require(named || aimed != Severity::Critical, || {
        format!("the summary should name the route: {collision:?}")
    })?;

    guest.route_messages(&[])?;
    settles_at(watch, None, &expected(unaimed))?;
    Ok(())
}

/// Holds that a snapshot shows exactly these routes, and nothing else that aims.
fn require_aims(routes: &[MsiRoute]) -> Result<(), CaseError> {
    let snapshot = snapshot(&[])?;
    let aimed: Vec<&Aimed> = snapshot.vms.iter().flat_map(|vm| &vm.aimed).collect();
    let got: Vec<_> = aimed
        .iter()
        .map(|aimed| (aimed.source, aimed.index, aimed.dest, aimed.vector))
        .collect();
    let wanted: Vec<_> = routes
        .iter()
        .map(|route| {
            let (dest, vector) = (u32::from(route.dest), u32::from(route.vector));
            (AimedSource::MsiRoute, route.gsi, dest, vector)
        })
        .collect();
    require(got == wanted, || {
        format!("aimed should hold {wanted:?}, holds {got:?}")
    })
}
