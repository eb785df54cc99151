//! A log in which most events do not name their process, at full size where it is at hand.
//!
//! The made-up log of the example always; the public one (22,367 events, 2,000 orders)
//! if `SAGABOX_ORDER_LOG` names it or it lies beside the checkout.

use std::collections::BTreeMap;

use sagabox_tests::client::Accepted;
use sagabox_tests::command::sagabox;
use sagabox_tests::host::{Builder, Host};
use sagabox_tests::sink::{Delivery, Sink};
use sagabox_tests::{events, example, paths};
use serde_json::{Value, json};

use crate::languages;

const PLUGIN: &str = "order-fulfilment";
/// Wider than the time that the log's own order is off anywhere.
const WINDOW: usize = 500;
const SEED: u64 = 20_190_520;

struct Log {
    events: Vec<Value>,
    orders: usize,
}

fn logs() -> Vec<Log> {
    let made_up = paths::example("order-management").join("orders.csv");
    [Some(made_up), paths::order_log()]
        .into_iter()
        .flatten()
        .map(|path| {
            let events = events::from_csv(&path).expect("the log converts");
            let orders = events.iter().filter(|event| event["type"] == "place order").count();
            Log { events, orders }
        })
        .collect()
}

/// A host that posts every command of the plugin to the sink.
async fn host_with(sink: &Sink) -> Host {
    start(Host::builder().plugin(PLUGIN), sink).await
}

async fn start(builder: Builder, sink: &Sink) -> Host {
    use std::fmt::Write as _;
    let mut toml = format!("[sink.shop]\nurl = \"{}\"\n\n[routes]\n", sink.url);
    for message_type in example::expected("order-management").messages.keys() {
        let _ = writeln!(toml, "{message_type:?} = \"shop\"");
    }
    builder.configuration(toml).start().await
}

/// What must hold after a log in any order, with any repetition: every order is
/// completed, nothing died, the sums add up, and the commands are in the sink.
async fn check_outcome(host: &Host, sink: &Sink, log: &Log, commands: Option<&Counts>) -> Counts {
    let client = host.client();
    client.wait_for_completed(PLUGIN, log.orders).await;
    client.assert_no_dead_letters().await;
    client.wait_for_balance().await;
    client.wait_for_pending(0).await;
    let counts = sink.counts();
    if let Some(commands) = commands {
        assert_eq!(&counts, commands, "commands by type");
    }
    counts
}

type Counts = BTreeMap<String, usize>;

async fn run(log: &Log, events: &[Value], commands: Option<&Counts>) -> Counts {
    let sink = Sink::start().await;
    let host = host_with(&sink).await;
    let sent = host.client().send(events).await;
    let duplicates = events.len() - log.events.len();
    assert_eq!(sent, Accepted { accepted: log.events.len(), duplicates });
    check_outcome(&host, &sink, log, commands).await
}

#[tokio::test]
async fn every_order_completes_in_any_order_with_any_duplicates() {
    for log in logs() {
        let commands = run(&log, &log.events, None).await;
        run(&log, &events::twice(&log.events), Some(&commands)).await;
        // A package that is delivered before it is known that an attempt failed is not sent again:
        // in another order there are other retries, and the same orders closed.
        let shuffled = run(&log, &events::shuffled(&log.events, WINDOW, SEED), None).await;
        assert_eq!(shuffled.get("CloseOrder"), commands.get("CloseOrder"));
        assert_eq!(shuffled.get("CloseOrder"), Some(&log.orders));
    }
}

#[tokio::test]
async fn kill_9_in_the_middle_changes_nothing() {
    for log in logs() {
        let undisturbed = messages_after(&log, &[]).await;
        let third = log.events.len() / 3;
        let disturbed = messages_after(&log, &[third, 2 * third]).await;
        // Ids derive from what was decided: the same decisions have the same ids.
        assert_eq!(undisturbed, disturbed);
    }
}

/// Sends the log, killing the host after so many events; then sends all of it again.
async fn messages_after(log: &Log, kills: &[usize]) -> BTreeMap<String, Delivery> {
    let sink = Sink::start().await;
    let mut host = host_with(&sink).await;
    let mut sent = 0;
    for kill in kills {
        host.client().send(&log.events[sent..*kill]).await;
        host.kill_and_start().await;
        sent = *kill;
    }
    host.client().send(&log.events[sent..]).await;
    let again = host.client().send(&log.events).await;
    assert_eq!(again, Accepted { accepted: 0, duplicates: log.events.len() });
    check_outcome(&host, &sink, log, None).await;
    sink.messages()
}

/// The plugin in another language has the same outcome on the same log.
async fn the_outcome_is_that_of_rust(language: &str) {
    let source = paths::repository().join("examples/languages").join(PLUGIN).join(language);
    let component = std::fs::read(languages::built(PLUGIN, &source)).expect("the component");
    for log in logs() {
        let commands = run(&log, &log.events, None).await;
        let sink = Sink::start().await;
        let file = format!("{PLUGIN}.wasm");
        let host = start(Host::builder().file(&file, component.clone()), &sink).await;
        host.client().send(&log.events).await;
        check_outcome(&host, &sink, &log, Some(&commands)).await;
    }
}

/// What the plugin in Rust has on record, decided again by the one in TypeScript.
#[tokio::test]
async fn other_languages_typescript_decides_what_rust_has_on_record() {
    let source = paths::repository().join("examples/languages").join(PLUGIN).join("typescript");
    let component = languages::built(PLUGIN, &source);
    for log in logs() {
        let sink = Sink::start().await;
        let mut host = host_with(&sink).await;
        host.client().send(&log.events).await;
        check_outcome(&host, &sink, &log, None).await;
        host.stop().await;
        let (store, component) = (host.store(), component.clone());
        let (store, component) = (store.to_str(), component.to_str());
        let (store, component) = (store.expect("text"), component.expect("text"));
        let replay = ["replay", component, "--store", store, "--json"];
        let report = sagabox(host.folder(), &replay).with(0).json();
        let outcome = &report["plugins"][0];
        assert_eq!(outcome["differ"], 0, "{report}");
        assert_eq!(outcome["skipped"], json!({}), "{report}");
        assert!(outcome["alike"].as_u64() >= Some(log.events.len() as u64), "{report}");
    }
}

#[tokio::test]
async fn other_languages_typescript_completes_every_order() {
    the_outcome_is_that_of_rust("typescript").await;
}

#[tokio::test]
async fn other_languages_go_completes_every_order() {
    the_outcome_is_that_of_rust("go").await;
}
