//! One VM as last read: its vCPUs, its maps, and how far all that can be trusted.
//!
//! Holds state and answers questions about it. What is wrong with the state is left to [`crate::rules`].

use crate::{
    aim::Aim,
    apicv::Inhibits,
    astray::Astray,
    delivery::{Deliveries, DestinationMode, Fabric},
    finding::Confidence,
    history::{History, News},
    id::{BootTime, VcpuId, VcpuIdx, VmId},
    map::{LogicalAndPhysicalMap, PublishedMap, RebuiltMap},
    map_rules::MapRules,
    observation::{Irqchip, Origin, Touched, VcpuSample, VmSample, VmSeen},
    rebuild::Rebuild,
};

mod agreement;
mod dispute;
mod sent;
#[cfg(test)]
mod tests;

use dispute::Dispute;
use sent::Stray;

/// By which map rules VMs are judged.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Judging {
    /// Those of the host's KVM, where they are known.
    Host(Option<MapRules>),
    /// Those of another KVM: what it would make of the same registers.
    AsIf(MapRules),
}

impl Judging {
    pub(crate) const fn rules(self) -> Option<MapRules> {
        match self {
            Self::Host(rules) => rules,
            Self::AsIf(rules) => Some(rules),
        }
    }

    pub(crate) const fn as_if(self) -> Option<MapRules> {
        match self {
            Self::Host(_) => None,
            Self::AsIf(rules) => Some(rules),
        }
    }
}

/// One VM.
#[derive(Clone, Debug)]
pub struct Vm {
    id: VmId,
    seen_at: BootTime,
    origin: Origin,
    judging: Judging,
    history: History,
    sample: Option<VmSample>,
    rebuild: Option<Rebuild>,
    agrees: Option<bool>,
    /// When the kernel event happened that made the VM worth judging last.
    news_at: Option<BootTime>,
    /// Registers moved since the last sample, if only to come back.
    moved: bool,
    /// A divergence that was seen but not confirmed.
    dispute: Option<Dispute>,
    /// Records were lost since the last sample.
    lost: bool,
    /// What the sample shows may be older than ldrscope's acquaintance with the VM.
    first_acquaintance: bool,
    /// The most recalculations that anything told of.
    recalculations: u64,
    /// When it was seen last that something changed without a recalculation.
    strayed: Option<Stray>,
    astray: Astray,
}

/// The map that deliveries are computed from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum MapInUse<'a> {
    /// This one; `None` is a NULL map.
    Known(Option<&'a LogicalAndPhysicalMap>),
    /// Not known: the sample is torn, and the map rules are unknown.
    Unknown,
}

impl Vm {
    pub(crate) fn new(seen: &VmSeen, judging: Judging) -> Self {
        Self {
            id: seen.vm,
            seen_at: seen.at,
            origin: seen.origin,
            judging,
            history: History::new(seen.origin),
            sample: None,
            rebuild: None,
            agrees: None,
            news_at: None,
            moved: false,
            dispute: None,
            lost: false,
            first_acquaintance: seen.origin == Origin::Scan,
            recalculations: 0,
            strayed: None,
            astray: Astray::default(),
        }
    }

    /// Takes in a touch. True where the VM is to be judged again because of it alone.
    pub(crate) fn touched(&mut self, touched: &Touched) -> bool {
        self.recalculations = self.recalculations.max(touched.recalculations);
        match self.history.touched(touched) {
            News::None => false,
            News::WithNextSample => {
                self.moved = true;
                false
            }
            News::Now => {
                self.news_at = self.news_at.max(Some(touched.at));
                true
            }
        }
    }

