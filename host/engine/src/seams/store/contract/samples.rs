//! Sample rows for the tests of stores.

use std::collections::BTreeMap;
use std::sync::Arc;

use bytes::Bytes;

use crate::model::{
    Control, Counters, Cursor, DeadLetter, DeadLetterId, DeadLetterStatus, DeadLetterSubject,
    DecisionRecord, DecisionSummary, Event, Held, Hops, Instance, InstanceStatus, Key, Limit,
    LogEntry, Message, MessageKind, Parked, Pause, PauseEnd, PluginName, Position, Rate, Sequence,
    SinkName, SpanId, State, Target, TimerRef, Timestamp, Trace, TraceContext, TraceId, Wait,
};
use crate::seams::store::{
    Append, Batch, ClaimChange, MessageLane, PluginProgress, SinkProgress, StoredInstance, TimerRow,
};

/// An event; events with different ids differ in subject, media type and data.
#[must_use]
pub fn event(id: u64) -> Arc<Event> {
    Arc::new(Event {
        id: format!("e-{id}"),
        source: "/contract".to_owned(),
        event_type: "happened".to_owned(),
        subject: id.is_multiple_of(2).then(|| format!("s-{}", id % 3)),
        time: Some("2026-01-31T12:00:00Z".to_owned()),
        datacontenttype: id.is_multiple_of(5).then(|| "application/octet-stream".to_owned()),
        dataschema: None,
        extensions: vec![("tenant".to_owned(), "ä \"b\" \\ '".to_owned())],
        data: Bytes::from_static(match id % 8 {
            0 => b"\x00\xff",
            1 => b"{\"a\" : 1}",
            2 => b" null ",
            3 => b"not json",
            4 => b"{\"n\":1e400,\"n\":\"cut \\ud83d\"}",
            5 => b"null",
            6 => b"{\"\\udead\":10.00}",
            _ => b"",
        }),
    })
}

/// The hops of the sample event with this id.
#[must_use]
pub fn hops(id: u64) -> Hops {
    Hops(u32::try_from(id % 4).unwrap_or_default())
}

/// An append of the sample event `id`. It was received at the time of its position's number.
#[must_use]
pub fn append(position: u64, id: u64) -> Append {
    let (position, received_at) = (Position(position), Timestamp(position));
    let (event, hops) = (event(id), hops(id));
    Append { position, received_at, event, hops, fires: None, redriven: false }
}

/// A batch that appends the sample events of these positions.
#[must_use]
pub fn appends(places: impl IntoIterator<Item = u64>) -> Batch {
    let appends = places.into_iter().map(|place| append(place, place)).collect();
    Batch { appends, ..Batch::default() }
}

/// The log entry that [`append`] makes of this position.
#[must_use]
pub fn entry(place: u64) -> LogEntry {
    let Append { position, received_at, event, hops, .. } = append(place, place);
    LogEntry { position, received_at, event, hops }
}

/// The plugin that all samples belong to.
#[must_use]
pub fn plugin() -> PluginName {
    "orders".into()
}

/// The sink of all sample messages.
#[must_use]
pub fn sink() -> SinkName {
    "queue:Do".into()
}

/// The ordering key `key` of the sample sink.
#[must_use]
pub fn lane(key: &str) -> MessageLane {
    MessageLane { sink: sink(), plugin: plugin(), key: key.into() }
}

/// A sink that has settled so much, without counters.
#[must_use]
pub fn sink_progress(name: &str, settled: u64) -> SinkProgress {
    let cursor = Cursor { settled, ..Cursor::default() };
    SinkProgress { sink: name.into(), cursor, counters: Counters::default() }
}

/// A plugin that has settled so much, without counters.
#[must_use]
pub fn plugin_progress(name: &str, settled: u64) -> PluginProgress {
    let cursor = Cursor { settled, ..Cursor::default() };
    PluginProgress { plugin: name.into(), cursor, counters: Counters::default() }
}

/// An instance as the store loads it, with claims, and no timers.
#[must_use]
pub fn loaded(instance: &Arc<Instance>, claims: &[&str]) -> StoredInstance {
    let claims = claims.iter().map(|key| Key::from(*key)).collect();
    StoredInstance { instance: Arc::clone(instance), claims, timers: BTreeMap::new() }
}

/// A running instance with a state.
#[must_use]
pub fn instance(key: &str, updated_at: u64) -> Arc<Instance> {
    Arc::new(Instance {
        key: key.into(),
        status: InstanceStatus::Running,
        started: Position(1),
        state: Some(State { version: 2, data: Bytes::from_static(b"\xfe state") }),
        decided: Position(1),
        place: Position(1),
        version: 1,
        started_at: Timestamp(1),
        updated_at: Timestamp(updated_at),
        trace: Some(Box::new(span(u64::MAX))),
    })
}

/// A span of some trace.
#[must_use]
pub fn span(id: u64) -> TraceContext {
    TraceContext::sampled(TraceId(u128::MAX - 7), SpanId(id | 1))
}

