//! SEAM Query: what the host asks a store besides the engine: the questions of people, what the
//! plugin factory must know of states, and what replay reads. No type of a database is part of it.
//!
//! `contract` says clause by clause what an implementation must answer; each runs all clauses.

pub mod access;
pub mod batches;
pub mod component;
pub mod condition;
#[cfg(test)]
pub(in crate::store) mod contract;
pub mod deliveries;
pub mod found;
pub mod instance_file;
pub mod place;
pub mod rows;
pub mod shapes;
pub mod value;
pub mod views;
pub mod waiting;

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::ops::ControlFlow;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use sagabox_engine::model::{DeadLetterId, Event, LogEntry, State, Timestamp};
use sagabox_engine::seams::store::ReadError;

use self::component::{ComponentUse, KeptComponent, PackedComponent};
use self::deliveries::Deliveries;
use self::found::{EventTrace, Found, Sees};
use self::rows::{
    Accounts, CauseFilter, CausePage, Counted, CountedPage, DeadLetterFilter, DeadLetterRow,
    DueTimer, ExportedInstance, FilledFields, InstanceDetail, InstanceFilter, InstanceRow, Page,
    RecordedDecision, StateRow, TimerFilter, TimerPlace, WaitFilter, WaitPlace, WaitRow,
};
use self::waiting::Waiting;
use crate::decisions::recorded::Messages;

