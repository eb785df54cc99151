//! What the answers to questions hold, and what a list can be asked for.

use std::collections::BTreeMap;
use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD as BASE64;
use bytes::Bytes;
use sagabox_engine::model::{
    DeadLetterId, DeadLetterStatus, DecisionRecord, DecisionSummary, Due, EndedBy, Hops,
    ImportedBy, InstanceStatus, Key, KeyChange, PluginName, Position, RecordedAnswer,
    RecordedTimer, SentMessage, SinkName, State, Timer, TimerName, Timestamp,
};
use sagabox_engine::seams::store::ReadError;
use serde::ser::SerializeMap as _;
use serde::{Deserialize, Serialize, Serializer};
use serde_json::value::RawValue;
use utoipa::ToSchema;

use super::condition::Condition;
use super::deliveries::Delivery;
use super::shapes::{
    AnyJson, CloudEvent, ContentShape, DeadLetterStatusName, InstanceStatusName, SummaryShape,
    TimerShape,
};
use crate::io::times::{Time, rfc3339, rfc3339_option};

/// Some rows, and where the following page begins, if there is one.
#[derive(Debug, PartialEq, Eq)]
pub struct Page<R, N> {
    pub rows: Vec<R>,
    pub next: Option<N>,
}

impl<R, N> Page<R, N> {
    /// Of one row more than a page has, if there are so many.
    pub(in crate::store) fn of(mut rows: Vec<R>, limit: u32, place: impl Fn(&R) -> N) -> Self {
        let is_last = rows.len() <= limit as usize;
        rows.truncate(limit as usize);
        let next = rows.last().filter(|_| !is_last).map(place);
        Self { rows, next }
    }
}

/// Which instances of a plugin a list has. What is given must hold.
#[derive(Clone, Debug, Default)]
pub struct InstanceFilter {
    pub plugin: String,
    pub status: Option<InstanceStatus>,
    /// When it was started and last changed.
    pub age: Age,
    /// What must hold of its fields.
    pub condition: Option<Condition>,
    /// The field by which they are in order; see [`InstanceFilter::order`] for the others.
    pub field_order: Option<FieldOrder>,
    /// Whether they are in the order of their keys, whatever is selected.
    pub is_by_key: bool,
    /// Where the page before ended.
    pub after: Option<String>,
    /// Rows of a page. A count ends when it has counted so many; zero: it counts all.
    pub limit: u32,
    /// How long it looks for its rows; none for as long as lists do.
    pub scan_time: Option<Duration>,
}

/// When an instance was started, and when it was last changed.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Age {
    /// Earlier than this time.
    pub started_before: Option<Timestamp>,
    /// At this time or later.
    pub started_after: Option<Timestamp>,
    /// Earlier than this time. An instance that was started later, because the clock was set back
    /// since, is not selected.
    pub updated_before: Option<Timestamp>,
    pub updated_after: Option<Timestamp>,
}

impl Age {
    #[must_use]
    pub fn is_given(&self) -> bool {
        *self != Self::default()
    }

    pub(in crate::store) fn selects(&self, started_at: Timestamp, updated_at: Timestamp) -> bool {
        self.started_before.is_none_or(|time| started_at < time)
            && self.started_after.is_none_or(|time| started_at >= time)
            && self.updated_before.is_none_or(|time| updated_at < time && started_at < time)
            && self.updated_after.is_none_or(|time| updated_at >= time)
    }
}

/// Booleans come before numbers, and numbers before strings.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FieldOrder {
    pub field: String,
    pub is_descending: bool,
}

/// A part of a count, and where the rest begins, if there is one.
#[derive(Debug, PartialEq, Eq, Serialize, ToSchema)]
#[schema(as = InstanceCounts)]
pub struct CountedPage {
    /// Without the statuses that none has.
    #[schema(value_type = BTreeMap<String, u64>)]
    pub counts: BTreeMap<&'static str, u64>,
    pub next: Option<String>,
}

