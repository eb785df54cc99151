//! The contract of [`Store`], clause by clause, for every implementation: those who
//! write one call [`all`] with a way to open their stores.
//!
//! It insists as the engine does: a refused commit is tried again, after an unknown
//! outcome the store is asked what it has. So it also runs on stores that fail.

use std::collections::BTreeMap;
use std::sync::Arc;

use async_trait::async_trait;
use bytes::Bytes;

use super::{
    Append, Batch, ClaimChange, CommitError, Committed, Expire, MessageLane, PluginProgress,
    SinkProgress, Store, TimerRow,
};
use crate::model::{
    Counters, Cursor, DeadLetter, DeadLetterId, DeadLetterStatus, DeadLetterSubject,
    DecisionRecord, Event, Held, Instance, InstanceStatus, Key, LogEntry, Message, MessageKind,
    Parked, PluginName, Position, Sequence, SinkName, Span, State, Timer, TimerRef, Timestamp,
};

/// No store fails so often in a row.
const TRIES_MAX: usize = 1_000;
/// Its cursor counts the batches: tells whether a commit of unknown outcome was written.
const MARKER: &str = "marker";
const ALL: usize = 1_000;

/// Where the stores under test come from.
#[async_trait]
pub trait Stores: Sync {
    /// Opens the store of this name as a new process would; the first time it is empty.
    /// It is opened again only after it was dropped.
    async fn open(&self, name: &str) -> Box<dyn Store>;
}

macro_rules! insist {
    ($call:expr) => {{
        let mut tries = 0;
        loop {
            tries += 1;
            match $call.await {
                Ok(answer) => break answer,
                Err(error) => assert!(tries < TRIES_MAX, "{error}"),
            }
        }
    }};
}

/// A store under test, and how many batches it was given.
struct Subject<'a> {
    stores: &'a dyn Stores,
    name: &'static str,
    store: Option<Box<dyn Store>>,
    batches: u64,
}

impl<'a> Subject<'a> {
    async fn new(stores: &'a dyn Stores, name: &'static str) -> Self {
        Self { stores, name, store: Some(stores.open(name).await), batches: 0 }
    }

    fn store(&self) -> &dyn Store {
        &**self.store.as_ref().expect("it is open between calls")
    }

    async fn restart(&mut self) {
        self.store = None;
        self.store = Some(self.stores.open(self.name).await);
    }

    /// None if it was written by a commit whose outcome was unknown.
    async fn commit(&mut self, batch: Batch) -> Option<Committed> {
        let mut batch = batch;
        self.batches += 1;
        let mut marker = sink_progress(MARKER, self.batches);
        marker.counters.received = self.batches;
        batch.sinks.push(marker);
        for _ in 0..TRIES_MAX {
            match self.store().commit(&batch).await {
                Ok(committed) => return Some(committed),
                Err(CommitError::NotCommitted(_)) => {}
                Err(CommitError::Unknown(_)) => {
                    let recovered = insist!(self.store().recover());
                    let marker = recovered.sinks.iter().find(|s| s.progress.sink == MARKER.into());
                    if marker.is_some_and(|s| s.progress.cursor.settled == self.batches) {
                        return None;
                    }
                }
                Err(error @ CommitError::Fenced(_)) => panic!("{error}"),
            }
        }
        panic!("the store of `{}` never commits", self.name);
    }

    async fn positions(&self) -> Vec<u64> {
        let log = insist!(self.store().read_log(Position(0), ALL));
        log.iter().map(|entry| entry.position.0).collect()
    }
}

/// Every clause, each on a store of its own.
pub async fn all(stores: &dyn Stores) {
    what_is_committed_is_there_after_a_restart(stores).await;
    an_event_that_was_there_is_a_duplicate(stores).await;
    a_young_event_is_known_for_its_whole_time(stores).await;
    a_redriven_event_is_written_whatever_was_there(stores).await;
    the_log_is_read_in_order_and_in_pieces(stores).await;
    a_stream_is_read_between_two_positions(stores).await;
    recovery_tells_the_highest_places(stores).await;
    recovery_tells_what_is_parked(stores).await;
    instances_are_found_by_every_key(stores).await;
    all_instances_are_loaded_or_none(stores).await;
    held_events_come_in_order_each_once(stores).await;
    an_outbox_is_read_in_order_and_in_pieces(stores).await;
    a_fired_timer_goes_if_it_is_still_the_one(stores).await;
    timers_come_by_their_time(stores).await;
    parked_events_and_messages_come_in_order(stores).await;
    a_dead_letter_is_written_over(stores).await;
    finished_instances_come_oldest_first(stores).await;
    a_removed_instance_takes_its_claims_and_timers_along(stores).await;
    what_is_too_old_goes(stores).await;
    what_is_needed_stays(stores).await;
}

