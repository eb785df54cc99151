//! SEAM Store: durable log, instances, outbox, timers and dead letters.
//!
//! The interface takes whole batches, never rows. A commit is expensive because it is durable,
//! so each one writes as many waiting rows as possible. There is one writer at a time: the
//! engine never calls `commit` again before the last call returned. Reads may run at the same
//! time. A read that begins after a commit returned sees that commit, and every read sees some
//! committed prefix.

#[cfg(any(test, feature = "testing"))]
pub mod alike;
#[cfg(any(test, feature = "testing"))]
pub mod contract;
#[cfg(any(test, feature = "simulation"))]
pub mod faulty;
#[cfg(any(test, feature = "simulation"))]
pub mod memory;
#[cfg(any(test, feature = "simulation"))]
pub mod memory_items;

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use async_trait::async_trait;
use bytes::Bytes;
use thiserror::Error;

use crate::model::{
    AgeMark, AgeTime, BatchItemId, Control, ControlId, Counters, Cursor, DeadLetter, DeadLetterId,
    DeadLetterStatus, DecisionRecord, Event, Held, Hops, Instance, InstanceStatus, Key, LogEntry,
    Message, OpenDeadLetter, Origin, Parked, PluginName, Position, Sequence, SinkName, Timer,
    TimerName, TimerPlace, TimerRef, Timestamp, Trace, Wait,
};

/// The durable store of one engine. A read that failed may always be repeated.
#[async_trait]
pub trait Store: Send + Sync + 'static {
    /// What the engine needs to continue where it was. The engine also calls it after a commit
    /// whose outcome is unknown: after this call the outcome is certain.
    async fn recover(&self) -> Result<Recovered, ReadError>;

    /// Writes all of the batch, or nothing. When it returns `Ok`, the batch survives a loss of
    /// power. An error says whether the batch may have been written.
    async fn commit(&self, batch: &Batch) -> Result<Committed, CommitError>;

    /// The entries of the log after a position, in order.
    async fn read_log(&self, after: Position, page: Page) -> Result<Vec<LogEntry>, ReadError>;

    /// The events of one stream (see [`Event::stream`]) between two positions (both exclusive),
    /// in order, and whether any event of the stream was ever removed.
    async fn read_stream(
        &self,
        subject: &str,
        after: Position,
        before: Position,
        page: Page,
    ) -> Result<StreamPage, ReadError>;

    /// Each instance that has one of these keys as its own key or among its claims, once, in the
    /// order of their own keys.
    async fn load(
        &self,
        plugin: &PluginName,
        keys: &[Key],
    ) -> Result<Vec<StoredInstance>, ReadError>;

    /// All instances of a plugin, in the order of their keys, and all its held events, once for
    /// each key, in the order of (position, key). None if there are more than `limit` of both
    /// together.
    async fn load_all(
        &self,
        plugin: &PluginName,
        limit: usize,
    ) -> Result<Option<StoredInstances>, ReadError>;

    /// The keys after `after` under which a plugin has instances, as their own or as claims: at
    /// most `limit`, ascending, each once.
    async fn read_keys(
        &self,
        plugin: &PluginName,
        after: Option<&Key>,
        limit: usize,
    ) -> Result<Vec<Key>, ReadError>;

    /// The events that an instance, or a lane of a stateless role, has decided: at most `limit`,
    /// newest decision first, from the decision of the event at `from` on.
    async fn read_decided(
        &self,
        plugin: &PluginName,
        key: &Key,
        from: Position,
        limit: usize,
    ) -> Result<Vec<DecidedEvent>, ReadError>;

    /// The messages of a sink's outbox after a place, in order, settled or not.
    async fn read_outbox(
        &self,
        sink: &SinkName,
        after: Sequence,
        page: Page,
    ) -> Result<Vec<Arc<Message>>, ReadError>;

    /// Timers that have not fired, after a place or from the first, in the order of their
    /// places. The bytes of a page are those of the timers' data.
    async fn read_timers(
        &self,
        after: Option<&TimerPlace>,
        page: Page,
    ) -> Result<Vec<TimerRow>, ReadError>;

    /// The events parked for one instance or lane after a position, in log order.
    async fn read_parked(
        &self,
        plugin: &PluginName,
        key: &Key,
        after: Position,
        page: Page,
    ) -> Result<Vec<LogEntry>, ReadError>;

    /// The messages of a sink's outbox that have one of these sequences, which ascend. They come
    /// in order. If they have more than `bytes`, only the first that fit come, at least one.
    async fn read_messages(
        &self,
        sink: &SinkName,
        sequences: &[Sequence],
        bytes: usize,
    ) -> Result<Vec<Arc<Message>>, ReadError>;

    /// Held events of a plugin whose hold ends at or before `until`: at most `limit`, the
    /// earliest end first.
    async fn read_expired_holds(
        &self,
        plugin: &PluginName,
        until: Timestamp,
        limit: usize,
    ) -> Result<Vec<Held>, ReadError>;

    /// Instances that are no longer running, have decided nothing after a place of the log, and
    /// were last changed at or before `until`. At most `limit`, the
    /// one changed longest ago first, and equal dates in the order of their keys. It begins
    /// after `after`, if that is given.
    async fn read_finished_instances(
        &self,
        plugin: &PluginName,
        place: Position,
        until: Timestamp,
        after: Option<&(Timestamp, Key)>,
        limit: usize,
    ) -> Result<Vec<FinishedInstance>, ReadError>;

    /// What `recover` returns for one plugin; none if the plugin was never served.
    async fn read_plugin(&self, plugin: &PluginName) -> Result<Option<RecoveredPlugin>, ReadError>;

    /// For each of these events of senders: the event that was accepted under its (source, id).
    /// None if the store does not have it any more, or cannot find it at a cost that does not
    /// grow with the log. The newest events are always found.
    async fn read_accepted(
        &self,
        events: &[Arc<Event>],
    ) -> Result<Vec<Option<Arc<Event>>>, ReadError>;

    /// One dead letter; none if it does not exist or was removed.
    async fn read_dead_letter(&self, id: DeadLetterId) -> Result<Option<DeadLetter>, ReadError>;
}