#[derive(Debug, Serialize, ToSchema)]
pub struct InstanceRow {
    #[schema(value_type = String)]
    pub key: Key,
    #[schema(value_type = InstanceStatusName)]
    pub status: InstanceStatus,
    /// Decisions so far.
    pub version: u64,
    #[serde(serialize_with = "rfc3339")]
    #[schema(value_type = Time)]
    pub started_at: Timestamp,
    #[serde(serialize_with = "rfc3339")]
    #[schema(value_type = Time)]
    pub updated_at: Timestamp,
    /// The values of its fields, as its state has them; none if its plugin declared none when it
    /// decided.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<BTreeMap<String, AnyJson>>)]
    pub fields: Option<Box<RawValue>>,
    /// One line about it, which its plugin has a template for.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub summary: Option<String>,
}

/// All about one instance, or one key of a stateless role.
#[derive(Debug, Serialize, ToSchema)]
pub struct InstanceDetail {
    pub plugin: String,
    pub key: String,
    #[schema(value_type = Option<InstanceStatusName>)]
    pub status: Option<InstanceStatus>,
    /// One line about it, which its plugin has a template for.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub summary: Option<String>,
    /// The values of its fields, as its state has them.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<BTreeMap<String, AnyJson>>)]
    pub fields: Option<Box<RawValue>>,
    /// As it is if it is JSON, otherwise as a string.
    #[schema(value_type = AnyJson)]
    pub state: Option<Box<RawValue>>,
    pub state_version: Option<u32>,
    /// Additional keys.
    #[schema(value_type = Vec<String>)]
    pub keys: Vec<Key>,
    /// Those that are set, and those that have fired and wait for the instance.
    #[serde(serialize_with = "timers")]
    #[schema(value_type = BTreeMap<String, TimerShape>)]
    pub timers: BTreeMap<TimerName, Timer>,
    /// Whether it waits behind a dead letter.
    pub parked: bool,
    /// The next attempt at its first event, if it waits for that for longer than a moment.
    pub wait: Option<WaitDetail>,
    /// Why an operator has paused it, or its plugin.
    pub paused: Option<String>,
    /// Newest first.
    pub history: Vec<HistoryRow>,
    /// Whether the state and the answers of lookups are left out, because the caller may not see
    /// payloads.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub payloads_hidden: bool,
    /// Where the following page of the history begins, if there is one.
    #[serde(serialize_with = "place")]
    #[schema(value_type = Option<String>)]
    pub next: Option<Position>,
}

/// All that a store has of an instance, but for its history. Nothing of its bytes is changed.
#[derive(Debug, Serialize, ToSchema)]
pub struct ExportedInstance {
    #[schema(value_type = String)]
    pub key: Key,
    #[schema(value_type = InstanceStatusName)]
    pub status: InstanceStatus,
    /// Decisions so far.
    pub version: u64,
    #[serde(serialize_with = "rfc3339")]
    #[schema(value_type = Time)]
    pub started_at: Timestamp,
    #[serde(serialize_with = "rfc3339")]
    #[schema(value_type = Time)]
    pub updated_at: Timestamp,
    pub state_version: Option<u32>,
    #[schema(value_type = Option<ContentShape>)]
    pub state: Option<Content>,
    #[schema(value_type = Option<BTreeMap<String, AnyJson>>)]
    pub fields: Option<Box<RawValue>>,
    /// Additional keys.
    #[schema(value_type = Vec<String>)]
    pub keys: Vec<Key>,
    pub timers: Vec<ExportedTimer>,
}

#[derive(Debug, Serialize, ToSchema)]
pub struct ExportedTimer {
    #[schema(value_type = String)]
    pub name: TimerName,
    #[serde(serialize_with = "rfc3339")]
    #[schema(value_type = Time)]
    pub due: Timestamp,
    #[schema(value_type = u64)]
    pub set_by: Position,
    /// None if it has no data.
    #[schema(value_type = Option<ContentShape>)]
    pub data: Option<Content>,
}

/// Bytes on one line of text.
#[derive(Debug, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Content {
    /// JSON, as it was written.
    Json(Box<RawValue>),
    Base64(String),
}

impl Content {
    /// # Errors
    /// If the bytes are not in base64.
    pub fn bytes(&self) -> Result<Bytes, ReadError> {
        match self {
            Self::Json(json) => Ok(Bytes::from(json.get().to_owned())),
            Self::Base64(text) => {
                let decoded = BASE64.decode(text).map_err(|error| ReadError(error.to_string()))?;
                Ok(decoded.into())
            }
        }
    }
}