pub(super) fn event(id: u64) -> Arc<Event> {
    Arc::new(Event {
        id: format!("e-{id}"),
        source: "/contract".to_owned(),
        event_type: "happened".to_owned(),
        subject: id.is_multiple_of(2).then(|| format!("s-{}", id % 3)),
        time: Some("2026-01-31T12:00:00Z".to_owned()),
        datacontenttype: id.is_multiple_of(5).then(|| "application/octet-stream".to_owned()),
        dataschema: None,
        extensions: vec![("tenant".to_owned(), "ä \"b\" \\ '".to_owned())],
        data: match id % 5 {
            0 => Bytes::from_static(b"\x00\xff"),
            1 => Bytes::from_static(b"{\"a\" : 1}"),
            2 => Bytes::from_static(b" null "),
            3 => Bytes::from_static(b"not json"),
            _ => Bytes::new(),
        },
    })
}

/// Position, id and the time of receipt are one number unless they are given.
pub(super) fn append(position: u64, id: u64) -> Append {
    let (position, received_at) = (Position(position), Timestamp(position));
    Append { position, received_at, event: event(id), fires: None, redriven: false }
}

fn appends(places: impl IntoIterator<Item = u64>) -> Batch {
    let appends = places.into_iter().map(|place| append(place, place)).collect();
    Batch { appends, ..Batch::default() }
}

pub(super) fn entry(place: u64) -> LogEntry {
    let Append { position, received_at, event, .. } = append(place, place);
    LogEntry { position, received_at, event }
}

pub(super) fn plugin() -> PluginName {
    "orders".into()
}

pub(super) fn sink() -> SinkName {
    "queue:Do".into()
}

pub(super) fn lane(key: &str) -> MessageLane {
    MessageLane { sink: sink(), plugin: plugin(), key: key.into() }
}

pub(super) fn sink_progress(name: &str, settled: u64) -> SinkProgress {
    let cursor = Cursor { settled, ..Cursor::default() };
    SinkProgress { sink: name.into(), cursor, counters: Counters::default() }
}

pub(super) fn plugin_progress(name: &str, settled: u64) -> PluginProgress {
    let cursor = Cursor { settled, ..Cursor::default() };
    PluginProgress { plugin: name.into(), cursor, counters: Counters::default() }
}

fn instance(key: &str, claims: &[&str], updated_at: u64) -> Arc<Instance> {
    Arc::new(Instance {
        key: key.into(),
        status: InstanceStatus::Running,
        state: Some(State { version: 2, data: Bytes::from_static(b"\xfe state") }),
        claims: claims.iter().map(|key| Key::from(*key)).collect(),
        timers: BTreeMap::from([("t".into(), Timer { due: Timestamp(9), set_by: Position(1) })]),
        decided: Position(1),
        version: 1,
        started_at: Timestamp(1),
        updated_at: Timestamp(updated_at),
    })
}

fn finished(key: &str, status: InstanceStatus, updated_at: u64) -> (PluginName, Arc<Instance>) {
    let running = Arc::unwrap_or_clone(instance(key, &[], updated_at));
    (plugin(), Arc::new(Instance { status, state: None, ..running }))
}

pub(super) fn claim(key: &str, instance: &str, claimed: bool) -> ClaimChange {
    ClaimChange { plugin: plugin(), key: key.into(), instance: instance.into(), claimed }
}

pub(super) fn timer(instance: &str, name: &str, due: u64) -> TimerRow {
    let timer = TimerRef {
        plugin: plugin(),
        instance: instance.into(),
        name: name.into(),
        due: Timestamp(due),
        set_by: Position(1),
    };
    TimerRow { timer, data: Bytes::from_static(b"\xff\x00") }
}

pub(super) fn held(place: u64, key: &str, until: u64) -> Held {
    let (entry, until) = (entry(place), Timestamp(until));
    Held { plugin: plugin(), key: key.into(), entry, until, reached: vec!["o-1".into()] }
}

pub(super) fn parked(place: u64, key: &str) -> Parked {
    Parked { plugin: plugin(), key: key.into(), entry: entry(place) }
}

pub(super) fn message(sequence: u64, key: &str, cause: u64) -> Arc<Message> {
    Arc::new(Message {
        sink: sink(),
        sequence: Sequence(sequence),
        kind: if sequence.is_multiple_of(2) { MessageKind::Event } else { MessageKind::Command },
        plugin: plugin(),
        key: key.into(),
        cause: Position(cause),
        event: event(100 + sequence),
    })
}

pub(super) fn decision(place: u64, key: &str) -> DecisionRecord {
    DecisionRecord {
        position: Position(place),
        plugin: plugin(),
        key: key.into(),
        previous: (place > 1).then_some(Position(place - 1)),
        decided_at: Timestamp(place),
        plugin_version: "1.0.0".into(),
        attempt: 1,
        state: None,
        summary: "{}".to_owned(),
    }
}

