//! A reproduction as a program in C: a head with the facts, and a body that is the same for all.
//!
//! Whatever names and sentences hold, they end neither their comment nor their string: beyond ASCII they are escaped, and what C
//! gives a meaning to is taken apart.

use std::io::{self, Write};

use probe_apic::delivery::DestinationMode;

use super::phrase;
use crate::{
    escape::escape_line,
    message::{Vm, meaning},
    reproduce::Reproduction,
};

/// What does not depend on the facts.
const BODY: &str = include_str!("reproducer/body.c");

/// Columns of a comment.
const WIDTH: usize = 100;

const INCLUDES: &str = "\
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <linux/kvm.h>
";

const USE: &str = "\
\x20* Build and run it as whoever may open /dev/kvm, on any kernel:
 *
 *   cc -Wall -Wextra -o reproduce reproduce.c && ./reproduce
 *
 * It makes a VM without memory, gives its vCPUs these local APICs, sends the interrupt by KVM_SIGNAL_MSI, and looks in whose
 * IRR it is. No vCPU runs. It ends with 0 where the interrupt arrives as on the observed host, with 1 where it arrives otherwise,
 * as on a kernel with other map rules, and with 2 where it cannot be tried.
 */
";

/// Writes the program.
///
/// # Errors
/// When `out` cannot be written.
pub fn write(out: &mut dyn Write, reproduction: &Reproduction<'_>) -> io::Result<()> {
    comment(out, reproduction)?;
    writeln!(out, "\n{INCLUDES}")?;
    let Reproduction {
        dest,
        vector,
        wide_ids,
        ..
    } = reproduction;
    let is_logical = dest.mode == DestinationMode::Logical;
    writeln!(out, "#define DEST {:#x}u\t/* its destination */", dest.id)?;
    writeln!(
        out,
        "#define LOGICAL {}\t/* read as a logical destination, or as an APIC ID */",
        u8::from(is_logical)
    )?;
    writeln!(out, "#define VECTOR {vector:#x}u")?;
    writeln!(
        out,
        "#define WIDE_IDS {}\t/* the VM has 32-bit APIC IDs */\n",
        u8::from(*wide_ids)
    )?;
    vcpus(out, reproduction)?;
    writeln!(out, "static const char *const findings[] = {{")?;
    for finding in &reproduction.vm.findings {
        let said = format!("{} {}: {}", finding.severity, finding.rule, finding.summary);
        writeln!(out, "\t{},", literal(&said))?;
    }
    writeln!(out, "\tNULL\n}};")?;
    out.write_all(BODY.as_bytes())?;
    out.flush()
}

fn comment(out: &mut dyn Write, reproduction: &Reproduction<'_>) -> io::Result<()> {
    let Reproduction { snapshot, vm, .. } = reproduction;
    let host = &snapshot.host;
    writeln!(out, "/*")?;
    paragraph(
        out,
        "",
        &format!(
            "The local APICs of a VM as ldrscope {} saw them, in a fresh VM, and an interrupt to it.",
            env!("CARGO_PKG_VERSION")
        ),
    )?;
    writeln!(out, " *")?;
    paragraph(
        out,
        "VM: ",
        &format!(
            "{}, {}, {} vCPUs",
            phrase::vm(&meaning::identity(&vm.vm)),
            vm.vm.vmm,
            vm.vcpus.len()
        ),
    )?;
    paragraph(
        out,
        "Host: ",
        &format!(
            "kernel {}, kvm {}, map rules {}, at {}",
            host.kernel, host.kvm_vendor, host.map_rules, snapshot.taken_at
        ),
    )?;
    paragraph(out, "Interrupt: ", &interrupt(reproduction))?;
    reservations(out, vm)?;
    for finding in &vm.findings {
        let said = format!("{} {}: {}", finding.severity, finding.rule, finding.summary);
        paragraph(out, "Finding: ", &said)?;
    }
    writeln!(out, " *")?;
    out.write_all(USE.as_bytes())
}

fn interrupt(reproduction: &Reproduction<'_>) -> String {
    let Reproduction {
        vm,
        dest,
        vector,
        verdict,
        ..
    } = reproduction;
    let (mode, aims) = match dest.mode {
        DestinationMode::Logical => (
            "logical",
            vm.aimed.iter().filter(|aim| aim.dest == dest.id).collect(),
        ),
        DestinationMode::Physical => ("physical", Vec::new()),
    };
    let mut text = format!(
        "fixed, edge-triggered, vector {vector:#04x}, {mode} destination {:#04x}; {} on that host",
        dest.id,
        verdict.name()
    );
    for aim in aims {
        text.push_str(&format!("; {} {} aims there", aim.source, aim.index));
    }
    text
}

