//! SEAM Store: durable log, instances, outbox, timers and dead letters.
//!
//! The interface takes whole batches, never rows: what makes a commit dear is
//! that it is durable, so as much as waits goes into one. There is one writer at a time; the engine never calls
//! `commit` again before the last call returned. Reads may run beside it: one that
//! begins after a commit returned sees it, and all see some committed prefix.

#[cfg(any(test, feature = "testing"))]
pub mod alike;
#[cfg(any(test, feature = "testing"))]
pub mod contract;
#[cfg(any(test, feature = "simulation"))]
pub mod faulty;
#[cfg(any(test, feature = "simulation"))]
pub mod memory;

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use async_trait::async_trait;
use bytes::Bytes;
use thiserror::Error;

use crate::model::{
    AgeMark, AgeTime, Counters, Cursor, DeadLetter, DeadLetterId, DeadLetterStatus, DecisionRecord,
    Event, Held, Hops, Instance, Key, LogEntry, Message, OpenDeadLetter, Origin, Parked,
    PluginName, Position, Sequence, SinkName, Timer, TimerName, TimerPlace, TimerRef, Timestamp,
    Wait,
};

#[async_trait]
pub trait Store: Send + Sync + 'static {
    /// What the engine needs to go on where it was. Also called after a commit
    /// whose outcome is unknown: from then on the answer is certain.
    async fn recover(&self) -> Result<Recovered, ReadError>;

    /// Writes all of the batch, or nothing. When it returns `Ok`, the batch
    /// survives the loss of power.
    async fn commit(&self, batch: &Batch) -> Result<Committed, CommitError>;

    /// The log after a position, in order.
    async fn read_log(&self, after: Position, page: Page) -> Result<Vec<LogEntry>, ReadError>;

    /// The events of one stream (see [`Event::stream`]) between two positions (both
    /// exclusive), in order, and whether any of the stream was ever removed.
    async fn read_stream(
        &self,
        subject: &str,
        after: Position,
        before: Position,
        page: Page,
    ) -> Result<StreamPage, ReadError>;

    /// Each instance with one of these keys as its own key or among its claims, whole,
    /// once, in the order of their keys.
    async fn load(
        &self,
        plugin: &PluginName,
        keys: &[Key],
    ) -> Result<Vec<StoredInstance>, ReadError>;

    /// All instances of a plugin, in the same order, and all events held, once for each key,
    /// in the order of (position, key); or none if there are more than `limit` of both together.
    async fn load_all(
        &self,
        plugin: &PluginName,
        limit: usize,
    ) -> Result<Option<StoredInstances>, ReadError>;

    /// The events that an instance, or a lane of a stateless role, has decided, newest
    /// decision first, beginning with the decision of the event at a position.
    async fn read_decided(
        &self,
        plugin: &PluginName,
        key: &Key,
        from: Position,
        limit: usize,
    ) -> Result<Vec<DecidedEvent>, ReadError>;

    /// A sink's outbox after a place, in order, settled or not.
    async fn read_outbox(
        &self,
        sink: &SinkName,
        after: Sequence,
        page: Page,
    ) -> Result<Vec<Arc<Message>>, ReadError>;

    /// Timers that have not fired, after a place, in the order of their places. What counts of a page's
    /// bytes is their data.
    async fn read_timers(
        &self,
        after: Option<&TimerPlace>,
        page: Page,
    ) -> Result<Vec<TimerRow>, ReadError>;

    /// Events parked for one instance or lane, in log order.
    async fn read_parked(
        &self,
        plugin: &PluginName,
        key: &Key,
        after: Position,
        page: Page,
    ) -> Result<Vec<LogEntry>, ReadError>;

    /// Those messages of a sink's outbox that have one of these sequences, which ascend: in
    /// order, and of more than `bytes` only the first that fit, at least one.
    async fn read_messages(
        &self,
        sink: &SinkName,
        sequences: &[Sequence],
        bytes: usize,
    ) -> Result<Vec<Arc<Message>>, ReadError>;

    /// Held events of a plugin whose time is up, earliest first.
    async fn read_expired_holds(
        &self,
        plugin: &PluginName,
        until: Timestamp,
        limit: usize,
    ) -> Result<Vec<Held>, ReadError>;

    /// Instances that are no longer running, have decided nothing after a place of the log,
    /// and were last changed up to and including a time; and when that was: beginning with
    /// the one changed longest ago (ties in the order of their keys), or with the one after
    /// `after`.
    async fn read_finished_instances(
        &self,
        plugin: &PluginName,
        place: Position,
        until: Timestamp,
        after: Option<&(Timestamp, Key)>,
        limit: usize,
    ) -> Result<Vec<(Timestamp, Key)>, ReadError>;

    /// What `recover` says of one plugin; none if it was never served.
    async fn read_plugin(&self, plugin: &PluginName) -> Result<Option<RecoveredPlugin>, ReadError>;

    /// For each of these events of senders: the one that was accepted under its (source, id),
    /// if the store still has it and finds it at a bounded cost, whatever is in the log. The
    /// newest ones are always found.
    async fn read_accepted(
        &self,
        events: &[Arc<Event>],
    ) -> Result<Vec<Option<Arc<Event>>>, ReadError>;

    /// One dead letter.
    async fn read_dead_letter(&self, id: DeadLetterId) -> Result<Option<DeadLetter>, ReadError>;
}

