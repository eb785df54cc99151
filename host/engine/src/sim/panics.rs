//! Tests that a panic in a stage, by a mistake in Sagabox or in what is behind a seam, does not
//! stop the plugin or sink of that stage.

use std::collections::{BTreeMap, HashMap};
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use async_trait::async_trait;
use serde_json::json;

use super::plan::event;
use super::scripts::{Pattern, served};
use super::world::START;
use crate::engine::{Engine, Parts, Settings};
use crate::lock;
use crate::model::{AnswerValue, Message, PluginName, SinkName, Timestamp};
use crate::seams::lookup::{Lookup, Unanswered};
use crate::seams::store::memory::MemoryStore;
use crate::seams::transport::{DeliveryError, Sink, Transport};

/// Panics at its first call, and works afterwards.
#[derive(Default)]
struct Clumsy {
    calls: AtomicU32,
    delivered: Mutex<Vec<Arc<Message>>>,
}

impl Clumsy {
    fn stumble(&self) {
        assert!(self.calls.fetch_add(1, Ordering::Relaxed) > 0, "planted");
    }
}

#[async_trait]
impl Lookup for Clumsy {
    async fn ask(&self, _: &PluginName, _: &str, _: &str) -> Result<AnswerValue, Unanswered> {
        self.stumble();
        Ok(AnswerValue::Missing)
    }
}

#[async_trait]
impl Transport for Clumsy {
    async fn deliver(&self, messages: &[Arc<Message>]) -> Vec<Result<(), DeliveryError>> {
        self.stumble();
        let mut delivered = lock(&self.delivered);
        delivered.extend(messages.iter().cloned());
        messages.iter().map(|_| Ok(())).collect()
    }

    fn batch_max(&self) -> usize {
        10
    }
}

#[tokio::test(start_paused = true)]
async fn a_stage_that_panics_starts_again() {
    let (lookup, sink) = (Arc::new(Clumsy::default()), Arc::new(Clumsy::default()));
    let transport = Sink::new(Arc::clone(&sink) as Arc<dyn Transport>);
    let name = SinkName::from("sink");
    let parts = Parts {
        store: Arc::new(MemoryStore::new()),
        handlers: served(&Pattern::default()),
        canaries: Vec::new(),
        lookup: Arc::clone(&lookup) as Arc<dyn Lookup>,
        sinks: HashMap::from([(name.clone(), transport)]),
        routes: BTreeMap::from([("notify".to_owned(), name)]),
        clock: Arc::new(|| Timestamp(START)),
        settings: Settings { shards: 0, ..Settings::default() },
    };
    let engine = Engine::start(parts).await.unwrap();
    // The dispatcher of the receipts asks the lookup; the notifier makes commands of what it
    // sends.
    engine.offer(vec![event("pay", "o1", &json!({"order": "o1"}))]).await.unwrap();
    let delivered = || lock(&sink.delivered).len();
    let all = async {
        while delivered() < 4 {
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    };
    tokio::time::timeout(Duration::from_secs(60), all).await.expect("all four come");
    engine.drain().await;
    assert_eq!(delivered(), 4);
    assert_eq!(sink.calls.load(Ordering::Relaxed).min(2), 2);
    assert_eq!(lookup.calls.load(Ordering::Relaxed), 2);
}
