//! The content of a frame to entries. What is read here was written by [`crate::encode`].
//!
//! The bytes may be anybody's: nothing is believed, no room is made for more than the content can hold.

use probe_apic::{
    aim::Aim,
    apicv::Inhibit,
    cause::{Register, Route, Task},
    comm::Comm,
    id::{ApicId, BootTime, Slot, VcpuId, VcpuIdx, VmId},
    lapic::Lapic,
    map::PublishedMap,
    map_rules::MapRules,
    observation::{Lost, Observation, Origin, Sent, Touch, Touched, VcpuSample, VmGone, VmSample, VmSeen},
    reg::{ApicBase, Dfr, Ldr, Svr},
};

use crate::{
    entry::{Entry, Host, Identity, Namer},
    layout::{AIM_SOURCES, IRQCHIPS, MAP_MODES, aim, sample, tag, touch, touched},
    wire::{Cursor, Malformed},
};

/// Bytes of a [`Lapic`].
const LAPIC_LEN: usize = 25;
/// KVM keeps its reasons in one word.
const MAX_INHIBITS: usize = 64;

/// The next entry and its moment, `now` being the one of the entry before; `None` at the end of the content.
pub(crate) fn next(cursor: &mut Cursor<'_>, now: &mut BootTime) -> Result<Option<Entry>, Malformed> {
    if cursor.left() == 0 {
        return Ok(None);
    }
    let mut kind = cursor.byte("entry")?;
    if kind == tag::MOMENT {
        *now = BootTime(cursor.difference(now.0, "moment")?);
        kind = cursor.byte("entry after a moment")?;
    }
    let entry = match kind {
        tag::TOUCHED => Entry::Observed(Observation::Touched(read_touched(cursor, *now)?)),
        tag::SAMPLE => Entry::Observed(Observation::Sample(read_sample(cursor, *now)?)),
        tag::SENT => Entry::Observed(Observation::Sent(Sent {
            vm: vm(cursor)?,
            from: moment(cursor, *now)?,
            until: moment(cursor, *now)?,
            recalculations: cursor.varint("recalculations")?,
            dest: cursor.varint_u32("destination")?,
            vector: cursor.byte("vector")?,
            lowest_priority: cursor.flag("delivery mode")?,
            count: cursor.varint("number of interrupts")?,
        })),
        tag::UNCOUNTED => Entry::Uncounted(cursor.varint("interrupts not counted")?),
        tag::POLLED => Entry::Polled,
        tag::SEEN => Entry::Observed(Observation::VmSeen(VmSeen {
            vm: vm(cursor)?,
            at: moment(cursor, *now)?,
            origin: if cursor.flag("origin")? {
                Origin::Scan
            } else {
                Origin::Birth
            },
        })),
        tag::GONE => Entry::Observed(Observation::VmGone(VmGone {
            vm: vm(cursor)?,
            at: moment(cursor, *now)?,
        })),
        tag::LOST => Entry::Observed(Observation::Lost(Lost {
            vm: vm(cursor)?,
            at: moment(cursor, *now)?,
        })),
        tag::SKIPPED => Entry::Observed(Observation::Skipped(vm(cursor)?)),
        tag::IDENTIFIED => Entry::Identified(vm(cursor)?, Box::new(identity(cursor, *now)?)),
        tag::DROPPED => Entry::Dropped(cursor.varint("lost records")?),
        tag::CLOCK => Entry::Clock(cursor.difference(0, "clock")?.cast_signed()),
        tag::HOST => Entry::Host(host(cursor)?),
        tag::UNLOADED => Entry::Unloaded,
        tag::END => Entry::End,
        _ => return Err(Malformed("kind of an entry")),
    };
    Ok(Some(entry))
}

fn vm(cursor: &mut Cursor<'_>) -> Result<VmId, Malformed> {
    cursor.varint("VM").map(VmId)
}

fn moment(cursor: &mut Cursor<'_>, now: BootTime) -> Result<BootTime, Malformed> {
    cursor.difference(now.0, "time").map(BootTime)
}

fn one_of<T: Copy>(all: &[T], number: u8, what: &'static str) -> Result<T, Malformed> {
    all.get(usize::from(number)).copied().ok_or(Malformed(what))
}

