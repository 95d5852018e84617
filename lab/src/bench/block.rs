//! The figures of one block of timed operations.

/// Instructions an operation, over one block.
#[derive(Debug, Clone, Copy, PartialEq, Eq, serde::Serialize)]
pub struct Figures {
    /// Operations timed.
    pub operations: usize,
    /// A tenth of them took at most so many.
    pub p10: u64,
    /// Half of them.
    pub median: u64,
    /// Nine tenths of them.
    pub p90: u64,
    /// All of them together, divided by their number.
    pub mean: u64,
}

impl Figures {
    /// Those of `samples`; all zero where there is none.
    pub fn of(mut samples: Vec<u64>) -> Self {
        samples.sort_unstable();
        let operations = samples.len();
        let at = |tenths: usize| {
            samples
                .get((operations * tenths / 10).min(operations.saturating_sub(1)))
                .copied()
                .unwrap_or(0)
        };
        Self {
            operations,
            p10: at(1),
            median: at(5),
            p90: at(9),
            mean: samples.iter().sum::<u64>() / operations.max(1) as u64,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::Figures;

    #[test]
    fn a_few_outliers_move_the_mean_and_not_the_median() {
        let mut samples = vec![100; 99];
        samples.push(10_100);
        let figures = Figures::of(samples);
        assert_eq!((figures.p10, figures.median, figures.p90), (100, 100, 100));
        assert_eq!(figures.mean, 200);
        assert_eq!(Figures::of(Vec::new()).operations, 0);
    }
}