/// A state, and how many decisions its instance has made.
#[derive(Debug)]
pub struct StateRow {
    pub key: String,
    pub version: u64,
    pub state: State,
}

/// What an instance has in its fields if it has made so many decisions.
#[derive(Debug)]
pub struct FilledFields {
    pub key: String,
    pub version: u64,
    /// As in [`sagabox_engine::seams::store::FieldsRow`].
    pub values: String,
}

#[derive(Debug, Serialize, ToSchema)]
pub struct WaitDetail {
    #[schema(value_type = u64)]
    pub position: Position,
    /// The number of the next attempt.
    pub attempt: u32,
    #[serde(serialize_with = "rfc3339")]
    #[schema(value_type = Time)]
    pub since: Timestamp,
    #[serde(serialize_with = "rfc3339")]
    #[schema(value_type = Time)]
    pub until: Timestamp,
    /// Why the last attempt failed.
    pub reason: String,
}

#[derive(Debug, Serialize, ToSchema)]
pub struct HistoryRow {
    #[schema(value_type = u64)]
    pub position: Position,
    #[serde(serialize_with = "rfc3339")]
    #[schema(value_type = Time)]
    pub decided_at: Timestamp,
    pub plugin_version: String,
    pub attempt: u32,
    /// None if retention has removed it.
    pub event: Option<EventName>,
    #[serde(serialize_with = "summary")]
    #[schema(value_type = SummaryShape)]
    pub summary: DecisionSummary,
    /// What became of its messages, in the order in which they left.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub deliveries: Vec<Delivery>,
}

impl HistoryRow {
    pub(in crate::store) fn new(
        record: &DecisionRecord,
        event: Option<EventName>,
    ) -> serde_json::Result<Self> {
        Ok(Self {
            position: record.position,
            decided_at: record.decided_at,
            plugin_version: record.plugin_version.to_string(),
            attempt: record.attempt,
            event,
            summary: DecisionSummary::from_json(&record.summary)?,
            deliveries: Vec::new(),
        })
    }
}

#[derive(Debug, PartialEq, Eq, Serialize, ToSchema)]
pub struct EventName {
    pub id: String,
    #[serde(rename = "type")]
    pub event_type: String,
}

/// How many there are.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Counted {
    pub count: u64,
    /// Whether all were counted. Otherwise there are at least so many.
    pub is_exact: bool,
}

/// Which dead letters a list has. What is given must hold; a dead letter must come after `after`.
#[derive(Clone, Debug, Default)]
pub struct DeadLetterFilter {
    pub ids: Option<Vec<u64>>,
    pub plugin: Option<String>,
    /// The version of the plugin that failed.
    pub plugin_version: Option<String>,
    pub status: Option<DeadLetterStatus>,
    pub sink: Option<String>,
    pub key: Option<String>,
    pub event_type: Option<String>,
    pub reason_contains: Option<String>,
    pub cause: Option<String>,
    pub after: u64,
    pub limit: u32,
}

impl DeadLetterFilter {
    /// Whether it is for the open dead letters of one cause and for nothing else.
    pub(in crate::store) fn is_one_cause(&self) -> bool {
        let Self { ids, plugin, plugin_version, status, key, event_type, reason_contains, .. } =
            self;
        let others = [key, event_type, reason_contains];
        let group = [plugin, plugin_version, &self.cause];
        ids.is_none()
            && *status == Some(DeadLetterStatus::Open)
            && group.iter().all(|text| text.is_some())
            && others.iter().all(|text| text.is_none())
    }
}

/// Which causes a list has.
#[derive(Clone, Debug, Default)]
pub struct CauseFilter {
    pub plugin: Option<String>,
    /// So many causes are left out, the most frequent ones.
    pub after: u64,
    pub limit: u32,
}

