//! Plugins come, change and go while the host runs: nothing is lost, nothing is handled
//! by two versions, and what fails a check leaves the old version serving.

use std::collections::BTreeMap;
use std::path::Path;

use sagabox_tests::client::Client;
use sagabox_tests::events::event;
use sagabox_tests::host::Host;
use sagabox_tests::hot::marked;
use sagabox_tests::{paths, wait};
use serde_json::{Value, json};

const STEP_KEYS: usize = 200;
/// `./dev hot` asks for more of each.
const ROUNDS: usize = 12;
const EVENTS: usize = 6_000;
const INSTANCES: usize = 5_000;

/// The built plugin as another version. `migrates`: `all`, `not` the stubborn ones, or its `own`.
pub(crate) fn version(number: usize, of_state: u32, migrates: &str) -> Vec<u8> {
    wrong(number, of_state, migrates, "")
}

/// A version with something wrong: it `differs`, which shows in counts from 3, it `fails`, or
/// is `reshape`d: its states have another shape under the same number.
pub(crate) fn wrong(number: usize, of_state: u32, migrates: &str, wrong: &str) -> Vec<u8> {
    marked(number, of_state, migrates, wrong)
}

fn number(name: &str, default: usize) -> usize {
    std::env::var(name).ok().and_then(|text| text.parse().ok()).unwrap_or(default)
}

pub(crate) fn step(n: usize, key: &str) -> Value {
    event(&format!("step-{n}-{key}"), "step", key, &json!({}))
}

/// As a careful tool does it: under another name first.
pub(crate) fn put(host: &Host, name: &str, bytes: &[u8]) {
    let folder = host.plugins();
    std::fs::write(folder.join(".new"), bytes).expect("a file");
    std::fs::rename(folder.join(".new"), folder.join(name)).expect("its name");
}

async fn start() -> Host {
    Host::builder().file("hot.wasm", version(1, 1, "all")).start().await
}

async fn plugins(client: &Client) -> Result<Value, String> {
    client.get("/plugins").await
}

/// Waits until this version of the plugin serves; returns how the API shows it.
pub(crate) async fn serves(client: &Client, version: usize) -> Value {
    wait::until(&format!("version {version} serves"), wait::LONG, || async {
        let all = plugins(client).await?;
        let own = all["plugins"].as_array().into_iter().flatten().find(|p| p["name"] == "hot");
        match own {
            Some(own) if own["version"] == format!("1.{version}.0") => Ok(own.clone()),
            _ => Err(all.to_string()),
        }
    })
    .await
}

/// Waits until a file is refused for this reason.
pub(crate) async fn refused(client: &Client, file: &str, reason: &str) -> String {
    wait::until(&format!("{file} is refused: {reason}"), wait::LONG, || async {
        let all = plugins(client).await?;
        let mut refused = all["refused"].as_array().into_iter().flatten();
        let own = refused.find(|r| r["file"].as_str().is_some_and(|path| path.ends_with(file)));
        match own.and_then(|own| own["reason"].as_str()) {
            Some(said) if said.contains(reason) => Ok(said.to_owned()),
            _ => Err(all.to_string()),
        }
    })
    .await
}

async fn is_taken_out(client: &Client) {
    wait::until("the plugin is removed", wait::SOON, || async {
        let all = plugins(client).await?;
        let none = all["plugins"].as_array().is_some_and(Vec::is_empty);
        if none { Ok(()) } else { Err(all.to_string()) }
    })
    .await;
}

async fn metric(client: &Client, name: &str) -> f64 {
    let page = client.text("/metrics").await.expect("the metrics");
    let value = page.lines().find_map(|line| line.strip_prefix(&format!("{name} ")));
    value.and_then(|value| value.parse().ok()).unwrap_or_else(|| panic!("{name}: {page}"))
}

