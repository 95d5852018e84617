//! Entries to frames. What is written here is read by [`crate::decode`], and described in `docs/recordings.md`.

use probe_apic::{
    aim::Aim,
    cause::{Register, Route, Task},
    id::{BootTime, VmId},
    lapic::Lapic,
    map::PublishedMap,
    map_rules::MapRules,
    observation::{Observation, Origin, Sent, Touch, Touched, VmSample},
};

use crate::{
    entry::{Host, Identity},
    frame::{self, TooLong},
    layout::{AIM_SOURCES, IRQCHIPS, MAP_MODES, aim, number, sample, tag, touch, touched},
    wire::{put_bytes, put_count, put_difference, put_option, put_text, put_varint},
};

/// Content after which a frame is closed: long enough to pack well, and with the longest entry on top of it short enough
/// for every reader.
const FRAME_CONTENT: usize = 64 << 10;

/// Packs entries into frames, in memory.
#[derive(Debug, Default)]
pub struct Packer {
    /// Of the frame that is being made.
    content: Vec<u8>,
    /// What its first moment is counted from.
    base: u64,
    now: u64,
    /// The frames that are whole.
    frames: Vec<u8>,
    too_long: Option<TooLong>,
}

impl Packer {
    /// Nothing yet.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Whether nothing was packed since the last [`Self::take_frames`].
    #[must_use]
    pub const fn is_empty(&self) -> bool {
        self.content.is_empty() && self.frames.is_empty()
    }

    /// Bytes that wait in whole frames.
    #[must_use]
    pub const fn waiting(&self) -> usize {
        self.frames.len()
    }

    /// The content of the frame that is being made.
    #[must_use]
    pub fn content(&self) -> &[u8] {
        &self.content
    }

    /// Appends all that was packed to `out`, as frames.
    ///
    /// # Errors
    /// Where an entry was longer than any reader would take: it, and what shared its frame, is not there.
    pub fn take_frames(&mut self, out: &mut Vec<u8>) -> Result<(), TooLong> {
        self.close_frame();
        out.append(&mut self.frames);
        self.too_long.take().map_or(Ok(()), Err)
    }

    fn close_frame(&mut self) {
        if !self.content.is_empty() {
            if let Err(error) = frame::pack(&self.content, self.base, &mut self.frames) {
                self.too_long = Some(error);
            }
            self.content.clear();
        }
    }

    /// The host, from here on.
    pub fn host(&mut self, now: BootTime, host: &Host) {
        let out = self.begin(now, tag::HOST);
        put_text(out, &host.kernel);
        put_text(out, &host.kvm_vendor);
        put_count(out, host.possible_rules.len());
        for rules in &host.possible_rules {
            out.push(number(&MapRules::ALL, rules));
        }
        out.push(u8::from(host.rules_proven));
        out.push(u8::from(host.precise));
        put_option(out, host.vector_hashing, |out, hashing| {
            out.push(u8::from(hashing))
        });
        put_varint(out, host.settle_nanos);
        out.push(u8::from(host.all_vms));
    }

    /// Wall time minus boot time.
    pub fn clock(&mut self, now: BootTime, wall_minus_boot: i64) {
        let out = self.begin(now, tag::CLOCK);
        put_difference(out, wall_minus_boot.cast_unsigned(), 0);
    }

    /// Something about a VM.
    pub fn observed(&mut self, now: BootTime, observation: &Observation) {
        match observation {
            Observation::VmSeen(seen) => {
                let out = self.begin(now, tag::SEEN);
                put_varint(out, seen.vm.0);
                put_difference(out, seen.at.0, now.0);
                out.push(u8::from(seen.origin == Origin::Scan));
            }
            Observation::VmGone(gone) => self.plain(now, tag::GONE, gone.vm, gone.at),
            Observation::Lost(lost) => self.plain(now, tag::LOST, lost.vm, lost.at),
            Observation::Skipped(vm) => put_varint(self.begin(now, tag::SKIPPED), vm.0),
            Observation::Touched(touched) => put_touched(self.begin(now, tag::TOUCHED), now, touched),
            Observation::Sample(sample) => put_sample(self.begin(now, tag::SAMPLE), now, sample),
            Observation::Sent(sent) => put_sent(self.begin(now, tag::SENT), now, sent),
        }
    }