/// What people ask, and the states that a candidate is tried on. Reads only, beside the engine:
/// no answer waits for a commit, and none slows commits down.
///
/// Lists are pages in a fixed order. A page has at most `limit` rows, and at most
/// [`QueryLimits::page_bytes`] in all of its rows but the first; its `next`, given as `after`, is
/// where the following page begins, and none says that there is no more. A page may have fewer
/// rows than there are, or none, and a `next`: then its time was over.
///
/// A name that the store does not know is no error: nothing belongs to it.
#[async_trait]
pub trait Queries: Send + Sync + 'static {
    /// How many instances a plugin has, by status; without the statuses that none has.
    ///
    /// # Errors
    /// If the store cannot be read.
    async fn instance_counts(&self, plugin: &str)
    -> Result<BTreeMap<&'static str, u64>, ReadError>;

    /// Instances in the order of their keys, compared byte by byte; or in the order of a field,
    /// upwards or downwards, and of the keys among equal values. Instances without a value come last
    /// either way, in the order of their keys.
    ///
    /// # Errors
    /// If the store cannot be read, or if `after` is no end of a page in this order.
    async fn instances(
        &self,
        filter: &InstanceFilter,
    ) -> Result<Page<InstanceRow, String>, ReadError>;

    /// The instances of a list in the order of their keys, whole. `order` does not matter.
    ///
    /// # Errors
    /// If the store cannot be read.
    async fn export(
        &self,
        filter: &InstanceFilter,
    ) -> Result<Page<ExportedInstance, String>, ReadError>;

    /// How many instances the list of this filter has, by status. It looks for as long as a list
    /// does; `next` says from where another call counts the rest. `limit` and `order` do not matter.
    ///
    /// # Errors
    /// If the store cannot be read.
    async fn count_instances(&self, filter: &InstanceFilter) -> Result<CountedPage, ReadError>;

    /// One instance, or one key of a plugin without instances, with a page of its history: what
    /// was decided before the decision at `after`. An instance's history is its chain of
    /// decisions. A stateless key has no chain: its history is found among the newest
    /// [`QueryLimits::scanned_decisions`] decisions of all plugins. None if nothing is known of
    /// the key.
    ///
    /// # Errors
    /// If the store cannot be read.
    async fn instance(
        &self,
        plugin: &str,
        key: &str,
        after: Option<u64>,
        limit: u32,
    ) -> Result<Option<InstanceDetail>, ReadError>;

    /// Dead letters in the order of their ids.
    ///
    /// # Errors
    /// If the store cannot be read.
    async fn dead_letters(
        &self,
        filter: &DeadLetterFilter,
    ) -> Result<Page<DeadLetterRow, u64>, ReadError>;

    /// The same without the rows. Its pages are bounded in rows and time alone.
    ///
    /// # Errors
    /// If the store cannot be read.
    async fn count_open_dead_letters(
        &self,
        filter: &DeadLetterFilter,
    ) -> Result<Counted, ReadError>;

    /// The ids of the same.
    ///
    /// # Errors
    /// If the store cannot be read.
    async fn dead_letter_ids(&self, filter: &DeadLetterFilter)
    -> Result<Page<u64, u64>, ReadError>;

    /// What has this text as its key or id, at most `limit` of those that the caller `sees`: instances
    /// by their keys and by those that they claim, events and messages by their ids, and, if it is a
    /// number, the event at this position and the dead letter of this id. It looks for as long as a
    /// list does.
    ///
    /// # Errors
    /// If the store cannot be read.
    async fn find(&self, text: &str, limit: u32, sees: &Sees<'_>) -> Result<Vec<Found>, ReadError>;

    /// The event at a position, and what became of it. None if the log has none there.
    ///
    /// # Errors
    /// If the store cannot be read.
    async fn trace(&self, position: u64) -> Result<Option<EventTrace>, ReadError>;

    /// A page of the decisions of an instance with their inputs, the newest first: what was decided
    /// before the decision at `after`. Empty if the key has no instance.
    ///
    /// # Errors
    /// If the store cannot be read.
    async fn decisions(
        &self,
        plugin: &str,
        key: &str,
        after: Option<u64>,
        limit: u32,
    ) -> Result<Page<RecordedDecision, u64>, ReadError>;

    /// The decision of a key at a position, with its inputs; none if it is not on record.
    ///
    /// # Errors
    /// If the store cannot be read.
    async fn decision(
        &self,
        plugin: &str,
        key: &str,
        position: u64,
    ) -> Result<Option<RecordedDecision>, ReadError>;

    /// Messages by their ids, those that are still kept: in the outbox if they left, in the log if
    /// they stayed.
    ///
    /// # Errors
    /// If the store cannot be read.
    async fn messages(&self, ids: &[String]) -> Result<Messages, ReadError>;

    /// Why a key of a plugin does not go on. Messages of a sink are looked at as far as a person
    /// waits for an answer.
    ///
    /// # Errors
    /// If the store cannot be read.
    async fn waiting(&self, plugin: &str, key: &str) -> Result<Waiting, ReadError>;

    /// What became of the messages of a key: those that are not delivered, and those that were dead
    /// letters of the decisions at these positions. Messages of a sink are looked at as far as a
    /// person waits for an answer.
    ///
    /// # Errors
    /// If the store cannot be read.
    async fn deliveries(
        &self,
        plugin: &str,
        key: &str,
        positions: &[u64],
    ) -> Result<Deliveries, ReadError>;

    /// One instance without its fields and its history. If its `version` is the same in two answers,
    /// nothing was decided between them.
    ///
    /// # Errors
    /// If the store cannot be read.
    async fn whole_instance(
        &self,
        plugin: &str,
        key: &str,
    ) -> Result<Option<ExportedInstance>, ReadError>;

    /// The causes of open dead letters, those with the most dead letters first, then in the order of
    /// plugin, version, cause and sink. At most [`QueryLimits::counted_dead_letters`] are counted.
    ///
    /// # Errors
    /// If the store cannot be read.
    async fn causes(&self, filter: &CauseFilter) -> Result<CausePage, ReadError>;

    /// Timers that have not fired, those that are due first, first.
    ///
    /// # Errors
    /// If the store cannot be read.
    async fn timers(&self, filter: &TimerFilter) -> Result<Page<DueTimer, TimerPlace>, ReadError>;

    /// What waits for its next attempt for longer than a moment.
    ///
    /// # Errors
    /// If the store cannot be read.
    async fn waits(&self, filter: &WaitFilter) -> Result<Page<WaitRow, WaitPlace>, ReadError>;

    /// The plugins that have made progress here.
    ///
    /// # Errors
    /// If the store cannot be read.
    async fn plugins(&self) -> Result<BTreeSet<String>, ReadError>;

    /// The sinks and queues that have had messages.
    ///
    /// # Errors
    /// If the store cannot be read.
    async fn sinks(&self) -> Result<BTreeSet<String>, ReadError>;

    /// What became of every event and message, as of one moment. `differing_duplicates` is not
    /// the store's to know, and is zero.
    ///
    /// # Errors
    /// If the store cannot be read.
    async fn accounts(&self) -> Result<Accounts, ReadError>;

    /// Whether the plugin has instances, finished ones included.
    ///
    /// # Errors
    /// If the store cannot be read.
    async fn has_instances(&self, plugin: &str) -> Result<bool, ReadError>;

    /// Keys and states of the running instances that have one, in the order of their keys. The
    /// page ends with the state that fills it; it is empty only at the end.
    ///
    /// # Errors
    /// If the store cannot be read.
    async fn live_states(
        &self,
        plugin: &str,
        after: &str,
        page: StatePage,
    ) -> Result<Vec<(String, State)>, ReadError>;

    /// The components that are kept, by plugin, the oldest first.
    ///
    /// # Errors
    /// If the store cannot be read.
    async fn kept_components(&self) -> Result<Vec<KeptComponent>, ReadError>;

    /// A component that is kept; none if it is not.
    ///
    /// # Errors
    /// If the store cannot be read.
    async fn component(&self, digest: &str) -> Result<Option<PackedComponent>, ReadError>;

    /// The same of all instances that have a state, finished ones included.
    ///
    /// # Errors
    /// If the store cannot be read.
    async fn states(
        &self,
        plugin: &str,
        after: &str,
        page: StatePage,
    ) -> Result<Vec<StateRow>, ReadError>;
}

