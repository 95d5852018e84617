//! What was put around this process: the systemd unit it is the service of, and what that, or a container, hides of `/proc`.

use rustix::process::getgroups;

use super::file::read;

/// What is hidden of `/proc`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct ProcMount {
    /// Other users' processes, from those without `CAP_SYS_PTRACE` (mount option `hidepid`; systemd's `ProtectProc=`).
    pub others: bool,
    /// Everything but processes (mount option `subset=pid`; systemd's `ProcSubset=`).
    pub all_but_processes: bool,
    /// `/proc/kallsyms`, by something that lies over it (systemd's `ProtectKernelTunables=`).
    pub kallsyms: bool,
}

impl ProcMount {
    /// Of this process. Where the mounts cannot be read nothing counts as hidden.
    pub(super) fn look() -> Self {
        let groups = getgroups().unwrap_or_default();
        let groups: Vec<_> = groups.into_iter().map(|group| group.as_raw()).collect();
        read("/proc/self/mountinfo").map_or_else(Self::default, |mounts| Self::parse(&mounts, &groups))
    }

    /// From `/proc/PID/mountinfo`. `groups`: the supplementary ones of this process, one of which may be exempt.
    fn parse(mounts: &str, groups: &[u32]) -> Self {
        let mut hidden = Self::default();
        for line in mounts.lines() {
            match line.split(' ').nth(4) {
                // The last one lies on top.
                Some("/proc") => {
                    let options = line.rsplit(' ').next().unwrap_or_default();
                    let value = |name: &str| {
                        options
                            .split(',')
                            .filter_map(|option| option.split_once('='))
                            .find_map(|(key, value)| (key == name).then_some(value))
                    };
                    let hides = value("hidepid").is_some_and(|level| !matches!(level, "0" | "off"));
                    let exempt = value("gid")
                        .and_then(|group| group.parse().ok())
                        .is_some_and(|group| groups.contains(&group));
                    hidden.others = hides && !exempt;
                    hidden.all_but_processes = value("subset") == Some("pid");
                }
                Some("/proc/kallsyms") => hidden.kallsyms = true,
                _ => {}
            }
        }
        hidden
    }
}

/// The service that this process runs as; `None` in a shell, a container or without systemd.
pub(super) fn unit() -> Option<String> {
    unit_in(&read("/proc/self/cgroup")?)
}

/// From `/proc/PID/cgroup`: the innermost group, if it is a service's.
fn unit_in(cgroups: &str) -> Option<String> {
    let innermost = |line: &str| {
        let name = line.rsplit('/').next()?;
        name.ends_with(".service").then(|| name.to_owned())
    };
    cgroups.lines().find_map(innermost)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn hidden(mounts: &str) -> ProcMount {
        ProcMount::parse(mounts, &[104])
    }

    const PLAIN: &str = "25 30 0:23 / /proc rw,nosuid,nodev,noexec,relatime shared:13 - proc proc rw\n\
                         26 30 0:24 / /sys rw,nosuid - sysfs sysfs rw\n";

    #[test]
    fn an_ordinary_proc_hides_nothing() {
        assert_eq!(hidden(PLAIN), ProcMount::default());
        assert_eq!(hidden(""), ProcMount::default());
    }

    #[test]
    fn a_proc_that_hides_processes_is_told_by_its_options() {
        let over = |options: &str| format!("{PLAIN}90 25 0:60 / /proc rw,nosuid - proc proc rw,{options}\n");
        assert!(hidden(&over("hidepid=invisible")).others);
        assert!(hidden(&over("hidepid=2")).others);
        assert!(!hidden(&over("hidepid=0")).others);
        assert!(hidden(&over("hidepid=2,gid=7")).others);
        assert!(!hidden(&over("hidepid=2,gid=104")).others);
        assert!(hidden(&over("hidepid=4,subset=pid")).all_but_processes);
    }

    #[test]
    fn something_over_kallsyms_hides_it() {
        let over =
            format!("{PLAIN}91 25 0:25 /systemd/inaccessible/reg /proc/kallsyms ro - tmpfs tmpfs rw\n");
        assert!(hidden(&over).kallsyms);
    }

    #[test]
    fn a_service_is_told_by_the_innermost_group() {
        assert_eq!(
            unit_in("0::/system.slice/ldrscope.service\n").as_deref(),
            Some("ldrscope.service")
        );
        assert_eq!(
            unit_in("0::/user.slice/user@1000.service/app.slice/term.scope\n"),
            None
        );
        assert_eq!(unit_in("0::/\n"), None);
    }
}