/// Each key's commands count its events one by one, and never go back to an older version.
fn check_order<'c>(commands: impl Iterator<Item = &'c Value>, per_key: &BTreeMap<String, usize>) {
    let mut by_key: BTreeMap<String, BTreeMap<u64, u64>> = BTreeMap::new();
    for command in commands {
        let data = &command["data"];
        let version = data["version"].as_str().and_then(|v| v.split('.').nth(1)?.parse().ok());
        let (key, count) = (data["key"].as_str().expect("a key"), data["count"].as_u64());
        let counts = by_key.entry(key.to_owned()).or_default();
        let twice = counts.insert(count.expect("a count"), version.expect("a version"));
        assert_eq!(twice, None, "{key} counted {count:?} twice");
    }
    for (key, events) in per_key {
        let counts = by_key.get(key).unwrap_or_else(|| panic!("nothing of {key}"));
        let expected: Vec<u64> = (1..=*events as u64).collect();
        assert_eq!(counts.keys().copied().collect::<Vec<_>>(), expected, "{key}");
        let versions: Vec<u64> = counts.values().copied().collect();
        assert!(versions.is_sorted(), "{key} went back to an older version: {versions:?}");
    }
    assert_eq!(by_key.len(), per_key.len());
}

#[tokio::test]
async fn a_plugin_is_replaced_under_load_and_nothing_is_lost_or_decided_twice() {
    let rounds = number("SAGABOX_HOT_ROUNDS", ROUNDS);
    let events = number("SAGABOX_HOT_EVENTS", EVENTS);
    let mut host = start().await;
    let client = host.client();
    let (sender, replaced) = (host.client(), tokio::sync::watch::channel(0));
    let (progress, mut progress_of) = replaced;
    // The events keep step with the versions, so that all of them meet a version's change.
    let load = tokio::spawn(async move {
        let mut sent = 0;
        while sent < events {
            let due = events * (*progress_of.borrow_and_update() + 1) / (rounds + 1);
            if sent >= due {
                progress_of.changed().await.expect("the replacements go on");
                continue;
            }
            let batch: Vec<Value> = (sent..due.min(sent + 100))
                .map(|n| step(n, &format!("key-{}", n % STEP_KEYS)))
                .collect();
            sent += batch.len();
            let accepted = sender.send(&batch).await;
            assert_eq!(accepted.accepted, batch.len(), "nothing is refused");
        }
    });
    let mut serving = 1;
    let mut broken = 0;
    for round in 1..=rounds {
        // The events of this round are on their way while the file changes.
        progress.send_replace(round);
        let bytes = version(round + 1, 1, "all");
        if round % 2 == 0 {
            put(&host, "hot.wasm", &bytes[..bytes.len() * round / (rounds + 1)]);
            broken += 1;
            let count = f64::from(broken);
            wait::until("the broken one is refused", wait::SOON, || async {
                let refusals = metric(&client, "sagabox_plugin_refused_total").await;
                if refusals >= count { Ok(()) } else { Err(refusals.to_string()) }
            })
            .await;
            serves(&client, serving).await;
        } else {
            put(&host, "hot.wasm", &bytes);
            serving = round + 1;
            serves(&client, serving).await;
        }
    }
    load.await.expect("the load");
    let commands = client.take_exactly("Stepped", events).await;
    let mut per_key = BTreeMap::new();
    for n in 0..events {
        *per_key.entry(format!("key-{}", n % STEP_KEYS)).or_default() += 1;
    }
    check_order(commands.values(), &per_key);
    let used: std::collections::BTreeSet<&str> =
        commands.values().filter_map(|command| command["data"]["version"].as_str()).collect();
    println!("{events} events, {rounds} files, {} versions decided", used.len());
    assert!(used.len() > rounds / 4, "the versions decided: {used:?}");
    client.assert_no_dead_letters().await;
    client.wait_for_balance().await;
    let accounts = client.get("/accounts").await.expect("the accounts");
    assert_eq!(accounts["plugins"][0]["handled"], json!(events), "{accounts}");
    host.assert_runs();
}