/// How much one read returns at most. It returns at least one row, if there is one, so that
/// the reader makes progress whatever the row's size.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Page {
    pub rows: usize,
    /// Of the events, as the store counts them: at least those of their data, and at most
    /// twice what [`Event::bytes`] says.
    pub bytes: usize,
}

impl Page {
    /// Whether a page with so many rows, whose events have so many bytes, was certainly the last.
    #[must_use]
    pub fn is_last(self, rows: usize, bytes: usize) -> bool {
        rows < self.rows && bytes < self.bytes / 2
    }

    /// The first of some rows that fit.
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

/// Everything that one commit writes. Each row is named at most once: whoever
/// builds the batch folds several changes of a row into the last.
#[derive(Clone, Debug, Default)]
pub struct Batch {
    pub appends: Vec<Append>,
    /// Written over what was there. Their claims and timers stay as they are.
    pub instances: Vec<(PluginName, Arc<Instance>)>,
    /// Before `instances`, with all their claims and timers: one that is named there, too,
    /// begins anew.
    pub instances_removed: Vec<(PluginName, Key)>,
    pub claims: Vec<ClaimChange>,
    pub timers_set: Vec<TimerRow>,
    /// Fired like those of `appends`, but as dead letters: their events cannot be appended.
    pub timers_fired: Vec<TimerRef>,
    /// Clearing a timer that is not there changes nothing.
    pub timers_cleared: Vec<(PluginName, Key, TimerName)>,
    pub decisions: Vec<DecisionRecord>,
    pub messages: Vec<Arc<Message>>,
    /// Written over what was there for (plugin, key, position).
    pub held: Vec<Held>,
    pub held_removed: Vec<(PluginName, Key, Position)>,
    pub parked: Vec<Parked>,
    pub parked_removed: Vec<(PluginName, Key, Position)>,
    pub parked_messages: Vec<(MessageLane, Sequence)>,
    pub parked_messages_removed: Vec<(SinkName, Sequence)>,
    /// Written over what was there for (plugin, key).
    pub waits: Vec<(PluginName, Key, Wait)>,
    /// Removing a wait that is not there changes nothing.
    pub waits_removed: Vec<(PluginName, Key)>,
    /// Written over what was there for (sink, place): where the order of a sink is by key, a
    /// lane has one.
    pub message_waits: Vec<(MessageLane, Wait)>,
    pub message_waits_removed: Vec<(SinkName, Sequence)>,
    /// Written over what was there for the id.
    pub dead_letters: Vec<Arc<DeadLetter>>,
    /// After `dead_letters`: letters that nobody had to read to resolve them. A message's
    /// letter that is closed as compensated counts in its sink's sums from then on.
    pub dead_letters_closed: Vec<Closing>,
    /// After `dead_letters`: what is added to a letter's reason.
    pub letters_noted: Vec<(DeadLetterId, String)>,
    pub plugins: Vec<PluginProgress>,
    pub sinks: Vec<SinkProgress>,
    /// Types that no plugin takes: senders' events of them that `appends` writes are counted
    /// by type, see [`Untaken`].
    pub untaken: BTreeSet<String>,
    /// After all of the above: what is too old goes, some of it with each commit.
    pub expire: Option<Expire>,
}

/// What is too old to be kept. Removed are, from the oldest on:
///
/// - log entries up to `history_to`, if every plugin has settled them and none holds or
///   parks them;
/// - decisions of such events, if they were made before `history_before`;
/// - messages, in each outbox up to the first whose event is not as old and settled, if
///   their sink has settled and not parked them;
/// - dead letters of events up to `history_to` that are resolved and came before
///   `history_before`. The newest of all stays, because its id must not be given again.
///
/// Before each of `plugins` has made progress nothing of these is removed: one that was
/// loaded and has settled nothing yet still needs all. The (source, id) of an event up to
/// `seen_to` need not be known any more; the store forgets it when that is cheap.
///
/// What is old is said by position wherever there is one: dates are wrong for ever when
/// the wall clock was wrong for a while.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Expire {
    /// Those that are loaded.
    pub plugins: Vec<PluginName>,
    pub seen_to: Position,
    pub history_to: Position,
    pub history_before: Timestamp,
    /// Written, over what was there for the time.
    pub mark: Option<AgeMark>,
    pub marks_removed: Vec<AgeTime>,
    /// Bounds what one commit removes from each table, and so how long it takes.
    pub rows_max: usize,
}