/// What a store keeps of the plugins that serve, and what it prepares for them. Rare, small writes
/// beside the commits.
#[async_trait]
pub trait PluginRecords: Send + Sync + 'static {
    /// The digest of the file that serves this plugin since it was tried on all live states;
    /// none if no file was noted, or if others have written states since.
    ///
    /// # Errors
    /// If the store cannot be read.
    async fn served_last(&self, plugin: &str) -> Result<Option<String>, ReadError>;

    /// Notes the file that serves the plugin, or that none does.
    ///
    /// # Errors
    /// If it cannot be written.
    async fn note_serving(&self, plugin: &str, digest: Option<&str>) -> Result<(), ReadError>;

    /// The digest of the file whose fields all instances of the plugin have; none if no version of
    /// it has declared any. It is empty while not all have the same.
    ///
    /// # Errors
    /// If the store cannot be read.
    async fn fields_filled(&self, plugin: &str) -> Result<Option<String>, ReadError>;

    /// Notes the file whose fields all instances have, or an empty digest.
    ///
    /// # Errors
    /// If it cannot be written.
    async fn note_fields_filled(&self, plugin: &str, digest: &str) -> Result<(), ReadError>;

    /// Writes the fields of those instances that have made as many decisions as is said. The others
    /// have decided meanwhile, or are gone.
    ///
    /// # Errors
    /// If it cannot be written.
    async fn fill_fields(&self, plugin: &str, rows: Vec<FilledFields>) -> Result<(), ReadError>;

    /// Notes that a component decides for plugins from now on, and keeps it as long as its decisions
    /// are kept. False if the store has it not, and it is not given.
    ///
    /// # Errors
    /// If it cannot be written.
    async fn begin_use(
        &self,
        of: &ComponentUse,
        component: Option<PackedComponent>,
    ) -> Result<bool, ReadError>;

    /// Notes the components that decide, by plugin. Others decide no more: no decision of theirs
    /// follows the end of the log.
    ///
    /// # Errors
    /// If it cannot be written.
    async fn end_other_uses(
        &self,
        in_use: &BTreeMap<String, BTreeSet<String>>,
    ) -> Result<(), ReadError>;

    /// Makes streams fast to find, for as long as the store exists. Costs each commit, so only a
    /// plugin that reads streams is worth it. On a large log it takes a while, in which nothing
    /// can be committed; once it is done, this does nothing.
    ///
    /// # Errors
    /// If it cannot be written.
    async fn index_subjects(&self) -> Result<(), ReadError>;
}

