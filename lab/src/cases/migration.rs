//! Guests under QEMU that migrate from one kernel to another and back: what ldrscope foretold on the source (`--as-kvm`)
//! against what it sees on the target. Two kernels never run at once here, so a migration is a journey of boots: on each leg
//! one case moves the guests and leaves in the exchange directory what ldrscope said of them, and the others judge that.

mod account;
mod record;
mod travellers;

use self::account::GuestAccount;
use self::record::{Account, Leg, Voice};
use self::travellers::Traveller;
use super::{Bench, CaseError, CaseResult, Context, require};
use crate::host::MapRules;
use crate::qemu::{Machine, QemuError};

type Guests = Vec<(&'static Traveller, Machine)>;

/// The first leg: the guests are powered on, looked at and saved.
pub(super) fn depart(context: &Context, bench: &mut Bench) -> CaseResult {
    bench.clear();
    let guests = every(|traveller| Machine::power_on(traveller.identity, traveller.firmware))?;
    send_on(guests, context.rules)
}

/// A leg between: the guests arrive, are looked at and saved again.
pub(super) fn relay(context: &Context, bench: &mut Bench) -> CaseResult {
    bench.clear();
    send_on(arrive()?, context.rules)
}

/// The last leg: the guests arrive and are looked at.
pub(super) fn come_home(_: &Context, bench: &mut Bench) -> CaseResult {
    bench.clear();
    let _guests = arrive()?;
    let here = Leg::begin()?;
    here.record(Voice::Seen, &[])?;
    here.finish()
}

fn arrive() -> Result<Guests, CaseError> {
    let source = leg_before_last(0)?;
    every(|traveller| Machine::arrive(traveller.identity, traveller.firmware, &source.state(traveller)))
}

fn every(bring: impl Fn(&Traveller) -> Result<Machine, QemuError>) -> Result<Guests, CaseError> {
    travellers::ALL
        .iter()
        .map(|traveller| Ok((traveller, bring(traveller)?)))
        .collect()
}

/// Has ldrscope say what it sees here and what it foretells of the other kernel, then saves the guests for that one.
fn send_on(guests: Guests, rules: MapRules) -> CaseResult {
    let here = Leg::begin()?;
    here.record(Voice::Seen, &[])?;
    here.record(Voice::Foretold, &["--as-kvm", other_rules(rules)])?;
    for (traveller, machine) in guests {
        machine.save(&here.state(traveller))?;
    }
    here.finish()
}

/// The guests have the registers that their tables say.
pub(super) fn as_written(_: &Context, _: &mut Bench) -> CaseResult {
    let seen = leg_before_last(0)?.account(Voice::Seen)?;
    travellers::ALL
        .iter()
        .try_for_each(|traveller| GuestAccount::of(&seen, traveller.identity.name)?.hold_to(traveller))
}

/// What is foretold is not what this host sees: KVM reaches other vCPUs in those guests that were made for it. Else a
/// prediction that says nothing would come true.
pub(super) fn foretells_a_change(_: &Context, _: &mut Bench) -> CaseResult {
    let here = leg_before_last(0)?;
    let [seen, foretold] = [here.account(Voice::Seen)?, here.account(Voice::Foretold)?];
    for traveller in &travellers::ALL {
        let name = traveller.identity.name;
        let changed = GuestAccount::of(&seen, name)?.reached_otherwise(&GuestAccount::of(&foretold, name)?);
        require(changed.is_empty() != traveller.fares_differently, || {
            let should = if traveller.fares_differently {
                "should"
            } else {
                "should not"
            };
            format!("{name}: a KVM of the other rules {should} reach other vCPUs; does at {changed:?}")
        })?;
    }
    Ok(())
}

/// The source foretold what the target sees.
pub(super) fn as_foretold(_: &Context, _: &mut Bench) -> CaseResult {
    let [source, target] = [leg_before_last(1)?, leg_before_last(0)?];
    hold(&source.account(Voice::Foretold)?, &target.account(Voice::Seen)?)
}

/// After two migrations all is as on the first leg.
pub(super) fn as_at_first(_: &Context, _: &mut Bench) -> CaseResult {
    let [first, last] = [leg_before_last(2)?, leg_before_last(0)?];
    hold(&first.account(Voice::Seen)?, &last.account(Voice::Seen)?)
}

/// That two accounts say the same of every guest.
fn hold(expected: &Account, found: &Account) -> CaseResult {
    let mut differing = Vec::new();
    for traveller in &travellers::ALL {
        let name = traveller.identity.name;
        let expected = GuestAccount::of(expected, name)?;
        let differences = expected.differences(&GuestAccount::of(found, name)?);
        differing.extend(
            differences
                .into_iter()
                .map(|difference| format!("{name}: {difference}")),
        );
    }
    require(differing.is_empty(), || differing.join("\n"))
}

/// The leg so many before the last one.
fn leg_before_last(back: usize) -> Result<Leg, CaseError> {
    let mut legs = record::legs();
    let count = legs.len();
    match count.checked_sub(back + 1) {
        Some(place) => Ok(legs.swap_remove(place)),
        None => Err(CaseError::Unmet(format!(
            "the exchange directory holds {count} whole legs, {} are needed; run the legs before this one first",
            back + 1
        ))),
    }
}

/// What the other kernel's KVM goes by, as `--as-kvm` takes it.
fn other_rules(rules: MapRules) -> &'static str {
    match rules {
        MapRules::KeepDisabled | MapRules::Overwrite => "conflict-disables",
        MapRules::ConflictDisables => "overwrite",
    }
}
