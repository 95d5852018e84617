//! What each observer adds to each path, out of the blocks that the lab told.

use std::collections::BTreeMap;

use serde::Deserialize;
use serde_json::Value;

/// The observer that is nobody.
const NOBODY: &str = "none";

/// One block as `lab-case bench` tells it.
#[derive(Debug, Deserialize)]
struct Block {
    path: String,
    vcpus: u32,
    observer: String,
    median: u64,
}

/// The medians of some blocks of one path: their median, least and most.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Spread {
    pub(super) median: i64,
    pub(super) least: i64,
    pub(super) most: i64,
}

impl Spread {
    fn of(mut values: Vec<i64>) -> Option<Self> {
        values.sort_unstable();
        Some(Self {
            median: *values.get(values.len() / 2)?,
            least: *values.first()?,
            most: *values.last()?,
        })
    }

    const fn above(self, base: i64) -> Self {
        Self {
            median: self.median - base,
            least: self.least - base,
            most: self.most - base,
        }
    }
}

/// A path, bare and watched.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Cost {
    pub(super) path: String,
    pub(super) vcpus: u32,
    /// Instructions an operation where nothing watches.
    pub(super) bare: Spread,
    /// Instructions that each observer adds.
    pub(super) added: BTreeMap<String, Spread>,
}

/// The costs, in the order in which their paths were first told.
pub(super) fn of(lines: &[Value]) -> Vec<Cost> {
    let mut paths: Vec<(String, u32)> = Vec::new();
    let mut medians: BTreeMap<(String, u32, String), Vec<i64>> = BTreeMap::new();
    // Lines of other measurements are no blocks.
    for block in lines.iter().filter_map(|line| Block::deserialize(line).ok()) {
        let path = (block.path, block.vcpus);
        if !paths.contains(&path) {
            paths.push(path.clone());
        }
        let median = i64::try_from(block.median).unwrap_or(i64::MAX);
        let key = (path.0, path.1, block.observer);
        medians.entry(key).or_default().push(median);
    }
    let cost = |(path, vcpus): (String, u32)| {
        let of_path = |observer: &str| {
            let key = (path.clone(), vcpus, observer.to_owned());
            medians.get(&key).cloned().and_then(Spread::of)
        };
        let bare = of_path(NOBODY)?;
        let observers = medians
            .keys()
            .filter(|(of, with, _)| *of == path && *with == vcpus);
        let added = observers
            .filter(|(.., observer)| observer != NOBODY)
            .filter_map(|(.., observer)| Some((observer.clone(), of_path(observer)?.above(bare.median))))
            .collect();
        Some(Cost {
            path,
            vcpus,
            bare,
            added,
        })
    };
    paths.into_iter().filter_map(cost).collect()
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::of;

    #[test]
    fn what_is_added_is_told_from_what_was_there() {
        let block = |observer: &str, median: u64| json!({"path":"eoi","vcpus":1,"observer":observer,"round":0,"median":median});
        let lines = [
            block("none", 3293),
            block("cold", 3293),
            block("obvious", 3977),
            block("obvious", 3979),
            block("none", 3294),
            block("none", 3293),
            json!({"measure":"startup","us":5}),
        ];
        let costs = of(&lines);
        let [eoi] = costs.as_slice() else {
            panic!("{costs:?}")
        };
        assert_eq!(
            (eoi.bare.median, eoi.bare.least, eoi.bare.most),
            (3293, 3293, 3294)
        );
        assert_eq!(eoi.added["cold"].median, 0);
        assert_eq!(
            (eoi.added["obvious"].least, eoi.added["obvious"].most),
            (684, 686)
        );
    }
}