/// A byte of bits, none of which is unknown.
fn bits(cursor: &mut Cursor<'_>, known: u8, what: &'static str) -> Result<u8, Malformed> {
    let bits = cursor.byte(what)?;
    if bits & !known == 0 {
        Ok(bits)
    } else {
        Err(Malformed(what))
    }
}

fn list<T>(
    cursor: &mut Cursor<'_>,
    smallest: usize,
    what: &'static str,
    mut read: impl FnMut(&mut Cursor<'_>) -> Result<T, Malformed>,
) -> Result<Vec<T>, Malformed> {
    let count = cursor.count(smallest, what)?;
    let mut list = Vec::with_capacity(count);
    for _ in 0..count {
        list.push(read(cursor)?);
    }
    Ok(list)
}

fn host(cursor: &mut Cursor<'_>) -> Result<Host, Malformed> {
    Ok(Host {
        kernel: cursor.text("kernel")?.to_owned(),
        kvm_vendor: cursor.text("KVM's vendor")?.to_owned(),
        possible_rules: list(cursor, 1, "map rules", |cursor| {
            one_of(&MapRules::ALL, cursor.byte("map rules")?, "map rules")
        })?,
        rules_proven: cursor.flag("proof of the map rules")?,
        precise: cursor.flag("hooks")?,
        vector_hashing: cursor.option("vector hashing", |cursor| cursor.flag("vector hashing"))?,
        settle_nanos: cursor.varint("settle time")?,
        all_vms: cursor.flag("choice of VMs")?,
    })
}

fn identity(cursor: &mut Cursor<'_>, now: BootTime) -> Result<Identity, Malformed> {
    let text = |cursor: &mut Cursor<'_>| cursor.text("identity").map(str::to_owned);
    let mut identity = Identity {
        name: text(cursor)?,
        named_by: one_of(&Namer::ALL, cursor.byte("namer")?, "namer")?,
        uuid: cursor.option("UUID", text)?,
        vmm: text(cursor)?,
        pid: cursor.option("process", |cursor| cursor.varint_u32("process"))?,
        start_time: cursor.option("start time", |cursor| cursor.varint("start time"))?,
        owner: cursor.option("owner", |cursor| cursor.varint_u32("owner"))?,
        seen_at: cursor.option("birth", |cursor| moment(cursor, now))?,
        twin: cursor.flag("twin")?,
        discriminator: text(cursor)?,
        belongs: Default::default(),
    };
    for field in identity.belongs.fields_mut() {
        *field = cursor.option("belonging", text)?;
    }
    Ok(identity)
}

fn read_touched(cursor: &mut Cursor<'_>, now: BootTime) -> Result<Touched, Malformed> {
    let vm = vm(cursor)?;
    let at = moment(cursor, now)?;
    let recalculations = cursor.varint("recalculations")?;
    let what = cursor.byte("touch")?;
    let has = bits(cursor, touched::ALL, "parts of a touch")?;
    let vcpu = if has & touched::VCPU != 0 {
        Some(VcpuId(cursor.varint_u32("vCPU")?))
    } else {
        None
    };
    let lapic = if has & touched::LAPIC != 0 {
        Some(lapic(cursor)?)
    } else {
        None
    };
    Ok(Touched {
        vm,
        at,
        recalculations,
        what: read_touch(cursor, what, has)?,
        vcpu,
        lapic,
        task: task(cursor)?,
    })
}

fn read_touch(cursor: &mut Cursor<'_>, what: u8, has: u8) -> Result<Touch, Malformed> {
    let is_write = what >= touch::WROTE;
    if !is_write && has & (touched::OLD | touched::GUEST_RIP) != 0 {
        return Err(Malformed("parts of a touch"));
    }
    match what {
        touch::RECALCULATED => Ok(Touch::Recalculated),
        touch::VCPU_BORN => Ok(Touch::VcpuBorn),
        touch::ENTERED..touch::WROTE => {
            one_of(&Route::ALL, what - touch::ENTERED, "route").map(Touch::Entered)
        }
        touch::WROTE.. => {
            let register = one_of(&Register::ALL, what - touch::WROTE, "register")?;
            let new = cursor.varint("value")?;
            let mut value_if = |bit: u8| {
                if has & bit == 0 {
                    Ok(None)
                } else {
                    cursor.varint("value").map(Some)
                }
            };
            Ok(Touch::Wrote {
                register,
                new,
                old: value_if(touched::OLD)?,
                guest_rip: value_if(touched::GUEST_RIP)?,
            })
        }
        _ => Err(Malformed("touch")),
    }
}

fn task(cursor: &mut Cursor<'_>) -> Result<Task, Malformed> {
    Ok(Task {
        tid: cursor.varint_u32("thread")?,
        tgid: cursor.varint_u32("process")?,
        comm: Comm::from(cursor.bytes("comm")?),
    })
}

fn lapic(cursor: &mut Cursor<'_>) -> Result<Lapic, Malformed> {
    Ok(Lapic {
        id: cursor.fixed_u32("ID register")?,
        ldr: Ldr(cursor.fixed_u32("LDR")?),
        dfr: Dfr(cursor.fixed_u32("DFR")?),
        svr: Svr(cursor.fixed_u32("SVR")?),
        apic_base: ApicBase(cursor.fixed_u64("APIC base")?),
        sw_enabled: cursor.flag("software enable")?,
    })
}

fn read_sample(cursor: &mut Cursor<'_>, now: BootTime) -> Result<VmSample, Malformed> {
    let vm = vm(cursor)?;
    let at = moment(cursor, now)?;
    let trigger = moment(cursor, now)?;
    let has = bits(cursor, sample::ALL, "parts of a sample")?;
    let irqchip = one_of(&IRQCHIPS, cursor.byte("irqchip")?, "irqchip")?;
    let recalculations = cursor.varint("recalculations")?;
    let mapped_vcpus = if has & sample::MAPPED != 0 {
        Some(cursor.varint_u32("mapped vCPUs")?)
    } else {
        None
    };
    let vcpus = list(cursor, 2 + LAPIC_LEN, "vCPUs", |cursor| {
        Ok(VcpuSample {
            idx: VcpuIdx(cursor.varint_u32("index of a vCPU")?),
            id: VcpuId(cursor.varint_u32("vCPU")?),
            lapic: lapic(cursor)?,
        })
    })?;
    let published = if has & sample::PUBLISHED != 0 {
        Some(map(cursor)?)
    } else {
        None
    };
    let mut inhibits = Vec::new();
    let count = cursor.count(1, "inhibits")?;
    if count > MAX_INHIBITS {
        return Err(Malformed("inhibits"));
    }
    for _ in 0..count {
        inhibits.push(Inhibit::named(cursor.text("inhibit")?));
    }
    Ok(VmSample {
        vm,
        at,
        trigger,
        vcpus,
        published,
        mapped_vcpus,
        recalculations,
        consistent: has & sample::CONSISTENT != 0,
        irqchip,
        x2apic_format: has & sample::X2APIC_FORMAT != 0,
        broadcast_quirk_disabled: has & sample::QUIRK_DISABLED != 0,
        apicv_inhibits: inhibits.into_iter().collect(),
        aims: list(cursor, 4, "aims", read_aim)?,
    })
}

fn map(cursor: &mut Cursor<'_>) -> Result<PublishedMap, Malformed> {
    Ok(PublishedMap {
        mode: one_of(&MAP_MODES, cursor.byte("map mode")?, "map mode")?,
        max_apic_id: cursor.varint_u32("highest APIC ID")?,
        slots: list(cursor, 2, "slots", |cursor| {
            let slot = bits(cursor, 0x7f, "slot")?;
            let slot = Slot {
                cluster: slot >> 3,
                bit: slot & 7,
            };
            Ok((slot, VcpuIdx(cursor.varint_u32("owner of a slot")?)))
        })?,
        physical: list(cursor, 2, "physical map", |cursor| {
            let id = ApicId(cursor.varint_u32("APIC ID")?);
            Ok((id, VcpuIdx(cursor.varint_u32("owner of an APIC ID")?)))
        })?,
    })
}

fn read_aim(cursor: &mut Cursor<'_>) -> Result<Aim, Malformed> {
    let has = bits(cursor, aim::ALL, "kind of an aim")?;
    Ok(Aim {
        source: one_of(&AIM_SOURCES, has & aim::SOURCE, "source of an aim")?,
        logical: has & aim::LOGICAL != 0,
        lowest_priority: has & aim::LOWEST_PRIORITY != 0,
        index: cursor.varint_u32("index of an aim")?,
        dest: cursor.varint_u32("destination of an aim")?,
        vector: cursor.byte("vector of an aim")?,
    })
}
