//! `sagabox backtest` as its users see it: rules for logs, rows, gates, answers, stores.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

use sagabox_tests::command::{Ended, sagabox};
use sagabox_tests::events::read_ndjson;
use sagabox_tests::{example, paths};
use serde_json::{Value, json};
use tempfile::TempDir;

use crate::backtest_outcomes::{backtest, ndjson, of_kind, rows, time};
use crate::hot::{version, wrong};

const HOUR: u64 = 3_600_000;
/// 2024-01-01T00:00:00Z.
const START: u64 = 1_704_067_200_000;

fn folder() -> TempDir {
    TempDir::new().expect("a temporary folder")
}

fn event(id: &str, kind: &str, at: u64, data: &Value) -> Value {
    json!({"specversion": "1.0", "id": id, "source": "/hotel", "type": kind, "time": time(at), "data": data})
}

fn initiated(group: &str, at: u64, stays: &[&str]) -> Value {
    let data = json!({"groupCheckoutId": group, "guestStayIds": stays});
    event(group, "GroupCheckoutInitiated", at, &data)
}

fn completed(group: &str, stay: &str, at: u64) -> Value {
    let data = json!({"groupCheckoutId": group, "guestStayId": stay});
    event(&format!("{group}-{stay}"), "GuestCheckoutCompleted", at, &data)
}

/// One group that is checked out in an hour, and one that never is.
fn two_groups() -> Vec<Value> {
    vec![
        initiated("g-1", START, &["a"]),
        initiated("g-2", START + 1, &["b", "c"]),
        completed("g-1", "a", START + HOUR),
        completed("g-2", "b", START + 2 * HOUR),
        event("other", "Unknown", START + 3 * HOUR, &json!({})),
    ]
}

fn ends(rows: &[Value]) -> BTreeMap<String, String> {
    let text = |value: &Value| value.as_str().expect("text").to_owned();
    of_kind(rows, "instance")
        .into_iter()
        .map(|row| (text(&row["key"]), text(&row["end"])))
        .collect()
}

fn pairs(pairs: &[(&str, &str)]) -> BTreeMap<String, String> {
    pairs.iter().map(|(key, end)| ((*key).to_owned(), (*end).to_owned())).collect()
}

#[test]
fn what_was_sent_when_and_by_which_instance_is_printed() {
    let folder = folder();
    let log = two_groups();
    let ended = backtest(folder.path(), "group-checkout", &log, &["--json"]).with(0);
    let rows = rows(&ended.output);
    let messages = of_kind(&rows, "message");
    let kinds: Vec<&str> = messages.iter().map(|row| row["type"].as_str().expect("text")).collect();
    let asked = "CheckoutGuestAccount";
    assert_eq!(kinds, [asked, asked, asked, "CompleteGroupCheckout"]);
    let mut done = messages[3].clone();
    let id = done["id"].take();
    assert_eq!(id.as_str().map(str::len), Some(36));
    let expected = json!({
        "kind": "message", "at": time(START + HOUR), "plugin": "group-checkout", "key": "g-1",
        "as": "command", "type": "CompleteGroupCheckout", "subject": "g-1",
        "data": {"groupCheckoutId": "g-1"}, "id": null, "because": "GuestCheckoutCompleted",
    });
    assert_eq!(done, expected);
    assert_eq!(ends(&rows), pairs(&[("g-1", "completed"), ("g-2", "open")]));
    // The log is over before the deadline.
    let timers = of_kind(&rows, "timer");
    let due = time(START + 1 + 24 * HOUR);
    let open = json!({
        "kind": "timer", "due": due, "plugin": "group-checkout", "key": "g-2", "name": "deadline",
        "result": "open",
    });
    assert_eq!(timers, [&open]);
    let summary = rows.last().expect("the summary");
    assert_eq!(summary["kind"], "summary");
    assert_eq!(summary["until"], time(START + 3 * HOUR));
    assert_eq!(summary["events"]["untaken"], json!({"Unknown": 1}));
    let plugin = &summary["plugins"][0];
    assert_eq!(plugin["messages"], json!({asked: 3, "CompleteGroupCheckout": 1}));
    assert_eq!(plugin["durations_ms"]["completed"]["median"], HOUR);

    // And in words, a day longer.
    let _ = backtest(folder.path(), "group-checkout", &log, &["--until", "1d"])
        .with(0)
        .saying("5 events from 2024-01-01T00:00:00.000Z to 2024-01-02T03:00:00.000Z")
        .saying("1 `Unknown` that no plugin takes")
        .saying("2 instances: 2 completed")
        .saying("time until completed: min 1h, median 1d")
        .saying("1 `CompleteGroupCheckout`, 1 `NotifyGroupCheckoutFailure`")
        .saying("timer `deadline`: 1 fired");
}

