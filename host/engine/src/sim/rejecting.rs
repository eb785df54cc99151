//! Tests of a row that the store cannot write, in each kind of row: the event or message that it
//! belongs to is refused or becomes a dead letter, and everything else continues.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use async_trait::async_trait;
use futures::future::join_all;
use serde_json::json;

use super::plan::event;
use super::scripts::{AUDITOR, ORDERS, Pattern, script};
use super::small::{dead_letters, keys, note, send, start_on, until};
use crate::engine::{Action, Engine, OfferError, Resolution, ResolveError, Settings};
use crate::lock;
use crate::model::Retention;
use crate::model::{
    Counters, DeadLetter, DeadLetterStatus, DeadLetterSubject, Message, PluginName,
};
use crate::seams::store::faulty::{CommitFault, Faults, FaultyStore};
use crate::seams::store::memory::MemoryStore;
use crate::seams::store::{Batch, CommitError};
use crate::seams::transport::memory::MemoryTransport;
use crate::seams::transport::{DeliveryError, Sink, Transport};

const BAD: &str = "k3";
const REASON: &str = "the row is too big";
const SOON: Duration = Duration::from_secs(30);

/// A store that fails at the batches for which `write` is true, until it is repaired.
struct Cannot {
    write: fn(&Batch) -> bool,
    error: fn(String) -> CommitError,
    is_mended: AtomicBool,
    /// The sizes of the batches that failed.
    failed: Mutex<Vec<usize>>,
}

impl Cannot {
    fn write(write: fn(&Batch) -> bool) -> Arc<Self> {
        let (is_mended, failed) = (AtomicBool::new(false), Mutex::default());
        Arc::new(Self { write, error: CommitError::Rejected, is_mended, failed })
    }

    fn mend(&self) {
        self.is_mended.store(true, Ordering::Relaxed);
    }

    fn failed(&self) -> Vec<usize> {
        lock(&self.failed).clone()
    }
}

impl Faults for Arc<Cannot> {
    fn delay(&self) -> Duration {
        Duration::from_millis(1)
    }

    fn commit(&self) -> Option<CommitFault> {
        None
    }

    fn batch(&self, batch: &Batch) -> Option<CommitError> {
        let fails = !self.is_mended.load(Ordering::Relaxed) && (self.write)(batch);
        fails.then(|| {
            let size = batch.appends.len() + batch.decisions.len();
            lock(&self.failed).push(size);
            (self.error)(REASON.to_owned())
        })
    }

    fn read(&self) -> bool {
        false
    }
}

async fn start(memory: &MemoryStore, cannot: &Arc<Cannot>, settings: Settings) -> Engine {
    let store = Arc::new(FaultyStore::failing(memory.clone(), Arc::clone(cannot)));
    start_on(store, script(&Pattern::default(), AUDITOR), None, settings).await
}

fn counters_of(plugin: &str, store: &MemoryStore) -> Counters {
    let plugin = PluginName::from(plugin);
    store.look(|tables| tables.plugins.get(&plugin).map(|p| p.counters)).unwrap_or_default()
}

fn counters(store: &MemoryStore) -> Counters {
    counters_of(AUDITOR, store)
}

#[tokio::test(start_paused = true)]
async fn a_sender_is_refused_for_its_own_event_alone() {
    let memory = MemoryStore::new();
    let cannot = Cannot::write(|batch| batch.appends.iter().any(|a| a.event.id == "note-k3-3"));
    let engine = start(&memory, &cannot, Settings::default()).await;
    let offers = keys(100).into_iter().enumerate().map(|(number, key)| {
        let engine = engine.clone();
        async move { engine.offer(vec![note(&key, number)]).await }
    });
    let answers = join_all(offers).await;
    for (number, answer) in answers.iter().enumerate() {
        match number {
            3 => assert_eq!(*answer, Err(OfferError::Rejected(REASON.to_owned()))),
            _ => assert!(answer.is_ok(), "{number}: {answer:?}"),
        }
    }
    assert!(cannot.failed().iter().any(|size| *size > 10), "{:?}: together", cannot.failed());
    assert!(cannot.failed().len() < 12, "{:?}: by halves", cannot.failed());
    until("the others", SOON, || counters(&memory).handled == 99).await;
    engine.drain().await;
}

/// Sends an event for each of 100 keys, of which 99 are decided and one is not.
async fn all_but_one(cannot: &Arc<Cannot>) -> (MemoryStore, Engine) {
    let memory = MemoryStore::new();
    let engine = start(&memory, cannot, Settings::default()).await;
    send(&engine, &keys(100)).await;
    until("the others", SOON, || counters(&memory).handled == 99).await;
    until("all", SOON, || counters(&memory).received == 100).await;
    (memory, engine)
}