#[tokio::test]
async fn all_live_states_are_tried_before_a_version_serves_and_then_all_go_on() {
    let instances = number("SAGABOX_HOT_INSTANCES", INSTANCES);
    let host = start().await;
    let client = host.client();
    let keys: Vec<String> = (0..instances).map(|n| format!("key-{n}")).collect();
    let first: Vec<Value> = keys.iter().map(|key| step(1, key)).collect();
    client.send(&first).await;
    client.take_exactly("Stepped", instances).await;

    put(&host, "hot.wasm", &version(2, 2, "all"));
    let view = serves(&client, 2).await;
    let figure = grouped(instances);
    assert_eq!(view["preflight"], json!(format!("{figure} of {figure} live states migrate")));
    let second: Vec<Value> = keys.iter().map(|key| step(2, key)).collect();
    client.send(&second).await;
    let commands = client.take_exactly("Stepped", instances).await;
    for command in commands.values() {
        let data = &command["data"];
        assert_eq!((&data["count"], &data["version"]), (&json!(2), &json!("1.2.0")), "{data}");
    }
    client.assert_no_dead_letters().await;
    client.wait_for_balance().await;
}

fn grouped(number: usize) -> String {
    match number {
        0..1_000 => number.to_string(),
        _ => format!("{},{:03}", number / 1_000, number % 1_000),
    }
}

#[tokio::test]
async fn a_version_that_one_state_does_not_survive_is_refused_and_names_it() {
    let host = start().await;
    let client = host.client();
    let keys = ["a", "stubborn-17", "z"];
    client.send(&keys.map(|key| step(1, key))).await;
    client.take_exactly("Stepped", 3).await;
    put(&host, "hot.wasm", &version(2, 2, "not"));
    let reason = refused(&client, "hot.wasm", "2 of 3 live states migrate").await;
    assert!(reason.contains("`stubborn-17` (stubborn-17 is stubborn)"), "{reason}");
    assert!(host.log().contains("the previous version continues to serve"), "the log says it");
    // The old one serves on, also the one that would not have survived.
    client.send(&keys.map(|key| step(2, key))).await;
    let commands = client.take_exactly("Stepped", 3).await;
    assert!(commands.values().all(|command| command["data"]["version"] == "1.1.0"));

    // Mended, it is taken; and back again, by the same way.
    put(&host, "hot.wasm", &version(3, 2, "all"));
    serves(&client, 3).await;
    client.send(&[step(3, "a")]).await;
    client.take_exactly("Stepped", 1).await;
    put(&host, "hot.wasm", &version(4, 1, "all"));
    let view = serves(&client, 4).await;
    assert_eq!(view["preflight"], json!("3 of 3 live states migrate"), "one was written by 2");
    client.send(&keys.map(|key| step(4, key))).await;
    let commands = client.take_exactly("Stepped", 3).await;
    let counts = |key: &str| {
        let of_key = commands.values().find(|command| command["data"]["key"] == key);
        of_key.map(|command| command["data"]["count"].clone())
    };
    assert_eq!((counts("a"), counts("z")), (Some(json!(4)), Some(json!(3))));
    client.assert_no_dead_letters().await;
    client.wait_for_balance().await;
}

/// Every live state is read before a version serves, also those that are said to be its own.
#[tokio::test]
async fn a_shape_of_states_that_changed_without_its_number_is_refused_and_names_the_instance() {
    let mut host = start().await;
    let client = host.client();
    let keys: Vec<String> = (0..3).map(|n| format!("key-{n}")).collect();
    client.send(&keys.iter().map(|key| step(1, key)).collect::<Vec<_>>()).await;
    client.take_exactly("Stepped", 3).await;
    let reshaped = |number| wrong(number, 1, "all", "reshape");
    put(&host, "hot.wasm", &reshaped(2));
    let reason = refused(&client, "hot.wasm", "0 of 3 live states migrate").await;
    let said = "not those of `key-0` (a state of this version's number, 1, that it cannot read: ";
    assert!(reason.contains(said), "{reason}");
    // Not by its version either: the plugin was built again, while no host looked.
    for number in [2, 1] {
        host.kill().await;
        put(&host, "hot.wasm", &reshaped(number));
        host.start().await;
        refused(&host.client(), "hot.wasm", "0 of 3 live states migrate").await;
    }
    put(&host, "hot.wasm", &version(3, 1, "all"));
    let client = host.client();
    serves(&client, 3).await;
    client.send(&keys.iter().map(|key| step(2, key)).collect::<Vec<_>>()).await;
    let commands = client.take_exactly("Stepped", 3).await;
    assert!(commands.values().all(|command| command["data"]["count"] == 2));
    client.assert_no_dead_letters().await;
    // What was tried on them all is not tried again at each start.
    host.kill_and_start().await;
    let client = host.client();
    assert_eq!(serves(&client, 3).await["preflight"], Value::Null);
}