/// The most that one read returns. A read returns at least one row, if there is one, whatever
/// the row's size, so that the reader makes progress.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Page {
    /// The number of rows.
    pub rows: usize,
    /// Bytes of the events, as the store counts them: at least those of their data, and at most
    /// twice what [`Event::bytes`] says.
    pub bytes: usize,
}

impl Page {
    /// Whether a page with so many rows, whose events have so many bytes, was certainly the last
    /// one.
    #[must_use]
    pub fn is_last(self, rows: usize, bytes: usize) -> bool {
        rows < self.rows && bytes < self.bytes / 2
    }

    /// The first of these rows that fit the page.
    pub fn cut<T>(
        self,
        rows: impl Iterator<Item = T>,
        bytes_of: impl Fn(&T) -> usize,
    ) -> impl Iterator<Item = T> {
        let mut bytes = 0;
        rows.take(self.rows).take_while(move |row| {
            let is_first = bytes == 0;
            bytes += bytes_of(row).max(1);
            is_first || bytes <= self.bytes
        })
    }
}

/// Everything that one commit writes. Each row is named at most once: the committer folds
/// several changes of a row into the last one.
#[derive(Clone, Debug, Default)]
pub struct Batch {
    /// Events to append to the log, in the order of their positions.
    pub appends: Vec<Append>,
    /// Instances to write over what was there. Their claims and timers stay as they are.
    pub instances: Vec<(PluginName, Arc<Instance>)>,
    /// Instances to remove with all their claims and timers. They are removed before `instances`
    /// is written, so an instance that is in both begins anew.
    pub instances_removed: Vec<(PluginName, Key)>,
    /// The values of the fields of instances, to write over what was there for (plugin, key). They
    /// are written after `instances_removed` is removed. People list instances by them; the engine
    /// never reads them back.
    pub fields: Vec<FieldsRow>,
    /// Keys that instances claim or release.
    pub claims: Vec<ClaimChange>,
    /// Timers to set, each over the timer of the same instance and name.
    pub timers_set: Vec<TimerRow>,
    /// Timers that have fired as dead letters, because their events cannot be appended.
    /// Otherwise the same as [`Append::fires`].
    pub timers_fired: Vec<TimerRef>,
    /// Timers to remove. Removing a timer that does not exist changes nothing.
    pub timers_cleared: Vec<(PluginName, Key, TimerName)>,
    /// Decisions to add.
    pub decisions: Vec<DecisionRecord>,
    /// Messages to add to the outboxes, in each in the order of their sequences.
    pub messages: Vec<Arc<Message>>,
    /// Held events to write over what was there for (plugin, key, position).
    pub held: Vec<Held>,
    /// Held events to remove: they were decided, or their holds ended.
    pub held_removed: Vec<(PluginName, Key, Position)>,
    /// Events to park behind their keys.
    pub parked: Vec<Parked>,
    /// Parked events to remove: they were settled.
    pub parked_removed: Vec<(PluginName, Key, Position)>,
    /// Messages of the outboxes to park behind their ordering keys.
    pub parked_messages: Vec<(MessageLane, Sequence)>,
    /// Parked messages to remove from the parked ones: they were settled. They stay in the
    /// outbox.
    pub parked_messages_removed: Vec<(SinkName, Sequence)>,
    /// Waits of plugins' keys to write over what was there for (plugin, key).
    pub waits: Vec<(PluginName, Key, Wait)>,
    /// Waits of plugins' keys to remove. Removing a wait that does not exist changes nothing.
    pub waits_removed: Vec<(PluginName, Key)>,
    /// Waits of messages to write over what was there for (sink, place). A sink that keeps the
    /// order of each key has at most one for each lane.
    pub message_waits: Vec<(MessageLane, Wait)>,
    /// Waits of messages to remove. Removing a wait that does not exist changes nothing.
    pub message_waits_removed: Vec<(SinkName, Sequence)>,
    /// Dead letters to write over what was there for the id. One that names a batch of an operator
    /// also says what became of that batch's item ([`DeadLetter::item_outcome`]), unless the item
    /// has its outcome already or is not known.
    pub dead_letters: Vec<Arc<DeadLetter>>,
    /// Dead letters to resolve without reading them, after `dead_letters` is written. One that a
    /// batch of an operator was redriving is a changed item of that batch. A
    /// message's dead letter that is closed as compensated counts in
    /// [`RecoveredSink::compensated`] from then on.
    pub dead_letters_closed: Vec<Closing>,
    /// Texts to append to the reasons of dead letters, after `dead_letters` is written.
    pub dead_letters_noted: Vec<(DeadLetterId, String)>,
    /// Items of batches of operators whose action is part of this commit and is no dead letter:
    /// they are done. One that is not pending stays as it is.
    pub items_done: Vec<BatchItemId>,
    /// The progress of plugins, written over what was there.
    pub plugins: Vec<PluginProgress>,
    /// Keys that have decided an event which other keys still have to decide. Adding one that is
    /// there already changes nothing.
    pub partly_decided: Vec<(PluginName, Position, Key)>,
    /// Events that are settled: their rows of `partly_decided` are removed, before new ones are
    /// added. Removing what does not exist changes nothing.
    pub partly_decided_removed: Vec<(PluginName, Position)>,
    /// The progress of sinks, written over what was there.
    pub sinks: Vec<SinkProgress>,
    /// Event types that no plugin takes. Senders' events of these types that `appends` writes
    /// are counted by type, see [`Untaken`].
    pub untaken: BTreeSet<String>,
    /// Controls to write over what was there for their ids.
    pub controls: Vec<Control>,
    /// Controls to remove. Removing a control that does not exist changes nothing.
    pub controls_removed: Vec<ControlId>,
    /// Removes some of what is too old, after all of the above is written.
    pub expire: Option<Expire>,
}

