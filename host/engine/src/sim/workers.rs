//! Tests of workers that crash while they hold a lease: only the messages that crash them become
//! dead letters.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use serde_json::{Value, json};

use super::plan::event;
use super::small::{COMMAND, dead_letters, keys, send, start, start_with, until};
use crate::engine::{Engine, Settings};
use crate::model::{
    Absent, Correlation, Decision, Effect, Failure, LeaseRequest, Manifest, MessageKind,
    OptionalPart, Outgoing, Role, Selection, Source, State, Subscription,
};
use crate::seams::handler::{Call, Handler, Reply};
use crate::seams::store::memory::MemoryStore;

const ATTEMPTS: u32 = 4;
const LEASE: Duration = Duration::from_millis(200);

/// For up to a hundred messages, with a short lease.
fn patient() -> LeaseRequest {
    LeaseRequest { max: 100, wait: Duration::from_secs(5), duration: LEASE, worker: None }
}

/// What a worker does with the messages of a lease.
#[derive(Clone, Copy)]
enum Habit {
    /// It acknowledges all together, at the end.
    Together,
    /// It acknowledges each as soon as it is done.
    Singly,
}

/// Works until no message has come for a while. Messages with the keys of `killers` crash the
/// worker, which is then started again. Returns the keys of the acknowledged messages, in order,
/// and the number of crashes.
async fn work(engine: &Engine, killers: &BTreeSet<String>, habit: Habit) -> (Vec<String>, usize) {
    let (mut done, mut crashes) = (Vec::new(), 0);
    loop {
        let request = patient();
        let lease = engine.lease(COMMAND, request).await.expect("a lease");
        if lease.messages.is_empty() {
            return (done, crashes);
        }
        let mut killed = false;
        let mut worked = Vec::new();
        for leased in &lease.messages {
            let key = leased.message.key.as_str().to_owned();
            // A key can have several messages; the first message of a killer's key crashes the
            // worker.
            killed = killers.contains(&key);
            if killed {
                break;
            }
            worked.push(key);
            if let Habit::Singly = habit {
                let ids = Selection::Ids(vec![leased.message.id()]);
                engine.acknowledge(COMMAND, lease.id, ids).await.expect("an acknowledgement");
            }
        }
        match (killed, habit) {
            (true, Habit::Together) => crashes += 1,
            (true, Habit::Singly) => {
                crashes += 1;
                done.append(&mut worked);
            }
            (false, _) => {
                // The lease has ended already if each message was acknowledged singly.
                let _ = engine.acknowledge(COMMAND, lease.id, Selection::All).await;
                done.append(&mut worked);
            }
        }
    }
}

async fn check(keys: &[String], killers: &[&str], habit: Habit) {
    let store = MemoryStore::new();
    let settings = Settings { attempts_max: ATTEMPTS, ..Settings::default() };
    let engine = start(&store, None, settings).await;
    send(&engine, keys).await;
    let killers: BTreeSet<String> = killers.iter().map(|key| (*key).to_owned()).collect();
    let (done, crashes) = work(&engine, &killers, habit).await;
    let mut expected: Vec<String> =
        keys.iter().filter(|key| !killers.contains(*key)).cloned().collect();
    let mut done = done;
    expected.sort();
    done.sort();
    assert_eq!(done, expected, "each innocent message is done, once");
    let dead_letters = dead_letters(&store);
    let dead: BTreeSet<String> = dead_letters
        .iter()
        .map(|dead_letter| dead_letter.key.clone().unwrap_or_else(|| "".into()).to_string())
        .collect();
    assert_eq!(dead, killers);
    assert_eq!(dead_letters.len(), killers.len());
    for dead_letter in &dead_letters {
        assert_eq!((dead_letter.attempts, &*dead_letter.reason), (ATTEMPTS, "its lease expired"));
    }
    // Leases are halved until the killer is alone: seven steps for a hundred messages, and then
    // its attempts.
    let steps = 7 + ATTEMPTS as usize;
    assert!(crashes <= killers.len() * steps, "{crashes} deaths");
    engine.drain().await;
}

#[tokio::test(start_paused = true)]
async fn only_what_crashes_its_workers_becomes_a_dead_letter() {
    for habit in [Habit::Together, Habit::Singly] {
        check(&keys(50), &["k0"], habit).await;
        check(&keys(50), &["k49"], habit).await;
        check(&keys(50), &["k3", "k17", "k18", "k40", "k41", "k42", "k43"], habit).await;
        check(&keys(1), &["k0"], habit).await;
        check(&keys(50), &[], habit).await;
    }
}