#[tokio::test(start_paused = true)]
async fn an_event_becomes_a_dead_letter_if_its_decision_cannot_be_written() {
    let cannot = Cannot::write(|batch| batch.decisions.iter().any(|d| d.key.as_str() == BAD));
    let (memory, engine) = all_but_one(&cannot).await;
    let found = dead_letters(&memory);
    let [dead_letter] = &found[..] else { panic!("{found:?}") };
    assert_eq!(dead_letter.key.as_ref().map(crate::model::Key::as_str), Some(BAD));
    assert!(dead_letter.reason.ends_with(REASON), "{}", dead_letter.reason);

    // A later event of that key waits behind the dead letter. A redrive before the store is
    // repaired fails.
    engine.offer(vec![note(BAD, 1_000)]).await.unwrap();
    let failed = cannot.failed().len();
    redrive(&engine, dead_letter).await;
    until("the dead letter again", SOON, || {
        let status = dead_letters(&memory)[0].status;
        status == DeadLetterStatus::Open && cannot.failed().len() >= failed + 2
    })
    .await;
    cannot.mend();
    redrive(&engine, &dead_letters(&memory)[0]).await;
    until("both", SOON, || counters(&memory).handled == 101).await;
    engine.drain().await;
}

async fn redrive(engine: &Engine, dead_letter: &DeadLetter) {
    let (by, reason) = ("operator".to_owned(), "mended".to_owned());
    let resolution =
        Resolution { action: Action::Redrive { edited: None }, by, reason, batch: None };
    engine.resolve(dead_letter.id, resolution).await.unwrap();
}

#[tokio::test(start_paused = true)]
async fn an_event_is_counted_if_its_dead_letter_cannot_be_written_either() {
    let cannot = Cannot::write(|batch| {
        batch.decisions.iter().any(|d| d.key.as_str() == BAD) || !batch.dead_letters.is_empty()
    });
    let (memory, engine) = all_but_one(&cannot).await;
    assert_eq!((dead_letters(&memory), counters(&memory).discarded), (Vec::new(), 1));
    engine.drain().await;
}

/// The dead letter can be written once, and not a second time.
#[tokio::test(start_paused = true)]
async fn a_redriven_event_that_is_discarded_is_not_on_record_as_redriven() {
    let cannot = Cannot::write(|batch| {
        let is_again = |dead_letter: &DeadLetter| {
            dead_letter.status == DeadLetterStatus::Open && dead_letter.resolved_by.is_some()
        };
        batch.decisions.iter().any(|d| d.key.as_str() == BAD)
            || batch.dead_letters.iter().any(|dead_letter| is_again(dead_letter))
    });
    let (memory, engine) = all_but_one(&cannot).await;
    redrive(&engine, &dead_letters(&memory)[0]).await;
    until("it is settled", SOON, || !dead_letters(&memory)[0].status.is_unresolved()).await;
    assert_eq!(dead_letters(&memory)[0].status, DeadLetterStatus::Discarded);
    assert_eq!((counters(&memory).handled, counters(&memory).discarded), (99, 1));
    engine.offer(vec![note(BAD, 1_000)]).await.unwrap();
    cannot.mend();
    until("what comes after it", SOON, || counters(&memory).handled == 100).await;
    engine.drain().await;
}

#[tokio::test(start_paused = true)]
async fn what_no_event_is_to_blame_for_is_not_blamed_on_one() {
    // For a while, a row of the plugin that belongs to no decision cannot be written.
    let cannot = Cannot::write(|batch| !batch.plugins.is_empty());
    let memory = MemoryStore::new();
    let engine = start(&memory, &cannot, Settings::default()).await;
    tokio::time::sleep(Duration::from_secs(60)).await;
    assert!(cannot.failed().len() < 100, "{:?}: it does not spin", cannot.failed().len());
    cannot.mend();
    send(&engine, &keys(100)).await;
    until("all", SOON, || counters(&memory).handled == 100).await;
    assert_eq!(dead_letters(&memory), []);
    engine.drain().await;
}

/// Refuses the messages of one key, and takes all others.
struct Refuses(MemoryTransport);

#[async_trait]
impl Transport for Refuses {
    async fn deliver(&self, messages: &[Arc<Message>]) -> Vec<Result<(), DeliveryError>> {
        let mut results = Vec::new();
        for message in messages {
            results.push(match message.key.as_str() == BAD {
                true => Err(DeliveryError::Permanent("no such record".to_owned())),
                false => self.0.deliver(std::slice::from_ref(message)).await.remove(0),
            });
        }
        results
    }

