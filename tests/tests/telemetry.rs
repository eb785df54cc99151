//! Traces and metrics over OTLP: one trace leads from the sender's span through the host to the
//! receivers of messages, also through a timer, a restart and a foreign collector.

use std::collections::BTreeMap;
use std::time::Duration;

use axum::http::StatusCode;
use sagabox_tests::client::Client;
use sagabox_tests::events::{cart_finalized, event};
use sagabox_tests::host::{Builder, Host};
use sagabox_tests::otlp::{Collector, Receiver, Span};
use sagabox_tests::sink::Sink;
use sagabox_tests::{paths, wait};
use serde_json::{Value, json};

const PLUGIN: &str = "group-checkout";
const LEASE: Duration = Duration::from_secs(30);

fn trace(number: u8) -> String {
    format!("{number:032x}")
}

/// The `traceparent` of a sender's span.
fn parent(number: u8, flags: &str) -> String {
    format!("00-{}-00000000000000ff-{flags}", trace(number))
}

fn initiated(group: &str, parent: Option<&str>) -> Value {
    let data = json!({"groupCheckoutId": group, "guestStayIds": ["a", "b"]});
    let mut event = event(&format!("start-{group}"), "GroupCheckoutInitiated", group, &data);
    if let Some(parent) = parent {
        event["traceparent"] = parent.into();
        event["tracestate"] = "vendor=1".into();
    }
    event
}

fn completed(group: &str, stay: &str, parent: &str) -> Value {
    let data = json!({"groupCheckoutId": group, "guestStayId": stay});
    let mut event = event(&format!("{stay}-{group}"), "GuestCheckoutCompleted", group, &data);
    event["traceparent"] = parent.into();
    event
}

fn host(endpoint: &str, sink: &Sink, deadline_seconds: u64, more: &str) -> Builder {
    Host::builder().plugin(PLUGIN).configuration(format!(
        "[telemetry]\nendpoint = \"{endpoint}\"\nmetrics_interval_ms = 100\n{more}\n\
         [sink.mail_sink]\nurl = \"{}\"\n\
         [routes]\nNotifyGroupCheckoutFailure = \"mail_sink\"\nCompleteGroupCheckout = \"mail_sink\"\n\
         [plugin.{PLUGIN}]\ndeadline_seconds = {deadline_seconds}\n",
        sink.url
    ))
}

/// The spans of a trace, once there are so many.
async fn spans_of(receiver: &Receiver, number: u8, count: usize) -> Vec<Span> {
    wait::until("the spans of a trace", wait::SOON, || async {
        let mut spans = receiver.spans();
        spans.retain(|span| span.trace == trace(number));
        let names: Vec<&str> = spans.iter().map(|span| span.name.as_str()).collect();
        if spans.len() < count { Err(format!("{names:?}")) } else { Ok(spans) }
    })
    .await
}

#[track_caller]
fn only<'s>(spans: &'s [Span], name: &str, parent: &str) -> &'s Span {
    let found: Vec<&Span> =
        spans.iter().filter(|span| span.name == name && span.parent == parent).collect();
    assert_eq!(found.len(), 1, "{name} within {parent}: {spans:#?}");
    found[0]
}

/// Leases the commands to the guests and acknowledges them; their traces.
async fn take_commands(client: &Client, count: usize) -> Vec<Option<String>> {
    let mut taken = Vec::new();
    while taken.len() < count {
        let lease = client.lease("CheckoutGuestAccount", 100, wait::SOON, LEASE).await;
        let lease = lease.expect("a lease");
        taken.extend(
            lease
                .messages
                .iter()
                .map(|message| message.event["traceparent"].as_str().map(str::to_owned)),
        );
        client.acknowledge("CheckoutGuestAccount", &lease.lease, None).await.expect("taken");
    }
    taken
}