    /// Who a VM is.
    pub fn identified(&mut self, now: BootTime, vm: VmId, identity: &Identity) {
        let out = self.begin(now, tag::IDENTIFIED);
        put_varint(out, vm.0);
        put_text(out, &identity.name);
        out.push(identity.named_by as u8);
        put_option(out, identity.uuid.as_deref(), put_text);
        put_text(out, &identity.vmm);
        put_option(out, identity.pid, |out, pid| put_varint(out, pid.into()));
        put_option(out, identity.start_time, put_varint);
        put_option(out, identity.owner, |out, owner| put_varint(out, owner.into()));
        put_option(out, identity.seen_at, |out, at| put_difference(out, at.0, now.0));
        out.push(u8::from(identity.twin));
        put_text(out, &identity.discriminator);
        for field in identity.belongs.fields() {
            put_option(out, field.as_deref(), put_text);
        }
    }

    /// Records were lost.
    pub fn dropped(&mut self, now: BootTime, records: u64) {
        put_varint(self.begin(now, tag::DROPPED), records);
    }

    /// Interrupts were not counted.
    pub fn uncounted(&mut self, now: BootTime, interrupts: u64) {
        put_varint(self.begin(now, tag::UNCOUNTED), interrupts);
    }

    /// What had come was judged, and told.
    pub fn polled(&mut self, now: BootTime) {
        self.begin(now, tag::POLLED);
    }

    /// Kvm was unloaded.
    pub fn unloaded(&mut self, now: BootTime) {
        self.begin(now, tag::UNLOADED);
    }

    /// The end of the recording.
    pub(crate) fn end(&mut self, now: BootTime) {
        self.begin(now, tag::END);
    }

    /// The moment, where it is another than before, and the kind of the entry.
    fn begin(&mut self, now: BootTime, tag: u8) -> &mut Vec<u8> {
        if self.content.len() >= FRAME_CONTENT {
            self.close_frame();
        }
        if self.content.is_empty() {
            (self.base, self.now) = (now.0, now.0);
        }
        if now.0 != self.now {
            self.content.push(tag::MOMENT);
            put_difference(&mut self.content, now.0, self.now);
            self.now = now.0;
        }
        self.content.push(tag);
        &mut self.content
    }

    fn plain(&mut self, now: BootTime, tag: u8, vm: VmId, at: BootTime) {
        let out = self.begin(now, tag);
        put_varint(out, vm.0);
        put_difference(out, at.0, now.0);
    }
}

fn put_touched(out: &mut Vec<u8>, now: BootTime, touch: &Touched) {
    put_varint(out, touch.vm.0);
    put_difference(out, touch.at.0, now.0);
    put_varint(out, touch.recalculations);
    let (what, write) = match touch.what {
        Touch::Recalculated => (touch::RECALCULATED, None),
        Touch::VcpuBorn => (touch::VCPU_BORN, None),
        Touch::Entered(route) => (touch::ENTERED + number(&Route::ALL, &route), None),
        Touch::Wrote {
            register,
            old,
            new,
            guest_rip,
        } => (
            touch::WROTE + number(&Register::ALL, &register),
            Some((old, new, guest_rip)),
        ),
    };
    out.push(what);
    let (old, guest_rip) = write.map_or((None, None), |(old, _, guest_rip)| (old, guest_rip));
    let bit = |bit: u8, is_set: bool| if is_set { bit } else { 0 };
    out.push(
        bit(touched::VCPU, touch.vcpu.is_some())
            | bit(touched::LAPIC, touch.lapic.is_some())
            | bit(touched::OLD, old.is_some())
            | bit(touched::GUEST_RIP, guest_rip.is_some()),
    );
    if let Some(vcpu) = touch.vcpu {
        put_varint(out, vcpu.0.into());
    }
    if let Some(lapic) = &touch.lapic {
        put_lapic(out, lapic);
    }
    if let Some((_, new, _)) = write {
        put_varint(out, new);
    }
    for value in [old, guest_rip].into_iter().flatten() {
        put_varint(out, value);
    }
    put_task(out, &touch.task);
}

