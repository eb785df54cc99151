//! Whether the plugins can read an event, before it is accepted (`[ingest] validate`).
//!
//! The module relies on the schemas of the manifests, which are correct: a plugin with a broken one
//! is not loaded. Each schema is compiled once for each version, when the first event comes after
//! the version begins to serve. It refuses an event only if certainly none of its receivers can
//! read it.

use std::collections::HashMap;
use std::sync::{Arc, Mutex};

use sagabox_engine::model::{Event, Source};
use serde_json::Value;

use crate::io::json_schema::JsonSchema;
use crate::io::locks::lock;
use crate::plugins::status::PluginStatus;

/// Checks events with the schemas of the versions that decide at that time.
pub struct Readability {
    plugin_status: PluginStatus,
    readers: Mutex<Arc<Readers>>,
}

/// An event that no plugin can read.
#[derive(Debug, PartialEq, Eq)]
pub struct Unreadable {
    pub event_type: String,
    pub plugin: String,
    /// The place in the data.
    pub pointer: String,
    pub reason: String,
}

/// The compiled schema of a message type in one version of a plugin.
type Compiled = HashMap<(String, String, String), Arc<JsonSchema>>;

#[derive(Default)]
struct Readers {
    /// The number of changes of the plugin status for which these were compiled.
    changes: Option<u64>,
    by_type: HashMap<String, Vec<Reader>>,
    compiled: Compiled,
}

struct Reader {
    plugin: String,
    source: Source,
    /// None if the plugin does not describe the event.
    schema: Option<Arc<JsonSchema>>,
}

impl Readability {
    pub fn new(plugin_status: PluginStatus) -> Self {
        Self { plugin_status, readers: Mutex::default() }
    }

    /// The first event that none of its receivers can read, with its place.
    pub fn unreadable(&self, events: &[Event]) -> Option<(usize, Unreadable)> {
        let readers = self.readers();
        events
            .iter()
            .enumerate()
            .find_map(|(index, event)| readers.unreadable(event).map(|reason| (index, reason)))
    }

    fn readers(&self) -> Arc<Readers> {
        let changes = self.plugin_status.changes();
        let mut readers = lock(&self.readers);
        if readers.changes != Some(changes) {
            *readers = Arc::new(readers.renewed(changes, &self.plugin_status));
        }
        Arc::clone(&readers)
    }
}

impl Readers {
    /// The schemas of the versions that decide now. Those that are compiled already are kept.
    fn renewed(&self, changes: u64, plugin_status: &PluginStatus) -> Self {
        let mut renewed = Self { changes: Some(changes), ..Self::default() };
        for (digest, manifest) in plugin_status.deciding() {
            let plugin = manifest.name.to_string();
            for subscription in manifest.subscriptions {
                let event_type = subscription.event_type;
                let key = (digest.clone(), plugin.clone(), event_type.clone());
                let schema = manifest.optional.schemas.get(&event_type).and_then(|schema| {
                    let known = self.compiled.get(&key).cloned();
                    known.or_else(|| JsonSchema::new(schema).ok().map(Arc::new))
                });
                if let Some(schema) = &schema {
                    renewed.compiled.insert(key, Arc::clone(schema));
                }
                let reader = Reader { plugin: plugin.clone(), source: subscription.source, schema };
                renewed.by_type.entry(event_type).or_default().push(reader);
            }
        }
        renewed
    }

