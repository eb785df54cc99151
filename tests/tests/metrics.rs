//! `GET /metrics` of a host that works: the page follows the format, and its numbers are those of
//! what happened.

use std::collections::BTreeMap;

use sagabox_tests::events::cart_finalized;
use sagabox_tests::exposition::{self, Family};
use sagabox_tests::host::Host;

/// The value of the one sample with this name and these labels.
fn value(
    page: &BTreeMap<String, Family>,
    family: &str,
    name: &str,
    labels: &[(&str, &str)],
) -> f64 {
    let family = page.get(family).unwrap_or_else(|| panic!("{family} is not in {page:?}"));
    let found = family.samples.iter().find(|sample| {
        let has = |(label, value): &(&str, &str)| {
            sample.labels.get(*label).is_some_and(|own| own == value)
        };
        sample.name == name && labels.iter().all(has)
    });
    found.unwrap_or_else(|| panic!("{name} {labels:?} is not in {family:?}")).value
}

#[tokio::test]
async fn the_metrics_of_a_host_that_works_follow_the_format_and_count() {
    let host = Host::builder().plugin("order-saga").start().await;
    let client = host.client();
    client.send(&[cart_finalized("e-1", "cart-1"), cart_finalized("e-2", "cart-2")]).await;
    client.take_exactly("InitializeOrder", 2).await;
    let text = client.text("/metrics").await.expect("the metrics");
    let page = exposition::parse(&text).unwrap_or_else(|fault| panic!("{fault}\n{text}"));
    let count = |family: &str, labels: &[(&str, &str)]| {
        value(&page, family, &format!("{family}_count"), labels)
    };
    let queue = [("sink", "queue:InitializeOrder")];
    let saga = [("plugin", "order-saga")];
    assert!((count("sagabox_ingest_seconds", &[]) - 1.0).abs() < f64::EPSILON);
    assert!(count("sagabox_commit_seconds", &[]) >= 2.0);
    for (family, labels) in [
        ("sagabox_event_age_seconds", saga),
        ("sagabox_plugin_call_seconds", saga),
        ("sagabox_message_age_seconds", queue),
        ("sagabox_delivery_seconds", queue),
    ] {
        let counted = count(family, &labels);
        assert!((counted - 2.0).abs() < f64::EPSILON, "{family}: {counted}\n{text}");
    }
    let accepted = [("outcome", "accepted")];
    let accepted = value(&page, "sagabox_events_total", "sagabox_events_total", &accepted);
    assert!((accepted - 2.0).abs() < f64::EPSILON);
}
