//! The split of a verb that lasts: from here on it runs in the process that has given its privileges up.

use anyhow::{Context as _, Result};

use crate::{
    broker::{self, Broker},
    privilege::{Account, Keep, drop_all},
};

/// Gives the privileges up, and changes to `account` where one is given, in the child of `broker`.
///
/// # Errors
/// Privileges that cannot be given up, or a broker that has ended meanwhile.
pub(super) fn give_up_privileges(broker: &Broker, account: Option<&Account>) -> Result<()> {
    drop_all(Keep::BpfIfNeeded, account)?;
    broker::follow(broker.parent()).context("the privileged process has ended")
}