/// An instance that is over, without a state.
#[must_use]
pub fn finished(key: &str, status: InstanceStatus, updated_at: u64) -> (PluginName, Arc<Instance>) {
    let running = Arc::unwrap_or_clone(instance(key, updated_at));
    let place = Position(updated_at);
    (plugin(), Arc::new(Instance { status, state: None, place, trace: None, ..running }))
}

/// A claim of `key` by an instance, or its release.
#[must_use]
pub fn claim(key: &str, instance: &str, claimed: bool) -> ClaimChange {
    ClaimChange { plugin: plugin(), key: key.into(), instance: instance.into(), claimed }
}

/// A timer that the first event has set.
#[must_use]
pub fn timer(instance: &str, name: &str, due: u64) -> TimerRow {
    let timer = TimerRef {
        plugin: plugin(),
        instance: instance.into(),
        name: name.into(),
        due: Timestamp(due),
        set_by: Position(1),
    };
    let trace = due.is_multiple_of(2).then(|| {
        let state = due.is_multiple_of(4).then(|| "a=1".to_owned());
        Box::new(Trace { parent: "00-1-2-00".to_owned(), state })
    });
    TimerRow { timer, data: Bytes::from_static(b"\xff\x00"), hops: Hops(7), trace }
}

/// An event that is held for `key`, and has reached one instance.
#[must_use]
pub fn held(place: u64, key: &str, until: u64) -> Held {
    let (entry, until) = (entry(place), Timestamp(until));
    let (reached, due) = (vec!["o-1".into()], None);
    Held { plugin: plugin(), key: key.into(), entry, until, reached, due }
}

/// An event that waits behind a dead letter of `key`.
#[must_use]
pub fn parked(place: u64, key: &str) -> Parked {
    Parked { plugin: plugin(), key: key.into(), entry: entry(place) }
}

/// A wait of a key for its next attempt at the event or message at this place.
#[must_use]
pub fn wait(place: u64) -> Wait {
    let (since, until) = (Timestamp(place), Timestamp(place + 7));
    Wait { place, attempt: 3, since, until, reason: "busy\n\u{1b}".to_owned() }
}

/// A message; even sequences are events, odd ones commands.
#[must_use]
pub fn message(sequence: u64, key: &str, cause: u64) -> Arc<Message> {
    Arc::new(Message {
        sink: sink(),
        sequence: Sequence(sequence),
        kind: if sequence.is_multiple_of(2) { MessageKind::Event } else { MessageKind::Command },
        plugin: plugin(),
        key: key.into(),
        cause: Position(cause),
        instance: Some(Position(cause)),
        event: event(100 + sequence),
        hops: hops(sequence),
    })
}

/// A decision of the event at this position, after the one at the position before.
#[must_use]
pub fn decision(place: u64, key: &str) -> DecisionRecord {
    let (position, decided_at, of) = (Position(place), Timestamp(place), (plugin(), key.into()));
    let summary = DecisionSummary::default();
    DecisionRecord {
        previous: (place > 1).then_some(Position(place - 1)),
        ..DecisionRecord::new(of, position, decided_at, "1.0.0".into(), &summary)
    }
}

/// An open dead letter of an event.
#[must_use]
pub fn dead_letter(id: u64, key: Option<&str>, place: u64) -> DeadLetter {
    DeadLetter {
        id: DeadLetterId(id),
        subject: DeadLetterSubject::Event,
        plugin: plugin(),
        key: key.map(Key::from),
        position: Position(place),
        reason: "it's 'quoted'".to_owned(),
        log: Some("warn it's \"logged\"\u{1b}\u{0}\ninfo two".into()),
        attempts: 3,
        plugin_version: "1.0.0".into(),
        at: Timestamp(place),
        status: DeadLetterStatus::Open,
        resolved_by: None,
        resolved_reason: None,
        event: event(place),
        hops: hops(place),
        edited: None,
        batch: None,
    }
}

/// An open dead letter of a message.
#[must_use]
pub fn undelivered(id: u64, sequence: u64, key: &str) -> DeadLetter {
    let kind = MessageKind::Event;
    let subject = DeadLetterSubject::Message { sink: sink(), sequence: Sequence(sequence), kind };
    DeadLetter { subject, ..dead_letter(id, Some(key), 1) }
}

/// A pause of a key of the plugin, set at this date.
#[must_use]
pub fn pause(key: &str, since: u64) -> Control {
    Control::Pause(Pause {
        target: Target::Key { plugin: plugin(), key: key.into() },
        by: "ada".to_owned(),
        reason: "a release".to_owned(),
        since: Timestamp(since),
        end: since.is_multiple_of(2).then(|| PauseEnd::After(Timestamp(since + 1))),
    })
}

/// A limit of a message type, set at this date.
#[must_use]
pub fn limit(message_type: &str, since: u64) -> Control {
    Control::Limit(Limit {
        target: Target::Type { message_type: message_type.to_owned() },
        per_second: Some(Rate(since)),
        in_flight: Some(3),
        concurrency: None,
        by: "ada".to_owned(),
        reason: "they are slow".to_owned(),
        since: Timestamp(since),
    })
}
