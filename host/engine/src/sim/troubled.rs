//! Tests of sinks that fail and of single messages that fail: which messages are retried, and
//! which become dead letters.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use async_trait::async_trait;

use super::small::{dead_letters, keys, send, start, until};
use crate::engine::{Action, Engine, Resolution, Settings};
use crate::lock;
use crate::model::Message;
use crate::seams::store::memory::MemoryStore;
use crate::seams::transport::{DeliveryError, Order, Sink, Transport};

const DAY: Duration = Duration::from_secs(24 * 60 * 60);
const MINUTE: Duration = Duration::from_secs(60);

/// What a sink does with a message.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Answer {
    Taken,
    /// The message fails, like HTTP status 500.
    Failed,
    /// The sink fails, like HTTP status 404 or a connection that fails.
    Unavailable,
    /// The sink takes the message after a minute.
    Slowly,
    /// The sink refuses the message permanently.
    Refused,
}

/// A sink whose answers depend on the key. It counts the deliveries.
struct Scripted {
    by_key: Mutex<BTreeMap<String, Answer>>,
    others: Mutex<Answer>,
    posts: Mutex<Vec<String>>,
    taken: Mutex<Vec<String>>,
}

impl Scripted {
    fn new(by_key: &[(&str, Answer)], others: Answer) -> Arc<Self> {
        let by_key = by_key.iter().map(|(key, answer)| ((*key).to_owned(), *answer)).collect();
        Arc::new(Self {
            by_key: Mutex::new(by_key),
            others: Mutex::new(others),
            posts: Mutex::default(),
            taken: Mutex::default(),
        })
    }

    fn posts(&self) -> usize {
        lock(&self.posts).len()
    }

    fn taken(&self) -> Vec<String> {
        let mut taken = lock(&self.taken).clone();
        taken.sort();
        taken
    }
}

#[async_trait]
impl Transport for Scripted {
    async fn deliver(&self, messages: &[Arc<Message>]) -> Vec<Result<(), DeliveryError>> {
        let [message] = messages else { panic!("one at a time: {messages:?}") };
        let key = message.key.as_str().to_owned();
        lock(&self.posts).push(key.clone());
        let answer = lock(&self.by_key).get(&key).copied().unwrap_or(*lock(&self.others));
        let wait = if answer == Answer::Slowly { MINUTE } else { Duration::from_millis(1) };
        tokio::time::sleep(wait).await;
        let reason = format!("{answer:?}");
        vec![match answer {
            Answer::Taken | Answer::Slowly => {
                lock(&self.taken).push(key);
                Ok(())
            }
            Answer::Failed => Err(DeliveryError::Transient { reason, retry_after: None }),
            Answer::Refused => Err(DeliveryError::Permanent(reason)),
            Answer::Unavailable => Err(DeliveryError::Unavailable { reason, retry_after: None }),
        }]
    }

    fn batch_max(&self) -> usize {
        1
    }

    fn in_flight(&self) -> usize {
        32
    }
}

async fn engine(store: &MemoryStore, sink: &Arc<Scripted>) -> Engine {
    ordered(store, sink, Order::Key).await
}

async fn ordered(store: &MemoryStore, sink: &Arc<Scripted>, order: Order) -> Engine {
    let transport = Arc::clone(sink) as Arc<dyn Transport>;
    start(store, Some(Sink { transport, order }), Settings::default()).await
}

#[tokio::test(start_paused = true)]
async fn a_slow_message_occupies_one_place_of_its_sink() {
    let slow = ["k0", "k7", "k30"].map(|key| (key, Answer::Slowly));
    let (store, sink) = (MemoryStore::new(), Scripted::new(&slow, Answer::Taken));
    let engine = engine(&store, &sink).await;
    send(&engine, &keys(1_000)).await;
    until("all others", Duration::from_secs(5), || sink.taken().len() == 997).await;
    until("the slow ones", 2 * MINUTE, || sink.taken().len() == 1_000).await;
    engine.drain().await;
}