/// Removes what is too old to be kept, the oldest first:
///
/// - log entries up to `history_to`, if every plugin has settled them and none holds or
///   parks them;
/// - decisions of such events, if they were made before `history_before`;
/// - messages, in each outbox up to the first whose event is not as old and settled, if
///   their sink has settled and not parked them;
/// - dead letters of events up to `history_to` that are resolved and came before
///   `history_before`. The newest of all stays, because its id must not be given again.
///
/// Nothing of these is removed before each of `plugins` has made progress: a plugin that was
/// loaded and has settled nothing yet still needs all. The store need not know the (source, id)
/// of events up to `seen_to` any more; it forgets them when that is cheap.
///
/// Ages are given as positions wherever a row has one, because dates that a wrong wall clock
/// gave stay wrong.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Expire {
    /// The plugins that are loaded.
    pub plugins: Vec<PluginName>,
    /// Up to this position, an event need not be recognised as a duplicate any more.
    pub seen_to: Position,
    /// Up to this position, events are old enough to be removed.
    pub history_to: Position,
    /// Before this date of the wall clock, decisions and dead letters are old enough to be
    /// removed.
    pub history_before: Timestamp,
    /// An age mark to write over what was there for its time.
    pub mark: Option<AgeMark>,
    /// Age marks to remove, by their times.
    pub marks_removed: Vec<AgeTime>,
    /// The most rows that one commit removes from each table. It bounds how long the commit
    /// takes.
    pub rows_max: usize,
}

