//! Versions that are tried beside those that serve: a shadow changes nothing and is
//! compared, a canary serves its share of the keys and no other, and what it fails at is
//! decided by the version beside it.

use std::collections::{BTreeMap, BTreeSet};

use sagabox_tests::client::Client;
use sagabox_tests::command::{Ended, sagabox};
use sagabox_tests::host::Host;
use sagabox_tests::{paths, wait};
use serde_json::{Value, json};

use crate::hot::{put, refused, serves, step, version, wrong};

const KEYS: usize = 200;

async fn start() -> Host {
    Host::builder().file("hot.wasm", version(1, 1, "all")).start().await
}

/// Puts a candidate there, with what is said of it if it is to be a canary.
fn candidate(host: &Host, name: &str, bytes: &[u8], terms: Option<&str>) {
    let folder = host.plugins().join("candidates");
    std::fs::create_dir_all(&folder).expect("the folder");
    if let Some(terms) = terms {
        std::fs::write(folder.join(format!("{name}.toml")), terms).expect("its terms");
    }
    put(host, &format!("candidates/{name}"), bytes);
}

/// Waits until the API shows the candidate so.
async fn shows(client: &Client, what: &str, is: impl Fn(&Value) -> bool) -> Value {
    wait::until(what, wait::LONG, || async {
        let all = client.get("/plugins").await?;
        let mut candidates = all["candidates"].as_array().into_iter().flatten();
        candidates.find(|candidate| is(candidate)).cloned().ok_or(all.to_string())
    })
    .await
}

async fn is_tried(client: &Client, version: usize) -> Value {
    let version = format!("1.{version}.0");
    shows(client, "the candidate is tried", |candidate| {
        candidate["version"] == version && candidate["status"] == "tried"
    })
    .await
}

async fn has_none(client: &Client) {
    wait::until("no candidate is tried", wait::LONG, || async {
        let all = client.get("/plugins").await?;
        if all["candidates"] == json!([]) { Ok(()) } else { Err(all.to_string()) }
    })
    .await;
}

fn keys() -> Vec<String> {
    (0..KEYS).map(|n| format!("key-{n}")).collect()
}

/// Sends one event for each key; returns which version decided it.
async fn round(client: &Client, n: usize) -> BTreeMap<String, String> {
    round_of(client, n, keys()).await
}

async fn round_of(client: &Client, n: usize, keys: Vec<String>) -> BTreeMap<String, String> {
    let events: Vec<Value> = keys.iter().map(|key| step(n, key)).collect();
    client.send(&events).await;
    let commands = client.take_exactly("Stepped", KEYS).await;
    let of = |data: &Value, name: &str| data[name].as_str().expect("a text").to_owned();
    let versions = commands.values().map(|command| {
        let data = &command["data"];
        assert_eq!(data["count"], json!(n), "{data}");
        (of(data, "key"), of(data, "version"))
    });
    let versions: BTreeMap<String, String> = versions.collect();
    assert_eq!(versions.len(), KEYS);
    versions
}

fn of_canary(versions: &BTreeMap<String, String>) -> BTreeSet<&str> {
    let of_canary = versions.iter().filter(|(_, version)| *version != "1.1.0");
    of_canary.map(|(key, _)| key.as_str()).collect()
}

fn text(path: &std::path::Path) -> &str {
    path.to_str().expect("paths of tests are text")
}

/// As the command line would put it there.
fn command(host: &Host, arguments: &[&str], component: &[u8]) -> Ended {
    let path = host.folder().join("hot.wasm");
    std::fs::write(&path, component).expect("a component");
    let into = host.plugins();
    let mut all = vec![arguments[0], text(&path), "--into", text(&into)];
    all.extend(&arguments[1..]);
    if !all.contains(&"--host") {
        // Not one that this machine happens to run.
        all.extend(["--host", "127.0.0.1:1"]);
    }
    sagabox(host.folder(), &all)
}