/// The whole way of one event, whose timer fires after a restart of the host.
async fn follow_one_trace(receiver: &Receiver, endpoint: &str) {
    let sink = Sink::start().await;
    let mut host = host(endpoint, &sink, 2, "").start().await;
    let client = host.client();
    client.send(&[initiated("g", Some(&parent(1, "01")))]).await;
    let commands = take_commands(&client, 2).await;
    // What was reported is exported before the host ends.
    host.stop().await;
    host.start().await;
    wait::until("the notification", wait::SOON, || async {
        let counts = sink.counts();
        counts.get("NotifyGroupCheckoutFailure").copied().ok_or(format!("{counts:?}"))
    })
    .await;

    // Receive, decide, two deliveries to the worker; timer, decide, a delivery to the sink.
    let spans = spans_of(receiver, 1, 7).await;
    let received = only(&spans, "receive GroupCheckoutInitiated", "00000000000000ff");
    let first = only(&spans, "decide group-checkout", &received.id);
    let to_worker: Vec<&Span> =
        spans.iter().filter(|span| span.name == "deliver to queue:CheckoutGuestAccount").collect();
    assert_eq!(to_worker.len(), 2, "{spans:#?}");
    assert!(to_worker.iter().all(|span| span.parent == first.id), "{spans:#?}");
    let handed_on = format!("00-{}-{}-01", trace(1), first.id);
    assert_eq!(commands, [Some(handed_on.clone()), Some(handed_on)]);
    let timer = spans.iter().find(|span| span.name.starts_with("timer ")).expect("a timer's span");
    assert_eq!(timer.parent, first.id);
    let second = only(&spans, "decide group-checkout", &timer.id);
    only(&spans, "deliver to mail_sink", &second.id);
    for span in &spans {
        assert!(span.times.0 <= span.times.1 && span.failed.is_none(), "{span:?}");
        assert_eq!(span.service, "sagabox");
    }
    assert_eq!(first.attributes["sagabox.plugin"], PLUGIN);
    assert_eq!(first.attributes["sagabox.key"], "g");

    // The service gets the trace as a header and as the event's attribute.
    let requests = sink.requests();
    let expected = format!("00-{}-{}-01", trace(1), second.id);
    for name in ["traceparent", "ce-traceparent"] {
        assert_eq!(requests[0][name], expected, "{requests:?}");
    }
    assert_eq!(requests[0]["tracestate"], "vendor=1");
}

#[tokio::test]
async fn one_trace_leads_from_the_sender_through_decisions_and_a_timer_to_the_worker() {
    let receiver = Receiver::start().await;
    follow_one_trace(&receiver, &receiver.url).await;
    let metrics = wait::until("metrics", wait::SOON, || async {
        let metrics = receiver.metrics();
        let calls = metrics.get("sagabox_plugin_call_seconds").copied().unwrap_or_default();
        if calls == 0 { Err(format!("{metrics:?}")) } else { Ok(metrics) }
    })
    .await;
    assert_eq!(metrics["sagabox_up"], 1);
}

/// `./dev test --no-languages` leaves it out, by its name: it needs Python.
mod languages {
    use super::*;

    #[tokio::test]
    async fn a_foreign_collector_understands_the_trace() {
        let receiver = Receiver::start().await;
        let collector = Collector::start(&receiver);
        follow_one_trace(&receiver, &collector.url).await;
    }
}

#[tokio::test]
async fn a_decision_with_causes_of_two_traces_has_a_link() {
    let (receiver, sink) = (Receiver::start().await, Sink::start().await);
    let host = host(&receiver.url, &sink, 1_000, "").start().await;
    let client = host.client();
    client.send(&[initiated("g", Some(&parent(1, "01")))]).await;
    client.send(&[completed("g", "a", &parent(2, "01"))]).await;
    client.send(&[completed("g", "b", &parent(2, "01"))]).await;
    let first = spans_of(&receiver, 1, 2).await;
    let first = first.iter().find(|span| span.name == "decide group-checkout").expect("a span");
    let spans = spans_of(&receiver, 2, 4).await;
    let decisions = spans.iter().filter(|span| span.name == "decide group-checkout");
    let links: BTreeMap<&str, _> =
        decisions.map(|span| (&*span.attributes["sagabox.position"], &span.links)).collect();
    let link = (trace(1), first.id.clone());
    // The decision before the second one is of the same trace.
    assert_eq!(links.into_values().collect::<Vec<_>>(), [&vec![link], &Vec::new()]);
}