/// An instance that is no longer running.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FinishedInstance {
    /// When it was last changed.
    pub updated_at: Timestamp,
    /// Its own key.
    pub key: Key,
    /// How it finished.
    pub status: InstanceStatus,
}

impl FinishedInstance {
    /// Its place in the order in which they are read.
    #[must_use]
    pub fn place(&self) -> (Timestamp, Key) {
        (self.updated_at, self.key.clone())
    }
}

/// What an instance has in the fields that its plugin declares (see [`crate::pure::fields`]).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FieldsRow {
    /// The plugin of the instance.
    pub plugin: PluginName,
    /// The key of the instance.
    pub key: Key,
    /// A JSON object with the fields that it has: strings, numbers and booleans.
    pub values: String,
}

/// Resolves a dead letter. Its other fields stay as they are.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Closing {
    /// The dead letter.
    pub id: DeadLetterId,
    /// Its status from now on.
    pub status: DeadLetterStatus,
    /// The person or part of the host that resolved it.
    pub by: String,
    /// Why it was resolved, for people.
    pub reason: String,
}

/// An event to append. It is written unless the store knows an event with the same (source, id)
/// and the same origin (`hops.origin()`): a sender or the host.
#[derive(Clone, Debug)]
pub struct Append {
    /// Ascending within a batch and over all batches. A duplicate's position stays a gap.
    pub position: Position,
    /// The wall-clock date at which the host received or made it.
    pub received_at: Timestamp,
    /// The event.
    pub event: Arc<Event>,
    /// How far it is from an event of a sender.
    pub hops: Hops,
    /// For a fired timer: the timer. It fires with this commit if it is still the setting that
    /// the store has. It stays among the timers of its instance until it is set anew or cleared.
    pub fires: Option<TimerRef>,
    /// An operator brings back an event under its old (source, id). It is written even if the
    /// store knows the identity, and the store does not record the identity again.
    pub redriven: bool,
}

/// What a commit did, beyond writing its rows.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Committed {
    /// Positions of the appends that were not written, because an event with the same
    /// (origin, source, id) was in the log or earlier in the batch. Ascending.
    pub duplicates: Vec<Position>,
    /// The number of rows that `expire` removed from the log, the decisions, the outbox and the
    /// dead letters. Zero: nothing more can be removed now.
    pub expired: usize,
}