#[test]
fn what_was_written_is_expected_again_and_each_change_is_named() {
    let folder = folder();
    let log = two_groups();
    let run = |more: &[&str]| backtest(folder.path(), "group-checkout", &log, more);
    let _ = run(&["--out", "rows.ndjson"]).with(0);
    let _ = run(&["--expect", "rows.ndjson"]).with(0).saying("0 differences from what is expected");
    let written = std::fs::read_to_string(folder.path().join("rows.ndjson")).expect("the rows");
    let changed = written.replace("\"end\":\"open\"", "\"end\":\"completed\"");
    assert_ne!(written, changed);
    std::fs::write(folder.path().join("changed.ndjson"), changed).expect("a file");
    let _ = run(&["--expect", "changed.ndjson"])
        .with(1)
        .saying("1 difference from what is expected")
        .saying("instance \"group-checkout\" \"g-2\" differs")
        .saying("end: expected \"completed\", found \"open\"");

    // A file of a person says less.
    let short = "{\"kind\":\"instance\",\"key\":\"g-1\",\"end\":\"completed\"}\n\
                 {\"kind\":\"instance\",\"key\":\"g-3\",\"end\":\"completed\"}\n";
    std::fs::write(folder.path().join("short.ndjson"), short).expect("a file");
    let ended = run(&["--expect", "short.ndjson", "--json"]).with(1);
    let rows = rows(&ended.output);
    let found = of_kind(&rows, "mismatch");
    assert_eq!(found.len(), 2);
    assert_eq!(found[0]["place"], "short.ndjson:2");
    assert_eq!(found[0]["missing"]["key"], "g-3");
    assert_eq!(found[1]["unexpected"]["key"], "g-2");
    assert_eq!(rows.last().expect("the summary")["kind"], "summary");

    std::fs::write(folder.path().join("wrong.ndjson"), "{\"kind\":\"mesage\"}\n").expect("a file");
    let _ = run(&["--expect", "wrong.ndjson"]).with(2).saying("wrong.ndjson:1: needs a `kind`");
    // A gate that looks at nothing is not open.
    std::fs::write(folder.path().join("empty.ndjson"), "\n").expect("a file");
    let _ = run(&["--expect", "empty.ndjson"]).with(2).saying("expects nothing");
    let unknown = [event("other", "Unknown", START, &json!({}))];
    let zero = "{\"kind\":\"summary\",\"events\":{\"arrived\":1}}\n";
    std::fs::write(folder.path().join("zero.ndjson"), zero).expect("a file");
    let _ = backtest(folder.path(), "group-checkout", &unknown, &["--expect", "zero.ndjson"])
        .with(1)
        .saying("nothing was decided");
}

fn step(key: &str, n: u64) -> Value {
    let id = format!("{key}-{n}");
    json!({
        "specversion": "1.0", "id": id, "source": "/test", "type": "step", "subject": key,
        "time": time(START + n * HOUR), "data": {},
    })
}

