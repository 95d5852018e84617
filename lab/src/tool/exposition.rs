//! What a Prometheus endpoint exposes, read strictly enough to hold it to what happened.

use std::collections::BTreeMap;

/// One scrape.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Exposition(BTreeMap<String, f64>);

impl Exposition {
    /// Reads the text format 0.0.4. A line that is none, or a series that comes twice, is an error.
    pub fn parse(text: &str) -> Result<Self, String> {
        let mut series = BTreeMap::new();
        for line in text
            .lines()
            .filter(|line| !line.starts_with('#') && !line.is_empty())
        {
            let (name, value) = line
                .rsplit_once(' ')
                .ok_or_else(|| format!("no sample: {line:?}"))?;
            let value = value.parse().map_err(|_| format!("no number: {line:?}"))?;
            if line.chars().any(char::is_control) {
                return Err(format!("a control character: {line:?}"));
            }
            if series.insert(name.to_owned(), value).is_some() {
                return Err(format!("twice: {line:?}"));
            }
        }
        Ok(Self(series))
    }

    /// The value of a series with its labels as they are written; not a number where there is none.
    pub fn value(&self, series: &str) -> f64 {
        self.0.get(series).copied().unwrap_or(f64::NAN)
    }

    /// The sum of all series of a metric whose labels hold all of `parts`, such as `event="raised"`.
    pub fn sum(&self, metric: &str, parts: &[&str]) -> f64 {
        self.of(metric)
            .filter(|(labels, _)| parts.iter().all(|part| labels.contains(part)))
            .map(|(_, value)| value)
            .sum()
    }

    /// All series of a metric: their labels, in braces if any, and values.
    pub fn of<'a>(&'a self, metric: &'a str) -> impl Iterator<Item = (&'a str, f64)> {
        self.0.iter().filter_map(move |(name, value)| {
            let labels = name.strip_prefix(metric)?;
            (labels.is_empty() || labels.starts_with('{')).then_some((labels, *value))
        })
    }
}

#[cfg(test)]
mod tests {
    use super::Exposition;

    #[test]
    fn series_are_found_and_summed_by_their_labels() {
        let text = "# HELP a b\n# TYPE a gauge\na{x=\"1\",y=\"2 3\"} 4\na{x=\"2\"} 5\nab 6\nup 1\n";
        let exposition = Exposition::parse(text).unwrap();
        assert_eq!(exposition.value("up"), 1.0);
        assert_eq!(exposition.sum("a", &[]), 9.0);
        assert_eq!(exposition.sum("a", &["x=\"1\""]), 4.0);
        assert!(exposition.value("none").is_nan());
        assert!(Exposition::parse("a 1\na 1\n").is_err());
        assert!(Exposition::parse("a one\n").is_err());
    }
}