    /// Takes in a sample. True where it says anything new. One that shows published and rebuilt map diverge for the
    /// first time says nothing yet; see [`dispute`].
    pub(crate) fn sampled(&mut self, sample: &VmSample) -> bool {
        self.recalculations = self.recalculations.max(sample.recalculations);
        let strayed = self.sample.as_ref().and_then(|last| Stray::between(last, sample));
        self.strayed = strayed.or(self.strayed);
        let same = self.sample.as_ref().is_some_and(|last| same_state(last, sample));
        if same {
            self.dispute = None;
            return self.take_again(sample);
        }
        let compared = self.compare(sample);
        if Dispute::is_open(&mut self.dispute, sample, &compared) {
            if self.sample.is_some() {
                return false;
            }
            // Nothing else is known of the VM: better this, as what it is, than nothing.
            let torn = VmSample {
                consistent: false,
                ..sample.clone()
            };
            let compared = self.compare(&torn);
            return self.take(&torn, compared);
        }
        self.take(sample, compared)
    }

    /// Takes in a sample that shows the state of the last one. True where that is news all the same.
    fn take_again(&mut self, sample: &VmSample) -> bool {
        self.history.sampled_again(sample);
        let news = std::mem::take(&mut self.moved) || self.lost;
        if news {
            self.note_news(sample);
        }
        self.lost = false;
        if let Some(last) = &mut self.sample {
            show_again(last, sample);
        }
        news
    }

    fn take(&mut self, sample: &VmSample, compared: Option<(Rebuild, Option<bool>)>) -> bool {
        self.history.sampled(sample);
        self.note_news(sample);
        (self.moved, self.lost) = (false, false);
        self.sample = Some(sample.clone());
        (self.rebuild, self.agrees) = match compared {
            Some((rebuild, agrees)) => (Some(rebuild), agrees),
            None => (None, None),
        };
        self.forget_what_healed();
        true
    }

    fn note_news(&mut self, sample: &VmSample) {
        let was_whole = self.sample.as_ref().is_some_and(|last| last.consistent);
        self.first_acquaintance &= !was_whole;
        self.news_at = Some(sample.trigger);
    }

    /// Notes that touches were left out.
    pub(crate) const fn skipped(&mut self) {
        self.history.skipped();
    }

    /// Notes that something about the VM was lost. True where that is news.
    pub(crate) fn lost(&mut self, at: BootTime) -> bool {
        self.history.skipped();
        let news = !std::mem::replace(&mut self.lost, true);
        if news {
            self.news_at = Some(at);
        }
        news
    }

    /// Judges by other rules from now on.
    pub(crate) fn judge_by(&mut self, judging: Judging) {
        self.judging = judging;
        self.rebuild_map();
    }

    fn rebuild_map(&mut self) {
        let compared = self.sample.as_ref().and_then(|sample| self.compare(sample));
        (self.rebuild, self.agrees) = match compared {
            Some((rebuild, agrees)) => (Some(rebuild), agrees),
            None => (None, None),
        };
    }

    /// What the rules make of a sample, and whether that is what KVM published; `None` without rules or LAPICs.
    fn compare(&self, sample: &VmSample) -> Option<(Rebuild, Option<bool>)> {
        match self.judging {
            _ if sample.irqchip == Irqchip::Userspace => None,
            Judging::Host(rules) => Some(agreement::rebuild_and_compare(sample, rules?)),
            Judging::AsIf(rules) => Some((
                crate::rebuild::rebuild(&sample.vcpus, sample.x2apic_format, rules),
                None,
            )),
        }
    }

    /// Whether what KVM published can have come about by `rules`.
    pub(crate) fn fits(&self, rules: MapRules) -> bool {
        let sample = self
            .sample
            .as_ref()
            .filter(|sample| sample.irqchip != Irqchip::Userspace);
        sample.is_none_or(|sample| agreement::rebuild_and_compare(sample, rules).1 != Some(false))
    }

    /// Whether its published map is what its rules make of the registers, and not what others would.
    pub(crate) fn tells_rules_apart(&self) -> bool {
        self.agrees == Some(true) && !MapRules::ALL.into_iter().all(|rules| self.fits(rules))
    }

    /// Whether a divergence was seen that another read has to confirm.
    #[must_use]
    pub const fn disputed(&self) -> bool {
        self.dispute.is_some()
    }