#[test]
fn another_version_is_compared_in_groups() {
    let folder = folder();
    let write = |name: &str, bytes: Vec<u8>| {
        std::fs::write(folder.path().join(name), bytes).expect("a file");
    };
    write("one.wasm", version(1, 1, "all"));
    write("differs.wasm", wrong(1, 1, "all", "differs"));
    write("fails.wasm", wrong(1, 1, "all", "fails@@"));
    // From the third step of a key on, the version that differs counts otherwise.
    let log: Vec<Value> =
        (1..=4).flat_map(|n| [step("a", n), step("b", n), step("c", 1)]).collect();
    write("log.ndjson", ndjson(&log).into_bytes());
    let run = |new: &str, old: &str, more: &[&str]| {
        let arguments = ["backtest", new, "--against", old, "--events", "log.ndjson"];
        sagabox(folder.path(), &[&arguments, more].concat())
    };
    let _ = run("one.wasm", "one.wasm", &[]).with(0).saying("0 differences from the other version");
    let _ = run("differs.wasm", "one.wasm", &[])
        .with(1)
        .saying("4 differences from the other version")
        .saying("4 `Stepped`: data.count")
        .saying("hot `a`: data.count was 3, is 13");
    let failing = run("fails.wasm", "one.wasm", &["--json"]).with(1);
    let rows = rows(&failing.output);
    let groups: BTreeMap<&str, u64> = of_kind(&rows, "difference")
        .into_iter()
        .map(|row| (row["what"].as_str().expect("text"), row["count"].as_u64().expect("a count")))
        .collect();
    assert_eq!(groups["instances that only the old version has"], 3);
    assert_eq!(groups["dead letters of only the new version"], 3);
    assert_eq!(groups["`Stepped`: only the old version sends it"], 9);

    let other = paths::plugin("order-saga");
    let _ = run("one.wasm", other.to_str().expect("text"), &[])
        .with(2)
        .saying("--against: `order-saga` is not one of: hot");
}

#[test]
fn a_line_that_cannot_be_used_is_named_and_nothing_runs() {
    let folder = folder();
    let good = initiated("g-1", START, &["a"]);
    let mut untimed = completed("g-1", "a", START);
    untimed.as_object_mut().expect("an object").remove("time");
    let run = |text: &str, more: &[&str]| -> Ended {
        std::fs::write(folder.path().join("bad.ndjson"), text).expect("a file");
        let component = paths::plugin("group-checkout");
        let component = component.to_str().expect("text");
        let arguments = ["backtest", component, "--events", "bad.ndjson", "--json"];
        sagabox(folder.path(), &[&arguments, more].concat())
    };
    let bad = run(&format!("{good}\nnot json\n\n{untimed}\n"), &[])
        .with(2)
        .saying("bad.ndjson:2: attribute `data`: not a CloudEvent in JSON")
        .saying("bad.ndjson:4: attribute `time`: is missing")
        .saying("with --order file, an event without `time` arrives together with the line before");
    assert_eq!(bad.output, "");
    let _ = run("\n", &[]).with(2).saying("the log has no event");
    let _ = run(&format!("{untimed}\n{good}\n"), &["--order", "file"])
        .with(2)
        .saying("bad.ndjson:1: attribute `time`: the first event of a log needs one");

    // In the order of the file, it arrives together with the line before it.
    let ended = run(&format!("{good}\n{untimed}\n{untimed}\n"), &["--order", "file"]).with(0);
    let rows = rows(&ended.output);
    assert_eq!(ends(&rows), pairs(&[("g-1", "completed")]));
    let summary = rows.last().expect("the summary");
    assert_eq!(
        (&summary["until"], &summary["events"]["duplicates"]),
        (&json!(time(START)), &json!(1))
    );
    // Two events with one id: the second is ignored, and said to be another.
    let other = completed("g-1", "b", START).to_string().replace("g-1-b", "g-1-a");
    let ended = run(&format!("{good}\n{}\n{other}\n", completed("g-1", "a", START)), &[])
        .with(0)
        .saying("bad.ndjson:3 has the source and id of bad.ndjson:2 and other content");
    assert!(ended.output.contains("\"duplicates\":1,\"differing\":1"), "{}", ended.output);
    let _ = run(&good.to_string(), &["--until", "soon"]).with(2).saying("--until: `soon`");
    let _ = run(&good.to_string(), &["--late", "5"]).with(2).saying("--late: `5` is not a share");
    let _ = run(&good.to_string(), &["--within", "1h"]).with(2).saying("--shuffle");
}

