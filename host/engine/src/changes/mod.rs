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

/// What the other stages ask the committer to write.
pub(crate) enum Work {
    Offer(Offer),
    Plugin(Box<PluginChanges>),
    Sink(Box<SinkChanges>),
    Fire(Fire),
    /// A change of the controls.
    Control(ControlChange),
    /// A removal of expired data.
    Remove(Removal),
    /// Answered with the last position of the log, when everything that was offered before is in
    /// it.
    Head(oneshot::Sender<Position>),
}

/// Events from outside or from an operator's request, and the channel for the receipts.
pub(crate) struct Offer {
    pub events: Vec<Arc<Event>>,
    pub hops: Hops,
    /// The item of an operator's batch that this event completes.
    pub item: Option<BatchItemId>,
    /// The receipts, and the events again.
    pub reply: oneshot::Sender<Result<Offered, OfferError>>,
    /// Released when the events are written: bounds the events that wait here.
    pub permit: OwnedSemaphorePermit,
}

/// Each event's receipt, and the events.
pub(crate) type Offered = (Vec<Receipt>, Vec<Arc<Event>>);

/// Controls to write and to remove.
pub(crate) struct ControlChange {
    pub put: Vec<Control>,
    pub removed: Vec<ControlId>,
    /// Notified when it is durable.
    pub reply: oneshot::Sender<()>,
}

/// Timers that are due, and the events as which they fire.
pub(crate) struct Fire {
    pub timers: Vec<(TimerRow, Arc<Event>)>,
    /// Released when they are taken out: bounds the timers that wait here.
    #[expect(dead_code, reason = "dropped with the rest when the committer has taken it")]
    pub permit: OwnedSemaphorePermit,
}

/// The changes of a dispatcher since its last hand-over, folded: each row once.
#[derive(Default)]
pub(crate) struct PluginChanges {
    pub instances: BTreeMap<Key, Arc<Instance>>,
    /// Removed before `instances` are written.
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
    /// Each dead letter once.
    pub dead_letters: Vec<DeadLetter>,
    pub dead_letters_closed: Vec<Closing>,
    /// Timers that became dead letters instead of firing.
    pub timers_fired: Vec<TimerRef>,
    /// The dead letters of refused commands that these changes resolve.
    pub compensations: Vec<Compensation>,
    pub dead_letters_noted: Vec<(DeadLetterId, String)>,
    /// Keys that have decided an event which other keys still have to decide.
    pub partly_decided: BTreeMap<Position, Vec<Key>>,
    /// Settled events for which the store has such keys.
    pub partly_decided_removed: Vec<Position>,
    pub progress: Option<PluginProgress>,
    /// Notified when all this is durable.
    pub replies: Vec<oneshot::Sender<()>>,
    /// Receives the part of these changes that the store rejects.
    pub rejections: Option<mpsc::UnboundedSender<Rejection>>,
    /// A plugin has one set of changes in the channel at a time. Released when it is taken out.
    pub permit: Option<OwnedSemaphorePermit>,
}

/// A message with everything but its place in the outbox.
pub(crate) struct Addressed {
    /// None if it goes to the log alone.
    pub sink: Option<SinkName>,
    pub kind: MessageKind,
    pub key: Key,
    pub cause: Position,
    /// The position at which the sending instance began; none for a lane.
    pub instance: Option<Position>,
    pub event: Arc<Event>,
    pub hops: Hops,
    /// Whether it is appended to the log too, so that plugins get it.
    pub append: bool,
    /// Whether it is the event of a dead letter, which is appended again.
    pub redriven: bool,
}

/// The changes of a relay or queue since its last hand-over.
#[derive(Default)]
pub(crate) struct SinkChanges {
    /// Each dead letter once.
    pub dead_letters: Vec<DeadLetter>,
    pub parked: Vec<(MessageLane, Sequence)>,
    pub parked_removed: Vec<Sequence>,
    /// Begun or ended, by sequence.
    pub waits: BTreeMap<Sequence, Option<(MessageLane, Wait)>>,
    /// Events that notify instances of commands that could not be delivered.
    pub reserved: Vec<(Event, Hops)>,
    pub progress: Option<SinkProgress>,
    /// Notified when it is durable.
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

/// The work of one step of housekeeping.
pub(crate) struct Removal {
    pub expire: Expire,
    /// Answered with the number of removed rows of the history, when the removal is durable.
    pub reply: oneshot::Sender<usize>,
}