    /// Its identity.
    #[must_use]
    pub const fn id(&self) -> VmId {
        self.id
    }

    /// When it was born, or found.
    #[must_use]
    pub const fn seen_at(&self) -> BootTime {
        self.seen_at
    }

    /// Whether its birth was seen.
    #[must_use]
    pub const fn origin(&self) -> Origin {
        self.origin
    }

    /// Whether it has been read at all.
    #[must_use]
    pub const fn sampled_yet(&self) -> bool {
        self.sample.is_some()
    }

    /// When the last read was finished.
    #[must_use]
    pub fn sampled_at(&self) -> Option<BootTime> {
        self.sample.as_ref().map(|sample| sample.at)
    }

    /// The kernel's timestamp of the last event that made the VM worth judging (again).
    #[must_use]
    pub fn trigger(&self) -> Option<BootTime> {
        self.news_at.max(self.astray.news_at())
    }

    /// When the state as it is came about; `None` where it is older than the observation.
    #[must_use]
    pub const fn state_since(&self) -> Option<BootTime> {
        if self.first_acquaintance {
            None
        } else {
            self.news_at
        }
    }

    /// Its vCPUs, ascending by index.
    #[must_use]
    pub fn vcpus(&self) -> &[VcpuSample] {
        self.sample.as_ref().map_or(&[], |sample| &sample.vcpus)
    }

    /// One vCPU by index.
    #[must_use]
    pub fn vcpu(&self, idx: VcpuIdx) -> Option<&VcpuSample> {
        let vcpus = self.vcpus();
        vcpus
            .binary_search_by_key(&idx, |vcpu| vcpu.idx)
            .ok()
            .map(|at| &vcpus[at])
    }

    /// The VMM's number of a vCPU.
    #[must_use]
    pub fn vcpu_id(&self, idx: VcpuIdx) -> Option<VcpuId> {
        self.vcpu(idx).map(|vcpu| vcpu.id)
    }

    /// Where its interrupt controllers live.
    #[must_use]
    pub fn irqchip(&self) -> Option<Irqchip> {
        self.sample.as_ref().map(|sample| sample.irqchip)
    }

    /// The map KVM published; `None` where it is NULL, not read yet, or of no interest because another KVM's
    /// rules are asked for.
    #[must_use]
    pub fn published(&self) -> Option<&PublishedMap> {
        match self.judging {
            Judging::Host(_) => self.sample.as_ref()?.published.as_ref(),
            Judging::AsIf(_) => None,
        }
    }

    /// What the rules make of the registers; `None` where the rules are unknown.
    #[must_use]
    pub const fn rebuild(&self) -> Option<&Rebuild> {
        self.rebuild.as_ref()
    }

    /// The rebuilt map; `None` where it would be NULL, and where the rules are unknown.
    #[must_use]
    pub fn rebuilt(&self) -> Option<&RebuiltMap> {
        self.rebuild.as_ref()?.map.as_ref()
    }

    /// The rules of another KVM that it is judged by in place of its host's.
    #[must_use]
    pub const fn as_if(&self) -> Option<MapRules> {
        self.judging.as_if()
    }

    /// The rules it is judged by.
    #[must_use]
    pub const fn rules(&self) -> Option<MapRules> {
        self.judging.rules()
    }

    /// Whether published and rebuilt map are the same; `None` where that cannot be told.
    #[must_use]
    pub const fn agrees(&self) -> Option<bool> {
        self.agrees
    }

    /// How far the state can be trusted.
    #[must_use]
    pub fn confidence(&self) -> Confidence {
        match &self.sample {
            Some(sample) if sample.irqchip == Irqchip::Userspace => Confidence::Unobservable,
            Some(sample) if sample.consistent && !self.lost => Confidence::Certain,
            _ => Confidence::Uncertain,
        }
    }