pub(super) fn letter(id: u64, key: Option<&str>, place: u64) -> DeadLetter {
    DeadLetter {
        id: DeadLetterId(id),
        subject: DeadLetterSubject::Event,
        plugin: plugin(),
        key: key.map(Key::from),
        position: Position(place),
        reason: "it's 'quoted'".to_owned(),
        attempts: 3,
        plugin_version: "1.0.0".into(),
        at: Timestamp(place),
        status: DeadLetterStatus::Open,
        resolved_by: None,
        resolved_reason: None,
        event: event(place),
        edited: None,
    }
}

pub(super) fn undelivered(id: u64, sequence: u64, key: &str) -> DeadLetter {
    let kind = MessageKind::Event;
    let subject = DeadLetterSubject::Message { sink: sink(), sequence: Sequence(sequence), kind };
    DeadLetter { subject, ..letter(id, Some(key), 1) }
}

async fn what_is_committed_is_there_after_a_restart(stores: &dyn Stores) {
    let mut subject = Subject::new(stores, "restart").await;
    let row = instance("o-1", &["i-1"], 1);
    let batch = Batch {
        instances: vec![(plugin(), Arc::clone(&row))],
        claims: vec![claim("i-1", "o-1", true)],
        timers_set: vec![timer("o-1", "t", 9)],
        decisions: vec![decision(1, "o-1")],
        messages: vec![message(1, "o-1", 1)],
        held: vec![held(2, "i-2", 50)],
        parked: vec![parked(3, "o-3")],
        parked_messages: vec![(lane("o-1"), Sequence(1))],
        dead_letters: vec![Arc::new(letter(1, Some("o-3"), 3))],
        plugins: vec![plugin_progress("orders", 3)],
        ..appends(1..=5)
    };
    subject.commit(batch).await;
    for _ in 0..2 {
        subject.restart().await;
        let store = subject.store();
        let log = insist!(store.read_log(Position(0), ALL));
        assert_eq!(log, (1..=5).map(entry).collect::<Vec<_>>());
        let loaded = insist!(store.load(&plugin(), &["i-1".into(), "i-2".into()]));
        assert_eq!((loaded.instances, loaded.held), (vec![row.clone()], vec![held(2, "i-2", 50)]));
        let outbox = insist!(store.read_outbox(&sink(), Sequence(0), ALL));
        assert_eq!(outbox, [message(1, "o-1", 1)]);
        assert_eq!(insist!(store.read_timers(Timestamp(9), ALL)), [timer("o-1", "t", 9)]);
        let letter_read = insist!(store.read_dead_letter(DeadLetterId(1)));
        assert_eq!(letter_read, Some(letter(1, Some("o-3"), 3)));
    }
}

async fn an_event_that_was_there_is_a_duplicate(stores: &dyn Stores) {
    let mut subject = Subject::new(stores, "duplicates").await;
    let named = |committed: Option<Committed>, expected: &[u64]| {
        let expected: Vec<Position> = expected.iter().copied().map(Position).collect();
        committed.is_none_or(|committed| committed.duplicates == expected)
    };
    assert!(named(subject.commit(appends([1, 2])).await, &[]));
    let again =
        Batch { appends: vec![append(3, 1), append(4, 4), append(5, 4)], ..Batch::default() };
    assert!(named(subject.commit(again).await, &[3, 5]));
    subject.restart().await;
    let again =
        Batch { appends: vec![append(6, 4), append(7, 2), append(8, 8)], ..Batch::default() };
    assert!(named(subject.commit(again).await, &[6, 7]));
    assert_eq!(subject.positions().await, [1, 2, 4, 8]);
}

/// What is older may be known for longer: forgetting is the store's affair.
async fn a_young_event_is_known_for_its_whole_time(stores: &dyn Stores) {
    let mut subject = Subject::new(stores, "young").await;
    let received = |place: u64, id, at| Append { received_at: Timestamp(at), ..append(place, id) };
    let appends = (1..=9).map(|place| received(place, place, 10 * place)).collect();
    subject.commit(Batch { appends, ..Batch::default() }).await;
    for _ in 0..3 {
        let mut batch = expire(0, ALL);
        batch.expire.as_mut().expect("just made").seen_before = Timestamp(50);
        subject.commit(batch).await;
    }
    subject.restart().await;
    let appends = (5..=9).map(|id| received(id + 5, id, 100)).collect();
    let again = subject.commit(Batch { appends, ..Batch::default() }).await;
    assert!(
        again.is_none_or(|again| again.duplicates == (10..=14).map(Position).collect::<Vec<_>>())
    );
    assert_eq!(subject.positions().await, (1..=9).collect::<Vec<_>>());
}

