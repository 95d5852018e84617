//! Trimmed BTF of real kernels (`fixtures/btf/README.md`), as it is and damaged on purpose; for tests only.

use super::{Btf, BtfError, SPLIT_BIT, TypeId, kind, word};

macro_rules! fixture {
    ($name:literal) => {
        include_bytes!(concat!(env!("CARGO_MANIFEST_DIR"), "/fixtures/btf/", $name))
    };
}

/// One kernel's BTF.
#[derive(Clone, Copy)]
pub(in crate::kernel) struct Kernel {
    pub(in crate::kernel) series: &'static str,
    /// What stands by itself: the kernel's own half, or the debug data of 5.10's kvm module.
    pub(in crate::kernel) vmlinux: &'static [u8],
    /// None on 5.10, which has no BTF of modules.
    pub(in crate::kernel) kvm: Option<&'static [u8]>,
}

/// From the oldest to the newest.
pub(in crate::kernel) const KERNELS: [Kernel; 5] = [
    Kernel {
        series: "5.10",
        vmlinux: fixture!("5.10.debug.btf"),
        kvm: None,
    },
    Kernel {
        series: "6.1",
        vmlinux: fixture!("6.1.vmlinux.btf"),
        kvm: Some(fixture!("6.1.kvm.btf")),
    },
    Kernel {
        series: "6.12",
        vmlinux: fixture!("6.12.vmlinux.btf"),
        kvm: Some(fixture!("6.12.kvm.btf")),
    },
    Kernel {
        series: "6.18",
        vmlinux: fixture!("6.18.vmlinux.btf"),
        kvm: Some(fixture!("6.18.kvm.btf")),
    },
    Kernel {
        series: "7.3",
        vmlinux: fixture!("7.3.vmlinux.btf"),
        kvm: Some(fixture!("7.3.kvm.btf")),
    },
];

/// 5.10's own half, all that the kernel itself offers.
pub(in crate::kernel) const VMLINUX_5_10: &[u8] = fixture!("5.10.vmlinux.btf");

/// The kernel of that series.
pub(in crate::kernel) fn kernel(series: &str) -> Kernel {
    KERNELS
        .into_iter()
        .find(|kernel| kernel.series == series)
        .unwrap()
}

impl Kernel {
    pub(in crate::kernel) fn btf(&self) -> Btf<'static> {
        Btf::parse(self.vmlinux, self.kvm).unwrap()
    }

    pub(in crate::kernel) fn to_blobs(self) -> Blobs {
        Blobs {
            base: self.vmlinux.to_vec(),
            split: self.kvm.map(<[u8]>::to_vec),
        }
    }
}

/// A kernel's BTF to be damaged.
#[derive(Clone)]
pub(in crate::kernel) struct Blobs {
    pub(in crate::kernel) base: Vec<u8>,
    pub(in crate::kernel) split: Option<Vec<u8>>,
}

/// Where the three words of a member lie: in the split part or not, and from which byte of it.
#[derive(Clone, Copy)]
pub(in crate::kernel) struct Record {
    in_split: bool,
    at: usize,
}

impl Blobs {
    pub(in crate::kernel) fn parse(&self) -> Result<Btf<'_>, BtfError> {
        Btf::parse(&self.base, self.split.as_deref())
    }

    /// The records of a member, one for every structure of that name; "" means all structures without a name.
    pub(in crate::kernel) fn records(&self, holder: &str, member: &str) -> Vec<Record> {
        const HEADER_AND_TYPE_HEAD: usize = 24 + 12;
        let btf = self.parse().unwrap();
        let mut records = Vec::new();
        let held = (1..=btf.types.len() as u32).filter_map(|id| Some((id, btf.get(TypeId(id))?)));
        for (id, found) in held {
            let is_holder = matches!(found.kind(), kind::STRUCT | kind::UNION)
                && btf.string(found.name).unwrap() == holder.as_bytes();
            if !is_holder {
                continue;
            }
            let position = btf.types[id as usize - 1];
            for index in 0..found.vlen() {
                if btf.string(found.word(index * 3).unwrap()).unwrap() == member.as_bytes() {
                    records.push(Record {
                        in_split: position & SPLIT_BIT != 0,
                        at: HEADER_AND_TYPE_HEAD + (position & !SPLIT_BIT) as usize + index * 12,
                    });
                }
            }
        }
        assert!(!records.is_empty(), "{holder}.{member} is not in the fixture");
        records
    }

    /// Gives the member another name: its own without the first letter.
    pub(in crate::kernel) fn rename(&mut self, record: Record) {
        self.edit(record.at, record.in_split, |name| name + 1);
    }

    /// Puts the member 8 bytes further.
    pub(in crate::kernel) fn shift(&mut self, record: Record) {
        self.edit(record.at + 8, record.in_split, |bits| bits + 64);
    }

    /// Makes a pointer of the member.
    pub(in crate::kernel) fn make_pointer(&mut self, record: Record) {
        // The first type of every fixture is the one pointer.
        self.edit(record.at + 4, record.in_split, |_| 1);
    }

    fn edit(&mut self, at: usize, in_split: bool, change: impl FnOnce(u32) -> u32) {
        let bytes = if in_split {
            self.split.as_mut().unwrap()
        } else {
            &mut self.base
        };
        let new = change(word(bytes, at).unwrap());
        bytes[at..at + 4].copy_from_slice(&new.to_le_bytes());
    }
}

/// BTF made by hand: types word for word, and strings, of which the empty one comes first by itself.
pub(in crate::kernel) fn synthetic(types: &[&[u32]], strings: &[&str]) -> Vec<u8> {
    let types: Vec<u32> = types.concat();
    let strings: String = strings
        .iter()
        .flat_map(|text| ["\0", *text])
        .chain(["\0"])
        .collect();
    let type_bytes = types.len() as u32 * 4;
    let header = [0x0001_EB9F, 24, 0, type_bytes, type_bytes, strings.len() as u32];
    let mut bytes: Vec<u8> = header
        .into_iter()
        .chain(types)
        .flat_map(u32::to_le_bytes)
        .collect();
    bytes.extend_from_slice(strings.as_bytes());
    bytes
}

/// Damages some bytes, the same ones for the same seed (xorshift64*).
pub(in crate::kernel) struct Vandal(u64);

impl Vandal {
    pub(in crate::kernel) fn new(seed: u64) -> Self {
        Self(seed)
    }

    fn next(&mut self) -> u64 {
        self.0 ^= self.0 >> 12;
        self.0 ^= self.0 << 25;
        self.0 ^= self.0 >> 27;
        self.0.wrapping_mul(0x2545_F491_4F6C_DD1D) >> 16
    }

    pub(in crate::kernel) fn damage(&mut self, bytes: &mut [u8]) {
        for _ in 0..=self.next() % 8 {
            let at = self.next() as usize % bytes.len();
            bytes[at] ^= 1 << (self.next() % 8);
        }
    }
}