/// What a fresh VM cannot show.
fn reservations(out: &mut dyn Write, vm: &Vm) -> io::Result<()> {
    if vm.confidence != "certain" {
        let why = "the registers changed while they were read, and may never have been like this together";
        paragraph(out, "Beware: ", why)?;
    }
    if vm.map.agrees == Some(false) {
        let why = "KVM's published map was another than these registers call for; a fresh VM gets the one that they call for";
        paragraph(out, "Beware: ", why)?;
    }
    Ok(())
}

fn vcpus(out: &mut dyn Write, reproduction: &Reproduction<'_>) -> io::Result<()> {
    writeln!(
        out,
        "/* In order of creation; whether the architecture names it, and whether the observed host's KVM delivered to it. */"
    )?;
    writeln!(
        out,
        "static const struct vcpu {{\n\tuint32_t id, apic_id, ldr, dfr, svr;\n\tuint64_t apic_base;\n\tchar named, reached;\n}} \
         vcpus[] = {{"
    )?;
    for member in &reproduction.vcpus {
        let vcpu = &reproduction.vm.vcpus[member.at];
        writeln!(
            out,
            "\t{{ {}, {}, {:#010x}, {:#010x}, {:#010x}, {:#x}, {}, {} }},",
            vcpu.vcpu_id,
            vcpu.apic_id,
            vcpu.ldr,
            vcpu.dfr,
            vcpu.svr,
            vcpu.apic_base,
            u8::from(member.named),
            u8::from(member.reached)
        )?;
    }
    writeln!(out, "}};\n#define VCPUS (sizeof(vcpus) / sizeof(vcpus[0]))\n")
}

/// A title and what it is about, within a comment that was begun.
fn paragraph(out: &mut dyn Write, title: &str, text: &str) -> io::Result<()> {
    let mut line = format!(" * {title}");
    let indent = line.len();
    let text = harmless(text);
    for word in text.split(' ') {
        if line.len() > indent && line.len() + word.len() > WIDTH {
            writeln!(out, "{}", line.trim_end())?;
            line = format!(" * {:width$}", "", width = title.len());
        }
        line.push_str(word);
        line.push(' ');
    }
    writeln!(out, "{}", line.trim_end())
}

/// A string in C.
fn literal(text: &str) -> String {
    let quoted = harmless(text).replace('\\', "\\\\").replace('"', "\\\"");
    format!("\"{quoted}\"")
}

/// One line of ASCII in which no comment ends or begins, and no trigraph is.
fn harmless(text: &str) -> String {
    let mut safe = String::with_capacity(text.len());
    for character in escape_line(text).chars() {
        if matches!(
            (safe.chars().next_back(), character),
            (Some('*'), '/') | (Some('/'), '*') | (Some('?'), '?')
        ) {
            safe.push(' ');
        }
        if character.is_ascii() {
            safe.push(character);
        } else {
            safe.extend(character.escape_unicode());
        }
    }
    safe
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_text_leaves_its_comment_or_its_string() {
        assert_eq!(harmless("a */ b /* c */"), "a * / b / * c * /");
        assert_eq!(harmless("*/*/"), "* / * /");
        assert_eq!(harmless("what??/"), "what? ?/");
        assert_eq!(
            harmless("größe\n\u{202e}x\\"),
            "gr\\u{f6}\\u{df}e\\x0a\\u{202e}x\\"
        );
        assert_eq!(literal("say \"\\x\"%s"), "\"say \\\"\\\\x\\\"%s\"");
    }

    #[test]
    fn long_texts_are_wrapped_and_stay_within_the_comment() {
        let mut out = Vec::new();
        paragraph(&mut out, "VM: ", &"word ".repeat(60)).unwrap();
        let text = String::from_utf8(out).unwrap();
        assert_eq!(text.matches("word").count(), 60);
        assert!(text.lines().count() > 2);
        for line in text.lines() {
            assert!(line.starts_with(" * ") && line.len() <= WIDTH, "{line}");
        }
    }
}
