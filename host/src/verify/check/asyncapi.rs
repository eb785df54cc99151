//! Pure: the plugins' messages as an `AsyncAPI` 3.0 document.
//!
//! One channel per message type, because a type is what plugins subscribe to and
//! what routes and queues go by; one operation per plugin, direction and type.
//! A payload has the schema of the plugin that sends it, or of the first one that takes it.

use serde_json::{Map, Value, json};

use sagabox_engine::model::{Source, reserved};

use super::Facts;
use crate::plugins::topology::{End, FlowKind, Topology};
use crate::verify::schema;

/// Source: `AsyncAPI` 3.0.0, "`AsyncAPI` Object" and those it refers to.
const ASYNCAPI: &str = "3.0.0";
/// Source: the same, "Multi Format Schema Object": without it, a schema is one of draft 07.
const SCHEMA_FORMAT: &str = "application/schema+json;version=draft-2020-12";

#[must_use]
pub fn asyncapi(plugins: &[Facts], topology: &Topology) -> Value {
    let mut document = Document::default();
    for plugin in plugins {
        let manifest = &plugin.manifest;
        for subscription in &manifest.subscriptions {
            let event_type = &subscription.event_type;
            // The host's own events never come from outside.
            if !event_type.starts_with(reserved::PREFIX) {
                document.channel(event_type, FlowKind::Event, event_type);
                document.operation(plugin, "receive", event_type, &subscription.source);
            }
        }
        let sent = [(FlowKind::Command, &manifest.commands), (FlowKind::Event, &manifest.events)];
        for (kind, types) in sent {
            for message_type in types {
                document.channel(message_type, kind, &address(plugin, message_type, topology));
                document.operation(plugin, "send", message_type, &Source::Any);
            }
        }
    }
    document.payloads(plugins);
    json!({
        "asyncapi": ASYNCAPI,
        "info": info(plugins),
        "defaultContentType": "application/json",
        "channels": document.channels,
        "operations": document.operations,
        "components": {"messages": document.messages},
    })
}

/// One plugin is described as itself, several as what they are together.
fn info(plugins: &[Facts]) -> Value {
    match plugins {
        [plugin] => json!({
            "title": plugin.name(),
            "version": &*plugin.manifest.version,
            "description": plugin.manifest.description,
        }),
        _ => {
            let names: Vec<String> = plugins
                .iter()
                .map(|plugin| format!("{} {}", plugin.name(), plugin.manifest.version))
                .collect();
            json!({
                "title": "Sagabox plugins",
                // A directory has no version of its own.
                "version": "0.0.0",
                "description": names.join(", "),
            })
        }
    }
}

/// Where what a plugin sends goes: a sink, a queue, or the log alone.
fn address(plugin: &Facts, message_type: &str, topology: &Topology) -> String {
    let own = End::Plugin(plugin.name().to_owned());
    let to = topology
        .flows
        .iter()
        .filter(|flow| flow.from == own && flow.message_type == message_type)
        .find_map(|flow| match &flow.to {
            End::Sink(name) => Some(name.clone()),
            End::Queue => Some(format!("queue:{message_type}")),
            End::Outside | End::Plugin(_) | End::Nowhere => None,
        });
    to.unwrap_or_else(|| message_type.to_owned())
}

#[derive(Default)]
struct Document {
    channels: Map<String, Value>,
    operations: Map<String, Value>,
    messages: Map<String, Value>,
}

impl Document {
    fn channel(&mut self, message_type: &str, kind: FlowKind, address: &str) {
        let id = id(message_type);
        let what = match kind {
            FlowKind::Event => "event",
            FlowKind::Command => "command",
        };
        // What one plugin sends and another receives has the address that it is sent to.
        let known = self.channels.get(&id).and_then(|channel| channel["address"].as_str());
        if known.is_none_or(|known| known == message_type) {
            let reference = json!({"$ref": format!("#/components/messages/{id}")});
            let messages = Map::from_iter([(id.clone(), reference)]);
            let channel = json!({"address": address, "title": message_type, "messages": messages});
            self.channels.insert(id.clone(), channel);
        }
        self.messages.entry(id).or_insert_with(|| {
            json!({
                "name": message_type,
                "title": message_type,
                "summary": format!("the {what} `{message_type}`, a CloudEvent"),
                "contentType": "application/json",
            })
        });
    }

    fn payloads(&mut self, plugins: &[Facts]) {
        let senders = plugins.iter().map(|plugin| (plugin, true));
        let receivers = plugins.iter().map(|plugin| (plugin, false));
        for (plugin, is_sender) in senders.chain(receivers) {
            let manifest = &plugin.manifest;
            for (message_type, schema) in &manifest.optional.schemas {
                let sends = manifest.commands.contains(message_type)
                    || manifest.events.contains(message_type);
                let id = id(message_type);
                let message = self.messages.get_mut(&id).and_then(Value::as_object_mut);
                if let Some(message) = message.filter(|_| sends == is_sender) {
                    let place = format!("/components/messages/{id}/payload/schema");
                    message.entry("payload").or_insert_with(|| {
                        let schema = schema::rebased(schema, &place);
                        json!({"schemaFormat": SCHEMA_FORMAT, "schema": schema})
                    });
                }
            }
        }
    }

