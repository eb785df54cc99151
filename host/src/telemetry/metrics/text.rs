//! The Prometheus text format, version 0.0.4.

use std::fmt::Write as _;

use sagabox_engine::pure::histogram::Distribution;

use super::{Family, Gathered, Value};

/// The media type of the format.
pub(crate) const MEDIA_TYPE: &str = "text/plain; version=0.0.4; charset=utf-8";

impl Gathered {
    pub(crate) fn to_text(&self) -> String {
        let mut text = String::with_capacity(16 << 10);
        for Family { metric, samples } in &self.families {
            let (name, kind) = (metric.name, metric.kind.as_str());
            let _ = writeln!(text, "# HELP {name} {}\n# TYPE {name} {kind}", metric.help);
            for (values, value) in samples {
                let labels = metric.labels.iter().copied().zip(values.iter().map(String::as_str));
                let labels: Vec<_> = labels.collect();
                match value {
                    Value::Whole(value) => line(&mut text, (name, ""), &labels, value),
                    Value::Times(times) => histogram(&mut text, name, &labels, times),
                }
            }
        }
        text
    }
}

fn histogram(text: &mut String, name: &str, labels: &[(&str, &str)], times: &Distribution) {
    let limits = Distribution::limits().map(|limit| limit.as_secs_f64().to_string());
    let mut count = 0;
    for (limit, counted) in limits.chain(["+Inf".to_owned()]).zip(times.counts()) {
        count += counted;
        let labels: Vec<_> = labels.iter().copied().chain([("le", limit.as_str())]).collect();
        line(text, (name, "_bucket"), &labels, count);
    }
    line(text, (name, "_sum"), labels, times.sum().as_secs_f64());
    line(text, (name, "_count"), labels, count);
}

fn line(
    text: &mut String,
    (name, suffix): (&str, &str),
    labels: &[(&str, &str)],
    value: impl std::fmt::Display,
) {
    text.push_str(name);
    text.push_str(suffix);
    for (index, (label, value)) in labels.iter().enumerate() {
        let value = value.replace('\\', "\\\\").replace('"', "\\\"").replace('\n', "\\n");
        let _ = write!(text, "{}{label}=\"{value}\"", if index == 0 { '{' } else { ',' });
    }
    let _ = writeln!(text, "{} {value}", if labels.is_empty() { "" } else { "}" });
}