#[tokio::test(start_paused = true)]
async fn a_sink_that_fails_at_everything_for_days_kills_nothing() {
    for trouble in [Answer::Failed, Answer::Unavailable] {
        let (store, sink) = (MemoryStore::new(), Scripted::new(&[], trouble));
        let engine = engine(&store, &sink).await;
        let keys = keys(200);
        send(&engine, &keys).await;
        until("it shows", MINUTE, || sink.posts() >= 5).await;
        tokio::time::sleep(Duration::from_millis(50)).await;
        assert_eq!(sink.posts(), 5, "{trouble:?}: it is down after five");
        let down = engine.status().await.sinks_down;
        assert_eq!(down.len(), 1);
        assert_eq!(down[0].reason, format!("{trouble:?}"));
        tokio::time::sleep(3 * DAY).await;
        assert_eq!(dead_letters(&store), []);
        *lock(&sink.others) = Answer::Taken;
        until("all", 2 * MINUTE, || sink.taken().len() == 200).await;
        assert_eq!(engine.status().await.sinks_down, []);
        engine.drain().await;
    }
}

#[tokio::test(start_paused = true)]
async fn a_message_that_always_fails_becomes_a_dead_letter_also_on_a_quiet_sink() {
    let poison = ["k0", "k1", "k2"];
    for quiet in [true, false] {
        let by_key = poison.map(|key| (key, Answer::Failed));
        let (store, sink) = (MemoryStore::new(), Scripted::new(&by_key, Answer::Taken));
        let engine = engine(&store, &sink).await;
        send(&engine, &keys(if quiet { 3 } else { 100 })).await;
        until("the dead letters", 20 * MINUTE, || dead_letters(&store).len() == 3).await;
        for dead_letter in dead_letters(&store) {
            assert_eq!((dead_letter.attempts, &*dead_letter.reason), (10, "Failed"));
        }
        tokio::time::sleep(DAY).await;
        assert_eq!(dead_letters(&store).len(), 3);
        assert_eq!(sink.taken().len(), if quiet { 0 } else { 97 });
        engine.drain().await;
    }
}

/// The answer to one message says that the sink is unavailable, and all other messages are
/// taken.
#[tokio::test(start_paused = true)]
async fn trouble_of_one_message_is_charged_to_it_if_the_sink_takes_others() {
    let by_key = [("bad", Answer::Unavailable)];
    let (store, sink) = (MemoryStore::new(), Scripted::new(&by_key, Answer::Taken));
    let engine = engine(&store, &sink).await;
    send(&engine, &["bad".to_owned()]).await;
    tokio::time::sleep(DAY).await;
    assert_eq!(dead_letters(&store), [], "nothing else shows whether the sink works");
    assert_eq!(engine.status().await.sinks_down.len(), 1);
    for number in 0..60 {
        send(&engine, &[format!("good-{number}")]).await;
        tokio::time::sleep(2 * MINUTE).await;
    }
    until("the others", MINUTE, || sink.taken().len() == 60).await;
    let dead_letters = dead_letters(&store);
    assert_eq!(dead_letters.len(), 1, "{dead_letters:?}");
    assert_eq!(dead_letters[0].key, Some("bad".into()));
    engine.drain().await;
}

/// An operator corrects the wrong address of a sink.
#[tokio::test(start_paused = true)]
async fn one_slip_in_an_address_kills_nothing() {
    let (store, sink) = (MemoryStore::new(), Scripted::new(&[], Answer::Unavailable));
    let engine = engine(&store, &sink).await;
    send(&engine, &keys(50)).await;
    tokio::time::sleep(MINUTE).await;
    engine.drain().await;
    *lock(&sink.others) = Answer::Taken;
    let engine = self::engine(&store, &sink).await;
    until("all", MINUTE, || sink.taken().len() == 50).await;
    assert_eq!(dead_letters(&store), []);
    engine.drain().await;
}

async fn resolve(engine: &Engine, store: &MemoryStore, action: &Action) {
    // The stages of the sinks start a moment after the engine.
    tokio::time::sleep(Duration::from_secs(1)).await;
    for dead_letter in
        dead_letters(store).into_iter().filter(|dead_letter| dead_letter.status.is_unresolved())
    {
        let (by, reason) = ("ada".to_owned(), "a test".to_owned());
        let resolution = Resolution { action: action.clone(), by, reason, batch: None };
        engine.resolve(dead_letter.id, resolution).await.expect("it can be resolved");
    }
}