/// The plugin holds an event without an instance for an hour of the log.
#[test]
fn holds_last_in_the_time_of_the_log() {
    let log = [
        completed("g-1", "a", START),
        completed("g-2", "b", START),
        initiated("g-1", START + HOUR - 1, &["a"]),
        initiated("g-2", START + HOUR, &["b"]),
    ];
    let folder = folder();
    let ended = backtest(folder.path(), "group-checkout", &log, &["--json"]).with(0);
    let rows = rows(&ended.output);
    assert_eq!(ends(&rows), pairs(&[("g-1", "completed"), ("g-2", "open")]));
    let plugin = &rows.last().expect("the summary")["plugins"][0];
    assert_eq!(plugin["ignored"]["unclaimed"], 1);
}

#[test]
fn lookups_and_commands_are_answered_in_the_time_of_the_log() {
    let folder = folder();
    let answers = "
answers:
  CheckoutGuestAccount:
    - {type: GuestCheckoutCompleted, after: 90m,
       data: {groupCheckoutId: $/groupCheckoutId, guestStayId: $/guestStayId}}
";
    std::fs::write(folder.path().join("answers.yaml"), answers).expect("a file");
    let log = [initiated("g-1", START, &["a", "b"]), initiated("g-2", START + 2 * HOUR, &["c"])];
    let arguments = ["--answers", "answers.yaml", "--json"];
    let ended = backtest(folder.path(), "group-checkout", &log, &arguments).with(0);
    let printed = rows(&ended.output);
    assert_eq!(ends(&printed), pairs(&[("g-1", "completed"), ("g-2", "open")]));
    let done = of_kind(&printed, "message");
    let done = done.iter().find(|row| row["type"] == "CompleteGroupCheckout").expect("it is done");
    assert_eq!(done["at"], time(START + HOUR + HOUR / 2));

    let refused = "answers: {CheckoutGuestAccount: [{refused: the room is locked}]}\n";
    std::fs::write(folder.path().join("answers.yaml"), refused).expect("a file");
    let ended = backtest(folder.path(), "group-checkout", &log, &arguments).with(0);
    let dead_letters = rows(&ended.output);
    let dead_letters = of_kind(&dead_letters, "dead_letter");
    // The second command of the group waits behind the first.
    assert_eq!(dead_letters.len(), 2);
    assert_eq!(dead_letters[0]["reason"], "the room is locked");
    assert_eq!(dead_letters[0]["of"], "message");

    let wrong = "answers: {Checkout: [{refused: no}]}\n";
    std::fs::write(folder.path().join("answers.yaml"), wrong).expect("a file");
    let _ = backtest(folder.path(), "group-checkout", &log, &arguments)
        .with(2)
        .saying("answers.yaml: answers: no plugin here sends `Checkout`; known are");

    // A reactor that asks for its stock.
    let paid = |id: &str, product: &str| {
        let items = json!([{"productId": product, "quantity": 1}]);
        event(id, "PaymentCompleted", START, &json!({"orderId": id, "productItems": items}))
    };
    let log = [paid("o-1", "mug"), paid("o-2", "pen")];
    let _ =
        backtest(folder.path(), "shipment", &log, &[]).with(2).saying("add the answers of `stock`");
    let stock = "lookups: {stock: {mug: {available: 3}, \"*\": {available: 0}}}\n";
    std::fs::write(folder.path().join("stock.yaml"), stock).expect("a file");
    let ended = backtest(folder.path(), "shipment", &log, &["--answers", "stock.yaml", "--json"]);
    let printed = rows(&ended.with(0).output);
    let sent: Vec<(&Value, &Value)> = of_kind(&printed, "message")
        .into_iter()
        .map(|row| (&row["type"], &row["subject"]))
        .collect();
    let expected = [(json!("SendPackage"), json!("o-1")), (json!("OutOfStock"), json!("o-2"))];
    assert_eq!(sent, expected.iter().map(|(a, b)| (a, b)).collect::<Vec<_>>());
}

