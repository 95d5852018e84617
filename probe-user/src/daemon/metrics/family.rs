//! One metric with its series, as it is put together for a scrape.

use prometheus::proto::{Counter, Gauge, LabelPair, Metric, MetricFamily, MetricType};

/// A metric with all its series.
#[derive(Debug)]
pub(super) struct Family {
    name: &'static str,
    help: &'static str,
    kind: MetricType,
    series: Vec<Metric>,
}

impl Family {
    /// A value that goes up and down.
    pub(super) const fn gauge(name: &'static str, help: &'static str) -> Self {
        Self::new(name, help, MetricType::GAUGE)
    }

    /// A count since the start.
    pub(super) const fn counter(name: &'static str, help: &'static str) -> Self {
        Self::new(name, help, MetricType::COUNTER)
    }

    const fn new(name: &'static str, help: &'static str, kind: MetricType) -> Self {
        Self {
            name,
            help,
            kind,
            series: Vec::new(),
        }
    }

    /// With its only series.
    pub(super) fn of(mut self, value: f64) -> Self {
        self.push(&[], value);
        self
    }

    /// With a series for each row.
    pub(super) fn by<'a>(mut self, label: &str, rows: impl IntoIterator<Item = (&'a str, f64)>) -> Self {
        for (word, value) in rows {
            self.push(&[(label, word)], value);
        }
        self
    }

    /// Adds a series. Label values are those of [`super::label`], or words of ldrscope's own.
    pub(super) fn push(&mut self, labels: &[(&str, &str)], value: f64) {
        let labels = labels.iter().map(|&(name, value)| {
            let mut pair = LabelPair::default();
            pair.set_name(name.to_owned());
            pair.set_value(value.to_owned());
            pair
        });
        let mut metric = Metric::from_label(labels.collect());
        if self.kind == MetricType::COUNTER {
            let mut counter = Counter::default();
            counter.set_value(value);
            metric.set_counter(counter);
        } else {
            let mut gauge = Gauge::default();
            gauge.set_value(value);
            metric.set_gauge(gauge);
        }
        self.series.push(metric);
    }

    /// For the encoder, which knows no metric without series.
    pub(super) fn into_proto(self) -> Option<MetricFamily> {
        if self.series.is_empty() {
            return None;
        }
        let mut family = MetricFamily::default();
        family.set_name(self.name.to_owned());
        family.set_help(self.help.to_owned());
        family.set_field_type(self.kind);
        family.set_metric(self.series);
        Some(family)
    }
}

/// A count as Prometheus takes it: exact up to 2^53.
#[expect(clippy::cast_precision_loss, reason = "Prometheus knows no other numbers")]
pub(super) const fn count(value: u64) -> f64 {
    value as f64
}

/// How many there are.
pub(super) fn number(count: usize) -> f64 {
    self::count(u64::try_from(count).unwrap_or(u64::MAX))
}
