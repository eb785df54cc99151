//! Tests of lookups that fail and of single questions that fail: which events wait, and which
//! become dead letters.

use std::collections::{BTreeMap, HashMap};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use async_trait::async_trait;
use serde_json::json;
use tokio::time::Instant;

use super::plan::event;
use super::scripts::{Pattern, RECEIPTS, script};
use super::small::{dead_letters, keys, until};
use super::world::START;
use crate::engine::{Engine, Parts, Settings};
use crate::lock;
use crate::model::{AnswerValue, PluginName, Timestamp};
use crate::seams::lookup::{Lookup, Unanswered};
use crate::seams::store::memory::MemoryStore;

const MINUTE: Duration = Duration::from_secs(60);
/// More questions than a lookup that is down gets. Five open the breaker; then it gets single
/// ones, with pauses that grow from half a second.
const FEW: usize = 20;

/// What a lookup does with a question.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Answer {
    Found,
    /// The lookup refuses the question permanently, like HTTP status 422.
    Refused,
    /// The lookup is not granted to the plugin.
    NotGranted,
    /// The question fails, like HTTP status 500.
    Failed,
    /// The lookup fails, like HTTP status 503 or a connection that fails.
    Unavailable,
    /// The lookup never answers.
    Silent,
}

/// A lookup whose answers depend on the key. It counts the questions.
struct Scripted {
    by_key: Mutex<BTreeMap<String, Answer>>,
    others: Mutex<Answer>,
    asked: Mutex<Vec<String>>,
}

impl Scripted {
    fn new(by_key: &[(&str, Answer)], others: Answer) -> Arc<Self> {
        let by_key = by_key.iter().map(|(key, answer)| ((*key).to_owned(), *answer)).collect();
        Arc::new(Self {
            by_key: Mutex::new(by_key),
            others: Mutex::new(others),
            asked: Mutex::default(),
        })
    }

    fn asked(&self) -> usize {
        lock(&self.asked).len()
    }
}

#[async_trait]
impl Lookup for Scripted {
    async fn ask(&self, _: &PluginName, _: &str, key: &str) -> Result<AnswerValue, Unanswered> {
        lock(&self.asked).push(key.to_owned());
        let answer = lock(&self.by_key).get(key).copied().unwrap_or(*lock(&self.others));
        tokio::time::sleep(Duration::from_millis(1)).await;
        let reason = format!("{answer:?}");
        match answer {
            Answer::Found => Ok(AnswerValue::Missing),
            Answer::Refused => Err(Unanswered::Permanent(reason)),
            Answer::NotGranted => Err(Unanswered::NotGranted(reason)),
            Answer::Failed => Err(Unanswered::Transient { reason, retry_after: None }),
            Answer::Unavailable => Err(Unanswered::Unavailable { reason, retry_after: None }),
            Answer::Silent => std::future::pending().await,
        }
    }
}

/// An engine with the reactor that asks for each payment's key.
async fn start(store: &MemoryStore, lookup: &Arc<Scripted>) -> Engine {
    let begin = Instant::now();
    let parts = Parts {
        store: Arc::new(store.clone()),
        handlers: vec![script(&Pattern::default(), RECEIPTS)],
        canaries: Vec::new(),
        lookup: Arc::clone(lookup) as Arc<dyn Lookup>,
        sinks: HashMap::new(),
        routes: BTreeMap::new(),
        clock: Arc::new(move || Timestamp(START).after(begin.elapsed())),
        settings: Settings { shards: 0, ..Settings::default() },
    };
    Engine::start(parts).await.expect("the store in memory can be read")
}

/// Sends one payment for each of these keys.
async fn pay(engine: &Engine, keys: &[String]) {
    let pay = |key: &String| event("pay", &format!("pay-{key}"), &json!({"order": key}));
    engine.offer(keys.iter().map(pay).collect()).await.expect("the store in memory takes it");
}

/// The number of payments that are decided.
fn decided(store: &MemoryStore) -> usize {
    store.look(|tables| tables.decisions.len())
}

#[tokio::test(start_paused = true)]
async fn a_lookup_that_is_down_costs_no_event_and_few_questions() {
    for trouble in [Answer::Failed, Answer::Unavailable, Answer::Silent] {
        for is_restarted in [false, true] {
            let (store, lookup) = (MemoryStore::new(), Scripted::new(&[], trouble));
            let mut engine = start(&store, &lookup).await;
            pay(&engine, &keys(300)).await;
            until("it shows", MINUTE, || lookup.asked() >= 5).await;
            tokio::time::sleep(Duration::from_secs(15)).await;
            let down = engine.status().await.lookups_down;
            assert_eq!(down.len(), 1, "{trouble:?}");
            assert_eq!(down[0].lookup, "customer");
            if is_restarted {
                engine.drain().await;
                engine = start(&store, &lookup).await;
            }
            tokio::time::sleep(Duration::from_secs(75)).await;
            let (asked, few) = (lookup.asked(), if is_restarted { 2 * FEW } else { FEW });
            assert!(asked <= few, "{trouble:?}: {asked} questions");
            assert_eq!((dead_letters(&store), decided(&store)), (Vec::new(), 0), "{trouble:?}");
            *lock(&lookup.others) = Answer::Found;
            until("all", 2 * MINUTE, || decided(&store) == 300).await;
            assert_eq!(dead_letters(&store), []);
            assert_eq!(engine.status().await.lookups_down, []);
            assert!(lookup.asked() <= few + 300, "{} questions", lookup.asked());
            engine.drain().await;
        }
    }
}