    fn unreadable(&self, event: &Event) -> Option<Unreadable> {
        let readers = self.by_type.get(&event.event_type)?;
        let takes = |reader: &&Reader| reader.source.admits(&event.source);
        if !event.is_json() || readers.iter().filter(takes).any(|reader| reader.schema.is_none()) {
            return None;
        }
        // A value that this type cannot hold, such as a number beyond all floats, is for the plugin
        // to accept or refuse.
        let value: Option<Value> = match event.data.is_empty() {
            true => None,
            false => Some(serde_json::from_slice(&event.data).ok()?),
        };
        let mut first = None;
        for reader in readers.iter().filter(takes) {
            let Some(schema) = &reader.schema else { continue };
            let mistake = match &value {
                Some(value) if schema.is_valid(value) => return None,
                Some(value) => schema.mistake(value)?,
                None => (String::new(), "it has no data".to_owned()),
            };
            first.get_or_insert((&reader.plugin, mistake));
        }
        first.map(|(plugin, (pointer, reason))| Unreadable {
            event_type: event.event_type.clone(),
            plugin: plugin.clone(),
            pointer,
            reason,
        })
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;
    use std::path::Path;

    use sagabox_engine::model::{
        Absent, Correlation, Effect, Manifest, OptionalPart, Role, Subscription, Timestamp,
    };
    use serde_json::json;

    use super::*;
    use crate::plugins::status::PluginView;

    fn manifest(name: &str, source: Source, schema: Option<Value>) -> Manifest {
        let schemas = schema.map(|schema| ("Paid".to_owned(), schema));
        Manifest {
            name: name.into(),
            role: Role::Saga,
            version: "1.0.0".into(),
            description: String::new(),
            subscriptions: vec![Subscription {
                event_type: "Paid".to_owned(),
                source,
                key: Correlation::Subject,
                effect: Effect::Handle,
                absent: Absent::Ignore,
            }],
            commands: BTreeSet::new(),
            events: BTreeSet::new(),
            lookups: BTreeSet::new(),
            streams: false,
            state_version: 0,
            optional: OptionalPart {
                schemas: schemas.into_iter().collect(),
                ..OptionalPart::default()
            },
        }
    }

    fn serve(status: &PluginStatus, digest: &str, manifest: Manifest) {
        status.serve(PluginView {
            file: String::new(),
            digest: digest.to_owned(),
            since: Timestamp(0),
            preflight: None,
            manifest,
        });
    }

    fn paid(data: &str) -> Event {
        let text = json!({
            "specversion": "1.0", "id": "1", "source": "/bank", "type": "Paid",
            "datacontenttype": "application/json",
        });
        let mut event: Event = serde_json::from_value(text).unwrap();
        event.data = data.to_owned().into();
        event
    }

    fn amount(name: &str) -> Value {
        json!({"type": "object", "properties": {"amount": {"type": name}}, "required": ["amount"]})
    }

    #[track_caller]
    fn check(readability: &Readability, data: &str, expected: Option<(&str, &str)>) {
        let found = readability.unreadable(&[paid("1"), paid(data)][1..]);
        let found = found.map(|(_, unreadable)| (unreadable.plugin, unreadable.pointer));
        assert_eq!(
            found,
            expected.map(|(plugin, at)| (plugin.to_owned(), at.to_owned())),
            "{data}"
        );
    }

    #[test]
    fn an_event_that_no_receiver_can_read_is_named_with_the_place() {
        let status = PluginStatus::default();
        let readability = Readability::new(status.clone());
        check(&readability, "7", None);
        serve(&status, "d1", manifest("shop", Source::Any, Some(amount("number"))));
        check(&readability, "{\"amount\":1}", None);
        check(&readability, "{\"amount\":\"1\"}", Some(("shop", "/amount")));
        check(&readability, "{}", Some(("shop", "/amount")));
        check(&readability, "", Some(("shop", "")));
        // This kind of value cannot hold it, and it is valid JSON.
        check(&readability, "{\"amount\":1e999}", None);
        let mut foreign = paid("{}");
        foreign.event_type = "Other".to_owned();
        assert_eq!(readability.unreadable(&[foreign]), None);
        let mut text = paid("{}");
        text.datacontenttype = Some("text/plain".to_owned());
        assert_eq!(readability.unreadable(&[text]), None);
        let (index, _) = readability.unreadable(&[paid("{\"amount\":1}"), paid("{}")]).unwrap();
        assert_eq!(index, 1);
    }

    #[test]
    fn one_receiver_that_can_read_it_is_enough() {
        let status = PluginStatus::default();
        let readability = Readability::new(status.clone());
        serve(&status, "d1", manifest("shop", Source::Any, Some(amount("number"))));
        serve(&status, "d2", manifest("books", Source::Any, Some(amount("string"))));
        check(&readability, "{\"amount\":\"1\"}", None);
        check(&readability, "{\"amount\":null}", Some(("books", "/amount")));
        serve(&status, "d3", manifest("log", Source::Exactly("/other".to_owned()), None));
        check(&readability, "{}", Some(("books", "/amount")));
        serve(&status, "d3", manifest("log", Source::Exactly("/bank".to_owned()), None));
        check(&readability, "{}", None);
    }

    #[test]
    fn a_new_version_brings_its_schema_and_the_others_are_kept() {
        let status = PluginStatus::default();
        let readability = Readability::new(status.clone());
        serve(&status, "d1", manifest("shop", Source::Any, Some(amount("number"))));
        serve(&status, "d2", manifest("books", Source::Any, Some(amount("number"))));
        check(&readability, "{\"amount\":\"1\"}", Some(("books", "/amount")));
        let before = readability.readers();
        serve(&status, "d3", manifest("shop", Source::Any, Some(amount("string"))));
        check(&readability, "{\"amount\":\"1\"}", None);
        let after = readability.readers();
        let books = ("d2".to_owned(), "books".to_owned(), "Paid".to_owned());
        assert!(Arc::ptr_eq(&before.compiled[&books], &after.compiled[&books]));
        assert_eq!(after.compiled.len(), 2);
        status.withdraw("shop");
        check(&readability, "{\"amount\":\"1\"}", Some(("books", "/amount")));
        status.clear(Path::new("none"));
        assert!(Arc::ptr_eq(&readability.readers(), &readability.readers()));
    }
}
