//! Tests of a store that refuses for a long time, as with a full disk: senders get an error,
//! also those whose offers came just before the failure showed.

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use serde_json::json;

use super::plan::event;
use super::scripts::{Pattern, served};
use super::world::START;
use crate::engine::{Engine, OfferError, Parts, Settings};
use crate::model::{AnswerValue, PluginName, Timestamp};
use crate::seams::handler::Handler;
use crate::seams::lookup::{Lookup, Unanswered};
use crate::seams::store::Store;
use crate::seams::store::faulty::{FaultRates, FaultyStore};
use crate::seams::store::memory::MemoryStore;

struct Missing;

#[async_trait]
impl Lookup for Missing {
    async fn ask(&self, _: &PluginName, _: &str, _: &str) -> Result<AnswerValue, Unanswered> {
        Ok(AnswerValue::Missing)
    }
}

async fn start(store: Arc<dyn Store>, handlers: Vec<Arc<dyn Handler>>) -> Engine {
    let parts = Parts {
        store,
        handlers,
        canaries: Vec::new(),
        lookup: Arc::new(Missing),
        sinks: HashMap::new(),
        routes: BTreeMap::new(),
        clock: Arc::new(|| Timestamp(START)),
        settings: Settings { shards: 0, ..Settings::default() },
    };
    Engine::start(parts).await.unwrap()
}

#[tokio::test(start_paused = true)]
async fn no_caller_waits_for_a_store_that_refuses() {
    let store = MemoryStore::new();
    let engine = start(Arc::new(store.clone()), Vec::new()).await;
    engine.offer(vec![event("note", "a", &json!({"order": "o1"}))]).await.unwrap();
    engine.drain().await;

    // The plugin's decision is the first batch that is refused, and the committer retries it all
    // the time.
    let delay_max = Duration::from_millis(50);
    let rates = FaultRates {
        refused: 1_000,
        unknown_written: 0,
        unknown_lost: 0,
        read_failed: 0,
        delay_max,
    };
    let plugins = served(&Pattern::default());
    let engine = start(Arc::new(FaultyStore::new(store, rates, 1)), plugins).await;
    let mut offers = Vec::new();
    for n in 0..200 {
        let engine = engine.clone();
        offers.push(tokio::spawn(async move {
            tokio::time::sleep(Duration::from_millis(n)).await;
            let note = event("note", &format!("b{n}"), &json!({"order": "o1"}));
            let answer = engine.offer(vec![note]);
            tokio::time::timeout(Duration::from_secs(5), answer).await
        }));
    }
    for (n, offer) in offers.into_iter().enumerate() {
        let answer = offer.await.unwrap();
        let answer = answer.unwrap_or_else(|_| panic!("offer {n} is not answered"));
        assert!(matches!(answer, Err(OfferError::Unavailable(_))), "{answer:?}");
    }
}