async fn a_redriven_event_is_written_whatever_was_there(stores: &dyn Stores) {
    let mut subject = Subject::new(stores, "redriven").await;
    subject.commit(appends([1])).await;
    let redriven = |place, id| Append { redriven: true, ..append(place, id) };
    let batch =
        Batch { appends: vec![redriven(2, 1), redriven(3, 9), append(4, 1)], ..Batch::default() };
    subject.commit(batch).await;
    subject.restart().await;
    // Of 9 no trace was left: its first ordinary append is none of a duplicate.
    subject.commit(Batch { appends: vec![append(5, 9), append(6, 9)], ..Batch::default() }).await;
    assert_eq!(subject.positions().await, [1, 2, 3, 5]);
}

async fn the_log_is_read_in_order_and_in_pieces(stores: &dyn Stores) {
    let mut subject = Subject::new(stores, "log").await;
    subject.commit(appends([1, 2, 5])).await;
    subject.commit(appends([7, 8])).await;
    let mut read = Vec::new();
    loop {
        let after = Position(read.last().copied().unwrap_or(0));
        let entries = insist!(subject.store().read_log(after, 2));
        assert!(entries.len() <= 2);
        if entries.is_empty() {
            break;
        }
        read.extend(entries.iter().map(|entry| entry.position.0));
    }
    assert_eq!(read, [1, 2, 5, 7, 8]);
}

async fn a_stream_is_read_between_two_positions(stores: &dyn Stores) {
    let mut subject = Subject::new(stores, "stream").await;
    // Subject s-2 have those that are even and leave 2 when divided by 3.
    subject.commit(appends(1..=20)).await;
    for (after, before, limit, expected) in [
        (0, 99, ALL, vec![2, 8, 14, 20]),
        (2, 20, ALL, vec![8, 14]),
        (0, 99, 2, vec![2, 8]),
        (8, 9, ALL, vec![]),
        (9, 3, ALL, vec![]),
    ] {
        let (after, before) = (Position(after), Position(before));
        let entries = insist!(subject.store().read_stream("s-2", after, before, limit));
        let read: Vec<u64> = entries.iter().map(|entry| entry.position.0).collect();
        assert_eq!(read, expected, "between {after} and {before}");
    }
    let nobody = insist!(subject.store().read_stream("nobody", Position(0), Position(99), ALL));
    assert!(nobody.is_empty());
}

async fn recovery_tells_the_highest_places(stores: &dyn Stores) {
    let mut subject = Subject::new(stores, "recovery").await;
    let recovered = insist!(subject.store().recover());
    assert_eq!((recovered.position, recovered.dead_letter), (Position(0), DeadLetterId(0)));
    assert_eq!((recovered.plugins, recovered.sinks), (Vec::new(), Vec::new()));

    let mut ahead = plugin_progress("orders", 2);
    ahead.cursor.ahead = vec![Span { first: 4, last: 9 }];
    ahead.cursor.partly = vec![(3, vec!["o-1".into()])];
    ahead.counters.received = 5;
    let batch = Batch {
        messages: vec![message(3, "o-1", 1)],
        dead_letters: vec![Arc::new(letter(7, None, 1))],
        plugins: vec![ahead.clone()],
        sinks: vec![sink_progress("shop", 6)],
        ..appends([1, 2])
    };
    subject.commit(batch).await;
    let recovered = insist!(subject.store().recover());
    assert_eq!((recovered.position, recovered.dead_letter), (Position(9), DeadLetterId(7)));
    assert_eq!(recovered.plugins.len(), 1);
    assert_eq!(recovered.plugins[0].progress, ahead);
    let last: Vec<_> =
        recovered.sinks.iter().map(|sink| (sink.progress.sink.as_str(), sink.last.0)).collect();
    assert_eq!(last, [(MARKER, 1), ("queue:Do", 3), ("shop", 6)]);
    subject.commit(appends([10])).await;
    assert_eq!(insist!(subject.store().recover()).position, Position(10));
}

async fn recovery_tells_what_is_parked(stores: &dyn Stores) {
    let mut subject = Subject::new(stores, "parked").await;
    let redriving = DeadLetter { status: DeadLetterStatus::Redriving, ..letter(2, Some("b"), 2) };
    let resolved = DeadLetter { status: DeadLetterStatus::Skipped, ..letter(3, Some("d"), 3) };
    let letters = [
        letter(1, Some("c"), 4),
        redriving,
        resolved,
        letter(4, None, 1),
        letter(5, Some("c"), 1),
        // Of a sink that has made no progress.
        undelivered(6, 1, "m"),
    ];
    let batch = Batch {
        messages: (1..=3).map(|sequence| message(sequence, "m", 1)).collect(),
        parked: vec![parked(2, "c"), parked(3, "c"), parked(3, "a")],
        parked_messages: vec![(lane("m"), Sequence(2)), (lane("m"), Sequence(3))],
        dead_letters: letters.into_iter().map(Arc::new).collect(),
        plugins: vec![plugin_progress("orders", 4)],
        ..appends(1..=4)
    };
    subject.commit(batch).await;
    let recovered = insist!(subject.store().recover());
    type Letter = (u64, u64, bool);
    let parked: Vec<(&str, Vec<Letter>, u64)> = recovered.plugins[0]
        .parked
        .iter()
        .map(|parked| {
            let letters = parked.letters.iter().map(|l| (l.id.0, l.place, l.redriving)).collect();
            (parked.key.as_str(), letters, parked.waiting)
        })
        .collect();
    let expected = vec![
        ("a", vec![], 1),
        ("b", vec![(2, 2, true)], 0),
        ("c", vec![(5, 1, false), (1, 4, false)], 2),
    ];
    assert_eq!(parked, expected);
    let ours = recovered.sinks.iter().find(|s| s.progress.sink == sink()).expect("it has messages");
    assert_eq!(ours.parked.len(), 1);
    assert_eq!((&ours.parked[0].key, ours.parked[0].waiting), (&lane("m"), 2));
}