/// Open dead letters whose reasons are the same but for numbers and names.
#[derive(Debug, PartialEq, Eq, Serialize, ToSchema)]
#[schema(as = DeadLetterCause)]
pub struct CauseRow {
    pub plugin: String,
    /// The version that failed; empty for messages.
    pub plugin_version: String,
    /// That of messages; none for events.
    pub sink: Option<String>,
    pub cause: String,
    /// How many are open.
    pub dead_letters: u64,
    /// When the last failure of the oldest of them was.
    #[serde(serialize_with = "rfc3339")]
    #[schema(value_type = Time)]
    pub oldest: Timestamp,
    #[serde(serialize_with = "rfc3339")]
    #[schema(value_type = Time)]
    pub newest: Timestamp,
    /// The newest of them.
    #[schema(value_type = u64)]
    pub example: DeadLetterId,
}

/// A part of the list of causes.
#[derive(Debug, PartialEq, Eq)]
pub struct CausePage {
    pub causes: Page<CauseRow, u64>,
    /// False if there are so many open dead letters that not all were counted.
    pub is_exact: bool,
}

#[derive(Debug, Serialize, ToSchema)]
pub struct DeadLetterRow {
    #[schema(value_type = u64)]
    pub id: DeadLetterId,
    pub kind: DeadLetterKind,
    #[schema(value_type = String)]
    pub plugin: PluginName,
    #[schema(value_type = Option<String>)]
    pub key: Option<Key>,
    #[schema(value_type = u64)]
    pub position: Position,
    #[schema(value_type = Option<String>)]
    pub sink: Option<SinkName>,
    pub reason: String,
    /// What the plugin logged in the call that failed, the newest lines; none if it logged nothing,
    /// and for a message.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub log: Option<Vec<LoggedLine>>,
    /// The reason without numbers and names: dead letters of one mistake have the same.
    pub cause: String,
    pub attempts: u32,
    pub plugin_version: String,
    #[serde(serialize_with = "rfc3339")]
    #[schema(value_type = Time)]
    pub at: Timestamp,
    #[schema(value_type = DeadLetterStatusName)]
    pub status: DeadLetterStatus,
    pub resolved_by: Option<String>,
    pub resolved_reason: Option<String>,
    /// The batch that has resolved it last; none if a single action has, or none has.
    pub batch: Option<u64>,
    /// As it was received or decided, byte by byte.
    #[schema(value_type = CloudEvent)]
    pub event: Box<RawValue>,
    /// Whether the data of the events is left out, because the caller may not see payloads.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub payloads_hidden: bool,
    /// What an operator put in its place.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<CloudEvent>)]
    pub edited: Option<Box<RawValue>>,
}

/// A line that a plugin logged in a call.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, ToSchema)]
pub struct LoggedLine {
    /// `error`, `warn`, `info`, `debug` or `trace`.
    pub level: String,
    pub text: String,
}

impl LoggedLine {
    /// The lines of a dead letter's log.
    #[must_use]
    pub fn of_log(log: &str) -> Vec<Self> {
        let lines = log.lines().map(|line| line.split_once(' ').unwrap_or(("info", line)));
        lines.map(|(level, text)| Self { level: level.to_owned(), text: text.to_owned() }).collect()
    }
}

/// What is dead: an event that could not be handled, or a message that could not be delivered.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, ToSchema)]
#[serde(rename_all = "kebab-case")]
pub enum DeadLetterKind {
    Event,
    Message,
}

/// Which timers a list has. What is given must hold.
#[derive(Clone, Debug, Default)]
pub struct TimerFilter {
    pub plugin: Option<String>,
    /// That of the instance which set it.
    pub key: Option<String>,
    pub name: Option<String>,
    /// Earlier than this time.
    pub due_before: Option<Timestamp>,
    /// At this time or later.
    pub due_after: Option<Timestamp>,
    pub after: Option<TimerPlace>,
    pub limit: u32,
}

impl TimerFilter {
    /// Whether a timer is meant, as far as its time does not say.
    pub(in crate::store) fn selects(&self, row: &DueTimer) -> bool {
        let is = |own: &Option<String>, of: &str| own.as_deref().is_none_or(|own| own == of);
        is(&self.plugin, &row.plugin) && is(&self.key, &row.key) && is(&self.name, &row.name)
    }

    /// Whether a timer, and all that are due later, are not meant.
    pub(in crate::store) fn is_past(&self, row: &DueTimer) -> bool {
        self.due_before.is_some_and(|time| row.due >= time)
    }
}