/// A dead letter that is resolved, and by whom and why. All else of it stays as it is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Closing {
    pub id: DeadLetterId,
    pub status: DeadLetterStatus,
    pub by: String,
    pub reason: String,
}

/// An event to append. Whether one with the same (source, id) was there before, of a
/// sender's or of the host's own as this one is (`hops.origin()`), decides whether it is
/// written.
#[derive(Clone, Debug)]
pub struct Append {
    /// Ascending within a batch and over all batches. A duplicate's position stays a gap.
    pub position: Position,
    pub received_at: Timestamp,
    pub event: Arc<Event>,
    pub hops: Hops,
    /// For a fired timer: the timer, which has fired with this commit if it is still the one
    /// that was set then. It stays a timer of its instance until it is set anew or cleared.
    pub fires: Option<TimerRef>,
    /// An event that an operator brings back under its old (source, id): it is written
    /// whatever was there before, and leaves no trace for later duplicates.
    pub redriven: bool,
}

#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Committed {
    /// Positions of the appends that were not written, because an event with the same
    /// (origin, source, id) was in the log or earlier in the batch. Ascending.
    pub duplicates: Vec<Position>,
    /// Rows that `expire` removed from the log, the decisions, the outbox and the dead
    /// letters. Zero: there is nothing more to remove now.
    pub expired: usize,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ClaimChange {
    pub plugin: PluginName,
    pub key: Key,
    pub instance: Key,
    /// False: released.
    pub claimed: bool,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TimerRow {
    pub timer: TimerRef,
    /// The data of the fired event.
    pub data: Bytes,
    /// Those of the fired event.
    pub hops: Hops,
}

/// The unit of ordering of outgoing messages.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct MessageLane {
    pub sink: SinkName,
    pub plugin: PluginName,
    pub key: Key,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PluginProgress {
    pub plugin: PluginName,
    pub cursor: Cursor,
    pub counters: Counters,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SinkProgress {
    pub sink: SinkName,
    pub cursor: Cursor,
    pub counters: Counters,
}

/// Types that are counted by their names. A sender can invent any number of them: all others
/// count as one, whose name is empty.
pub const UNTAKEN_TYPES_MAX: usize = 100;
/// A longer name counts as one of the others.
pub const UNTAKEN_TYPE_BYTES_MAX: usize = 256;

/// Events of senders that no plugin took when they came, of one type.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Untaken {
    /// Empty: all types beyond the bounds.
    pub event_type: String,
    pub count: u64,
    /// When the last one was accepted.
    pub last_at: Timestamp,
}

/// How many of a batch's appends count as untaken, by type, and when the last was accepted:
/// those of senders and of a type that no plugin takes, that are written.
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

#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Recovered {
    /// The highest position that the log or a plugin's cursor names; zero for a fresh store.
    pub position: Position,
    /// The highest id given to a dead letter.
    pub dead_letter: DeadLetterId,
    pub plugins: Vec<RecoveredPlugin>,
    pub sinks: Vec<RecoveredSink>,
    /// Ascending.
    pub age_marks: Vec<AgeMark>,
    /// By type, ascending.
    pub untaken: Vec<Untaken>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RecoveredPlugin {
    pub progress: PluginProgress,
    /// Instances and lanes with an unresolved dead letter of an event, with parked events, or
    /// with a wait, ascending, each once.
    pub parked: Vec<ParkedKey<Key>>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RecoveredSink {
    pub progress: SinkProgress,
    /// The highest sequence in its outbox or its cursor.
    pub last: Sequence,
    /// Letters of its messages that were ever closed as compensated.
    pub compensated: u64,
    /// Ordering keys with an unresolved dead letter of a message of this sink, with parked
    /// messages, or with a wait, ascending, each once.
    pub parked: Vec<ParkedKey<MessageLane>>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ParkedKey<K> {
    pub key: K,
    /// Its unresolved dead letters, in the order of their places.
    pub letters: Vec<OpenDeadLetter>,
    /// The places of the events or messages that are parked, ascending.
    pub waiting: Vec<u64>,
    /// For next attempts, in the order of their places. A key of a plugin has one at most.
    pub waits: Vec<Wait>,
}

/// An instance with what it has.
#[derive(Clone, Debug, PartialEq)]
pub struct StoredInstance {
    pub instance: Arc<Instance>,
    /// Further keys that it has claimed.
    pub claims: BTreeSet<Key>,
    /// Those that are set, and those that have fired and were not decided.
    pub timers: BTreeMap<TimerName, Timer>,
}

/// Some events of a stream.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StreamPage {
    pub entries: Vec<LogEntry>,
    /// Retention has removed some of the stream, whatever is left of it.
    pub is_shortened: bool,
}

/// All of a plugin.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct StoredInstances {
    pub instances: Vec<StoredInstance>,
    pub held: Vec<Held>,
}

/// A decision, and what it decided.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DecidedEvent {
    pub position: Position,
    pub previous: Option<Position>,
    pub decided_at: Timestamp,
    /// All that have decided it, ascending.
    pub deciders: Vec<Key>,
    /// None if the event was removed.
    pub entry: Option<LogEntry>,
}

/// A read that failed. Trying again is always allowed.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
#[error("{0}")]
pub struct ReadError(pub String);

/// A commit that failed, by what the engine must do.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum CommitError {
    /// Certainly nothing was written, and it may be written later: the store as a whole
    /// takes nothing now.
    #[error("{0}")]
    NotCommitted(String),
    /// Certainly nothing was written, and this batch never will be: there is a row in it
    /// that the store cannot hold. Parts of it can be tried.
    #[error("{0}")]
    Rejected(String),
    /// It may or may not have been written. Only `recover` tells.
    #[error("outcome unknown: {0}")]
    Unknown(String),
    /// Another host owns the store now. This one must stop writing for good.
    #[error("another host has taken over: {0}")]
    Fenced(String),
}