async fn instances_are_found_by_every_key(stores: &dyn Stores) {
    let mut subject = Subject::new(stores, "instances").await;
    let (one, two) = (instance("o-1", &["i-1", "i-2"], 1), instance("o-2", &["i-2"], 1));
    let other = (PluginName::from("others"), instance("i-1", &[], 1));
    let batch = Batch {
        instances: vec![(plugin(), Arc::clone(&two)), (plugin(), Arc::clone(&one)), other],
        claims: vec![
            claim("i-1", "o-1", true),
            claim("i-2", "o-1", true),
            claim("i-2", "o-2", true),
            claim("i-3", "o-1", true),
        ],
        ..Batch::default()
    };
    subject.commit(batch).await;
    let release = Batch { claims: vec![claim("i-3", "o-1", false)], ..Batch::default() };
    subject.commit(release).await;
    for (keys, expected) in [
        (vec!["o-1"], vec![&one]),
        (vec!["i-1"], vec![&one]),
        (vec!["i-2"], vec![&one, &two]),
        (vec!["o-2", "i-1", "i-2", "o-1", "i-1"], vec![&one, &two]),
        (vec!["i-3", "nobody"], vec![]),
        (vec![], vec![]),
    ] {
        let named: Vec<Key> = keys.iter().map(|key| Key::from(*key)).collect();
        let loaded = insist!(subject.store().load(&plugin(), &named));
        assert_eq!(loaded.instances.iter().collect::<Vec<_>>(), expected, "{keys:?}");
    }
    let changed = instance("o-1", &[], 2);
    let batch = Batch { instances: vec![(plugin(), Arc::clone(&changed))], ..Batch::default() };
    subject.commit(batch).await;
    let loaded = insist!(subject.store().load(&plugin(), &["o-1".into()]));
    assert_eq!(loaded.instances, [changed], "written over");
}

async fn all_instances_are_loaded_or_none(stores: &dyn Stores) {
    let mut subject = Subject::new(stores, "load-all").await;
    let batch = Batch {
        instances: vec![(plugin(), instance("b", &[], 1)), (plugin(), instance("a", &[], 1))],
        held: vec![held(1, "k", 5)],
        ..appends([1])
    };
    subject.commit(batch).await;
    let loaded = insist!(subject.store().load_all(&plugin(), 3)).expect("three are not too many");
    let keys: Vec<_> = loaded.instances.iter().map(|instance| instance.key.as_str()).collect();
    assert_eq!((keys, loaded.held), (vec!["a", "b"], vec![held(1, "k", 5)]));
    assert_eq!(insist!(subject.store().load_all(&plugin(), 2)), None);
}

async fn held_events_come_in_order_each_once(stores: &dyn Stores) {
    let mut subject = Subject::new(stores, "held").await;
    let rows = vec![held(2, "b", 30), held(1, "b", 20), held(1, "a", 20), held(3, "c", 10)];
    subject.commit(Batch { held: rows, ..appends(1..=3) }).await;
    let keys = ["b".into(), "a".into(), "b".into()];
    let loaded = insist!(subject.store().load(&plugin(), &keys));
    assert_eq!(loaded.held, [held(1, "a", 20), held(1, "b", 20), held(2, "b", 30)]);
    let expired = insist!(subject.store().read_expired_holds(&plugin(), Timestamp(20), 2));
    assert_eq!(expired, [held(3, "c", 10), held(1, "a", 20)]);
    let batch = Batch {
        held: vec![Held { reached: vec!["x".into()], ..held(3, "c", 40) }],
        held_removed: vec![
            (plugin(), "a".into(), Position(1)),
            (plugin(), "z".into(), Position(9)),
        ],
        ..Batch::default()
    };
    subject.commit(batch).await;
    let expired = insist!(subject.store().read_expired_holds(&plugin(), Timestamp(99), ALL));
    let changed = Held { reached: vec!["x".into()], ..held(3, "c", 40) };
    assert_eq!(expired, [held(1, "b", 20), held(2, "b", 30), changed]);
}