#[tokio::test(start_paused = true)]
async fn a_lookup_that_was_proven_and_goes_down_costs_no_event() {
    let (store, lookup) = (MemoryStore::new(), Scripted::new(&[], Answer::Found));
    let engine = start(&store, &lookup).await;
    pay(&engine, &["first".to_owned()]).await;
    until("the first", MINUTE, || decided(&store) == 1).await;
    *lock(&lookup.others) = Answer::Unavailable;
    for number in 0..300 {
        pay(&engine, &[format!("k{number}")]).await;
        tokio::time::sleep(Duration::from_millis(300)).await;
    }
    assert!(lookup.asked() <= FEW, "{} questions", lookup.asked());
    *lock(&lookup.others) = Answer::Found;
    until("all", 2 * MINUTE, || decided(&store) == 301).await;
    assert_eq!(dead_letters(&store), []);
    engine.drain().await;
}

#[tokio::test(start_paused = true)]
async fn a_question_that_fails_is_its_own_events_trouble() {
    let poison = [("k0", Answer::Failed), ("k1", Answer::Refused)];
    let (store, lookup) = (MemoryStore::new(), Scripted::new(&poison, Answer::Found));
    let engine = start(&store, &lookup).await;
    pay(&engine, &keys(100)).await;
    until("the others", Duration::from_secs(1), || decided(&store) == 98).await;
    until("the dead letters", 10 * MINUTE, || dead_letters(&store).len() == 2).await;
    let dead_letters: BTreeMap<String, u32> = dead_letters(&store)
        .into_iter()
        .map(|dead_letter| (dead_letter.key.unwrap().to_string(), dead_letter.attempts))
        .collect();
    assert_eq!(dead_letters, BTreeMap::from([("k0".to_owned(), 10), ("k1".to_owned(), 1)]));
    assert_eq!(engine.status().await.lookups_down, []);
    assert_eq!(lookup.asked(), 98 + 10 + 1);
    engine.drain().await;
}

/// The answer to one key says that the lookup is unavailable, and all other keys are answered.
#[tokio::test(start_paused = true)]
async fn trouble_of_one_question_is_charged_to_its_event_if_the_lookup_answers_others() {
    let by_key = [("bad", Answer::Unavailable)];
    let (store, lookup) = (MemoryStore::new(), Scripted::new(&by_key, Answer::Found));
    let engine = start(&store, &lookup).await;
    pay(&engine, &["bad".to_owned()]).await;
    tokio::time::sleep(60 * MINUTE).await;
    assert_eq!(dead_letters(&store), [], "nothing else shows whether the lookup works");
    assert_eq!(engine.status().await.lookups_down.len(), 1);
    for number in 0..60 {
        pay(&engine, &[format!("good-{number}")]).await;
        tokio::time::sleep(2 * MINUTE).await;
    }
    until("the others", 2 * MINUTE, || decided(&store) == 60).await;
    let dead_letters = dead_letters(&store);
    assert_eq!(dead_letters.len(), 1, "{dead_letters:?}");
    assert_eq!(dead_letters[0].key, Some("bad".into()));
    engine.drain().await;
}

/// If the same event always asked as the probe, a question that fails by itself would keep the
/// lookup down.
#[tokio::test(start_paused = true)]
async fn a_lookup_that_is_down_is_asked_by_one_event_after_the_other() {
    let (store, lookup) = (MemoryStore::new(), Scripted::new(&[], Answer::Unavailable));
    let engine = start(&store, &lookup).await;
    pay(&engine, &keys(20)).await;
    tokio::time::sleep(20 * MINUTE).await;
    *lock(&lookup.others) = Answer::Found;
    let poison = keys(10).into_iter().map(|key| (key, Answer::Unavailable));
    lock(&lookup.by_key).extend(poison);
    until("the others", 20 * MINUTE, || decided(&store) == 10).await;
    engine.drain().await;
}

#[tokio::test(start_paused = true)]
async fn who_may_not_ask_says_nothing_of_the_lookup() {
    let by_key = [("thief", Answer::NotGranted)];
    let (store, lookup) = (MemoryStore::new(), Scripted::new(&by_key, Answer::Unavailable));
    let engine = start(&store, &lookup).await;
    pay(&engine, &keys(3)).await;
    pay(&engine, &["thief".to_owned()]).await;
    until("its dead letter", 60 * MINUTE, || dead_letters(&store).len() == 1).await;
    tokio::time::sleep(MINUTE).await;
    assert_eq!(engine.status().await.lookups_down.len(), 1);
    *lock(&lookup.others) = Answer::Found;
    until("the others", 2 * MINUTE, || decided(&store) == 3).await;
    assert_eq!(dead_letters(&store).len(), 1);
    engine.drain().await;
}