    fn operation(&mut self, plugin: &Facts, action: &str, message_type: &str, source: &Source) {
        let id = id(message_type);
        let from = match source {
            Source::Any => String::new(),
            source => format!(" from {source}"),
        };
        let operation = json!({
            "action": action,
            "channel": {"$ref": format!("#/channels/{id}")},
            "summary": format!("{} {action}s `{message_type}`{from}", plugin.name()),
            "messages": [{"$ref": format!("#/channels/{id}/messages/{id}")}],
        });
        self.operations.insert(format!("{}.{action}.{id}", plugin.name()), operation);
    }
}

/// A name for components, which have few characters (`^[a-zA-Z0-9\.\-_]+$`). Two types
/// that would share one do not: what is no such character is written as its number.
fn id(message_type: &str) -> String {
    let mut id = String::with_capacity(message_type.len());
    for character in message_type.chars() {
        match character {
            'a'..='z' | 'A'..='Z' | '0'..='9' | '.' | '-' => id.push(character),
            other => id += &format!("_{:x}_", u32::from(other)),
        }
    }
    id
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use sagabox_engine::model::Role;

    use super::super::samples::plugin;
    use super::*;

    fn document() -> Value {
        let plugins = [
            plugin("fulfil", Role::Saga, &["place order", "Paid"], &["Send"], &[]),
            plugin("bank", Role::Reactor, &["Placed"], &["Charge"], &["Paid"]),
        ];
        let routes = BTreeMap::from([("Charge".to_owned(), "card".to_owned())]);
        let text = asyncapi(&plugins, &Topology::new(&plugins, &routes)).to_string();
        serde_json::from_str(&text).unwrap()
    }

    /// What a reference points to.
    #[track_caller]
    fn resolve<'d>(document: &'d Value, reference: &Value) -> &'d Value {
        let pointer = reference["$ref"].as_str().and_then(|text| text.strip_prefix('#'));
        let pointer = pointer.unwrap_or_else(|| panic!("{reference} is no local reference"));
        document.pointer(pointer).unwrap_or_else(|| panic!("nothing is at {pointer}"))
    }

    /// The fields that `AsyncAPI` 3.0 requires, of the kinds that it requires.
    #[test]
    fn the_document_is_complete() {
        let document = document();
        assert_eq!(document["asyncapi"], "3.0.0");
        assert!(document["info"]["title"].is_string() && document["info"]["version"].is_string());
        let allowed = |c: char| c.is_ascii_alphanumeric() || matches!(c, '.' | '-' | '_');
        for (id, channel) in document["channels"].as_object().unwrap() {
            assert!(id.chars().all(allowed), "{id}");
            assert!(channel["address"].is_string(), "{channel}");
            for message in channel["messages"].as_object().unwrap().values() {
                assert!(resolve(&document, message)["name"].is_string());
            }
        }
        let operations = document["operations"].as_object().unwrap();
        assert_eq!(operations.len(), 6);
        for operation in operations.values() {
            assert!(matches!(operation["action"].as_str(), Some("send" | "receive")));
            let channel = resolve(&document, &operation["channel"]);
            for message in operation["messages"].as_array().unwrap() {
                // A message of an operation is one of its channel's.
                let of_channel = resolve(&document, message);
                assert!(channel["messages"].as_object().unwrap().values().any(|m| m == of_channel));
            }
        }
    }

    #[test]
    fn a_payload_has_the_schema_of_its_sender() {
        let mut plugins = [
            plugin("fulfil", Role::Saga, &["place order", "Paid"], &[], &[]),
            plugin("bank", Role::Reactor, &["Placed"], &[], &["Paid"]),
        ];
        let schema = |name: &str| json!({"$ref": "#/$defs/A", "$defs": {"A": {"type": name}}});
        let mut describe = |index: usize, message_type: &str, schema: Value| {
            let schemas = &mut plugins[index].manifest.optional.schemas;
            schemas.insert(message_type.to_owned(), schema);
        };
        describe(0, "Paid", schema("number"));
        describe(1, "Paid", schema("integer"));
        describe(0, "place order", schema("string"));
        let document = asyncapi(&plugins, &Topology::new(&plugins, &BTreeMap::new()));
        for (id, expected) in [("Paid", "integer"), ("place_20_order", "string")] {
            let payload = &document["components"]["messages"][id]["payload"];
            assert_eq!(payload["schemaFormat"], SCHEMA_FORMAT);
            assert_eq!(resolve(&document, &payload["schema"])["type"], expected);
        }
        assert_eq!(document["components"]["messages"]["Placed"].get("payload"), None);
    }

    #[test]
    fn a_channel_is_where_its_messages_go() {
        let document = document();
        let address = |id: &str| document["channels"][id]["address"].clone();
        assert_eq!(address("Charge"), "card");
        assert_eq!(address("Send"), "queue:Send");
        assert_eq!(address("place_20_order"), "place order");
        assert_eq!(document["operations"]["bank.send.Paid"]["action"], "send");
        assert_eq!(document["operations"]["fulfil.receive.Paid"]["action"], "receive");
    }

    #[test]
    fn a_plugin_alone_is_described_as_itself() {
        let alone = [plugin("bank", Role::Reactor, &["Placed"], &[], &[])];
        let document = asyncapi(&alone, &Topology::new(&alone, &BTreeMap::new()));
        assert_eq!(document["info"]["title"], "bank");
        assert_eq!(document["info"]["version"], "1.0.0");
    }

    #[test]
    fn different_types_never_share_an_id() {
        assert_eq!(id("a b"), "a_20_b");
        assert_ne!(id("a b"), id("a_20_b"));
    }
}