async fn an_outbox_is_read_in_order_and_in_pieces(stores: &dyn Stores) {
    let mut subject = Subject::new(stores, "outbox").await;
    let messages = [1, 2, 5].map(|sequence| message(sequence, "o-1", 1)).to_vec();
    let other = Message { sink: "zoo".into(), ..Message::clone(&message(3, "o-1", 1)) };
    subject.commit(Batch { messages, ..Batch::default() }).await;
    subject.commit(Batch { messages: vec![Arc::new(other)], ..Batch::default() }).await;
    let read = insist!(subject.store().read_outbox(&sink(), Sequence(1), 1));
    assert_eq!(read, [message(2, "o-1", 1)]);
    let read = insist!(subject.store().read_outbox(&sink(), Sequence(2), ALL));
    assert_eq!(read, [message(5, "o-1", 1)]);
}

async fn a_fired_timer_goes_if_it_is_still_the_one(stores: &dyn Stores) {
    let mut subject = Subject::new(stores, "fired").await;
    let set = vec![timer("o-1", "soon", 9), timer("o-1", "later", 99)];
    subject.commit(Batch { timers_set: set, ..Batch::default() }).await;
    let fires = |place, row: TimerRow| Append { fires: Some(row.timer), ..append(place, place) };
    let batch = Batch {
        // The second was replaced meanwhile.
        appends: vec![fires(1, timer("o-1", "soon", 9)), fires(2, timer("o-1", "later", 98))],
        ..Batch::default()
    };
    subject.commit(batch).await;
    let left = insist!(subject.store().read_timers(Timestamp(999), ALL));
    assert_eq!(left, [timer("o-1", "later", 99)]);
    // A decision in the same commit sets it anew.
    let batch = Batch {
        appends: vec![fires(3, timer("o-1", "later", 99))],
        timers_set: vec![timer("o-1", "later", 500)],
        ..Batch::default()
    };
    subject.commit(batch).await;
    let left = insist!(subject.store().read_timers(Timestamp(999), ALL));
    assert_eq!(left, [timer("o-1", "later", 500)]);
}

async fn timers_come_by_their_time(stores: &dyn Stores) {
    let mut subject = Subject::new(stores, "timers").await;
    let set = vec![timer("b", "y", 5), timer("b", "x", 5), timer("a", "z", 5), timer("c", "w", 4)];
    subject.commit(Batch { timers_set: set, ..Batch::default() }).await;
    let read = insist!(subject.store().read_timers(Timestamp(5), 3));
    assert_eq!(read, [timer("c", "w", 4), timer("a", "z", 5), timer("b", "x", 5)]);
    assert_eq!(insist!(subject.store().read_timers(Timestamp(4), ALL)).len(), 1);
    let cleared = vec![(plugin(), "c".into(), "w".into()), (plugin(), "c".into(), "none".into())];
    subject.commit(Batch { timers_cleared: cleared, ..Batch::default() }).await;
    assert_eq!(insist!(subject.store().read_timers(Timestamp(4), ALL)), []);
}

async fn parked_events_and_messages_come_in_order(stores: &dyn Stores) {
    let mut subject = Subject::new(stores, "waiting").await;
    let batch = Batch {
        messages: (1..=4).map(|sequence| message(sequence, "m", 1)).collect(),
        parked: vec![parked(3, "a"), parked(1, "a"), parked(2, "b"), parked(4, "a")],
        parked_messages: [4, 1, 3].map(|sequence| (lane("m"), Sequence(sequence))).to_vec(),
        ..appends(1..=4)
    };
    subject.commit(batch).await;
    let read = insist!(subject.store().read_parked(&plugin(), &"a".into(), Position(1), 1));
    assert_eq!(read, [entry(3)]);
    let read = insist!(subject.store().read_parked_messages(&lane("m"), Sequence(1), ALL));
    assert_eq!(read, [message(3, "m", 1), message(4, "m", 1)]);
    let batch = Batch {
        parked_removed: vec![(plugin(), "a".into(), Position(3))],
        parked_messages_removed: vec![(sink(), Sequence(3))],
        ..Batch::default()
    };
    subject.commit(batch).await;
    let read = insist!(subject.store().read_parked(&plugin(), &"a".into(), Position(0), ALL));
    assert_eq!(read, [entry(1), entry(4)]);
    let read = insist!(subject.store().read_parked_messages(&lane("m"), Sequence(0), 1));
    assert_eq!(read, [message(1, "m", 1)]);
}