#[tokio::test]
async fn a_shadow_is_compared_and_nothing_of_it_takes_effect() {
    let host = start().await;
    let client = host.client();
    // Only the file differs: the plugin says the same as the one that serves.
    candidate(&host, "hot.wasm", &wrong(1, 1, "all", "same"), None);
    is_tried(&client, 1).await;
    for n in 1..=3 {
        client.send(&["a", "b"].map(|key| step(n, key))).await;
    }
    let all = |calls: u64| move |c: &Value| c["calls"] == calls;
    let same = shows(&client, "all decisions are compared", all(6)).await;
    assert_eq!((&same["kind"], &same["differing"]), (&json!("shadow"), &json!(0)), "{same}");

    candidate(&host, "hot.wasm", &wrong(1, 1, "all", "differs"), None);
    shows(&client, "the next begins", all(0)).await;
    client.send(&["a", "c"].map(|key| step(4, key))).await;
    let other = shows(&client, "both are compared", all(2)).await;
    assert_eq!((&other["differing"], &other["failed"]), (&json!(1), &json!(0)), "{other}");
    let differing = &other["differences"][0];
    assert_eq!((&differing["key"], &differing["event_type"]), (&json!("a"), &json!("step")));
    let place = json!({"place": "sends[0].data.count", "expected": 4, "found": 14});
    assert_eq!(differing["differences"][0], place, "{differing}");
    let listed = sagabox(host.folder(), &["plugins", "--host", &host.url()]).with(0);
    let _ = listed.saying(
        "hot 1.1.0 decides `step` of `a` differently: sends[0].data.count: expected 4, found 14",
    );
    let page = client.text("/metrics").await.expect("the metrics");
    let sample =
        r#"sagabox_candidate_calls_total{plugin="hot",version="1.1.0",outcome="differing"} 1"#;
    assert!(page.contains(sample), "{page}");

    candidate(&host, "hot.wasm", &wrong(2, 2, "all", "fails"), None);
    is_tried(&client, 2).await;
    client.send(&[step(5, "a")]).await;
    let failing = shows(&client, "it fails", |c| c["failed"] == 1).await;
    assert!(failing.to_string().contains("1.2.0 always fails"), "{failing}");

    std::fs::remove_file(host.plugins().join("candidates/hot.wasm")).expect("the file");
    has_none(&client).await;
    // What the version that serves sent is all there is.
    let commands = client.take_exactly("Stepped", 9).await;
    assert!(commands.values().all(|command| command["data"]["version"] == "1.1.0"));
    client.assert_no_dead_letters().await;
    client.wait_for_balance().await;
}

#[tokio::test]
async fn a_canary_serves_its_share_of_the_keys_until_it_serves_all() {
    let mut host = start().await;
    let mut client = host.client();
    round(&client, 1).await;
    let _ = command(&host, &["canary", "--share", "20"], &version(2, 2, "all"))
        .with(0)
        .saying("hot 1.2.0 (process-manager): canary of 20 % of the keys");
    let view = is_tried(&client, 2).await;
    let figures =
        json!({"share": 20.0, "failures_max": 5, "preflight": "200 of 200 live states migrate"});
    for (name, value) in figures.as_object().expect("an object") {
        assert_eq!(&view[name], value, "{view}");
    }
    let second = round(&client, 2).await;
    let first_share = of_canary(&second);
    assert!((20..60).contains(&first_share.len()), "{first_share:?}");

    // Killed and started again, it serves the same keys from the first event on, whichever
    // version decided last.
    for (n, canary_last) in [(3, true), (4, false), (5, true)] {
        let mut keys = keys();
        keys.sort_by_key(|key| first_share.contains(key.as_str()) == canary_last);
        assert_eq!(of_canary(&round_of(&client, n, keys).await), first_share);
        host.kill_and_start().await;
        client = host.client();
    }
    assert_eq!(of_canary(&round(&client, 6).await), first_share);
    is_tried(&client, 2).await;

    // With a greater share it keeps what it has.
    let terms = host.plugins().join("candidates/hot.wasm.toml");
    std::fs::write(&terms, "share = 60").expect("other terms");
    shows(&client, "the share grows", |candidate| candidate["share"] == 60.0).await;
    let seventh = round(&client, 7).await;
    let share = of_canary(&seventh);
    assert!((90..150).contains(&share.len()) && share.is_superset(&first_share), "{share:?}");

    // Promoted, it serves all; nothing of what it had goes back to the one before.
    let path = host.plugins().join("candidates/hot.wasm");
    let events: Vec<Value> = keys().iter().map(|key| step(8, key)).collect();
    std::fs::rename(&path, host.plugins().join("hot.wasm")).expect("its place");
    for events in events.chunks(20) {
        client.send(events).await;
        tokio::time::sleep(std::time::Duration::from_millis(100)).await;
    }
    serves(&client, 2).await;
    has_none(&client).await;
    let eighth = client.take_exactly("Stepped", KEYS).await;
    for command in eighth.values() {
        let data = &command["data"];
        let key = data["key"].as_str().expect("a key");
        assert!(data["version"] == "1.2.0" || !share.contains(key), "{data}");
    }
    assert_eq!(of_canary(&round(&client, 9).await).len(), KEYS);
    client.assert_no_dead_letters().await;
    client.wait_for_balance().await;
    assert!(!host.plugins().join("candidates/hot.wasm.trial").exists(), "its record went with it");
}

