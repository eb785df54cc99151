//! Keys, queues and plugins can have any name, and every way to them leads to the right one.

use std::process::Command;

use proptest::strategy::{Strategy as _, ValueTree as _};
use proptest::test_runner::TestRunner;
use sagabox_tests::command::sagabox;
use sagabox_tests::events::event;
use sagabox_tests::host::Host;
use sagabox_tests::wait;
use serde_json::{Value, json};

const PLUGIN: &str = "group-checkout";
/// What clients and proxies change in paths, and what ends a name somewhere.
const NAMES: [&str; 26] = [
    ".",
    "..",
    "...",
    "/",
    "//",
    "a/b",
    "../..",
    "./a",
    "%2e%2e",
    "%2F",
    "%",
    "%00",
    "+",
    "a b",
    " ",
    "?",
    "#",
    "&key=x",
    "=",
    ";",
    "\\",
    "é",
    "e\u{301}",
    "\u{10ffff}",
    "🦀",
    "cancel",
];

fn names() -> Vec<String> {
    let mut runner = TestRunner::deterministic();
    let any = proptest::string::string_regex("[^\\p{C}]{1,40}").expect("a constant pattern");
    let drawn = (0..100).map(|_| any.new_tree(&mut runner).expect("a text").current());
    let mut names: Vec<String> = NAMES.iter().map(ToString::to_string).chain(drawn).collect();
    names.sort();
    names.dedup();
    names
}

async fn with_instances(keys: &[String]) -> Host {
    let host = Host::builder().plugin(PLUGIN).start().await;
    let events: Vec<Value> = keys
        .iter()
        .enumerate()
        .map(|(number, key)| {
            let data = json!({"groupCheckoutId": key, "guestStayIds": ["a guest"]});
            event(&format!("e-{number}"), "GroupCheckoutInitiated", "a group", &data)
        })
        .collect();
    host.client().send(&events).await;
    wait::until("instances", wait::SOON, async || {
        match host.client().instances(PLUGIN, "running").await?.len() {
            found if found == keys.len() => Ok(()),
            found => Err(found.to_string()),
        }
    })
    .await;
    host
}

#[tokio::test]
async fn an_instance_is_shown_and_ended_whatever_its_key_is() {
    let keys = names();
    let host = with_instances(&keys).await;
    let client = host.client();
    for key in &keys {
        let shown = client.instance(PLUGIN, key).await.expect("the instance");
        assert_eq!(shown["key"], **key);
        assert_eq!(shown["state"]["groupCheckoutId"], **key);
        let body = json!({"plugin": PLUGIN, "key": key, "reason": "a test"});
        let response = client.request(reqwest::Method::POST, "/instances/end").json(&body);
        let response = response.send().await.expect("an answer");
        assert_eq!(response.status(), 202, "{key:?}");
    }
    wait::until("ended instances", wait::SOON, async || {
        match client.instances(PLUGIN, "ended").await?.len() {
            found if found == keys.len() => Ok(()),
            found => Err(found.to_string()),
        }
    })
    .await;
}

#[tokio::test]
async fn the_command_line_and_curl_know_every_key() {
    let keys = NAMES.map(str::to_owned);
    let host = with_instances(&keys).await;
    let url = host.url();
    for key in &keys {
        let show = ["show", PLUGIN, "--host", &url, "--json", "--", key];
        let shown = sagabox(host.folder(), &show).with(0).json();
        assert_eq!(shown["key"], **key);
        let output = Command::new("curl")
            .args(["--silent", "--show-error", "--get", "--noproxy", "*"])
            .args(["--data-urlencode", &format!("plugin={PLUGIN}")])
            .args(["--data-urlencode", &format!("key={key}")])
            .arg(format!("{url}/v1/instance"))
            .output()
            .expect("curl runs");
        let shown: Value = serde_json::from_slice(&output.stdout).expect("JSON");
        assert_eq!(shown["key"], **key);
        let end = ["end", PLUGIN, "--host", &url, "--reason", "a test", "--", key];
        let _ = sagabox(host.folder(), &end).with(0);
    }
    for name in NAMES {
        let show = ["show", "--host", &url, "--", name, "a key"];
        let _ = sagabox(host.folder(), &show).with(1).saying("no plugin `");
    }
}

#[tokio::test]
async fn a_queue_is_leased_from_whatever_its_name_is() {
    let host = Host::builder().plugin(PLUGIN).start().await;
    for name in names() {
        let lease = host.client().lease(&name, 1, std::time::Duration::ZERO, wait::SOON).await;
        assert!(lease.expect("an empty lease").messages.is_empty());
        let gone = host.client().acknowledge(&name, &json!("7"), None).await.unwrap_err();
        assert!(gone.contains("lease 7 not found"), "{gone}");
    }
}
