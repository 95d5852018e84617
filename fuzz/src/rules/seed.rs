//! Stories to begin with: one of each kind that ldrscope is for, short enough to be told from its bytes.

use super::story::op;

/// The guest's way of booting, in the order of [`super::story::Boot`].
const FLAT: u8 = 0;
const CLUSTER: u8 = 1;
const X2APIC: u8 = 2;
const BIGSMP: u8 = 3;
/// The host's rules, in the order of their age.
const OVERWRITE: u8 = 1;
const CONFLICT_DISABLES: u8 = 2;
/// LDR among the registers.
const LDR: u8 = 1;

/// Types that know modes as bits, or as an enum; a settle time of 100 ms.
const BITS: [u8; 4] = [0, 0, 100, 0];
const ENUM: [u8; 4] = [1, 0, 100, 0];

const fn step(op: u8, a: u8, b: u8, value: u32) -> [u8; 8] {
    let [v0, v1, v2, v3] = value.to_le_bytes();
    [op, 0, a, b, v0, v1, v2, v3]
}

const fn create(count: u8) -> [u8; 8] {
    step(op::CREATE, count, 0, 0)
}

const fn boot(how: u8) -> [u8; 8] {
    step(op::BOOT, how, 0, 0)
}

const fn read(rules: u8) -> [u8; 8] {
    step(op::READ, rules, 0, 0)
}

const fn wait(millis: u32) -> [u8; 8] {
    step(op::WAIT, 0, 0, millis)
}

const APPEAR: [u8; 8] = step(op::APPEAR, 0, 0, 0);
const RECALCULATED: [u8; 8] = step(op::TOUCH, 0, 4, 0);

pub(super) fn stories() -> Vec<Vec<u8>> {
    let kdump = [
        APPEAR,
        create(16),
        boot(BIGSMP),
        RECALCULATED,
        read(OVERWRITE),
        wait(500),
        step(op::ENABLE, 0, 0, 0),
        step(op::WRITE, 0, LDR, 0x0100_0000),
        step(op::ENABLE, 0, 1, 0),
        step(op::AIM, 0, 0, 0x0030_0001),
        RECALCULATED,
        read(OVERWRITE),
        wait(500),
        step(op::VANISH, 0, 0, 0),
    ];
    let ordinary = [
        APPEAR,
        create(8),
        boot(FLAT),
        read(CONFLICT_DISABLES),
        wait(500),
        step(op::LOSE, 0, 0, 0),
    ];
    let clusters = [
        APPEAR,
        create(18),
        boot(CLUSTER),
        step(op::INIT, 3, 0, 0),
        read(CONFLICT_DISABLES),
        wait(500),
    ];
    let x2apics = [
        APPEAR,
        step(op::CREATE, 19, 0, 250),
        boot(X2APIC),
        step(op::SWITCH, 1, 0, 0),
        read(OVERWRITE),
    ];
    let torn = [
        APPEAR,
        create(4),
        boot(BIGSMP),
        step(op::MISREAD, 1, 0, 0),
        wait(60),
        read(OVERWRITE),
        wait(60),
    ];
    let story = |head: [u8; 4], steps: &[[u8; 8]]| [&head[..], steps.as_flattened()].concat();
    vec![
        story(BITS, &kdump),
        story(ENUM, &kdump),
        story(ENUM, &ordinary),
        story(ENUM, &clusters),
        story(BITS, &x2apics),
        story(BITS, &torn),
    ]
}

#[cfg(test)]
mod tests {
    use super::{
        super::story::{Change, Story, What},
        *,
    };

    #[test]
    fn seeds_tell_what_they_are_meant_to() {
        let kdump = Story::of(&stories()[0]).unwrap();
        assert_eq!(kdump.steps.len(), 14);
        assert!(matches!(
            kdump.steps[1].what,
            What::Change(Change::Create { first: 0, count: 16 })
        ));
        assert!(
            matches!(kdump.steps[9].what, What::Change(Change::Aim(aim)) if aim.logical && aim.dest == 1)
        );
        assert!(matches!(kdump.steps[13].what, What::Vanish));
    }
}
