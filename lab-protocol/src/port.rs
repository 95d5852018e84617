//! Names of the lab's virtio-serial ports, as QEMU is given them and as `/sys/class/virtio-ports/*/name` shows them.
//!
//! Each stream has a port of its own, so that CMD's output never mixes with the kernel's console on `ttyS0`, and a
//! test's results never mix with its output. A port has one opener at a time (`drivers/char/virtio_console.c`,
//! `port_fops_open`).

/// PID 1's own reports: [`crate::Report`] lines.
pub const REPORT: &str = "lab.report";
/// Test results: [`crate::CaseLine`] lines. Its device path is CMD's [`RESULTS_VARIABLE`].
pub const RESULTS: &str = "lab.results";
/// What CMD reads as its standard input.
pub const STDIN: &str = "lab.stdin";
/// CMD's standard output.
pub const STDOUT: &str = "lab.stdout";
/// CMD's standard error.
pub const STDERR: &str = "lab.stderr";

/// The terminal of an interactive run: the virtio console that carries all three standard streams.
pub const TERMINAL_DEVICE: &str = "/dev/hvc0";

/// Environment variable of CMD that names the file to append [`crate::CaseLine`]s to. Unset outside the lab: standard
/// output is meant then.
pub const RESULTS_VARIABLE: &str = "LAB_RESULTS";
