//! Instances are listed, counted and exported by the fields that their plugin declares.

use std::collections::BTreeSet;

use sagabox_tests::client::Client;
use sagabox_tests::command::{Ended, sagabox};
use sagabox_tests::host::Host;
use sagabox_tests::wait;
use serde_json::{Value, json};

use crate::hot::{put, serves, step, version, wrong};

/// Keys, and how often each counts.
const COUNTS: [(&str, usize); 4] = [("a", 1), ("b", 12), ("c", 3), ("d", 3)];

async fn count(client: &Client) {
    let mut events = Vec::new();
    for (key, count) in COUNTS {
        events.extend((0..count).map(|n| step(n, key)));
    }
    client.send(&events).await;
    client.take_exactly("Stepped", events.len()).await;
}

fn run(host: &Host, arguments: &[&str]) -> Ended {
    sagabox(host.folder(), &[arguments, &["--host", &host.url()]].concat())
}

fn listed(host: &Host, arguments: &[&str]) -> Vec<String> {
    let list = run(host, &[&["instances", "hot", "--json"], arguments].concat()).with(0).json();
    let rows = list["instances"].as_array().expect("a list").iter();
    rows.filter_map(|row| row["key"].as_str()).map(str::to_owned).collect()
}

#[tokio::test]
async fn instances_are_found_by_what_their_states_say() {
    let host = Host::builder().file("hot.wasm", wrong(1, 1, "all", "fields@")).start().await;
    let client = host.client();
    count(&client).await;
    assert_eq!(listed(&host, &["--where", "count = 3"]), ["c", "d"]);
    assert_eq!(listed(&host, &["--where", "count >= 2 and not key = \"d\""]), ["b", "c"]);
    assert_eq!(listed(&host, &["--order", "count"]), ["a", "c", "d", "b"]);
    assert_eq!(listed(&host, &["--where", "count < 12", "--order", "-count"]), ["d", "c", "a"]);
    // Page by page, it is the same.
    let first = run(&host, &["instances", "hot", "--json", "--order", "-count", "--limit", "3"]);
    let next = first.with(0).json()["next"].as_str().expect("there is more").to_owned();
    assert_eq!(listed(&host, &["--order", "-count", "--after", &next]), ["a"]);
    let _ = run(&host, &["instances", "hot", "--order", "count", "--after", "b"])
        .with(2)
        .saying("after: is not the `next` of a page in this order");

    let text = run(&host, &["instances", "hot"]).with(0);
    assert!(text.output.contains("b has counted to 12"), "{}", text.output);
    // What a list is selected and sorted by is a column; `key` is one already.
    let condition = ["--where", "key != \"a\" and format = 1", "--order", "-count"];
    let text = run(&host, &[&["instances", "hot"], &condition[..]].concat()).with(0).output;
    let columns =
        |line: &str| line.split_whitespace().take(4).map(str::to_owned).collect::<Vec<_>>();
    let lines: Vec<_> = text.lines().take(3).map(columns).collect();
    assert_eq!(lines[0], ["key", "status", "count", "format"]);
    assert_eq!(lines[1], ["b", "running", "12", "1"]);
    assert_eq!(lines[2], ["d", "running", "3", "1"]);

    let shown = run(&host, &["show", "hot", "b"]).with(0).output;
    assert!(shown.contains("summary: b has counted to 12"), "{shown}");
    let counted = run(&host, &["instances", "hot", "--count", "--where", "count > 1"]).with(0);
    assert_eq!(counted.output, "running: 3\ntotal: 3\n");
    let counted = run(&host, &["instances", "hot", "--count", "--json"]).with(0).json();
    assert_eq!(counted, json!({"counts": {"running": 4}, "total": 4}));

    for (arguments, said) in [
        (&["--where", "cuont > 1"][..], "where: `hot` has no field `cuont`; did you mean `count`?"),
        (
            &["--order", "-age"],
            "order: `hot` has no field `age`; its fields are count, format, key",
        ),
        (&["--where", "count > "], "where: at character 9: expected a field or a value"),
    ] {
        let _ = run(&host, &[&["instances", "hot"], arguments].concat()).with(2).saying(said);
        if arguments[0] == "--where" {
            let _ = run(&host, &[&["export", "hot"], arguments].concat()).with(2).saying(said);
        }
    }
}

fn exported(host: &Host, arguments: &[&str]) -> Vec<Value> {
    let lines = run(host, &[&["export", "hot"], arguments].concat()).with(0).output;
    lines.lines().map(|line| serde_json::from_str(line).expect("JSON on each line")).collect()
}

#[tokio::test]
async fn an_export_has_all_of_an_instance() {
    let host = Host::builder().file("hot.wasm", wrong(1, 1, "all", "fields@")).start().await;
    count(&host.client()).await;
    let all = exported(&host, &[]);
    let keys: Vec<&str> = all.iter().filter_map(|row| row["key"].as_str()).collect();
    assert_eq!(keys, ["a", "b", "c", "d"]);
    assert_eq!(all[1]["state"], json!({"json": {"format": 1, "count": 12, "key": "b"}}));
    assert_eq!(all[1]["fields"], json!({"count": 12, "format": 1, "key": "b"}));
    let rest = ["status", "version", "state_version", "keys", "timers"].map(|name| &all[1][name]);
    assert_eq!(json!(rest), json!(["running", 12, 1, [], []]));
    let members: BTreeSet<&str> =
        all[1].as_object().expect("an object").keys().map(String::as_str).collect();
    assert_eq!(members.len(), 10, "{members:?}");
    assert_eq!(exported(&host, &["--where", "count = 12"]), all[1..2]);
    assert_eq!(exported(&host, &["--status", "ended"]), [] as [Value; 0]);
}

/// Instances that decide nothing for months have the fields of the version that serves.
#[tokio::test]
async fn a_new_version_fills_the_fields_of_all_instances() {
    let mut host = Host::builder().file("hot.wasm", version(1, 1, "all")).start().await;
    let client = host.client();
    count(&client).await;
    let _ = run(&host, &["instances", "hot", "--where", "count > 1"])
        .with(2)
        .saying("where: `hot` has no field `count`; it declares none");
    // Its states have another number: they are converted, and stay as they are.
    put(&host, "hot.wasm", &wrong(2, 2, "all", "fields@"));
    serves(&client, 2).await;
    let found = async |client: &Client| {
        let path = "/instances?plugin=hot&where=count%20%3E%201";
        let found = client.get(path).await?["instances"].as_array().map_or(0, Vec::len);
        if found == 3 { Ok(()) } else { Err(found.to_string()) }
    };
    wait::until("fields are filled", wait::LONG, || found(&client)).await;
    let row = client.instance("hot", "b").await.expect("an instance");
    // Of the state as the new version reads it; what is stored has the old format still.
    let parts = (&row["fields"], &row["state_version"]);
    assert_eq!(parts, (&json!({"count": 12, "format": 2, "key": "b"}), &json!(1)));
    client.send(&[step(99, "a")]).await;
    client.take_exactly("Stepped", 1).await;
    assert_eq!(listed(&host, &["--where", "count = 2"]), ["a"]);
    // They are there at once after a restart.
    host.kill_and_start().await;
    assert_eq!(listed(&host, &["--where", "count > 1"]), ["a", "b", "c", "d"]);
}
