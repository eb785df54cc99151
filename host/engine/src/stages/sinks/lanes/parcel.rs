//! A message in progress, and its lane: the messages that leave one after another.

use std::sync::Arc;

use crate::model::{Key, Message, PluginName};
use crate::pure::dead_letters::LaneItem;
use crate::seams::transport::Order;

/// The messages that leave one after another.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(crate) enum Lane {
    /// The messages of one ordering key.
    Key(PluginName, Key),
    /// One message by itself: its place in the outbox.
    Message(u64),
    /// All messages of the sink.
    Whole,
}

impl Lane {
    pub(super) fn new(order: Order, plugin: &PluginName, key: &Key, sequence: u64) -> Self {
        match order {
            Order::Key => Self::Key(plugin.clone(), key.clone()),
            Order::None => Self::Message(sequence),
            Order::Whole => Self::Whole,
        }
    }
}

/// A message in progress.
pub(crate) struct Parcel {
    pub message: Arc<Message>,
    /// Counts from 1. Only failures that are the message's own lead to the next.
    pub attempt: u32,
    /// All failures, whatever their cause: the pauses grow with them.
    pub failures: u32,
    /// The number of answers of the sink when the message failed last.
    pub failed_at_answer: Option<u64>,
    /// The most messages that a lease with this one may have.
    pub lease_max: usize,
    pub(super) item: LaneItem,
}

impl Parcel {
    pub(super) fn new(message: Arc<Message>, item: LaneItem) -> Self {
        Self {
            message,
            attempt: 1,
            failures: 0,
            failed_at_answer: None,
            lease_max: usize::MAX,
            item,
        }
    }
}