#[tokio::test]
async fn a_canary_that_fails_too_often_is_withdrawn_and_the_other_decides_what_it_left() {
    let mut host = start().await;
    let client = host.client();
    round(&client, 1).await;
    candidate(
        &host,
        "hot.wasm",
        &wrong(2, 1, "all", "fails"),
        Some("share = 30\nfailures_max = 2"),
    );
    is_tried(&client, 2).await;
    // All of them, decided by the version beside the canary in the end.
    let second = round(&client, 2).await;
    assert_eq!(of_canary(&second).len(), 0);
    let withdrawn =
        shows(&client, "it is withdrawn", |candidate| candidate["status"] == "withdrawn").await;
    let reason = withdrawn["withdrawn"]["reason"].as_str().expect("a reason");
    // Two threads call it: the third failure may be reported as the fourth.
    let said = "of its last 100 calls failed, and failures_max is 2; the last: 1.2.0 always fails";
    assert!(reason.ends_with(said), "{reason}");
    let listed = sagabox(host.folder(), &["plugins", "--host", &host.url()]).with(0);
    let _ = listed.saying(&format!("hot 1.2.0 was withdrawn: {reason}"));
    wait::until("nothing is dead", wait::LONG, || async {
        let open = client.dead_letters().await?;
        if open.is_empty() { Ok(()) } else { Err(format!("{open:?}")) }
    })
    .await;
    client.wait_for_balance().await;

    // It stays so after a restart, until an operator wants it tried again.
    host.kill_and_start().await;
    let client = host.client();
    shows(&client, "it is still withdrawn", |candidate| candidate["status"] == "withdrawn").await;
    assert_eq!(of_canary(&round(&client, 3).await).len(), 0);
    std::fs::remove_file(host.plugins().join("candidates/hot.wasm.trial")).expect("the record");
    is_tried(&client, 2).await;
    host.assert_runs();
}

#[tokio::test]
async fn a_canary_that_cannot_go_back_is_refused_and_names_the_instance() {
    // The version that serves does not take the stubborn one back.
    let host = Host::builder().file("hot.wasm", version(1, 1, "not")).start().await;
    let client = host.client();
    client.send(&["a", "stubborn-17"].map(|key| step(1, key))).await;
    client.take_exactly("Stepped", 2).await;
    candidate(&host, "hot.wasm", &version(2, 2, "all"), Some("share = 50"));
    let reason = refused(&client, "hot.wasm", "1 of 2 live states migrate").await;
    let said = "`stubborn-17` (1.1.0 could not read it from a withdrawn canary: \
                stubborn-17 is stubborn)";
    assert!(reason.contains(said), "{reason}");
    // As a shadow it may be tried.
    std::fs::remove_file(host.plugins().join("candidates/hot.wasm.toml")).expect("its terms");
    assert_eq!(is_tried(&client, 2).await["kind"], "shadow");
    client.send(&["a", "stubborn-17"].map(|key| step(2, key))).await;
    client.take_exactly("Stepped", 2).await;
    client.assert_no_dead_letters().await;
}

