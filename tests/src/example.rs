//! The directories under `examples/`, and what their `expected.json` says must hold.

use std::collections::BTreeMap;

use serde::Deserialize;

use crate::client::Client;
use crate::events::read_ndjson;
use crate::host::{Builder, Host};
use crate::paths;

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Expected {
    /// The plugins that the example runs.
    pub plugins: Vec<String>,
    /// Plugin, status, number of instances.
    pub instances: BTreeMap<String, BTreeMap<String, usize>>,
    /// Message type, number of messages.
    pub messages: BTreeMap<String, usize>,
    pub dead_letters: usize,
}

/// The names of all examples, sorted.
///
/// # Panics
/// If the folder cannot be read.
pub fn names() -> Vec<String> {
    let folder = paths::repository().join("examples");
    let mut names: Vec<String> = std::fs::read_dir(folder)
        .expect("the examples")
        .filter_map(Result::ok)
        // Other folders hold sources alone.
        .filter(|entry| entry.path().join("expected.json").is_file())
        .filter_map(|entry| entry.file_name().into_string().ok())
        .collect();
    names.sort();
    names
}

/// # Panics
/// If the file is missing or has another shape.
pub fn expected(name: &str) -> Expected {
    let path = paths::example(name).join("expected.json");
    let text = std::fs::read_to_string(&path)
        .unwrap_or_else(|error| panic!("{}: {error}", path.display()));
    serde_json::from_str(&text).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
}

/// A host with the example's plugins and its configuration.
pub fn host(name: &str) -> Builder {
    let builder = Host::builder().configuration_file(paths::example(name).join("sagabox.toml"));
    expected(name).plugins.iter().fold(builder, |builder, plugin| builder.plugin(plugin))
}

/// Runs the example and compares.
///
/// # Panics
/// If something else holds afterwards.
pub async fn run(name: &str) {
    let host = host(name).start().await;
    let client = host.client();
    let events = read_ndjson(&paths::example(name).join("events.ndjson")).expect("the events");
    client.send(&events).await;
    check(&client, &expected(name)).await;
}

/// Compares what holds on a host with what is expected.
///
/// # Panics
/// If they differ.
pub async fn check(client: &Client, expected: &Expected) {
    for (plugin, statuses) in &expected.instances {
        for (status, count) in statuses {
            if status == "completed" {
                client.wait_for_completed(plugin, *count).await;
                continue;
            }
            let instances = client.instances(plugin, status).await.expect("the instances");
            assert_eq!(instances.len(), *count, "{status} instances of {plugin}");
        }
    }
    for (message_type, count) in &expected.messages {
        client.take_exactly(message_type, *count).await;
    }
    let dead = client.dead_letters().await.expect("the dead letters");
    assert_eq!(dead.len(), expected.dead_letters, "dead letters: {dead:?}");
    client.wait_for_balance().await;
}