/// A key that an instance claims or releases.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ClaimChange {
    /// The plugin of the instance.
    pub plugin: PluginName,
    /// The key that is claimed or released.
    pub key: Key,
    /// The instance's own key.
    pub instance: Key,
    /// True if the instance claims the key, false if it releases it.
    pub claimed: bool,
}

/// A timer that is set, with what its event will have.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TimerRow {
    /// Which timer it is, and when it fires.
    pub timer: TimerRef,
    /// The data of the event as which it fires. Empty if there is none.
    pub data: Bytes,
    /// The hops of the event as which it fires.
    pub hops: Hops,
    /// The trace that the event as which it fires carries on; none if the decision that set it
    /// had none.
    pub trace: Option<Box<Trace>>,
}

/// The unit of ordering of outgoing messages: the ordering key of one plugin at one sink.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct MessageLane {
    /// The sink.
    pub sink: SinkName,
    /// The plugin that sends the messages.
    pub plugin: PluginName,
    /// The key of the instance or lane that sends them.
    pub key: Key,
}

/// How far a plugin has read the log, and what became of the events.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PluginProgress {
    /// The plugin.
    pub plugin: PluginName,
    /// What it has settled, in positions.
    pub cursor: Cursor,
    /// What became of the events that it has settled.
    pub counters: Counters,
}

/// How far a sink has settled its outbox, and what became of the messages.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SinkProgress {
    /// The sink.
    pub sink: SinkName,
    /// What it has settled, in sequences.
    pub cursor: Cursor,
    /// What became of the messages that it has settled.
    pub counters: Counters,
}

/// The most event types that are counted by name. Senders can invent any number of types: all
/// others count as one, whose name is empty.
pub const UNTAKEN_TYPES_MAX: usize = 100;
/// The longest name of a type that is counted by name, in bytes. A type with a longer one counts
/// as one of the others.
pub const UNTAKEN_TYPE_BYTES_MAX: usize = 256;

/// The number of events of one type that senders sent and that no plugin took when they came.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Untaken {
    /// The type. Empty for all types beyond the limits.
    pub event_type: String,
    /// The number of events since the store was created.
    pub count: u64,
    /// The wall-clock date at which the last one was accepted.
    pub last_at: Timestamp,
}

/// The number of a batch's appends that count as untaken, by type, and the date of the last one:
/// appends that are written, that are of senders, and whose type no plugin takes.
pub fn untaken(
    batch: &Batch,
    is_duplicate: impl Fn(Position) -> bool,
) -> BTreeMap<&str, (u64, Timestamp)> {
    let mut counts = BTreeMap::new();
    if batch.untaken.is_empty() {
        return counts;
    }
    for append in batch.appends.iter().filter(|append| !is_duplicate(append.position)) {
        let event_type = append.event.event_type.as_str();
        let is_sent = append.hops.origin() == Origin::Outside && !append.redriven;
        if is_sent && batch.untaken.contains(event_type) {
            let is_short = event_type.len() <= UNTAKEN_TYPE_BYTES_MAX;
            let count = counts.entry(if is_short { event_type } else { "" });
            let (count, last_at) = count.or_insert((0, append.received_at));
            *count += 1;
            *last_at = append.received_at;
        }
    }
    counts
}

/// What the engine needs to continue from the store.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Recovered {
    /// The highest position that the log or a plugin's cursor names; zero for a fresh store.
    pub position: Position,
    /// The highest id given to a dead letter.
    pub dead_letter: DeadLetterId,
    /// Each plugin that ever made progress, loaded or not, ascending by name.
    pub plugins: Vec<RecoveredPlugin>,
    /// Each sink that has an outbox or made progress, ascending by name.
    pub sinks: Vec<RecoveredSink>,
    /// The age marks, ascending by time.
    pub age_marks: Vec<AgeMark>,
    /// The counts of untaken events, ascending by type.
    pub untaken: Vec<Untaken>,
    /// The controls that operators have set, ascending by their ids.
    pub controls: Vec<Control>,
}

