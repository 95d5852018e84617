//! What `reproduce` prints, on real kernels: the shipped recording of the 2019 failure becomes a program, this machine's compiler takes
//! it without a warning, and a lab boot says in whose IRR the interrupt is.

use std::{
    fs,
    io::{self, Write},
    path::Path,
    process::Command,
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use anyhow::{Context as _, Result, ensure};

use crate::{
    build::Binaries,
    kernels::{Kernel, Series},
    lab::{Channels, Host, Input, Session},
    paths,
    test::suite::CaseEnd,
    tool,
};

const RECORDING: &str = "docs/examples/kdump-2019-on-6.1.ldrrec";
/// The kdump kernel waits for its timer then.
const MOMENT: &str = "2026-11-26T01:21:35Z";

const LIMIT: Duration = Duration::from_secs(120);

/// About how long it takes, in a suite's cases.
pub(in crate::test) const WEIGHT: usize = 5;

/// Kernels on either side of the change of map rules, how the program ends there, and what it says.
const EXPECTED: [(Series, u8, &str); 2] = [
    (
        Series::V6_1,
        0,
        "this kernel delivered to                vCPU 15\nreproduced: ",
    ),
    (
        Series::V6_12,
        1,
        "this kernel delivered to                vCPU 0, 1, 3, 5, 7, 9, 11, 13, 15\nnot as ",
    ),
];

/// Whether it has anything to say on that kernel.
pub(in crate::test) fn is_for(series: Series) -> bool {
    EXPECTED.iter().any(|(on, ..)| *on == series)
}

/// Runs it on `kernel`.
pub(in crate::test) fn live(kernel: Kernel, binaries: &Binaries) -> CaseEnd {
    let name = format!("{} reproducer", kernel.series());
    CaseEnd::of(name, "the lab", || attempt(kernel, binaries))
}

fn attempt(kernel: Kernel, binaries: &Binaries) -> Result<()> {
    let series = kernel.series();
    let (_, status, said) = EXPECTED
        .into_iter()
        .find(|(on, ..)| *on == series)
        .with_context(|| format!("nothing is expected on {series}"))?;
    let exchange = tempfile::tempdir().context("cannot make a temporary directory")?;
    compile(&binaries.ldrscope, exchange.path())?;
    let session = Session {
        host: Host {
            exchange: Some(exchange.path().to_owned()),
            ..Host::plain(series)
        },
        kernel,
        binaries: binaries.clone(),
        argv: vec![format!("{}/reproduce", lab_protocol::order::EXCHANGE)],
        directory: "/".to_owned(),
        timeout: Some(LIMIT),
    };
    let output = Shared::default();
    let channels = Channels {
        output: Box::new(output.clone()),
        error: Box::new(output.clone()),
        on_case: Box::new(|_| ()),
    };
    let ended = session.run(Input::Empty, channels)?;
    let text = output.text();
    ensure!(
        ended == status && text.contains(said),
        "the program should end with {status} and say `{said}`; it ended with {ended} and said:\n{text}"
    );
    Ok(())
}

/// Makes the program of the recording, for a userland without a C library.
fn compile(ldrscope: &Path, directory: &Path) -> Result<()> {
    let mut reproduce = Command::new(ldrscope);
    reproduce
        .args(["reproduce", "--from"])
        .arg(paths::workspace().join(RECORDING));
    let program = tool::capture(reproduce.args(["--at", MOMENT]))?;
    let source = directory.join("reproduce.c");
    fs::write(&source, program).with_context(|| format!("cannot write {}", source.display()))?;
    tool::quiet(
        tool::command("cc")
            .args(["-Wall", "-Wextra", "-Werror", "-O2", "-static", "-o"])
            .arg(directory.join("reproduce"))
            .arg(source),
    )
}

/// What the program said, on both of its streams.
#[derive(Clone, Default)]
struct Shared(Arc<Mutex<Vec<u8>>>);

impl Shared {
    fn text(&self) -> String {
        let bytes = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        String::from_utf8_lossy(&bytes).into_owned()
    }
}

impl Write for Shared {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}