    fn batch_max(&self) -> usize {
        self.0.batch_max()
    }
}

/// A sink refuses a message, and the store cannot write a part of its dead letter.
async fn refused(write: fn(&Batch) -> bool) -> (MemoryStore, Vec<DeadLetter>) {
    let (memory, cannot) = (MemoryStore::new(), Cannot::write(write));
    let store = Arc::new(FaultyStore::failing(memory.clone(), Arc::clone(&cannot)));
    let receiver = MemoryTransport::new(1, 1);
    let sink = Arc::new(Refuses(receiver.clone()));
    let auditor = script(&Pattern::default(), AUDITOR);
    let engine = start_on(store, auditor, Some(Sink::new(sink)), Settings::default()).await;
    send(&engine, &keys(20)).await;
    until("the others", SOON, || receiver.arrived().len() == 19).await;
    until("all", SOON, || {
        let settled = |tables: &crate::seams::store::memory::Tables| {
            tables.sinks.values().any(|sink| sink.counters.received == 20)
        };
        memory.look(settled)
    })
    .await;
    engine.drain().await;
    assert!(!cannot.failed().is_empty());
    let found = dead_letters(&memory);
    (memory, found)
}

fn is_of_message(dead_letter: &DeadLetter) -> bool {
    dead_letter.subject != DeadLetterSubject::Event
}

#[tokio::test(start_paused = true)]
async fn a_refused_message_has_a_dead_letter_whatever_its_sink_said() {
    let (_, found) = refused(|batch| {
        batch.dead_letters.iter().any(|dead_letter| dead_letter.reason == "no such record")
    })
    .await;
    let [dead_letter] = &found[..] else { panic!("{found:?}") };
    assert!(is_of_message(dead_letter) && dead_letter.reason.ends_with(REASON), "{dead_letter:?}");
}

#[tokio::test(start_paused = true)]
async fn a_refused_message_is_counted_if_its_dead_letter_cannot_be_written() {
    let is_dead_letter =
        |batch: &Batch| batch.dead_letters.iter().any(|dead_letter| is_of_message(dead_letter));
    let (memory, found) = refused(is_dead_letter).await;
    assert_eq!(found, []);
    let discarded = memory
        .look(|tables| tables.sinks.values().map(|sink| sink.counters.discarded).sum::<u64>());
    assert_eq!(discarded, 1);
}

/// The dead letter of a message can be written once, and not a second time.
#[tokio::test(start_paused = true)]
async fn a_redriven_message_that_is_discarded_is_not_on_record_as_redriving() {
    let cannot = Cannot::write(|batch| {
        let is_again = |dead_letter: &DeadLetter| {
            dead_letter.status == DeadLetterStatus::Open && dead_letter.resolved_by.is_some()
        };
        batch.dead_letters.iter().any(|dead_letter| is_again(dead_letter))
    });
    let memory = MemoryStore::new();
    let store = Arc::new(FaultyStore::failing(memory.clone(), Arc::clone(&cannot)));
    let receiver = MemoryTransport::new(1, 1);
    let sink = Sink::new(Arc::new(Refuses(receiver.clone())));
    let auditor = script(&Pattern::default(), AUDITOR);
    let engine = start_on(store, auditor, Some(sink), Settings::default()).await;
    engine.offer(vec![note(BAD, 1)]).await.unwrap();
    until("its dead letter", SOON, || dead_letters(&memory).len() == 1).await;
    redrive(&engine, &dead_letters(&memory)[0]).await;
    until("it is settled", SOON, || !dead_letters(&memory)[0].status.is_unresolved()).await;
    let dead_letter = &dead_letters(&memory)[0];
    assert_eq!(dead_letter.status, DeadLetterStatus::Discarded);
    let why = dead_letter.resolved_reason.clone().unwrap_or_default();
    assert!(why.ends_with(REASON), "{why}");
    let discarded = memory
        .look(|tables| tables.sinks.values().map(|sink| sink.counters.discarded).sum::<u64>());
    assert_eq!(discarded, 1);
    engine.drain().await;
}