/// When a timer is due, its plugin, the key of its instance, and its name: its place in the order.
pub type TimerPlace = (u64, String, String, String);

/// A timer that is set and has not fired.
#[derive(Debug, PartialEq, Eq, Serialize, ToSchema)]
#[schema(as = DueTimer)]
pub struct DueTimer {
    #[serde(serialize_with = "rfc3339")]
    #[schema(value_type = Time)]
    pub due: Timestamp,
    pub plugin: String,
    /// That of the instance which set it.
    pub key: String,
    pub name: String,
    /// The position of the event whose decision set it.
    #[schema(value_type = u64)]
    pub set_by: Position,
}

impl DueTimer {
    #[must_use]
    pub fn place(&self) -> TimerPlace {
        (self.due.0, self.plugin.clone(), self.key.clone(), self.name.clone())
    }
}

/// Which waits a list has.
#[derive(Clone, Debug, Default)]
pub struct WaitFilter {
    pub plugin: Option<String>,
    /// Messages of this sink alone.
    pub sink: Option<String>,
    pub after: Option<WaitPlace>,
    pub limit: u32,
}

/// Where a wait is in the order: those of events by plugin and key, then those of messages.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum WaitPlace {
    Event(String, String),
    Message(String, u64),
}

/// A key that waits for the next attempt at its first event, or a message for its next delivery.
#[derive(Debug, PartialEq, Eq, Serialize, ToSchema)]
#[schema(as = Wait)]
pub struct WaitRow {
    pub plugin: String,
    pub key: String,
    /// That of a message; none for an event.
    pub sink: Option<String>,
    /// The event's position in the log, or the message's in the outbox of its sink.
    pub place: u64,
    /// The number of the next attempt.
    pub attempt: u32,
    #[serde(serialize_with = "rfc3339")]
    #[schema(value_type = Time)]
    pub since: Timestamp,
    #[serde(serialize_with = "rfc3339")]
    #[schema(value_type = Time)]
    pub until: Timestamp,
    /// Why the last attempt failed.
    pub reason: String,
}

impl WaitRow {
    #[must_use]
    pub fn place_in_order(&self) -> WaitPlace {
        match &self.sink {
            None => WaitPlace::Event(self.plugin.clone(), self.key.clone()),
            Some(sink) => WaitPlace::Message(sink.clone(), self.place),
        }
    }
}

/// A decision with its inputs, as replay needs it.
#[derive(Debug)]
pub struct RecordedDecision {
    pub record: DecisionRecord,
    /// The event as JSON; none if it is no longer in the log, or was not asked for.
    pub event: Option<String>,
    pub hops: Hops,
}

/// Guarantee 7 as numbers, from one snapshot.
#[derive(Debug, Serialize, ToSchema)]
pub struct Accounts {
    /// Events ever appended to the log.
    pub events: u64,
    /// In the order of their names.
    pub plugins: Vec<PluginAccount>,
    /// In the order of their names.
    pub sinks: Vec<SinkAccount>,
    /// Events of senders that no plugin took when they came, by type.
    pub untaken: Vec<UntakenAccount>,
    /// Duplicates with other content than the event that was accepted under their source and
    /// id, since the host started, as far as they were compared.
    pub differing_duplicates: u64,
    /// What operators have paused.
    pub paused: Vec<PausedAccount>,
    /// Whether every sum adds up.
    pub balanced: bool,
}

/// A pause in short.
#[derive(Debug, PartialEq, Eq, Serialize, ToSchema)]
pub struct PausedAccount {
    /// What is paused: `ingest`, `plugin`, `key`, `sink` or `type`.
    pub kind: &'static str,
    pub name: String,
    /// Why, in the operator's words.
    pub reason: String,
}

/// `received = handled + ignored + held + parked + dead + discarded`, and
/// `pending` events of the log that the plugin has not settled yet; far behind, about so many.
#[derive(Debug, PartialEq, Eq, Serialize, ToSchema)]
pub struct PluginAccount {
    pub plugin: String,
    pub received: u64,
    pub handled: u64,
    pub ignored: u64,
    /// The ignored ones by the rule that ignored them, without those that ignored none.
    #[schema(value_type = BTreeMap<String, u64>)]
    pub ignored_because: BTreeMap<&'static str, u64>,
    pub held: u64,
    pub parked: u64,
    pub dead: u64,
    pub discarded: u64,
    pub pending: u64,
    pub balanced: bool,
}