#[tokio::test]
async fn a_failed_preflight_is_only_reported_if_that_is_configured() {
    let host = Host::builder()
        .file("hot.wasm", version(1, 1, "all"))
        .configuration("[plugins]\npreflight = \"report\"\n")
        .start()
        .await;
    let client = host.client();
    client.send(&[step(1, "a"), step(1, "stubborn")]).await;
    client.take_exactly("Stepped", 2).await;
    put(&host, "hot.wasm", &version(2, 2, "not"));
    let view = serves(&client, 2).await;
    let report = view["preflight"].as_str().expect("a report");
    assert!(report.starts_with("1 of 2 live states migrate; not those of `stubborn`"), "{report}");
    client.send(&[step(2, "a"), step(2, "stubborn")]).await;
    client.take_exactly("Stepped", 1).await;
    let dead = wait::until("one dead letter", wait::SOON, || async {
        let dead = client.dead_letters().await?;
        if dead.len() == 1 { Ok(dead[0].clone()) } else { Err(format!("{dead:?}")) }
    })
    .await;
    assert_eq!((&dead["key"], &dead["plugin_version"]), (&json!("stubborn"), &json!("1.2.0")));
    client.wait_for_balance().await;
}

#[tokio::test]
async fn a_plugin_that_is_removed_drains_and_goes_on_when_it_is_back() {
    let host = start().await;
    let client = host.client();
    client.send(&[step(1, "a")]).await;
    client.take_exactly("Stepped", 1).await;
    std::fs::remove_file(host.plugins().join("hot.wasm")).expect("the file");
    is_taken_out(&client).await;
    assert_eq!(client.instances("hot", "running").await.expect("instances").len(), 1);
    client.send(&[step(2, "a"), step(2, "b")]).await;
    put(&host, "hot.wasm", &version(1, 1, "all"));
    let commands = client.take_exactly("Stepped", 2).await;
    let events = BTreeMap::from([("a".to_owned(), 2), ("b".to_owned(), 1)]);
    let first = json!({"data": {"key": "a", "count": 1, "version": "1.1.0"}});
    check_order(commands.values().chain([&first]), &events);
    client.wait_for_balance().await;
}

#[tokio::test]
async fn what_a_removed_plugin_missed_is_ignored_if_that_is_configured() {
    let host = Host::builder()
        .file("hot.wasm", version(1, 1, "all"))
        .configuration("[plugins]\nmissed = \"ignore\"\n")
        .start()
        .await;
    let client = host.client();
    client.send(&[step(1, "a")]).await;
    client.take_exactly("Stepped", 1).await;
    std::fs::remove_file(host.plugins().join("hot.wasm")).expect("the file");
    is_taken_out(&client).await;
    client.send(&[step(2, "a")]).await;
    put(&host, "hot.wasm", &version(1, 1, "all"));
    serves(&client, 1).await;
    client.send(&[step(3, "a")]).await;
    let commands = client.take_exactly("Stepped", 1).await;
    assert!(commands.values().all(|command| command["data"]["count"] == 2), "{commands:?}");
    let accounts = client.get("/accounts").await.expect("the accounts");
    assert_eq!(accounts["plugins"][0]["ignored"], json!(1), "{accounts}");
    client.wait_for_balance().await;
}

