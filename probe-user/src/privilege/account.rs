//! The account that the daemon's child changes to, by name.
//!
//! Read from `/etc/passwd` and `/etc/group` directly: the name service of the C library would load plug-ins into a process
//! that holds privileges, and into a static binary it cannot. Accounts of a directory service are thus not found, which
//! the error says; a service's own account is a local one.

use std::{fs, path::Path};

use super::PrivilegeError;

const PASSWD: &str = "/etc/passwd";
const GROUP: &str = "/etc/group";

/// A local account.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Account {
    /// Its name.
    pub name: String,
    /// Its user id.
    pub uid: u32,
    /// The id of its own group.
    pub gid: u32,
    /// The ids of all its groups, ascending, its own included.
    pub groups: Vec<u32>,
}

impl Account {
    /// Finds the local account of that name.
    ///
    /// # Errors
    ///
    /// Where there is none, or the two files cannot be read.
    pub fn find(name: &str) -> Result<Self, PrivilegeError> {
        let [users, groups] = [PASSWD, GROUP].map(read);
        Self::among(name, &users?, &groups?).ok_or_else(|| PrivilegeError::NoSuchUser {
            name: name.to_owned(),
        })
    }

    fn among(name: &str, users: &str, groups: &str) -> Option<Self> {
        let (uid, gid) = users.lines().find_map(|line| user(line, name))?;
        let mut groups: Vec<_> = groups.lines().filter_map(|line| membership(line, name)).collect();
        groups.push(gid);
        groups.sort_unstable();
        groups.dedup();
        Some(Self {
            name: name.to_owned(),
            uid,
            gid,
            groups,
        })
    }
}

fn read(path: &'static str) -> Result<String, PrivilegeError> {
    let bytes = fs::read(path).map_err(|source| PrivilegeError::Accounts {
        path: Path::new(path),
        source,
    })?;
    // Only names of ASCII are looked for.
    Ok(String::from_utf8_lossy(&bytes).into_owned())
}

/// Ids from `name:password:uid:gid:...`.
fn user(line: &str, name: &str) -> Option<(u32, u32)> {
    let mut fields = line.split(':');
    if name.is_empty() || fields.next()? != name {
        return None;
    }
    Some((fields.nth(1)?.parse().ok()?, fields.next()?.parse().ok()?))
}

/// The id from `group:password:gid:member,member` if `name` is one of the members.
fn membership(line: &str, name: &str) -> Option<u32> {
    let mut fields = line.split(':').skip(2);
    let gid = fields.next()?.parse().ok()?;
    let is_member = fields.next()?.split(',').any(|member| member == name);
    is_member.then_some(gid)
}

#[cfg(test)]
mod tests {
    use super::*;

    const USERS: &str =
        "root:x:0:0:root:/root:/bin/sh\nldrscope:x:991:992::/:/usr/sbin/nologin\nodd:x:many:1::/:\n";
    const GROUPS: &str =
        "root:x:0:\nkvm:x:104:libvirt-qemu,ldrscope\nldrscope:x:992:ldrscope\nadm:x:4:ldrscopes\n";

    #[test]
    fn an_account_has_its_own_group_and_those_that_list_it() {
        let account = Account::among("ldrscope", USERS, GROUPS).unwrap();
        assert_eq!((account.uid, account.gid), (991, 992));
        assert_eq!(account.groups, [104, 992]);
    }

    #[test]
    fn what_is_no_account_is_not_found() {
        for name in ["", "nobody", "odd", "ldrscope:x"] {
            assert_eq!(Account::among(name, USERS, GROUPS), None, "{name}");
        }
    }

    #[test]
    fn the_error_names_the_account() {
        let error = Account::find("no such user").unwrap_err();
        assert!(error.to_string().contains("no such user"), "{error}");
    }
}