/// The version that serves was released before the canary, and knows nothing of its states.
#[tokio::test]
async fn a_canary_brings_its_own_way_back() {
    let mut host = Host::builder().file("hot.wasm", version(1, 1, "own")).start().await;
    let mut client = host.client();
    round(&client, 1).await;
    candidate(&host, "hot.wasm", &version(2, 2, "all"), Some("share = 50"));
    is_tried(&client, 2).await;
    let second = round(&client, 2).await;
    let share = of_canary(&second);
    assert!((60..140).contains(&share.len()), "{share:?}");

    // With a smaller share some keys go back, while it serves on.
    let terms = host.plugins().join("candidates/hot.wasm.toml");
    std::fs::write(&terms, "share = 10").expect("other terms");
    shows(&client, "the share shrinks", |candidate| candidate["share"] == 10.0).await;
    assert!(of_canary(&round(&client, 3).await).len() < share.len());

    // It fails too often; what it has left goes back, and after a restart as well.
    let fails = wrong(3, 2, "all", "fails");
    candidate(&host, "hot.wasm", &fails, Some("share = 10\nfailures_max = 0"));
    shows(&client, "the failing one is tried", |candidate| candidate["version"] == "1.3.0").await;
    assert_eq!(of_canary(&round(&client, 4).await).len(), 0);
    shows(&client, "it is withdrawn", |candidate| candidate["status"] == "withdrawn").await;
    wait::until("nothing is dead", wait::LONG, || async {
        let open = client.dead_letters().await?;
        if open.is_empty() { Ok(()) } else { Err(format!("{open:?}")) }
    })
    .await;
    host.kill_and_start().await;
    client = host.client();
    serves(&client, 1).await;
    assert_eq!(of_canary(&round(&client, 5).await).len(), 0);
    client.assert_no_dead_letters().await;
    client.wait_for_balance().await;
}

/// The same if a person removed the candidate's file, and the host has only its store.
#[tokio::test]
async fn a_canary_that_is_gone_converts_what_it_left_from_the_store() {
    let mut host = Host::builder().file("hot.wasm", version(1, 1, "own")).start().await;
    let mut client = host.client();
    round(&client, 1).await;
    candidate(&host, "hot.wasm", &version(2, 2, "all"), Some("share = 50"));
    is_tried(&client, 2).await;
    assert!(of_canary(&round(&client, 2).await).len() > 60);
    std::fs::remove_file(host.plugins().join("candidates/hot.wasm")).expect("the file");
    has_none(&client).await;
    host.kill_and_start().await;
    client = host.client();
    serves(&client, 1).await;
    assert_eq!(of_canary(&round(&client, 3).await).len(), 0);
    client.assert_no_dead_letters().await;
    client.wait_for_balance().await;
}

#[tokio::test]
async fn a_shadow_compares_what_its_terms_say() {
    let host = start().await;
    let client = host.client();
    let other = wrong(2, 1, "all", "differs");
    candidate(&host, "hot.wasm", &other, Some("compare = \"effects\"\nwait_ms = 20"));
    is_tried(&client, 2).await;
    client.send(&[step(1, "a"), step(2, "a"), step(3, "a")]).await;
    let found = shows(&client, "all are compared", |c| c["calls"] == 3).await;
    let kinds = found["kinds"].as_array().expect("kinds").iter();
    let kinds: Vec<_> =
        kinds.map(|kind| (kind["kind"].clone(), kind["decisions"].clone())).collect();
    let (version, count) = ("`sends[*].data.version` differs", "`sends[*].data.count` differs");
    let expected = [
        (json!(format!("effects only, {version}")), json!(2)),
        (json!(format!("effects only, {count}, {version}")), json!(1)),
    ];
    assert_eq!(kinds, expected);
    // Other terms are another trial.
    let terms = host.plugins().join("candidates/hot.wasm.toml");
    std::fs::write(&terms, "compare = \"state\"").expect("other terms");
    shows(&client, "it begins anew", |c| c["calls"] == 0).await;
    client.send(&[step(4, "a"), step(1, "b")]).await;
    let found = shows(&client, "both are compared", |c| c["calls"] == 2).await;
    assert_eq!(found["kinds"][0]["kind"], "state only, `/count` differs", "{found}");
    assert_eq!(found["differing"], 1);
    let listed = sagabox(host.folder(), &["plugins", "--host", &host.url()]).with(0);
    let _ = listed.saying("hot 1.2.0: 1 decision: state only, `/count` differs");
    // The command line writes the same terms.
    let _ = command(&host, &["shadow", "--compare", "state", "--wait-ms", "7"], &other).with(0);
    let terms = std::fs::read_to_string(&terms).expect("the terms");
    assert!(terms.contains("compare = \"state\"\n") && terms.contains("wait_ms = 7\n"), "{terms}");
    let _ = command(&host, &["shadow", "--wait-ms", "5000"], &other).with(2).saying("0 to 1000");
}

