//! Giving up privileges, tried for real: each scenario is a process of its own, started anew from this very program, since
//! what it does to itself is for good. Without the test harness, which runs tests in threads.
//!
//! As root everything is tried; as another user what does not ask for privileges.

#![allow(clippy::print_stdout, reason = "its own harness: this is where it reports")]

mod bpf;
mod scenario;
mod screen;

use std::{
    env,
    os::unix::process::ExitStatusExt as _,
    process::{Command, ExitCode},
};

use scenario::{Ending, SCENARIOS, Scenario};

/// The first argument of a child, before the name of its scenario.
const CHILD: &str = "in-child";

fn main() -> ExitCode {
    let arguments: Vec<_> = env::args().skip(1).collect();
    if let [first, name] = arguments.as_slice()
        && first == CHILD
    {
        return run_child(name);
    }
    if arguments.iter().any(|argument| argument == "--list") {
        return ExitCode::SUCCESS;
    }
    let wanted: Vec<_> = arguments
        .iter()
        .filter(|argument| !argument.starts_with('-'))
        .collect();
    let root = rustix::process::geteuid().is_root();
    let (mut passed, mut failed, mut ignored) = (0, 0, 0);
    for scenario in SCENARIOS {
        if !wanted.is_empty() && !wanted.iter().any(|part| scenario.name.contains(part.as_str())) {
            continue;
        }
        if scenario.root && !root {
            ignored += 1;
            continue;
        }
        match judge(scenario) {
            Ok(()) => passed += 1,
            Err(why) => {
                failed += 1;
                println!("{}: {why}", scenario.name);
            }
        }
    }
    let verdict = if failed == 0 { "ok" } else { "FAILED" };
    println!(
        "test result: {verdict}. {passed} passed; {failed} failed; {ignored} ignored; 0 measured; 0 filtered out"
    );
    ExitCode::from(u8::from(failed > 0))
}

fn run_child(name: &str) -> ExitCode {
    let Some(scenario) = SCENARIOS.iter().find(|scenario| scenario.name == name) else {
        return ExitCode::FAILURE;
    };
    match (scenario.run)() {
        Ok(()) => ExitCode::SUCCESS,
        Err(why) => {
            println!("{why}");
            ExitCode::FAILURE
        }
    }
}

fn judge(scenario: &Scenario) -> Result<(), String> {
    let program = env::current_exe().map_err(|error| error.to_string())?;
    let output = Command::new(program)
        .args([CHILD, scenario.name])
        .output()
        .map_err(|error| error.to_string())?;
    let as_due = match scenario.ending {
        Ending::Exit => output.status.success(),
        Ending::Signal(signal) => output.status.signal() == Some(signal),
    };
    let said = [output.stdout, output.stderr].map(|said| String::from_utf8_lossy(&said).into_owned());
    as_due
        .then_some(())
        .ok_or_else(|| format!("ended with {}: {}", output.status, said.concat()))
}