/// What a store had on record at the moment when it was opened, for replay and backtests. Never
/// writes, also beside a running host.
#[async_trait]
pub trait Snapshot: Send {
    /// Calls `each` for every decision of the plugin, in the order of positions, until it
    /// breaks. The events of decisions from before `since` are not read.
    ///
    /// # Errors
    /// If the store cannot be read.
    async fn decisions(
        &mut self,
        plugin: &str,
        key: Option<&str>,
        since: Timestamp,
        each: &mut EachDecision<'_>,
    ) -> Result<(), ReadError>;

    /// Calls `each` for every event of the log, in the order of positions, until it breaks.
    ///
    /// # Errors
    /// If the store cannot be read.
    async fn log(&mut self, each: &mut EachEvent<'_>) -> Result<(), ReadError>;

    /// Every message of the plugin that is still kept: in the outbox if it left, in the log if
    /// it stayed.
    ///
    /// # Errors
    /// If the store cannot be read.
    async fn messages(&mut self, plugin: &str) -> Result<Messages, ReadError>;

    /// Events, as JSON, that an operator put in place of dead ones of the plugin, by dead letter.
    ///
    /// # Errors
    /// If the store cannot be read.
    async fn edited(&mut self, plugin: &str) -> Result<HashMap<DeadLetterId, String>, ReadError>;

    /// The components that are kept of a plugin, the oldest first.
    ///
    /// # Errors
    /// If the store cannot be read.
    async fn kept(&mut self, plugin: &str) -> Result<Vec<KeptComponent>, ReadError>;

    /// A component that is kept; none if it is not.
    ///
    /// # Errors
    /// If the store cannot be read.
    async fn component(&mut self, digest: &str) -> Result<Option<PackedComponent>, ReadError>;

    /// The events of a subject before a position, in log order.
    ///
    /// # Errors
    /// If the store cannot be read.
    async fn stream(&mut self, subject: &str, before: u64) -> Result<Vec<Arc<Event>>, ReadError>;
}

/// Takes decisions one by one.
pub type EachDecision<'e> = dyn FnMut(RecordedDecision) -> ControlFlow<()> + Send + 'e;

/// Takes events of the log one by one.
pub type EachEvent<'e> = dyn FnMut(LogEntry) -> ControlFlow<()> + Send + 'e;

/// How much of the states is read at once: what is full first ends the page.
#[derive(Clone, Copy, Debug)]
pub struct StatePage {
    pub states: usize,
    /// Of states and keys.
    pub bytes: usize,
}

/// Bounds what one question reads, however much there is.
#[derive(Clone, Copy, Debug)]
pub struct QueryLimits {
    /// How long a list looks for its rows. Longer, and a person would take it for broken.
    pub scan_time: Duration,
    /// Rows that a list looks at between two looks at the time: some milliseconds.
    pub scan_rows: u32,
    /// Of a page's rows together, but for the first: a few events of the largest size.
    pub page_bytes: u64,
    /// Decisions that are looked through for the history of a stateless key.
    pub scanned_decisions: u32,
    /// Events that a plugin is behind are counted up to so many. Beyond, positions are
    /// subtracted, so the gaps that duplicates left count as well: a plugin that is far behind
    /// must not make the accounts slow.
    pub counted_pending: u64,
    /// Open dead letters that are counted for the list of causes. A million take about 300 ms.
    pub counted_dead_letters: u64,
}

impl Default for QueryLimits {
    fn default() -> Self {
        Self {
            scan_time: Duration::from_secs(2),
            scan_rows: 5_000,
            page_bytes: 4 << 20,
            scanned_decisions: 200_000,
            counted_pending: 100_000,
            counted_dead_letters: 1_000_000,
        }
    }
}