/// The messages of a key come in order, so those before the killer are done first.
#[tokio::test(start_paused = true)]
async fn what_comes_before_a_killer_of_the_same_key_is_done() {
    let store = MemoryStore::new();
    let settings = Settings { attempts_max: ATTEMPTS, ..Settings::default() };
    let engine = start(&store, None, settings).await;
    send(&engine, &vec!["k".to_owned(); 50]).await;
    let mut done = Vec::new();
    loop {
        let request = patient();
        let lease = engine.lease(COMMAND, request).await.expect("a lease");
        if lease.messages.is_empty() {
            break;
        }
        let sequences: Vec<u64> = lease.messages.iter().map(|m| m.message.sequence.0).collect();
        if !sequences.contains(&25) {
            engine.acknowledge(COMMAND, lease.id, Selection::All).await.expect("acknowledged");
            done.extend(sequences);
        }
    }
    assert_eq!(done, (1..25).collect::<Vec<u64>>());
    assert_eq!(dead_letters(&store).len(), 1);
    assert_eq!(store.snapshot().parked_messages.len(), 25, "the others wait behind it");
    engine.drain().await;
}

/// A worker that is too slow for a large lease gets smaller ones.
#[tokio::test(start_paused = true)]
async fn a_slow_worker_kills_nothing() {
    let store = MemoryStore::new();
    let settings = Settings { attempts_max: 1, ..Settings::default() };
    let engine = start(&store, None, settings).await;
    send(&engine, &keys(50)).await;
    let mut done = 0;
    loop {
        let request = patient();
        let lease = engine.lease(COMMAND, request).await.expect("a lease");
        if lease.messages.is_empty() {
            break;
        }
        // A worker has time for ten messages in one lease.
        tokio::time::sleep(LEASE / 10 * u32::try_from(lease.messages.len()).unwrap()).await;
        if let Ok(report) = engine.acknowledge(COMMAND, lease.id, Selection::All).await {
            done += report.done;
        }
    }
    assert_eq!((done, dead_letters(&store).len()), (50, 0));
    engine.drain().await;
}

/// A plugin that sends a command of as many bytes as its event says.
struct Large(Manifest);

impl Handler for Large {
    fn manifest(&self) -> &Manifest {
        &self.0
    }

    fn handle(&self, call: &Call) -> Result<Reply, Failure> {
        let data: Value = serde_json::from_slice(&call.event.data).expect("JSON");
        let bytes = usize::try_from(data["bytes"].as_u64().expect("a number")).expect("few");
        let message = Outgoing {
            kind: MessageKind::Command,
            event_type: COMMAND.to_owned(),
            subject: None,
            datacontenttype: "text/plain".to_owned(),
            extensions: Vec::new(),
            data: vec![b'x'; bytes].into(),
        };
        Ok(Reply::Decided(Decision { messages: vec![message], ..Decision::default() }))
    }

    fn migrate(&self, state: &State, _: u32) -> Result<Bytes, String> {
        Ok(state.data.clone())
    }
}

/// Leases commands of these sizes, each with its own key, and compares the sizes in each lease.
async fn check_leases(sizes: &[usize], expected: &[&[usize]]) {
    let store = MemoryStore::new();
    let handler = Large(Manifest {
        name: "large".into(),
        role: Role::Saga,
        version: "1".into(),
        description: String::new(),
        subscriptions: vec![Subscription {
            event_type: "send".to_owned(),
            source: Source::Any,
            key: Correlation::Pointer("/order".to_owned()),
            effect: Effect::Handle,
            absent: Absent::Ignore,
        }],
        commands: [COMMAND.to_owned()].into(),
        events: BTreeSet::new(),
        lookups: BTreeSet::new(),
        streams: false,
        state_version: 0,
        optional: OptionalPart::default(),
    });
    let engine = start_with(&store, Arc::new(handler), None, Settings::default()).await;
    let send = |(number, bytes): (usize, &usize)| {
        event("send", &format!("e-{number}"), &json!({"order": number.to_string(), "bytes": bytes}))
    };
    let events = sizes.iter().enumerate().map(send).collect();
    engine.offer(events).await.expect("the store in memory takes it");
    until("the commands", Duration::from_secs(5), || {
        store.look(|tables| tables.messages.len() == sizes.len())
    })
    .await;
    tokio::time::sleep(Duration::from_secs(1)).await;
    let mut leases: Vec<Vec<usize>> = Vec::new();
    while leases.iter().map(Vec::len).sum::<usize>() < sizes.len() {
        let request = patient();
        let lease = engine.lease(COMMAND, request).await.expect("a lease");
        let bytes = lease.messages.iter().map(|leased| leased.message.event.data.len());
        leases.push(bytes.collect());
        engine.acknowledge(COMMAND, lease.id, Selection::All).await.expect("acknowledged");
    }
    assert_eq!(leases, expected);
    engine.drain().await;
}

/// However many messages a worker asks for, a lease has a bounded number of bytes, or one message.
#[tokio::test(start_paused = true)]
async fn a_lease_is_bounded_in_bytes() {
    const MIB: usize = 1 << 20;
    check_leases(&[6 * MIB, 6 * MIB, 6 * MIB], &[&[6 * MIB, 6 * MIB], &[6 * MIB]]).await;
    check_leases(&[20 * MIB, 1], &[&[20 * MIB], &[1]]).await;
    check_leases(&[1, 15 * MIB, 1], &[&[1, 15 * MIB, 1]]).await;
}