fn put_task(out: &mut Vec<u8>, task: &Task) {
    put_varint(out, task.tid.into());
    put_varint(out, task.tgid.into());
    put_bytes(out, task.comm.bytes());
}

/// All of one size: they are most of a recording, and look alike.
fn put_lapic(out: &mut Vec<u8>, lapic: &Lapic) {
    for register in [lapic.id, lapic.ldr.0, lapic.dfr.0, lapic.svr.0] {
        out.extend(register.to_le_bytes());
    }
    out.extend(lapic.apic_base.0.to_le_bytes());
    out.push(u8::from(lapic.sw_enabled));
}

fn put_sample(out: &mut Vec<u8>, now: BootTime, sample: &VmSample) {
    put_varint(out, sample.vm.0);
    put_difference(out, sample.at.0, now.0);
    put_difference(out, sample.trigger.0, now.0);
    let bit = |bit: u8, is_set: bool| if is_set { bit } else { 0 };
    out.push(
        bit(sample::PUBLISHED, sample.published.is_some())
            | bit(sample::MAPPED, sample.mapped_vcpus.is_some())
            | bit(sample::CONSISTENT, sample.consistent)
            | bit(sample::X2APIC_FORMAT, sample.x2apic_format)
            | bit(sample::QUIRK_DISABLED, sample.broadcast_quirk_disabled),
    );
    out.push(number(&IRQCHIPS, &sample.irqchip));
    put_varint(out, sample.recalculations);
    if let Some(mapped) = sample.mapped_vcpus {
        put_varint(out, mapped.into());
    }
    put_count(out, sample.vcpus.len());
    for vcpu in &sample.vcpus {
        put_varint(out, vcpu.idx.0.into());
        put_varint(out, vcpu.id.0.into());
        put_lapic(out, &vcpu.lapic);
    }
    if let Some(map) = &sample.published {
        put_map(out, map);
    }
    put_count(out, sample.apicv_inhibits.iter().count());
    for inhibit in sample.apicv_inhibits.iter() {
        put_text(out, inhibit.name());
    }
    put_count(out, sample.aims.len());
    for aim in &sample.aims {
        put_aim(out, aim);
    }
}

fn put_sent(out: &mut Vec<u8>, now: BootTime, sent: &Sent) {
    put_varint(out, sent.vm.0);
    put_difference(out, sent.from.0, now.0);
    put_difference(out, sent.until.0, now.0);
    put_varint(out, sent.recalculations);
    put_varint(out, sent.dest.into());
    out.push(sent.vector);
    out.push(u8::from(sent.lowest_priority));
    put_varint(out, sent.count);
}

fn put_map(out: &mut Vec<u8>, map: &PublishedMap) {
    out.push(number(&MAP_MODES, &map.mode));
    put_varint(out, map.max_apic_id.into());
    put_count(out, map.slots.len());
    for (slot, vcpu) in &map.slots {
        out.push(slot.cluster << 3 | slot.bit);
        put_varint(out, vcpu.0.into());
    }
    put_count(out, map.physical.len());
    for (id, vcpu) in &map.physical {
        put_varint(out, id.0.into());
        put_varint(out, vcpu.0.into());
    }
}

fn put_aim(out: &mut Vec<u8>, aim: &Aim) {
    let bit = |bit: u8, is_set: bool| if is_set { bit } else { 0 };
    out.push(
        number(&AIM_SOURCES, &aim.source)
            | bit(aim::LOGICAL, aim.logical)
            | bit(aim::LOWEST_PRIORITY, aim.lowest_priority),
    );
    put_varint(out, aim.index.into());
    put_varint(out, aim.dest.into());
    out.push(aim.vector);
}