#[tokio::test]
async fn what_is_not_sampled_travels_and_is_not_reported() {
    let (receiver, sink) = (Receiver::start().await, Sink::start().await);
    let host = host(&receiver.url, &sink, 1_000, "").start().await;
    let client = host.client();
    let unsampled = parent(3, "00");
    client.send(&[initiated("a", Some(&unsampled)), initiated("b", None)]).await;
    // The header of the request is the fallback of an event without a trace.
    let body = initiated("c", None).to_string();
    let response = reqwest::Client::new()
        .post(format!("{}/v1/events", host.url()))
        .header("content-type", "application/cloudevents+json")
        .header("traceparent", parent(4, "01"))
        .body(body);
    assert_eq!(response.send().await.expect("an answer").status(), StatusCode::ACCEPTED);
    let mut commands = take_commands(&client, 6).await;
    let spans = spans_of(&receiver, 4, 4).await;
    let decision = spans.iter().find(|span| span.name == "decide group-checkout").expect("a span");
    let sampled = format!("00-{}-{}-01", trace(4), decision.id);
    commands.sort();
    let unsampled = Some(unsampled);
    let expected = [None, None, unsampled.clone(), unsampled, Some(sampled.clone()), Some(sampled)];
    assert_eq!(commands, expected);
    let of_others: Vec<Span> =
        receiver.spans().into_iter().filter(|span| span.trace != trace(4)).collect();
    assert_eq!(of_others, []);
}

#[tokio::test]
async fn the_host_begins_a_trace_where_the_sender_has_none() {
    let (receiver, sink) = (Receiver::start().await, Sink::start().await);
    let more =
        "sample = 1\nservice_name = \"orders\"\nheaders = { authorization = { env = \"OTLP\" } }";
    let host = host(&receiver.url, &sink, 1_000, more).variable("OTLP", "secret-9").start().await;
    let client = host.client();
    client.send(&[initiated("g", None)]).await;
    take_commands(&client, 2).await;
    let spans = wait::until("the spans", wait::SOON, || async {
        let spans = receiver.spans();
        if spans.len() < 4 { Err(format!("{spans:?}")) } else { Ok(spans) }
    })
    .await;
    let received = only(&spans, "receive GroupCheckoutInitiated", "");
    only(&spans, "decide group-checkout", &received.id);
    assert!(spans.iter().all(|span| span.trace == received.trace && span.service == "orders"));
    assert!(receiver.headers().iter().all(|headers| headers["authorization"] == "secret-9"));
}

#[tokio::test]
async fn a_receiver_that_refuses_disturbs_nothing() {
    let (receiver, sink) = (Receiver::start().await, Sink::start().await);
    receiver.answer_with(StatusCode::BAD_REQUEST);
    let host = host(&receiver.url, &sink, 1_000, "sample = 1").start().await;
    let client = host.client();
    client.send(&[initiated("g", None)]).await;
    assert_eq!(take_commands(&client, 2).await.len(), 2);
    wait::until("failed spans", wait::SOON, || async {
        let page = client.text("/metrics").await?;
        let is_it = |line: &&str| line.starts_with("sagabox_spans_total{outcome=\"failed\"} ");
        let line = page.lines().find(is_it).ok_or("no such metric")?.to_owned();
        if line.ends_with(" 0") { Err(line) } else { Ok(()) }
    })
    .await;
    client.wait_for_balance().await;
}

#[tokio::test]
async fn a_line_of_the_log_about_a_sampled_event_has_its_trace() {
    let host = Host::builder()
        .plugin("order-saga")
        .configuration("[log]\nformat = \"json\"")
        .start()
        .await;
    let client = host.client();
    for (number, flags) in [(5, "01"), (6, "00")] {
        // Its data is not what the plugin reads.
        let id = format!("bad-{number}");
        let mut bad = event(&id, "CartFinalized", &id, &json!(7));
        bad["traceparent"] = parent(number, flags).into();
        client.send(&[bad]).await;
    }
    wait::until("two dead letters", wait::SOON, || async {
        let dead_letters = client.dead_letters().await?;
        if dead_letters.len() < 2 { Err(format!("{dead_letters:?}")) } else { Ok(()) }
    })
    .await;
    let log = host.log();
    let lines = log.lines().filter(|line| line.contains("the event became a dead letter"));
    let lines = lines.map(|line| serde_json::from_str::<Value>(line).expect("a line is JSON"));
    let traces: Vec<Value> = lines.map(|line| line["trace_id"].clone()).collect();
    assert_eq!(traces, [trace(5).into(), Value::Null]);
}

/// The reserved part of the types of alerts.
const ALERT: &str = "sagabox.alert.";