#[tokio::test]
async fn plugins_come_to_a_running_host_slowly_and_together() {
    let host = Host::builder().start().await;
    let client = host.client();
    client.send(&[step(1, "a")]).await;
    let order_saga = std::fs::read(paths::plugin("order-saga")).expect("the plugin");
    put(&host, "order-saga.wasm", &order_saga);
    // A writer that pauses for longer than the host waits: half of it is refused, the
    // whole is taken.
    let (path, bytes) = (host.plugins().join("hot.wasm"), version(1, 1, "all"));
    std::fs::write(&path, &bytes[..bytes.len() / 2]).expect("half a file");
    refused(&client, "hot.wasm", "is not a valid component").await;
    append(&path, &bytes[bytes.len() / 2..]);
    serves(&client, 1).await;
    // A plugin that was never here begins with the log.
    client.take_exactly("Stepped", 1).await;
    // Each is compiled for itself, and takes its time.
    wait::until("both serve", wait::LONG, || async {
        let all = plugins(&client).await?;
        let count = all["plugins"].as_array().map_or(0, Vec::len);
        if count == 2 { Ok(()) } else { Err(all.to_string()) }
    })
    .await;
    let all = plugins(&client).await.expect("the plugins");
    assert_eq!(all["plugins"].as_array().map(Vec::len), Some(2), "{all}");
    assert_eq!(all["refused"], json!([]), "{all}");
    assert!(all["plugins"][0]["digest"].as_str().is_some_and(|digest| digest.len() == 64));
}

fn append(path: &Path, bytes: &[u8]) {
    use std::io::Write as _;
    let mut file = std::fs::File::options().append(true).open(path).expect("the file");
    file.write_all(bytes).expect("its rest");
}

#[tokio::test]
async fn a_name_stands_for_one_plugin_and_is_free_when_its_file_is_gone() {
    let host = start().await;
    let client = host.client();
    put(&host, "other.wasm", &version(2, 1, "all"));
    refused(&client, "other.wasm", "its name `hot`").await;
    serves(&client, 1).await;
    std::fs::remove_file(host.plugins().join("hot.wasm")).expect("the file");
    serves(&client, 2).await;
    // Another name for the same file changes nothing.
    let since = serves(&client, 2).await["since"].clone();
    std::fs::rename(host.plugins().join("other.wasm"), host.plugins().join("third.wasm"))
        .expect("another name");
    let view = wait::until("the new name", wait::SOON, || async {
        let view = serves(&client, 2).await;
        let named = view["file"].as_str().is_some_and(|file| file.ends_with("third.wasm"));
        if named { Ok(view) } else { Err(view.to_string()) }
    })
    .await;
    assert_eq!(view["since"], since, "it served on");
}

#[tokio::test]
async fn a_host_starts_with_a_version_whose_states_are_tried_first() {
    let mut host = start().await;
    host.client().send(&[step(1, "a"), step(1, "stubborn")]).await;
    host.client().take_exactly("Stepped", 2).await;
    host.stop().await;
    put(&host, "hot.wasm", &version(2, 2, "not"));
    host.start().await;
    let client = host.client();
    refused(&client, "hot.wasm", "not those of `stubborn`").await;
    // Nothing serves, and nothing is misread: the event waits.
    client.send(&[step(2, "a")]).await;
    put(&host, "hot.wasm", &version(3, 2, "all"));
    let commands = client.take_exactly("Stepped", 1).await;
    assert!(commands.values().all(|command| command["data"]["count"] == 2), "{commands:?}");
    client.assert_no_dead_letters().await;
}

#[tokio::test]
async fn the_command_line_lists_what_serves_and_what_was_refused() {
    let host = start().await;
    put(&host, "junk.wasm", b"junk");
    refused(&host.client(), "junk.wasm", "is not a WebAssembly component").await;
    let mut command = tokio::process::Command::new(paths::binary());
    let output = command.args(["plugins", "--host", &host.url()]).output().await;
    let output = output.expect("the command runs");
    let text = String::from_utf8_lossy(&output.stdout);
    assert!(output.status.success(), "{text}");
    for said in ["hot", "1.1.0", "process-manager", "REFUSED", "junk.wasm", "is not a WebAssembly"]
    {
        assert!(text.contains(said), "`{said}` is not in\n{text}");
    }
}