async fn a_dead_letter_is_written_over(stores: &dyn Stores) {
    let mut subject = Subject::new(stores, "letters").await;
    let first = undelivered(1, 4, "o-1");
    let batch = Batch { dead_letters: vec![Arc::new(first.clone())], ..Batch::default() };
    subject.commit(batch).await;
    assert_eq!(insist!(subject.store().read_dead_letter(DeadLetterId(1))), Some(first.clone()));
    let resolved = DeadLetter {
        status: DeadLetterStatus::Redriven,
        resolved_by: Some("ada".to_owned()),
        resolved_reason: Some("the sink is back".to_owned()),
        edited: Some(event(77)),
        ..first
    };
    let batch = Batch { dead_letters: vec![Arc::new(resolved.clone())], ..Batch::default() };
    subject.commit(batch).await;
    assert_eq!(insist!(subject.store().read_dead_letter(DeadLetterId(1))), Some(resolved));
    assert_eq!(insist!(subject.store().read_dead_letter(DeadLetterId(2))), None);
}

async fn finished_instances_come_oldest_first(stores: &dyn Stores) {
    let mut subject = Subject::new(stores, "finished").await;
    let instances = vec![
        finished("c", InstanceStatus::Completed, 5),
        finished("b", InstanceStatus::Ended, 5),
        finished("a", InstanceStatus::Running, 1),
        finished("d", InstanceStatus::Completed, 3),
        finished("e", InstanceStatus::Completed, 9),
    ];
    subject.commit(Batch { instances, ..Batch::default() }).await;
    let keys = insist!(subject.store().read_finished_instances(&plugin(), Timestamp(5), ALL));
    assert_eq!(keys, ["d", "b", "c"].map(Key::from));
    let keys = insist!(subject.store().read_finished_instances(&plugin(), Timestamp(9), 1));
    assert_eq!(keys, [Key::from("d")]);
    let nobody = PluginName::from("nobody");
    let keys = insist!(subject.store().read_finished_instances(&nobody, Timestamp(9), 1));
    assert_eq!(keys, []);
}

async fn a_removed_instance_takes_its_claims_and_timers_along(stores: &dyn Stores) {
    let mut subject = Subject::new(stores, "removed").await;
    let batch = Batch {
        instances: vec![
            (plugin(), instance("o-1", &["i"], 1)),
            (plugin(), instance("o-2", &["i"], 1)),
        ],
        claims: vec![claim("i", "o-1", true), claim("i", "o-2", true)],
        timers_set: vec![timer("o-1", "t", 9), timer("o-2", "t", 9)],
        ..Batch::default()
    };
    subject.commit(batch).await;
    let removed = vec![(plugin(), "o-1".into()), (plugin(), "nobody".into())];
    subject.commit(Batch { instances_removed: removed, ..Batch::default() }).await;
    let loaded = insist!(subject.store().load(&plugin(), &["o-1".into(), "i".into()]));
    assert_eq!(loaded.instances, [instance("o-2", &["i"], 1)]);
    assert_eq!(insist!(subject.store().read_timers(Timestamp(9), ALL)), [timer("o-2", "t", 9)]);
    // A claim that was left behind would find the next instance of that key.
    let batch = Batch { instances: vec![(plugin(), instance("o-1", &[], 2))], ..Batch::default() };
    subject.commit(batch).await;
    let loaded = insist!(subject.store().load(&plugin(), &["i".into()]));
    assert_eq!(loaded.instances, [instance("o-2", &["i"], 1)]);
}

fn expire(history_before: u64, rows_max: usize) -> Batch {
    let (seen_before, history_before) = (Timestamp(0), Timestamp(history_before));
    let plugins = vec![plugin()];
    let expire = Some(Expire { plugins, seen_before, history_before, rows_max });
    Batch { expire, ..Batch::default() }
}

async fn what_is_too_old_goes(stores: &dyn Stores) {
    let mut subject = Subject::new(stores, "old").await;
    let resolved = |id| {
        Arc::new(DeadLetter { status: DeadLetterStatus::Discarded, ..letter(id, Some("a"), id) })
    };
    let batch = Batch {
        decisions: (1..=9).map(|place| decision(place, "a")).collect(),
        messages: (1..=9).map(|sequence| message(sequence, "a", sequence)).collect(),
        dead_letters: (1..=9).map(resolved).collect(),
        plugins: vec![plugin_progress("orders", 8), plugin_progress("others", 6)],
        sinks: vec![sink_progress("queue:Do", 5)],
        ..appends(1..=9)
    };
    subject.commit(batch).await;
    // Two rows of each of the four tables.
    let step = subject.commit(expire(8, 2)).await;
    assert!(step.is_none_or(|step| step.expired == 8));
    // Up to position 6 of the log and the decisions, message 5, and letter 7.
    while subject.commit(expire(8, 2)).await.is_none_or(|step| step.expired > 0) {}
    subject.restart().await;
    assert_eq!(subject.positions().await, [7, 8, 9]);
    let outbox = insist!(subject.store().read_outbox(&sink(), Sequence(0), ALL));
    assert_eq!(outbox.iter().map(|m| m.sequence.0).collect::<Vec<_>>(), [6, 7, 8, 9]);
    for (id, is_there) in [(1, false), (7, false), (8, true), (9, true)] {
        let letter = insist!(subject.store().read_dead_letter(DeadLetterId(id)));
        assert_eq!(letter.is_some(), is_there, "{id}");
    }
    // Places are not given again.
    while subject.commit(expire(99, ALL)).await.is_none_or(|step| step.expired > 0) {}
    let recovered = insist!(subject.store().recover());
    assert_eq!((recovered.position, recovered.dead_letter), (Position(9), DeadLetterId(9)));
    let ours = recovered.sinks.iter().find(|s| s.progress.sink == sink()).expect("it has messages");
    assert_eq!(ours.last, Sequence(9));
    let again = subject.commit(Batch { appends: vec![append(10, 1)], ..Batch::default() }).await;
    assert!(again.is_none_or(|again| again.duplicates == [Position(10)]), "it is still known");
}