/// The alerts that a service has received, by id, with a check of each against the documented schema.
fn alerts(sink: &Sink) -> Vec<sagabox_tests::sink::Delivery> {
    let schema = paths::repository().join("docs/alerts.schema.json");
    let schema = std::fs::read_to_string(schema).expect("the schema is documented");
    let schema: Value = serde_json::from_str(&schema).expect("the schema is JSON");
    let messages = sink.messages();
    let alerts = messages.into_values().filter(|message| message.message_type.starts_with(ALERT));
    alerts
        .inspect(|alert| {
            let of_type = &schema["$defs"][&alert.message_type];
            let validator = jsonschema::validator_for(of_type).expect("a schema");
            assert!(validator.is_valid(&alert.data), "{alert:?}");
        })
        .collect()
}

#[tokio::test]
async fn trouble_is_reported_once_to_the_sink_of_its_route() {
    let (chat, broken) = (Sink::start().await, Sink::start().await);
    broken.answer_with(Some(sagabox_tests::sink::StatusCode::UNAUTHORIZED));
    let configuration = format!(
        "[alerts]\ninterval_ms = 100\n[sink.chat]\nurl = \"{}\"\n[sink.broken]\nurl = \"{}\"\n\
         [retry]\nattempts = 1\n[routes]\nInitializeOrder = \"broken\"\n\
         \"{ALERT}dead-letter\" = \"chat\"\n\"{ALERT}sink-down\" = \"chat\"\n",
        chat.url, broken.url
    );
    let host = Host::builder().plugin("order-saga").configuration(configuration).start().await;
    let client = host.client();
    // Its data is not what the plugin reads.
    let unreadable = event("bad", "CartFinalized", "c-0", &json!(7));
    client.send(&[unreadable, cart_finalized("e-1", "c-1")]).await;
    let received = wait::until("two alerts", wait::SOON, || async {
        let received = alerts(&chat);
        if received.len() < 2 { Err(format!("{received:?}")) } else { Ok(received) }
    })
    .await;
    let mut types: Vec<(&str, &str)> = received
        .iter()
        .map(|alert| (&*alert.message_type, alert.subject.as_deref().unwrap_or_default()))
        .collect();
    types.sort_unstable();
    let expected =
        [("sagabox.alert.dead-letter", "order-saga"), ("sagabox.alert.sink-down", "broken")];
    assert_eq!(types, expected);
    // Further ones of the same causes wait until the period is over.
    let again = event("bad-2", "CartFinalized", "c-2", &json!(7));
    client.send(&[again]).await;
    wait::until("two dead letters", wait::SOON, || async {
        let dead_letters = client.dead_letters().await?;
        if dead_letters.len() < 2 { Err(format!("{dead_letters:?}")) } else { Ok(()) }
    })
    .await;
    client.wait_for_balance().await;
    assert_eq!(alerts(&chat).len(), 2);
}

#[tokio::test]
async fn no_alert_is_about_an_alert() {
    let broken = Sink::start().await;
    // The sink takes nothing: each message becomes a dead letter.
    broken.answer_with(Some(sagabox_tests::sink::StatusCode::UNPROCESSABLE_ENTITY));
    let configuration = format!(
        "[alerts]\ninterval_ms = 100\n[sink.chat]\nurl = \"{}\"\n[routes]\n\
         \"{ALERT}dead-letter\" = \"chat\"\n",
        broken.url
    );
    let host = Host::builder().plugin("order-saga").configuration(configuration).start().await;
    let client = host.client();
    client.send(&[event("bad", "CartFinalized", "c-0", &json!(7))]).await;
    let look = || async {
        let dead_letters = client.dead_letters().await?;
        let of_alerts =
            dead_letters.iter().filter(|dead_letter| dead_letter["plugin"] == "sagabox").count();
        if of_alerts == 0 { Err(format!("{dead_letters:?}")) } else { Ok(dead_letters) }
    };
    wait::until("the dead letter of the alert", wait::SOON, look).await;
    // Another dead letter of a plugin shows that the host has looked again since.
    let before = client.text("/metrics").await.expect("the metrics");
    assert!(before.contains("sagabox_alerts_total{kind=\"dead-letter\"} 1\n"), "{before}");
    client.wait_for_balance().await;
    assert_eq!(look().await.expect("the dead letters").len(), 2);
}
