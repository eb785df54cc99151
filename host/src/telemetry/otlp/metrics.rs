//! The gathered metrics in the messages of the protocol: cumulative, since the host started.

use std::time::SystemTime;

use opentelemetry_proto::tonic::common::v1::KeyValue;
use opentelemetry_proto::tonic::metrics::v1::metric::Data;
use opentelemetry_proto::tonic::metrics::v1::{
    self as otlp, AggregationTemporality, HistogramDataPoint, NumberDataPoint, ResourceMetrics,
    ScopeMetrics, number_data_point,
};
use opentelemetry_proto::tonic::resource::v1::Resource;
use sagabox_engine::pure::histogram::Distribution;

use super::super::metrics::{Family, Gathered, Kind, Metric, Value};
use super::{attribute, nanos, scope};

pub(super) fn encode(
    gathered: &Gathered,
    resource: &Resource,
    started: SystemTime,
) -> ResourceMetrics {
    let times = (nanos(started), nanos(SystemTime::now()));
    let metrics = gathered.families.iter().map(|family| one(family, times));
    let scope_metrics = ScopeMetrics {
        scope: Some(scope()),
        metrics: metrics.collect(),
        ..ScopeMetrics::default()
    };
    ResourceMetrics {
        resource: Some(resource.clone()),
        scope_metrics: vec![scope_metrics],
        ..ResourceMetrics::default()
    }
}

fn one(Family { metric, samples }: &Family, times: (u64, u64)) -> otlp::Metric {
    let (mut numbers, mut histograms) = (Vec::new(), Vec::new());
    for (values, value) in samples {
        let labels = metric.labels.iter().zip(values);
        let attributes = labels.map(|(key, value)| attribute(key, value.clone())).collect();
        match value {
            Value::Whole(value) => numbers.push(number(*value, attributes, times)),
            Value::Times(observed) => histograms.push(histogram(observed, attributes, times)),
        }
    }
    let aggregation_temporality = AggregationTemporality::Cumulative.into();
    let data = match metric.kind {
        Kind::Counter => Data::Sum(otlp::Sum {
            data_points: numbers,
            aggregation_temporality,
            is_monotonic: true,
        }),
        Kind::Gauge => Data::Gauge(otlp::Gauge { data_points: numbers }),
        Kind::Histogram => {
            Data::Histogram(otlp::Histogram { data_points: histograms, aggregation_temporality })
        }
    };
    otlp::Metric {
        name: metric.name.to_owned(),
        description: metric.help.to_owned(),
        unit: unit(metric).to_owned(),
        data: Some(data),
        ..otlp::Metric::default()
    }
}

/// In the notation of UCUM, as OpenTelemetry asks.
fn unit(metric: &Metric) -> &'static str {
    match metric.name.rsplit('_').next() {
        Some("seconds") => "s",
        Some("bytes") => "By",
        _ => "1",
    }
}

fn number(value: u64, attributes: Vec<KeyValue>, (started, now): (u64, u64)) -> NumberDataPoint {
    let value = i64::try_from(value).unwrap_or(i64::MAX);
    NumberDataPoint {
        attributes,
        start_time_unix_nano: started,
        time_unix_nano: now,
        value: Some(number_data_point::Value::AsInt(value)),
        ..NumberDataPoint::default()
    }
}

fn histogram(
    observed: &Distribution,
    attributes: Vec<KeyValue>,
    (started, now): (u64, u64),
) -> HistogramDataPoint {
    HistogramDataPoint {
        attributes,
        start_time_unix_nano: started,
        time_unix_nano: now,
        count: observed.count(),
        sum: Some(observed.sum().as_secs_f64()),
        bucket_counts: observed.counts().to_vec(),
        explicit_bounds: Distribution::limits().map(|limit| limit.as_secs_f64()).collect(),
        ..HistogramDataPoint::default()
    }
}