async fn what_is_needed_stays(stores: &dyn Stores) {
    let mut subject = Subject::new(stores, "needed").await;
    subject.commit(appends(1..=6)).await;
    subject.commit(expire(99, ALL)).await;
    assert_eq!(subject.positions().await.len(), 6, "no plugin has read anything");
    let batch = Batch {
        messages: (1..=3).map(|sequence| message(sequence, "m", sequence)).collect(),
        held: vec![held(2, "k", 500)],
        parked: vec![parked(4, "a")],
        parked_messages: vec![(lane("m"), Sequence(2))],
        dead_letters: vec![Arc::new(letter(1, Some("a"), 3)), Arc::new(letter(2, None, 3))],
        plugins: vec![plugin_progress("orders", 6)],
        sinks: vec![sink_progress("queue:Do", 3)],
        ..Batch::default()
    };
    subject.commit(batch).await;
    let mut too_early = expire(99, ALL);
    let loaded = too_early.expire.as_mut().map(|expire| &mut expire.plugins);
    loaded.expect("just made").push("newcomer".into());
    subject.commit(too_early).await;
    assert_eq!(subject.positions().await.len(), 6, "a plugin has not read anything yet");
    // Also one by one, and again after the end was reached.
    for rows_max in [1, 1, 1, 1, 1, 1, 1, ALL, 1] {
        subject.commit(expire(99, rows_max)).await;
    }
    assert_eq!(subject.positions().await, [2, 4]);
    let outbox = insist!(subject.store().read_outbox(&sink(), Sequence(0), ALL));
    assert_eq!(outbox, [message(2, "m", 2)]);
    assert!(insist!(subject.store().read_dead_letter(DeadLetterId(1))).is_some());
    let release = Batch {
        held_removed: vec![(plugin(), "k".into(), Position(2))],
        parked_removed: vec![(plugin(), "a".into(), Position(4))],
        parked_messages_removed: vec![(sink(), Sequence(2))],
        ..expire(99, ALL)
    };
    subject.commit(release).await;
    assert!(subject.positions().await.is_empty());
    assert_eq!(insist!(subject.store().read_outbox(&sink(), Sequence(0), ALL)), []);
}

#[cfg(test)]
mod tests {
    use std::sync::Mutex;
    use std::time::Duration;

    use super::*;
    use crate::store::faulty::{FaultRates, FaultyStore};
    use crate::store::memory::MemoryStore;

    /// Stores in memory, with or without faults over them.
    #[derive(Default)]
    struct InMemory {
        stores: Mutex<BTreeMap<String, MemoryStore>>,
        faults: Option<(FaultRates, u64)>,
    }

    #[async_trait]
    impl Stores for InMemory {
        async fn open(&self, name: &str) -> Box<dyn Store> {
            let store = self.stores.lock().unwrap().entry(name.to_owned()).or_default().clone();
            match self.faults {
                None => Box::new(store),
                Some((rates, seed)) => Box::new(FaultyStore::new(store, rates, seed)),
            }
        }
    }

    fn faults(thousandths: u32) -> FaultRates {
        FaultRates {
            refused: thousandths,
            unknown_written: thousandths,
            unknown_lost: thousandths,
            read_failed: thousandths,
            delay_max: Duration::from_millis(5),
        }
    }

    #[tokio::test]
    async fn the_store_in_memory_keeps_the_contract() {
        all(&InMemory::default()).await;
    }

    #[tokio::test(start_paused = true)]
    async fn a_store_that_fails_keeps_the_contract_too() {
        for seed in 0..20 {
            // The first never fails: the decorator itself changes nothing.
            let rate = if seed == 0 { 0 } else { 200 };
            let faults = Some((faults(rate), seed));
            all(&InMemory { faults, ..InMemory::default() }).await;
        }
    }
}
