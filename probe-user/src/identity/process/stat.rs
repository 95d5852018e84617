//! The numbers in `/proc/PID/stat` and `/proc/PID/status`. Pure, over hostile bytes: a process chooses its comm.

/// Field 2 of `/proc/PID/stat`, which is what `/proc/PID/comm` says, its line end left out.
pub(super) fn comm(stat: &[u8]) -> Option<&[u8]> {
    let begin = stat.iter().position(|byte| *byte == b'(')? + 1;
    let end = stat.iter().rposition(|byte| *byte == b')')?;
    stat.get(begin..end)
}

/// Field 22 of `/proc/PID/stat` (proc_pid_stat(5)), clock ticks after boot. The comm in field 2 may hold spaces and
/// parentheses, so fields are counted from the last closing one.
pub(super) fn start_time(stat: &[u8]) -> Option<u64> {
    const FIELD_AFTER_COMM: usize = 3;
    const START_TIME: usize = 22;
    let comm_end = stat.iter().rposition(|byte| *byte == b')')?;
    let rest = str::from_utf8(&stat[comm_end + 1..]).ok()?;
    rest.split_ascii_whitespace()
        .nth(START_TIME - FIELD_AFTER_COMM)?
        .parse()
        .ok()
}

/// Thread group in the reader's pid namespace, and in the innermost one (`Tgid`, last of `NStgid`;
/// proc_pid_status(5)). The kernel escapes line ends in the comm, so no line can be forged.
pub(super) fn thread_group(status: &[u8]) -> Option<(u32, Option<u32>)> {
    let field = |name: &[u8]| {
        let line = status
            .split(|byte| *byte == b'\n')
            .find_map(|line| line.strip_prefix(name))?;
        str::from_utf8(line)
            .ok()?
            .split_ascii_whitespace()
            .last()?
            .parse()
            .ok()
    };
    Some((field(b"Tgid:")?, field(b"NStgid:")))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_start_time_is_found_whatever_the_comm_holds() {
        let fields = (3..=52)
            .map(|field| field.to_string())
            .collect::<Vec<_>>()
            .join(" ");
        for comm in ["qemu", "a b", "x) R 1 2 (y", ")", "\x1b[0m"] {
            let stat = format!("4711 ({comm}) {fields}\n");
            assert_eq!(start_time(stat.as_bytes()), Some(22), "{comm}");
            assert_eq!(super::comm(stat.as_bytes()), Some(comm.as_bytes()));
        }
        assert_eq!(start_time(b"1 (\xff) S 1"), None);
        assert_eq!(start_time(b""), None);
        assert_eq!(comm(b"1 (\xff) S 1"), Some(&b"\xff"[..]));
        assert_eq!(comm(b"1 )("), None);
    }

    #[test]
    fn a_thread_names_its_process_inside_and_out() {
        let status =
            b"Name:\tCPU 0/KVM\\nTgid:\t1\nUmask:\t0022\nState:\tS (sleeping)\nTgid:\t4711\nNgid:\t0\n\
            Pid:\t4715\nPPid:\t1\nNStgid:\t4711\t12\nNSpid:\t4715\t16\n";
        assert_eq!(thread_group(status), Some((4711, Some(12))));
        assert_eq!(thread_group(b"Tgid:\t5\n"), Some((5, None)));
        assert_eq!(thread_group(b"Tgid:\tx\n"), None);
        assert_eq!(thread_group(b"\xff"), None);
    }
}
