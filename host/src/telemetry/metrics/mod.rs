//! The metrics of the host: `declared.rs` declares each, a caller gathers their values, and
//! `text.rs` writes them in the Prometheus text format.
//!
//! A gathered value names its metric by the declaration, so a name, kind or label that is not
//! declared does not compile or panics in the tests.

pub(crate) mod declared;
pub(crate) mod text;

use sagabox_engine::pure::histogram::Distribution;

/// The declaration of a metric.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Metric {
    /// Ends in `_total` if it is a counter, otherwise in a unit or in what it counts.
    pub name: &'static str,
    pub kind: Kind,
    /// The names of the labels, in the order in which [`Gathered::add`] takes their values.
    pub labels: &'static [&'static str],
    /// One sentence, also for the documentation.
    pub help: &'static str,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    Counter,
    Gauge,
    Histogram,
}

impl Kind {
    pub(crate) fn as_str(self) -> &'static str {
        match self {
            Self::Counter => "counter",
            Self::Gauge => "gauge",
            Self::Histogram => "histogram",
        }
    }
}

/// Values of metrics at one moment.
#[derive(Debug, Default)]
pub(crate) struct Gathered {
    pub families: Vec<Family>,
}

/// The values of one metric.
#[derive(Debug)]
pub(crate) struct Family {
    pub metric: &'static Metric,
    /// Each with the values of the metric's labels.
    pub samples: Vec<(Vec<String>, Value)>,
}

#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) enum Value {
    Whole(u64),
    Times(Distribution),
}

impl Gathered {
    /// Adds a value. The values of one metric stand together, whatever the order of the calls.
    pub(crate) fn add(&mut self, metric: &'static Metric, labels: &[&str], value: u64) {
        self.put(metric, labels, Value::Whole(value));
    }

    /// Adds a histogram.
    pub(crate) fn add_times(
        &mut self,
        metric: &'static Metric,
        labels: &[&str],
        times: Distribution,
    ) {
        self.put(metric, labels, Value::Times(times));
    }

    fn put(&mut self, metric: &'static Metric, labels: &[&str], value: Value) {
        assert_eq!(labels.len(), metric.labels.len(), "the labels of {}", metric.name);
        let is_histogram = matches!(value, Value::Times(_));
        assert_eq!(is_histogram, metric.kind == Kind::Histogram, "the kind of {}", metric.name);
        let sample = (labels.iter().map(|label| (*label).to_owned()).collect(), value);
        let mut families = self.families.iter_mut().rev();
        match families.find(|family| std::ptr::eq(family.metric, metric)) {
            Some(family) => family.samples.push(sample),
            None => self.families.push(Family { metric, samples: vec![sample] }),
        }
    }
}
