//! A vCPU's local APIC by QEMU's own account (`info lapic`), which it reads from KVM: the truth to hold a snapshot to.

use super::LinuxGuestError;

/// The registers that decide who gets logical interrupts, as far as QEMU shows them.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Lapic {
    /// SVR, whole.
    pub svr: u32,
    /// Bits 31:24 of LDR.
    pub logical_id: u32,
    /// Bits 31:28 of DFR.
    pub model: u32,
}

impl Lapic {
    /// Reads the account of `cpu`.
    pub(super) fn read(cpu: u32, text: &str) -> Result<Self, LinuxGuestError> {
        let register = |name: &'static str| {
            number_after(text, name).ok_or_else(|| LinuxGuestError::Lapic {
                cpu,
                register: name,
                text: text.to_owned(),
            })
        };
        Ok(Self {
            svr: register("SPIV")?,
            logical_id: register("LDR")?,
            model: register("DFR")?,
        })
    }
}

/// The hexadecimal number after the word `name`.
fn number_after(text: &str, name: &str) -> Option<u32> {
    let mut words = text.split_whitespace();
    words.find(|word| *word == name)?;
    u32::from_str_radix(words.next()?.strip_prefix("0x")?, 16).ok()
}

#[cfg(test)]
mod tests {
    use super::Lapic;

    #[test]
    fn the_registers_are_read_from_qemus_words() {
        let text = "dumping local APIC state for CPU 2\n\nSPIV\t 0x000001ff APIC enabled, focus=off, spurious vec 255\n\
                    IRR\t (none)\n\nAPR 0x00 TPR 0x00 DFR 0x0f LDR 0x04 PPR 0x00";
        let expected = Lapic {
            svr: 0x1FF,
            logical_id: 4,
            model: 0xF,
        };
        assert_eq!(Lapic::read(2, text).unwrap(), expected);
        assert!(Lapic::read(2, "SPIV 0x1ff").is_err());
    }
}