/// `messages = delivered + pending + parked + dead + discarded + compensated`.
#[derive(Debug, PartialEq, Eq, Serialize, ToSchema)]
pub struct SinkAccount {
    pub sink: String,
    pub messages: u64,
    pub delivered: u64,
    pub pending: u64,
    /// When the oldest pending message was decided; none if none is pending, or if its decision is
    /// not kept any more.
    #[serde(serialize_with = "rfc3339_option")]
    #[schema(value_type = Option<Time>)]
    pub oldest_at: Option<Timestamp>,
    pub parked: u64,
    pub dead: u64,
    pub discarded: u64,
    /// Refused commands whose plugin has handled the refusal.
    pub compensated: u64,
    pub balanced: bool,
}

#[derive(Debug, PartialEq, Eq, Serialize, ToSchema)]
pub struct UntakenAccount {
    /// Empty: all types beyond the first hundred.
    #[serde(rename = "type")]
    pub event_type: String,
    pub events: u64,
    #[serde(serialize_with = "rfc3339")]
    #[schema(value_type = Time)]
    pub last_at: Timestamp,
}

#[expect(clippy::ref_option, reason = "serde calls it so")]
fn place<S: Serializer>(next: &Option<Position>, serializer: S) -> Result<S::Ok, S::Error> {
    next.map(|position| position.0.to_string()).serialize(serializer)
}

fn timers<S: Serializer>(
    timers: &BTreeMap<TimerName, Timer>,
    serializer: S,
) -> Result<S::Ok, S::Error> {
    #[derive(Serialize)]
    struct Shown {
        #[serde(serialize_with = "rfc3339")]
        due: Timestamp,
        set_by: Position,
    }
    let shown = |timer: &Timer| Shown { due: timer.due, set_by: timer.set_by };
    serializer.collect_map(timers.iter().map(|(name, timer)| (name, shown(timer))))
}

/// A record as it is, but for its times: the store has milliseconds.
fn summary<S: Serializer>(summary: &DecisionSummary, serializer: S) -> Result<S::Ok, S::Error> {
    #[derive(Serialize)]
    struct Shown<'s> {
        #[serde(skip_serializing_if = "<[_]>::is_empty")]
        messages: &'s [SentMessage],
        #[serde(skip_serializing_if = "Vec::is_empty")]
        timers: Vec<ShownTimer<'s>>,
        #[serde(skip_serializing_if = "<[_]>::is_empty")]
        keys: &'s [KeyChange],
        #[serde(skip_serializing_if = "std::ops::Not::not")]
        complete: bool,
        #[serde(skip_serializing_if = "<[_]>::is_empty")]
        answers: &'s [RecordedAnswer],
        #[serde(skip_serializing_if = "Option::is_none")]
        dead_letter: Option<DeadLetterId>,
        #[serde(skip_serializing_if = "Option::is_none")]
        ended: Option<&'s EndedBy>,
        #[serde(skip_serializing_if = "Option::is_none")]
        imported: Option<&'s ImportedBy>,
        #[serde(skip_serializing_if = "Option::is_none")]
        traceparent: Option<&'s str>,
    }
    let DecisionSummary {
        messages,
        timers,
        keys,
        complete,
        answers,
        dead_letter,
        ended,
        imported,
        traceparent,
    } = summary;
    let shown = Shown {
        messages,
        timers: timers.iter().map(ShownTimer).collect(),
        keys,
        complete: *complete,
        answers,
        dead_letter: *dead_letter,
        ended: ended.as_ref(),
        imported: imported.as_ref(),
        traceparent: traceparent.as_deref(),
    };
    shown.serialize(serializer)
}

struct ShownTimer<'s>(&'s RecordedTimer);

impl Serialize for ShownTimer<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let RecordedTimer::Set(name, Due::At(at)) = self.0 else {
            return self.0.serialize(serializer);
        };
        let mut members = serializer.serialize_map(Some(2))?;
        members.serialize_entry("set", name)?;
        members.serialize_entry("at", &Time(*at))?;
        members.end()
    }
}
