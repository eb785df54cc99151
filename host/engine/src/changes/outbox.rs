//! The outboxes of all sinks: they assign the sequences of messages, and hold the tails that relays
//! and queues read.
//!
//! The committer assigns sequences and publishes messages. `engine/delivering.rs` is notified of
//! each sink's first message, so that no outbox is without a stage that delivers it.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};

use tokio::sync::mpsc;

use crate::changes::tail::{Next, Tail};
use crate::lock;
use crate::model::{Message, Sequence, SinkName};
use crate::seams::store::{Page, ReadError, Store};

/// Bytes of a sink's messages that its lanes have in memory.
#[derive(Clone, Debug, Default)]
pub(crate) struct Bytes(Arc<AtomicUsize>);

impl Bytes {
    pub(crate) fn now(&self) -> usize {
        self.0.load(Ordering::Relaxed)
    }

    pub(crate) fn add(&self, bytes: usize) {
        self.0.fetch_add(bytes, Ordering::Relaxed);
    }

    pub(crate) fn subtract(&self, bytes: usize) {
        self.0.fetch_sub(bytes, Ordering::Relaxed);
    }
}

pub(crate) type MessageTail = Tail<Arc<Message>>;

/// The bytes of one sink's newest messages that its lanes have not read: a sink that is down reads
/// none, and there can be many.
const TAIL_BYTES: usize = 8 << 20;

pub(crate) struct Outboxes {
    sinks: Mutex<BTreeMap<SinkName, Outbox>>,
    /// Notified of each sink's first message, so that a stage is started for it.
    opened: mpsc::UnboundedSender<SinkName>,
}

struct Outbox {
    last: Sequence,
    tail: Arc<MessageTail>,
    bytes: Bytes,
}

impl Outboxes {
    /// The recovered sinks have their stages already.
    pub(crate) fn new(
        recovered: impl IntoIterator<Item = (SinkName, Sequence)>,
        opened: mpsc::UnboundedSender<SinkName>,
    ) -> Self {
        let sinks = recovered.into_iter().map(|(sink, last)| (sink, Outbox::after(last)));
        Self { sinks: Mutex::new(sinks.collect()), opened }
    }

    /// The next sequence of a sink.
    pub(crate) fn assign(&self, sink: &SinkName) -> Sequence {
        let mut sinks = lock(&self.sinks);
        let outbox = match sinks.get_mut(sink) {
            Some(outbox) => outbox,
            None => {
                // The receiver is dropped only when the engine ends.
                let _ = self.opened.send(sink.clone());
                sinks.entry(sink.clone()).or_insert_with(Outbox::fresh)
            }
        };
        outbox.last = outbox.last.next();
        outbox.last
    }

    /// Publishes committed messages; those of one sink are ascending.
    pub(crate) fn publish(&self, messages: Vec<Arc<Message>>) {
        let mut by_sink: BTreeMap<SinkName, Vec<(u64, Arc<Message>)>> = BTreeMap::new();
        for message in messages {
            match by_sink.get_mut(&message.sink) {
                Some(entries) => entries.push((message.sequence.0, message)),
                None => {
                    by_sink.insert(message.sink.clone(), vec![(message.sequence.0, message)]);
                }
            }
        }
        for (sink, entries) in by_sink {
            let head = entries.last().map_or(0, |(sequence, _)| *sequence);
            self.tail(&sink).publish(entries, head);
        }
    }

    fn tail(&self, sink: &SinkName) -> Arc<MessageTail> {
        let mut sinks = lock(&self.sinks);
        Arc::clone(&sinks.entry(sink.clone()).or_insert_with(Outbox::fresh).tail)
    }

    /// The reader for the lanes of a sink, which exist once.
    pub(crate) fn reader(&self, sink: &SinkName, store: Arc<dyn Store>) -> OutboxReader {
        let mut sinks = lock(&self.sinks);
        let outbox = sinks.entry(sink.clone()).or_insert_with(Outbox::fresh);
        let (tail, bytes) = (Arc::clone(&outbox.tail), outbox.bytes.clone());
        OutboxReader { sink: sink.clone(), store, tail, bytes, place: Sequence(0) }
    }

    /// Bytes of each sink's messages in memory: those that its lanes have, and those that they have
    /// not read.
    pub(crate) fn bytes(&self) -> BTreeMap<SinkName, usize> {
        let sinks = lock(&self.sinks);
        let bytes = |outbox: &Outbox| outbox.tail.bytes() + outbox.bytes.now();
        sinks.iter().map(|(sink, outbox)| (sink.clone(), bytes(outbox))).collect()
    }
}

impl Outbox {
    fn fresh() -> Self {
        Self::after(Sequence(0))
    }

    fn after(last: Sequence) -> Self {
        Self { last, tail: tail(last.0), bytes: Bytes::default() }
    }
}

/// Reads one sink's outbox from a place on.
pub(crate) struct OutboxReader {
    pub sink: SinkName,
    pub store: Arc<dyn Store>,
    pub tail: Arc<MessageTail>,
    /// The bytes that were read and are still in memory.
    pub bytes: Bytes,
    /// The place up to which it is read.
    pub place: Sequence,
}

impl OutboxReader {
    /// Returns the next messages; empty if there are none now. The place moves further than the
    /// last message where sequences have gaps.
    ///
    /// # Errors
    /// If the store cannot be read. The place stays.
    pub(crate) async fn next(&mut self, page: Page) -> Result<Vec<Arc<Message>>, ReadError> {
        match self.tail.read(self.place.0, page) {
            Next::Caught => Ok(Vec::new()),
            Next::Entries(messages, place) => {
                // There is no other reader.
                self.tail.forget(place);
                self.place = Sequence(place);
                Ok(messages)
            }
            Next::Behind => {
                let head = self.tail.head();
                let messages = self.store.read_outbox(&self.sink, self.place, page).await?;
                self.place = match messages.last() {
                    Some(last) => last.sequence,
                    // Only gaps are left of what the store had.
                    None => Sequence(head),
                };
                Ok(messages)
            }
        }
    }
}

fn tail(last: u64) -> Arc<Tail<Arc<Message>>> {
    Arc::new(Tail::new(last, TAIL_BYTES, |message: &Arc<Message>| message.event.bytes()))
}
