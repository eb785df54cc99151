//! A candidate decides again what a real host has on record.

use sagabox_tests::command::sagabox;
use sagabox_tests::events::{cart_finalized, event, read_ndjson};
use sagabox_tests::host::Host;
use sagabox_tests::{example, paths};
use serde_json::{Value, json};

use crate::hot::{step, version};

/// `SAGABOX_REPLAY_DECISIONS` sets another number, such as 100,000.
const DECISIONS: usize = 5_000;
const BATCH: usize = 1_000;

fn altered(name: &str, from: &str, to: &str) -> Vec<u8> {
    assert_eq!(from.len(), to.len());
    let mut bytes = std::fs::read(paths::plugin(name)).expect("the plugin");
    let found = bytes.windows(from.len()).position(|window| window == from.as_bytes());
    let at = found.expect("the text is in the plugin");
    bytes[at..at + to.len()].copy_from_slice(to.as_bytes());
    bytes
}

/// Every example's record is what its plugin decides again: states, timers, keys,
/// answers and streams among it.
#[tokio::test]
async fn an_unchanged_plugin_decides_the_same() {
    for name in example::names() {
        let mut host = example::host(&name).start().await;
        let client = host.client();
        let events = read_ndjson(&paths::example(&name).join("events.ndjson")).expect("the events");
        client.send(&events).await;
        example::check(&client, &example::expected(&name)).await;
        host.stop().await;
        let plugin = &example::expected(&name).plugins[0];
        let (candidate, store) = (paths::plugin(plugin), host.store());
        let config = paths::example(&name).join("sagabox.toml");
        let arguments: Vec<&str> = ["replay", candidate.to_str().expect("text"), "--json"]
            .into_iter()
            .chain(["--store", store.to_str().expect("text")])
            .chain(["--config", config.to_str().expect("text")])
            .collect();
        let report = sagabox(host.folder(), &arguments).with(0).json();
        let outcome = &report["plugins"][0];
        assert_eq!(outcome["differ"], 0, "{name}: {report}");
        assert_eq!(outcome["skipped"], json!({}), "{name}: {report}");
        assert!(outcome["alike"].as_u64() > Some(0), "{name}: {report}");
    }
}

#[tokio::test]
async fn one_changed_decision_among_many_is_found() {
    let said = std::env::var("SAGABOX_REPLAY_DECISIONS").ok();
    let decisions = said.map_or(DECISIONS, |text| text.parse().expect("a number"));
    let host = Host::builder().plugin("order-saga").start().await;
    let client = host.client();
    let id = |n: usize| format!("order-{n}");
    let mut events: Vec<Value> =
        (1..decisions).map(|n| cart_finalized(&n.to_string(), &id(n))).collect();
    let failed = event("failed", "PaymentFailed", "one", &json!({"orderId": "one"}));
    events.insert(decisions / 2, failed);
    for batch in events.chunks(BATCH) {
        client.send(batch).await;
    }
    // Each decision sends one command, for which no worker comes.
    client.wait_for_pending(decisions as u64).await;

    // The host goes on while its record is read.
    let store = host.store();
    let replay = |candidate: &str, more: &[&str]| {
        let arguments = ["replay", candidate, "--store", store.to_str().expect("text")];
        sagabox(host.folder(), &[&arguments[..], more].concat())
    };
    let same = paths::plugin("order-saga");
    let same = replay(same.to_str().expect("text"), &[]).with(0);
    println!("{}", same.output.trim());
    let changed = host.folder().join("changed.wasm");
    std::fs::write(&changed, altered("order-saga", "payment failed", "payment FAILED"))
        .expect("a file");
    let changed = changed.to_str().expect("text");
    let found = replay(changed, &[]).with(1);
    let found = found
        .saying("order-saga `one` at position ")
        .saying("messages[0].data.reason: expected \"payment failed\", found \"payment FAILED\"");
    assert!(found.output.contains(" 1 differ"), "{}", found.output);
    let _ = replay(changed, &["--instance", "order-1"]).with(0);
    let report = replay(changed, &["--instance", "one", "--json"]).with(1).json();
    assert_eq!(report["plugins"][0]["differing"][0]["event_id"], "failed");
    // Nothing is as late as that, and a gate that looked at nothing stays closed.
    let _ = replay(changed, &["--since", "2999-01-01T00:00:00Z"])
        .with(1)
        .saying("nothing was replayed");
    let _ =
        replay(changed, &["--since", "soon"]).with(2).saying("--since: `soon` is neither a time");
}

/// As after a rollback: a version reads the states of a newer one by its `migrate`.
#[tokio::test]
async fn an_older_version_decides_again_on_newer_states() {
    let mut host = Host::builder().file("hot.wasm", version(2, 2, "all")).start().await;
    let client = host.client();
    client.send(&[step(1, "a"), step(2, "a")]).await;
    client.take_exactly("Stepped", 2).await;
    host.stop().await;
    let (store, candidate) = (host.store(), host.folder().join("older.wasm"));
    let replay = |bytes: &[u8]| {
        std::fs::write(&candidate, bytes).expect("a file");
        let candidate = candidate.to_str().expect("text");
        let arguments = ["replay", candidate, "--store", store.to_str().expect("text"), "--json"];
        sagabox(host.folder(), &arguments).with(1).json()["plugins"][0]["differing"].clone()
    };
    // Each of its commands names the version that decided.
    for decision in replay(&version(1, 1, "all")).as_array().expect("decisions") {
        let places = decision["differences"].as_array().expect("differences").iter();
        let places: Vec<&Value> = places.map(|difference| &difference["place"]).collect();
        assert_eq!(places, ["messages[0].data.version"], "{decision}");
    }
    let refused = replay(&version(1, 1, "own")).to_string();
    let said = "the state of version 2 cannot be migrated to 1: nothing is known of version 2";
    assert!(refused.contains(said), "{refused}");
}

#[test]
fn what_is_no_store_is_refused_and_left_as_it_is() {
    let folder = tempfile::TempDir::new().expect("a folder");
    let candidate = paths::plugin("order-saga");
    let candidate = candidate.to_str().expect("text");
    let _ = sagabox(folder.path(), &["replay", candidate, "--store", "none.db"])
        .with(1)
        .saying("no store found at none.db");
    std::fs::write(folder.path().join("text.db"), "no database").expect("a file");
    let _ = sagabox(folder.path(), &["replay", candidate, "--store", "text.db"]).with(1);
    let left = std::fs::read(folder.path().join("text.db")).expect("the file");
    assert_eq!(left, b"no database");
}