/// Nothing waits behind a dead letter without a key: redriven, its event is appended to the log
/// again.
#[tokio::test(start_paused = true)]
async fn a_redrive_that_cannot_be_appended_is_refused_and_restarts_nothing_again() {
    let cannot = Cannot::write(|batch| batch.appends.iter().any(|append| append.redriven));
    let memory = MemoryStore::new();
    let engine = start(&memory, &cannot, Settings::default()).await;
    let keyless = event("note", "keyless", &json!({}));
    engine.offer(vec![keyless]).await.unwrap();
    until("its dead letter", SOON, || dead_letters(&memory).len() == 1).await;
    let id = dead_letters(&memory)[0].id;
    let resolution = || {
        let (by, reason) = ("operator".to_owned(), "again".to_owned());
        Resolution { action: Action::Redrive { edited: None }, by, reason, batch: None }
    };
    // The first request does not know it; as a batch does, it is repeated until it has an answer.
    let mut refused = None;
    for _ in 0..100 {
        match engine.resolve(id, resolution()).await {
            Err(ResolveError::Unavailable(_)) => {
                tokio::time::sleep(Duration::from_millis(50)).await;
            }
            other => {
                refused = Some(other);
                break;
            }
        }
    }
    let Some(Err(ResolveError::Unwritable { reason, .. })) = refused else { panic!("{refused:?}") };
    assert!(reason.ends_with(REASON), "{reason}");
    let failed = cannot.failed().len();
    tokio::time::sleep(Duration::from_secs(60)).await;
    assert_eq!(cannot.failed().len(), failed, "nothing repeats it");
    assert_eq!(dead_letters(&memory)[0].status, DeadLetterStatus::Open);
    // The rest of the plugin is not affected, and the redrive is possible once the store can do it.
    send(&engine, &keys(5)).await;
    until("the others", SOON, || counters(&memory).handled == 5).await;
    cannot.mend();
    engine.resolve(id, resolution()).await.unwrap();
    until("it is redriven", SOON, || dead_letters(&memory)[0].status == DeadLetterStatus::Redriven)
        .await;
    engine.drain().await;
}

#[tokio::test(start_paused = true)]
async fn what_cannot_be_removed_holds_up_nothing_and_is_removed_later() {
    for error in [CommitError::Rejected, CommitError::NotCommitted] {
        let memory = MemoryStore::new();
        let cannot = Cannot {
            write: |batch| batch.expire.is_some(),
            error,
            is_mended: AtomicBool::new(false),
            failed: Mutex::default(),
        };
        let cannot = Arc::new(cannot);
        let day = Duration::from_hours(24);
        let retention = Retention {
            duplicates: Some(day),
            history: Some(day),
            finished: Some(day),
            interval: Duration::from_secs(60),
        };
        let engine = start(&memory, &cannot, Settings { retention, ..Settings::default() }).await;
        for round in 0..3 {
            engine.offer(vec![note("a", round)]).await.unwrap();
            until("it is decided", SOON, || counters(&memory).handled == round as u64 + 1).await;
            tokio::time::sleep(day).await;
        }
        assert!(cannot.failed().len() > 1_000, "it is tried again and again");
        assert_eq!(memory.look(|tables| tables.log.len()), 3);
        cannot.mend();
        until("what is too old", 2 * day, || memory.look(|tables| tables.log.len() < 3)).await;
        engine.drain().await;
    }
}

#[tokio::test(start_paused = true)]
async fn a_timer_that_cannot_fire_becomes_a_dead_letter_also_if_that_fails_for_a_while() {
    let fires = |batch: &Batch| batch.appends.iter().any(|append| append.fires.is_some());
    for fails_at_first in [false, true] {
        let (memory, unfit, unwritten) = (
            MemoryStore::new(),
            Cannot::write(fires),
            Cannot::write(|batch| !batch.timers_fired.is_empty()),
        );
        if !fails_at_first {
            unwritten.mend();
        }
        let store = FaultyStore::failing(memory.clone(), Arc::clone(&unwritten));
        let store = Arc::new(FaultyStore::failing(store, Arc::clone(&unfit)));
        let orders = script(&Pattern::default(), ORDERS);
        let engine = start_on(store, orders, None, Settings::default()).await;
        let place = event("place", "o1", &json!({"order": "o1", "items": ["i1"]}));
        engine.offer(vec![place]).await.unwrap();
        if fails_at_first {
            until("it fails", SOON, || unwritten.failed().len() > 3).await;
            unwritten.mend();
        }
        until("both are settled", SOON, || counters_of(ORDERS, &memory).received == 2).await;
        assert!(memory.look(|tables| tables.timers.is_empty()), "it is set no more");
        let counters = counters_of(ORDERS, &memory);
        let found = dead_letters(&memory);
        assert_eq!(counters.handled + counters.discarded + found.len() as u64, 2, "{found:?}");
        if let [dead_letter] = &found[..] {
            assert!(dead_letter.reason.contains(REASON), "{}", dead_letter.reason);
            redrive(&engine, dead_letter).await;
            until("it is decided", SOON, || counters_of(ORDERS, &memory).handled == 2).await;
        } else {
            assert!(fails_at_first, "its dead letter can be written");
        }
        engine.drain().await;
    }
}
