//! A small engine for tests: with the auditor alone, which sends a command `record` for each
//! note, and whose keys are the notes' orders.

use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use serde_json::json;
use tokio::time::Instant;

use super::plan::event;
use super::scripts::{AUDITOR, Pattern, script};
use super::world::START;
use crate::engine::{Engine, Parts, Settings};
use crate::model::{AnswerValue, DeadLetter, Event, PluginName, SinkName, Timestamp};
use crate::seams::handler::Handler;
use crate::seams::lookup::{Lookup, Unanswered};
use crate::seams::store::Store;
use crate::seams::store::memory::MemoryStore;
use crate::seams::transport::Sink;

/// The type of the commands, and the name of their queue.
pub(crate) const COMMAND: &str = "record";

pub(crate) struct Missing;

#[async_trait]
impl Lookup for Missing {
    async fn ask(&self, _: &PluginName, _: &str, _: &str) -> Result<AnswerValue, Unanswered> {
        Ok(AnswerValue::Missing)
    }
}

/// With a sink, the commands leave through it. Without one, they wait in their queue.
pub(crate) async fn start(store: &MemoryStore, sink: Option<Sink>, settings: Settings) -> Engine {
    start_with(store, script(&Pattern::default(), AUDITOR), sink, settings).await
}

/// The same with another plugin. Only its commands of the type [`COMMAND`] leave through the
/// sink.
pub(crate) async fn start_with(
    store: &MemoryStore,
    handler: Arc<dyn Handler>,
    sink: Option<Sink>,
    settings: Settings,
) -> Engine {
    start_on(Arc::new(store.clone()), handler, sink, settings).await
}

/// The same on any store.
pub(crate) async fn start_on(
    store: Arc<dyn Store>,
    handler: Arc<dyn Handler>,
    sink: Option<Sink>,
    settings: Settings,
) -> Engine {
    let begin = Instant::now();
    let name = SinkName::from("sink");
    let routes = sink.iter().map(|_| (COMMAND.to_owned(), name.clone())).collect();
    let parts = Parts {
        store,
        handlers: vec![handler],
        canaries: Vec::new(),
        lookup: Arc::new(Missing),
        sinks: sink.into_iter().map(|sink| (name.clone(), sink)).collect(),
        routes,
        clock: Arc::new(move || Timestamp(START).after(begin.elapsed())),
        settings: Settings { shards: 0, ..settings },
    };
    Engine::start(parts).await.expect("the store can be read")
}

/// A note that leads to one command with this key.
pub(crate) fn note(key: &str, number: usize) -> Event {
    event("note", &format!("{key}-{number}"), &json!({"order": key}))
}

/// Sends one note for each of these keys, in this order.
pub(crate) async fn send(engine: &Engine, keys: &[String]) {
    let notes = keys.iter().enumerate().map(|(number, key)| note(key, number)).collect();
    engine.offer(notes).await.expect("the store in memory takes it");
}

pub(crate) fn keys(count: usize) -> Vec<String> {
    (0..count).map(|number| format!("k{number}")).collect()
}

pub(crate) fn dead_letters(store: &MemoryStore) -> Vec<DeadLetter> {
    let copy = |dead_letter: &Arc<DeadLetter>| DeadLetter::clone(dead_letter);
    store.look(|tables| tables.dead_letters.values().map(copy).collect())
}

/// Waits in simulated time until `is_so`, and panics if that takes longer than `longest`.
pub(crate) async fn until(what: &str, longest: Duration, is_so: impl Fn() -> bool) {
    let waiting = async {
        while !is_so() {
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    };
    let in_time = tokio::time::timeout(longest, waiting).await.is_ok();
    assert!(in_time, "{what}: not within {longest:?}");
}