/// What a host did, it does again on its own log; what an operator asked happens again.
#[tokio::test]
async fn the_log_of_a_store_comes_to_what_the_host_came_to() {
    let mut host = example::host("group-checkout").start().await;
    let client = host.client();
    let log = read_ndjson(&paths::example("group-checkout").join("events.ndjson")).expect("a log");
    client.send(&log).await;
    client.wait_for_completed("group-checkout", 2).await;
    client.send(&[initiated("never", START, &["a"])]).await;
    client.wait_for_balance().await;
    let cancel = ["cancel", "group-checkout", "never", "--by", "me", "--reason", "closed"];
    let _ = sagabox(host.folder(), &[&cancel[..], &["--host", &host.url()]].concat()).with(0);
    client.wait_for_balance().await;
    let mut ids: BTreeSet<String> = BTreeSet::new();
    for (queue, count) in [
        ("CheckoutGuestAccount", 6),
        ("CompleteGroupCheckout", 1),
        ("NotifyGroupCheckoutFailure", 2),
    ] {
        let taken = client.take_exactly(queue, count).await;
        // What the cancellation leads to is named after its time, which is another here.
        let is_kept = |message: &Value| {
            queue != "NotifyGroupCheckoutFailure" || message["data"]["groupCheckoutId"] != "never"
        };
        ids.extend(taken.into_iter().filter(|(_, message)| is_kept(message)).map(|(id, _)| id));
    }
    let plugins = client.get("/plugins").await.expect("the plugins");
    let version = plugins["plugins"][0]["version"].as_str().expect("a version").to_owned();
    host.stop().await;
    let component = paths::plugin("group-checkout");
    let config = paths::example("group-checkout").join("sagabox.toml");
    let text = |path: &Path| path.to_str().expect("text").to_owned();
    let (component, store, config) = (text(&component), text(&host.store()), text(&config));
    let run = |more: &[&str]| {
        let arguments = ["backtest", &component, "--store", &store, "--config", &config, "--json"];
        rows(&sagabox(host.folder(), &[&arguments, more].concat()).with(0).output)
    };
    let printed = run(&["--accepted"]);
    let (mut found, mut after_cancel) = (BTreeSet::new(), 0);
    for row in of_kind(&printed, "message") {
        match row["because"] == "sagabox.instance.cancelled" {
            true => after_cancel += 1,
            false => _ = found.insert(row["id"].as_str().expect("an id").to_owned()),
        }
    }
    assert_eq!(found, ids, "the same decisions have the same ids");
    assert_eq!(after_cancel, 1);
    assert_eq!(ends(&printed)["never"], "cancelled");
    let beside = run(&["--accepted", "--against", &format!("group-checkout@{version}")]);
    assert!(of_kind(&beside, "difference").is_empty(), "the store has the same version");
    let other = ["backtest", &component, "--store", &store, "--against", "group-checkout@9.9.9"];
    let _ = sagabox(host.folder(), &other).with(2).saying(&format!(
        "--against: the store does not keep this version of `group-checkout`; it keeps {version} ("
    ));
    let without = ["backtest", &component, "--events", "x", "--against", "group-checkout@9.9.9"];
    let _ = sagabox(host.folder(), &without).with(2).saying(
        "--against: there is no file `group-checkout@9.9.9`; to take a version that a store",
    );
}
