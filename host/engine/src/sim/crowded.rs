//! Tests that a lookup which asks for a pause is not asked before the pause is over.

use std::collections::{BTreeMap, HashMap};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use async_trait::async_trait;
use serde_json::json;
use tokio::time::Instant;

use super::plan::event;
use super::scripts::{Pattern, served};
use super::world::START;
use crate::engine::{Engine, Parts, Settings};
use crate::lock;
use crate::model::{AnswerValue, PluginName, Timestamp};
use crate::seams::lookup::{Lookup, Unanswered};
use crate::seams::store::memory::MemoryStore;

/// Far longer than any delay of the engine.
const PAUSE: Duration = Duration::from_secs(600);

/// Asks for a pause at the first question and answers from the second on. It keeps the times of
/// the questions.
#[derive(Default)]
struct Crowded(Mutex<Vec<Instant>>);

#[async_trait]
impl Lookup for Crowded {
    async fn ask(&self, _: &PluginName, _: &str, _: &str) -> Result<AnswerValue, Unanswered> {
        let mut asked = lock(&self.0);
        asked.push(Instant::now());
        match asked.len() {
            1 => Err(Unanswered::Unavailable {
                reason: "planted: crowded".to_owned(),
                retry_after: Some(PAUSE),
            }),
            _ => Ok(AnswerValue::Missing),
        }
    }
}

#[tokio::test(start_paused = true)]
async fn a_lookup_is_not_asked_again_before_it_wishes() {
    let (lookup, begin) = (Arc::new(Crowded::default()), Instant::now());
    let parts = Parts {
        store: Arc::new(MemoryStore::new()),
        handlers: served(&Pattern::default()),
        canaries: Vec::new(),
        lookup: Arc::clone(&lookup) as Arc<dyn Lookup>,
        sinks: HashMap::new(),
        routes: BTreeMap::new(),
        clock: Arc::new(move || Timestamp(START).after(begin.elapsed())),
        settings: Settings { shards: 0, ..Settings::default() },
    };
    let engine = Engine::start(parts).await.unwrap();
    engine.offer(vec![event("pay", "o1", &json!({"order": "o1"}))]).await.unwrap();
    let asked = || lock(&lookup.0).clone();
    let twice = async {
        while asked().len() < 2 {
            tokio::time::sleep(Duration::from_secs(1)).await;
        }
    };
    tokio::time::timeout(2 * PAUSE, twice).await.expect("it is asked again");
    engine.drain().await;
    let asked = asked();
    assert_eq!(asked.len(), 2);
    assert!(asked[1] - asked[0] >= PAUSE, "after {:?}", asked[1] - asked[0]);
}