/// What the engine needs to continue a plugin.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RecoveredPlugin {
    /// How far it has read the log; as it was last written.
    pub progress: PluginProgress,
    /// Events that reach several keys and that only some of these have decided: their positions,
    /// with the keys that have, ascending.
    pub partly_decided: BTreeMap<Position, Vec<Key>>,
    /// Instances and lanes with an unresolved dead letter of an event, with parked events, or
    /// with a wait. Ascending by key, each once.
    pub parked: Vec<ParkedKey<Key>>,
}

/// What the engine needs to continue a sink.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RecoveredSink {
    /// How far it has settled its outbox; as it was last written.
    pub progress: SinkProgress,
    /// The highest sequence in its outbox or its cursor.
    pub last: Sequence,
    /// The number of its messages' dead letters that were ever closed as compensated.
    pub compensated: u64,
    /// Ordering keys with an unresolved dead letter of a message of this sink, with parked
    /// messages, or with a wait. Ascending, each once.
    pub parked: Vec<ParkedKey<MessageLane>>,
}

/// A key that waits, and all that it waits for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ParkedKey<K> {
    /// The key of an instance or lane, or an ordering key of a sink.
    pub key: K,
    /// Its unresolved dead letters, in the order of their places.
    pub dead_letters: Vec<OpenDeadLetter>,
    /// The places of its parked events (positions) or messages (sequences), ascending.
    pub waiting: Vec<u64>,
    /// Its waits for next attempts, in the order of their places. A key of a plugin has at most
    /// one.
    pub waits: Vec<Wait>,
}

/// An instance with its claims and timers.
#[derive(Clone, Debug, PartialEq)]
pub struct StoredInstance {
    /// The instance.
    pub instance: Arc<Instance>,
    /// The further keys that it has claimed.
    pub claims: BTreeSet<Key>,
    /// The timers that are set, and those that have fired and whose events the instance has not
    /// decided.
    pub timers: BTreeMap<TimerName, Timer>,
}

/// One page of a stream.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StreamPage {
    /// The events, in log order.
    pub entries: Vec<LogEntry>,
    /// Whether retention has ever removed an event of the stream, wherever this page is.
    pub is_shortened: bool,
}

/// All instances and held events of a plugin.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct StoredInstances {
    /// The instances, ascending by key.
    pub instances: Vec<StoredInstance>,
    /// The held events, ascending by (position, key).
    pub held: Vec<Held>,
}

/// A decision, and the event that it decided.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DecidedEvent {
    /// The position of the event.
    pub position: Position,
    /// The position of the decision before this one of the same instance or lane; none for the
    /// first.
    pub previous: Option<Position>,
    /// The wall-clock date of the decision.
    pub decided_at: Timestamp,
    /// The keys of all instances and lanes of the plugin that have decided the event, ascending.
    pub deciders: Vec<Key>,
    /// The event; none if retention has removed it.
    pub entry: Option<LogEntry>,
}

/// A read that failed, with the reason for people. The read may be repeated.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
#[error("{0}")]
pub struct ReadError(pub String);

/// Why a commit failed, by what the engine must do. The texts are reasons for people.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum CommitError {
    /// Certainly nothing was written. The store accepts no writes now; the same batch can be
    /// committed later.
    #[error("{0}")]
    NotCommitted(String),
    /// Certainly nothing was written, and this batch cannot be: the store cannot hold one of its
    /// rows. Parts of the batch can be committed.
    #[error("{0}")]
    Rejected(String),
    /// It may or may not have been written. Only [`Store::recover`] shows it.
    #[error("outcome unknown: {0}")]
    Unknown(String),
    /// Another host owns the store now. This one must never write again.
    #[error("another host has taken over: {0}")]
    Fenced(String),
}