#[tokio::test]
async fn what_cannot_be_tried_says_why() {
    let host = start().await;
    let client = host.client();
    let canary = Some("share = 10");
    candidate(&host, "same.wasm", &wrong(1, 1, "all", "same"), canary);
    refused(&client, "same.wasm", "has the version 1.1.0 of the one that serves").await;
    let order_saga = std::fs::read(paths::plugin("order-saga")).expect("the plugin");
    candidate(&host, "order-saga.wasm", &order_saga, canary);
    refused(&client, "order-saga.wasm", "no version of `order-saga` serves").await;
    candidate(&host, "terms.wasm", &version(2, 1, "all"), Some("share = 0"));
    refused(&client, "terms.wasm", "share is 0; accepted are percentages").await;
    candidate(&host, "broken.wasm", &version(2, 1, "all")[..5_000], None);
    refused(&client, "broken.wasm", "is not a valid component").await;
    candidate(&host, "second.wasm", &version(3, 1, "all"), None);
    is_tried(&client, 3).await;
    // Mended, it waits for its turn.
    std::fs::write(host.plugins().join("candidates/terms.wasm.toml"), "share = 1").expect("terms");
    refused(&client, "terms.wasm", "`hot` has a candidate already").await;
    std::fs::remove_file(host.plugins().join("candidates/second.wasm")).expect("the file");
    is_tried(&client, 2).await;
    client.send(&[step(1, "a")]).await;
    client.take_exactly("Stepped", 1).await;

    let wrong_share = command(&host, &["canary", "--share", "200"], &version(4, 1, "all"));
    let _ = wrong_share.with(2).saying("share is 200; accepted are percentages from 0.0001 to 100");
    let _ = command(&host, &["shadow"], b"not a component")
        .with(1)
        .saying("is not a WebAssembly component");
}

/// The same, and waits for what this host makes of it.
fn placed(host: &Host, arguments: &[&str], component: &[u8]) -> Ended {
    let url = host.url();
    command(host, &[arguments, &["--host", &url]].concat(), component)
}

#[tokio::test]
async fn the_command_line_waits_for_the_admission() {
    let host = start().await;
    let _ = placed(&host, &["canary", "--share", "50"], &version(2, 1, "all"))
        .with(0)
        .saying("hot 1.2.0 (process-manager): canary of 50 % of the keys");
    // What is tried already, under other terms.
    let adjusted = placed(&host, &["canary", "--share", "60", "--json"], &version(2, 1, "all"));
    let adjusted = adjusted.with(0).json();
    assert_eq!((&adjusted["admission"], &adjusted["reason"]), (&json!("tried"), &Value::Null));
    let same = placed(&host, &["canary", "--share", "50"], &wrong(1, 1, "all", "same"));
    let same = same.with(1).saying("the host refused the candidate: ");
    let same = same.saying("has the version 1.1.0 of the one that serves");
    assert!(!same.output.contains("canary of"), "{}", same.output);
    // What is put there again, as it was, is decided again.
    for _ in 0..3 {
        let again = ["canary", "--share", "50", "--json"];
        let again = placed(&host, &again, &wrong(1, 1, "all", "same")).with(1).json();
        assert_eq!(again["admission"], "refused", "{again}");
    }

    let other = start().await;
    let _ = placed(&other, &["shadow"], &version(2, 1, "all")).with(0);
    let url = other.url();
    let elsewhere = command(&host, &["shadow", "--host", &url], &version(3, 1, "all"));
    let _ = elsewhere.with(0).saying("the host at this address serves another directory");
    let nowhere = ["shadow", "--host", "127.0.0.1:1"];
    let _ = command(&host, &nowhere, &version(3, 1, "all"))
        .with(0)
        .saying("no host has checked it yet");
}

#[tokio::test]
async fn a_candidate_is_pinned_like_what_it_may_become() {
    let host = start().await;
    let client = host.client();
    let plugins = host.plugins();
    let _ = sagabox(host.folder(), &["lock", text(&plugins)]).with(0);
    let _ = command(&host, &["shadow"], &version(2, 1, "all"))
        .with(0)
        .saying("a host refuses it for this reason: its digest");
    refused(&client, "candidates/hot.wasm", "is not in sagabox.lock").await;
    let _ = sagabox(host.folder(), &["lock", text(&plugins)])
        .with(0)
        .saying("hot 1.2.0 in candidates/hot.wasm");
    is_tried(&client, 2).await;
    std::fs::rename(plugins.join("candidates/hot.wasm"), plugins.join("hot.wasm")).expect("moved");
    serves(&client, 2).await;
}
