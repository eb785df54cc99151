//! What the stages exchange: the work for the next commit, calls and requests, and the structures
//! that one stage fills and others read. A stage knows these types and no other stage.
//!
//! A set of changes names each row at most once. A plugin or sink has at most one set of changes in
//! the committer's channel at a time; the permit in the set bounds it.

pub(crate) mod asking;
pub(crate) mod backlog;
pub(crate) mod canary;
pub(crate) mod comparison;
pub(crate) mod compensation;
pub(crate) mod controls;
pub(crate) mod desired_state;
pub(crate) mod jobs;
pub(crate) mod measures;
pub(crate) mod outbox;
pub(crate) mod readers;
pub(crate) mod readiness;
pub(crate) mod receipt;
pub(crate) mod rejection;
pub(crate) mod requests;
pub(crate) mod resolve;
pub(crate) mod sinks;
pub(crate) mod spans;
pub(crate) mod tail;
pub(crate) mod timer_index;

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use tokio::sync::{OwnedSemaphorePermit, mpsc, oneshot};

use crate::changes::compensation::Compensation;
use crate::changes::receipt::{OfferError, Receipt};
use crate::changes::rejection::{DeadLettersDropped, Rejection};
use crate::model::{
    BatchItemId, Control, ControlId, DeadLetter, DeadLetterId, DecisionRecord, Event, Held, Hops,
    Instance, Key, MessageKind, Parked, Position, Sequence, SinkName, TimerName, TimerRef, Wait,
};
use crate::seams::store::{Closing, Expire, MessageLane, PluginProgress, SinkProgress, TimerRow};

/// What the other stages want written.
pub(crate) enum Work {
    Offer(Offer),
    Plugin(Box<PluginChanges>),
    Sink(Box<SinkChanges>),
    Fire(Fire),
    /// An operator's setting.
    Control(ControlChange),
    /// What is too old.
    Remove(Removal),
    /// Answered with the log's last position, when all that was offered before is in it.
    Head(oneshot::Sender<Position>),
}

/// Events from outside or an operator's word, and who waits for the receipt.
pub(crate) struct Offer {
    pub events: Vec<Arc<Event>>,
    pub hops: Hops,
    /// The item of an operator's batch that is done with it.
    pub item: Option<BatchItemId>,
    /// The receipts, and the events again.
    pub reply: oneshot::Sender<Result<Offered, OfferError>>,
    /// Given back when the events are written: bounds what waits here.
    pub permit: OwnedSemaphorePermit,
}

/// Each event's receipt, and the events.
pub(crate) type Offered = (Vec<Receipt>, Vec<Arc<Event>>);

/// Controls to write and to remove.
pub(crate) struct ControlChange {
    pub put: Vec<Control>,
    pub removed: Vec<ControlId>,
    /// Told when it is durable.
    pub reply: oneshot::Sender<()>,
}

/// Timers that are due, and the events they fire as.
pub(crate) struct Fire {
    pub timers: Vec<(TimerRow, Arc<Event>)>,
    /// Given back when they are taken out: bounds what waits here.
    #[expect(dead_code, reason = "dropped with the rest when the committer has taken it")]
    pub permit: OwnedSemaphorePermit,
}

/// What a dispatcher decided since it last handed over. Already folded: each row once.
#[derive(Default)]
pub(crate) struct PluginChanges {
    pub instances: BTreeMap<Key, Arc<Instance>>,
    /// Before `instances`.
    pub instances_removed: BTreeSet<Key>,
    /// The values of the fields of `instances`, as far as decisions changed them.
    pub fields: BTreeMap<Key, String>,
    /// (key, instance) to claimed or released.
    pub claims: BTreeMap<(Key, Key), bool>,
    /// (instance, name) to set or cleared.
    pub timers: BTreeMap<(Key, TimerName), Option<TimerRow>>,
    pub decisions: Vec<DecisionRecord>,
    pub outgoing: Vec<Addressed>,
    pub held: BTreeMap<(Position, Key), Option<Held>>,
    pub parked: BTreeMap<(Position, Key), Option<Parked>>,
    /// Key to begun or ended.
    pub waits: BTreeMap<Key, Option<Wait>>,
    /// Each once.
    pub dead_letters: Vec<DeadLetter>,
    pub dead_letters_closed: Vec<Closing>,
    /// Timers that fired as dead letters.
    pub timers_fired: Vec<TimerRef>,
    /// Of those letters, the ones of refused commands.
    pub compensations: Vec<Compensation>,
    pub dead_letters_noted: Vec<(DeadLetterId, String)>,
    /// Keys that have decided an event which other keys still have to decide.
    pub partly_decided: BTreeMap<Position, Vec<Key>>,
    /// Events that are settled, of which the store has such keys.
    pub partly_decided_removed: Vec<Position>,
    pub progress: Option<PluginProgress>,
    /// Told when all this is durable.
    pub replies: Vec<oneshot::Sender<()>>,
    /// Receives what the store rejects of these changes.
    pub rejections: Option<mpsc::UnboundedSender<Rejection>>,
    /// A plugin has one set of changes in the channel at a time; given back when it is taken out.
    pub permit: Option<OwnedSemaphorePermit>,
}

/// A message with everything but its place in the outbox.
pub(crate) struct Addressed {
    /// None: it goes to the log alone.
    pub sink: Option<SinkName>,
    pub kind: MessageKind,
    pub key: Key,
    pub cause: Position,
    /// Where the sending instance began; none for a lane.
    pub instance: Option<Position>,
    pub event: Arc<Event>,
    pub hops: Hops,
    /// Whether it is appended to the log too, so that plugins get it.
    pub append: bool,
    /// A dead letter's event on its way back to the log.
    pub redriven: bool,
}

/// What a relay or queue settled since it last handed over.
#[derive(Default)]
pub(crate) struct SinkChanges {
    /// Each once.
    pub dead_letters: Vec<DeadLetter>,
    pub parked: Vec<(MessageLane, Sequence)>,
    pub parked_removed: Vec<Sequence>,
    /// Begun or ended.
    pub waits: BTreeMap<Sequence, Option<(MessageLane, Wait)>>,
    /// Events that tell instances of commands that could not be delivered.
    pub reserved: Vec<(Event, Hops)>,
    pub progress: Option<SinkProgress>,
    /// Told when it is durable.
    pub replies: Vec<oneshot::Sender<()>>,
    /// Receives the dead letters that the store rejects.
    pub dropped: Option<mpsc::UnboundedSender<DeadLettersDropped>>,
    pub permit: Option<OwnedSemaphorePermit>,
}

impl PluginChanges {
    pub(crate) fn rows(&self) -> usize {
        self.decisions.len()
            + self.outgoing.len()
            + self.held.len()
            + self.parked.len()
            + self.dead_letters_closed.len()
    }
}

/// One step's work for the committer.
pub(crate) struct Removal {
    pub expire: Expire,
    /// Told how many rows of the history went, when that is durable.
    pub reply: oneshot::Sender<usize>,
}
