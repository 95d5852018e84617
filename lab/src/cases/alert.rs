//! The 2019 scenario as an operator meets it: the shipped alert fires in a real Prometheus that scrapes the service, and
//! resolves once the guest is put right.

use std::fs;
use std::path::Path;

use super::fleet::{JUDGED, PROMETHEUS};
use super::{Bench, CaseError, CaseResult, Context, require};
use crate::fleet::prometheus::{Alert, Prometheus};
use crate::fleet::service::{ADDRESS, RULES, Service, UNIT};
use crate::guest::lapic::{ApicReg, SVR_DISABLED};
use crate::host::MapRules;
use crate::scenario::{DeadCpus, Kdump};

use super::kdump::DEAD;

const CRITICAL: &str = "LdrscopeCriticalFinding";
const WARNING: &str = "LdrscopeWarningFinding";

pub(super) fn of_2019(context: &Context, bench: &mut Bench) -> CaseResult {
    bench.clear();
    let _service = Service::install()?;
    UNIT.start()?;
    let directory = Path::new("/tmp/prometheus-alert");
    let rules = directory.join("ldrscope.rules.yml");
    fs::create_dir_all(directory)
        .and_then(|()| fs::write(&rules, RULES))
        .map_err(|error| CaseError::Unmet(format!("cannot write {}: {error}", rules.display())))?;
    let prometheus = Prometheus::start(PROMETHEUS.into(), ADDRESS.into(), &[&rules], directory)?;
    prometheus.wait_for_result("ldrscope_up == 1", JUDGED)?;
    // Before the first scrape its series are absent, which is a reason for an alert in ten minutes.
    prometheus.wait_for_alerts(
        "nothing is pending or fires on a healthy host",
        JUDGED,
        <[_]>::is_empty,
    )?;

    let mut kdump = Kdump::boot_bigsmp()?;
    kdump.crash(DeadCpus::LeftEnabled)?;
    kdump.arm_timer()?;
    let ticks = kdump.await_timer()?;
    let steals = match context.rules {
        MapRules::KeepDisabled | MapRules::Overwrite => {
            require(ticks == 0, || {
                format!("the timer should not come, came {ticks} times")
            })?;
            prometheus.wait_for_alerts("the critical alert fires", JUDGED, |alerts| {
                alerts.iter().any(|alert| alert.fires(CRITICAL))
            })?
        }
        // Every interrupt comes, by a scan: a warning, which would fire after an hour.
        MapRules::ConflictDisables => {
            prometheus.wait_for_alerts("the warning is pending", JUDGED, |alerts| {
                alerts.iter().any(|alert| is(alert, WARNING))
            })?
        }
    };
    names_the_vm(&steals)?;
    require(
        context.rules != MapRules::ConflictDisables || !steals.iter().any(|alert| is(alert, CRITICAL)),
        || format!("nothing is lost on this host: {steals:?}"),
    )?;

    // The cure: the dead CPUs' APICs are switched off, as the crashing kernel should have done.
    for id in DEAD {
        kdump
            .guest()
            .edit_lapic(id, &[(ApicReg::Ldr, 0), (ApicReg::Svr, SVR_DISABLED)])?;
    }
    prometheus.wait_for_alerts("all alerts resolve", JUDGED, <[_]>::is_empty)?;
    Ok(())
}

fn is(alert: &Alert, name: &str) -> bool {
    alert.labels.get("alertname").is_some_and(|own| own == name)
}

/// By its name, and by what tells it from others of that name; with a page that says what to do.
fn names_the_vm(alerts: &[Alert]) -> CaseResult {
    for alert in alerts {
        for label in ["vm", "vm_id", "rule", "severity", "instance"] {
            require(
                alert.labels.get(label).is_some_and(|value| !value.is_empty()),
                || format!("the alert should have the label {label}: {alert:?}"),
            )?;
        }
        require(
            alert
                .annotations
                .get("runbook_url")
                .is_some_and(|url| url.contains("runbook.md#")),
            || format!("the alert should name its page: {alert:?}"),
        )?;
    }
    require(!alerts.is_empty(), || "there should be an alert".to_owned())
}