#[tokio::test(start_paused = true)]
async fn without_an_order_nothing_waits_for_anything() {
    let bad = [("bad", Answer::Refused), ("slow", Answer::Slowly)];
    let (store, sink) = (MemoryStore::new(), Scripted::new(&bad, Answer::Taken));
    let engine = ordered(&store, &sink, Order::None).await;
    let keys = ["bad", "slow", "k", "bad", "slow", "k"].map(str::to_owned);
    send(&engine, &keys).await;
    until("all slow ones at once", MINUTE + MINUTE / 2, || sink.taken().len() == 4).await;
    assert_eq!(dead_letters(&store).len(), 2, "each message of the key has its own dead letter");
    assert!(store.snapshot().parked_messages.is_empty());
    engine.drain().await;
    lock(&sink.by_key).clear();
    let engine = ordered(&store, &sink, Order::None).await;
    resolve(&engine, &store, &Action::Redrive { edited: None }).await;
    until("the redriven", MINUTE, || sink.taken().len() == 6).await;
    engine.drain().await;
}

#[tokio::test(start_paused = true)]
async fn in_a_whole_order_one_message_at_a_time_leaves_and_a_dead_letter_stops_all() {
    for action in [Action::Redrive { edited: None }, Action::Skip] {
        let bad = [("k3", Answer::Refused)];
        let (store, sink) = (MemoryStore::new(), Scripted::new(&bad, Answer::Taken));
        let engine = ordered(&store, &sink, Order::Whole).await;
        let all = keys(200);
        send(&engine, &all).await;
        until("the dead letter", MINUTE, || dead_letters(&store).len() == 1).await;
        send(&engine, &["later".to_owned()]).await;
        tokio::time::sleep(MINUTE).await;
        assert_eq!(*lock(&sink.taken), all[..3], "in order, and nothing after the dead letter");
        engine.drain().await;
        lock(&sink.by_key).clear();
        let engine = ordered(&store, &sink, Order::Whole).await;
        tokio::time::sleep(MINUTE).await;
        assert_eq!(sink.taken().len(), 3);
        resolve(&engine, &store, &action).await;
        let mut expected = all.clone();
        expected.push("later".to_owned());
        if action == Action::Skip {
            expected.remove(3);
        }
        until("all", MINUTE, || sink.taken().len() == expected.len()).await;
        assert_eq!(*lock(&sink.taken), expected);
        until("nothing is parked", MINUTE, || store.look(|t| t.parked_messages.is_empty())).await;
        engine.drain().await;
    }
}

/// Messages that were parked with one order of the sink continue with another.
#[tokio::test(start_paused = true)]
async fn the_order_of_a_sink_can_be_changed() {
    let orders = [Order::Key, Order::None, Order::Whole];
    for (before, after) in orders.into_iter().flat_map(|a| orders.map(|b| (a, b))) {
        let bad = [("k0", Answer::Refused), ("k1", Answer::Refused)];
        let (store, sink) = (MemoryStore::new(), Scripted::new(&bad, Answer::Taken));
        let engine = ordered(&store, &sink, before).await;
        let mut all = keys(4);
        all.extend(keys(4));
        send(&engine, &all).await;
        tokio::time::sleep(MINUTE).await;
        engine.drain().await;
        lock(&sink.by_key).clear();
        let engine = ordered(&store, &sink, after).await;
        tokio::time::sleep(MINUTE).await;
        for _ in 0..4 {
            for dead_letter in dead_letters(&store) {
                let (by, reason) = ("ada".to_owned(), String::new());
                let action = Action::Redrive { edited: None };
                // A dead letter that is not the first of its key is refused, and is redriven in
                // a later round.
                let _ = engine
                    .resolve(dead_letter.id, Resolution { action, by, reason, batch: None })
                    .await;
            }
            tokio::time::sleep(MINUTE).await;
        }
        assert_eq!(sink.taken().len(), 8, "{before:?}, then {after:?}: {:?}", dead_letters(&store));
        assert!(store.snapshot().parked_messages.is_empty());
        engine.drain().await;
    }
}