    /// The sources known to use a destination, logical or physical.
    #[must_use]
    pub fn aims(&self) -> &[Aim] {
        self.sample.as_ref().map_or(&[], |sample| &sample.aims)
    }

    /// Those that use a logical one.
    pub fn logical_aims(&self) -> impl Iterator<Item = &Aim> {
        self.aims().iter().filter(|aim| aim.logical)
    }

    /// Why KVM does without APICv or AVIC for it, on the host that it runs on.
    #[must_use]
    pub fn inhibits(&self) -> &Inhibits {
        const NONE: &Inhibits = &Inhibits::NONE;
        self.sample.as_ref().map_or(NONE, |sample| &sample.apicv_inhibits)
    }

    /// Whether userspace uses 32-bit APIC IDs.
    #[must_use]
    pub fn x2apic_format(&self) -> bool {
        self.sample.as_ref().is_some_and(|sample| sample.x2apic_format)
    }

    /// Whether userspace disabled the x2APIC broadcast quirk.
    #[must_use]
    pub fn broadcast_quirk_disabled(&self) -> bool {
        self.sample
            .as_ref()
            .is_some_and(|sample| sample.broadcast_quirk_disabled)
    }

    /// What its vCPUs went through.
    #[must_use]
    pub const fn history(&self) -> &History {
        &self.history
    }

    /// The map that decides where interrupts go: the published one where it was read together with the
    /// registers, else the rebuilt one.
    #[must_use]
    pub fn map_in_use(&self) -> MapInUse<'_> {
        let published = self.sample.as_ref().filter(|sample| sample.consistent);
        match (self.judging, published, &self.rebuild) {
            (Judging::Host(_), Some(sample), _) => MapInUse::Known(sample.published.as_ref()),
            (_, _, Some(rebuild)) => MapInUse::Known(rebuild.map.as_ref()),
            (_, _, None) => MapInUse::Unknown,
        }
    }

    /// The vCPUs and the map that an interrupt meets; `None` where the map in use is not known.
    #[must_use]
    pub fn fabric(&self) -> Option<Fabric<'_>> {
        let MapInUse::Known(map) = self.map_in_use() else {
            return None;
        };
        // Under unknown rules a map of mode sw-disabled may be scanned or dropped: nobody has a logical ID
        // then, so the two reach the same vCPUs.
        let rules = self.rules().unwrap_or(MapRules::ConflictDisables);
        Some(Fabric {
            vcpus: self.vcpus(),
            map,
            rules,
            x2apic_format: self.x2apic_format(),
            broadcast_quirk_disabled: self.broadcast_quirk_disabled(),
        })
    }

    /// Who gets what, for every 8-bit destination of a mode; `None` where the map in use is not known.
    #[must_use]
    pub fn deliveries(&self, mode: DestinationMode) -> Option<Deliveries> {
        self.fabric().map(|fabric| Deliveries::compute(&fabric, mode))
    }
}

/// Whether two samples of one VM show the same state, read at whatever time.
fn same_state(last: &VmSample, new: &VmSample) -> bool {
    // Named in full, so that a new field has to be considered here.
    let VmSample {
        vm: _,
        at: _,
        trigger: _,
        vcpus,
        published,
        mapped_vcpus,
        recalculations: _,
        consistent,
        irqchip,
        x2apic_format,
        broadcast_quirk_disabled,
        apicv_inhibits,
        aims,
    } = last;
    *vcpus == new.vcpus
        && *published == new.published
        && *mapped_vcpus == new.mapped_vcpus
        && *consistent == new.consistent
        && *irqchip == new.irqchip
        && *x2apic_format == new.x2apic_format
        && *broadcast_quirk_disabled == new.broadcast_quirk_disabled
        && *apicv_inhibits == new.apicv_inhibits
        && *aims == new.aims
}

/// Takes over from `new`, which shows the state of `last`, what is not state.
const fn show_again(last: &mut VmSample, new: &VmSample) {
    last.at = new.at;
    last.trigger = new.trigger;
    last.recalculations = new.recalculations;
}
