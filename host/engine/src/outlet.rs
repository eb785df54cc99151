//! What relay and queue have in common: a sink's messages in lanes by ordering
//! key, and the bookkeeping of what is settled. One message that cannot be
//! delivered holds up its own key alone, behind a dead letter.

use std::sync::Arc;

use tokio::sync::{OwnedSemaphorePermit, Semaphore, mpsc, oneshot};

use crate::commit::{SinkChanges, Work};
use crate::lanes::Lanes;
use crate::model::{
    Counters, Cursor, DeadLetter, DeadLetterId, DeadLetterStatus, DeadLetterSubject, Event, Key,
    Message, MessageKind, PluginName, Sequence, SinkName, Timestamp, reserved,
};
use crate::outbox::OutboxReader;
use crate::store::{MessageLane, ReadError, RecoveredSink, SinkProgress};
use crate::watermark::Watermark;

/// Messages of one sink in memory. Bounds memory; more stay in the store.
const WINDOW: usize = 16_384;
const READ_MAX: usize = 2_048;

pub type LaneKey = (PluginName, Key);

/// A message under way.
pub struct Parcel {
    pub message: Arc<Message>,
    pub attempt: u32,
}

pub struct Outlet {
    pub sink: SinkName,
    pub lanes: Lanes<LaneKey, Parcel>,
    reader: OutboxReader,
    watermark: Watermark,
    recovered: Cursor,
    counters: Counters,
    changes: SinkChanges,
    dirty: bool,
    slot: Arc<Semaphore>,
    work: mpsc::UnboundedSender<Work>,
}

impl Outlet {
    pub fn new(
        recovered: RecoveredSink,
        mut reader: OutboxReader,
        work: mpsc::UnboundedSender<Work>,
    ) -> Self {
        let progress = recovered.progress;
        reader.place = Sequence(progress.cursor.settled);
        let mut lanes = Lanes::default();
        for MessageLane { plugin, key, .. } in recovered.parked {
            lanes.park(&(plugin, key));
        }
        Self {
            sink: progress.sink,
            lanes,
            reader,
            watermark: Watermark::new(&progress.cursor),
            recovered: progress.cursor,
            counters: progress.counters,
            changes: SinkChanges::default(),
            dirty: false,
            slot: Arc::new(Semaphore::new(1)),
            work,
        }
    }

    /// Takes messages from the outbox into the lanes. True if it took any.
    ///
    /// # Errors
    /// If the store cannot be read.
    pub async fn fill(&mut self) -> Result<bool, ReadError> {
        if !self.has_room() {
            return Ok(false);
        }
        let before = self.reader.place;
        let messages = self.reader.next(READ_MAX).await?;
        let mut last = before.0;
        for message in messages {
            self.skip(last + 1, message.sequence.0 - 1);
            last = message.sequence.0;
            if !self.recovered.contains(last) {
                self.take_in(message);
            }
        }
        self.skip(last + 1, self.reader.place.0);
        Ok(self.reader.place > before)
    }

    #[must_use]
    pub fn has_room(&self) -> bool {
        self.lanes.len() < WINDOW
    }

    /// Resolves when `fill` finds something.
    pub async fn wait(&self) {
        self.reader.wait().await;
    }

    fn take_in(&mut self, message: Arc<Message>) {
        let lane = (message.plugin.clone(), message.key.clone());
        let sequence = message.sequence;
        if self.lanes.is_parked(&lane) {
            self.park_message(&lane, sequence);
        } else {
            self.lanes.push(&lane, sequence.0, Parcel { message, attempt: 1 });
        }
    }

    /// Sequences that hold nothing.
    fn skip(&mut self, first: u64, last: u64) {
        for sequence in first..=last {
            if !self.recovered.contains(sequence) {
                self.watermark.finish(sequence);
            }
        }
    }

    /// A taken message was delivered.
    pub fn delivered(&mut self, lane: &LaneKey, sequence: u64) {
        if self.lanes.finish(lane, sequence).is_some() {
            self.watermark.finish(sequence);
            self.counters.received += 1;
            self.counters.handled += 1;
            self.dirty = true;
        }
    }

    /// A taken message goes back to the front of its lane, as the next attempt.
    pub fn retry(&mut self, lane: &LaneKey, sequence: u64, until: Timestamp) {
        if let Some(parcel) = self.lanes.get_mut(lane, sequence) {
            parcel.attempt += 1;
            self.lanes.put_back(lane, sequence, until);
        }
    }

    /// A taken message becomes a dead letter; its lane waits behind it. If it was a
    /// command, the instance that sent it is told by an event.
    pub fn bury(&mut self, lane: &LaneKey, sequence: u64, reason: &str, now: Timestamp) {
        for (order, parcel) in self.lanes.park(lane) {
            if order != sequence {
                self.park_message(lane, Sequence(order));
                continue;
            }
            let Parcel { message, attempt } = parcel;
            tracing::warn!(
                sink = %self.sink, id = %message.event.id, message_type = %message.event.event_type,
                attempts = attempt, %reason, "the message became a dead letter"
            );
            if message.kind == MessageKind::Command {
                let event = undeliverable(&message, attempt, reason, now);
                let _ = self.work.send(Work::Reserved(vec![Arc::new(event)]));
            }
            self.watermark.finish(sequence);
            self.counters.received += 1;
            self.changes.dead_letters.push(DeadLetter {
                id: DeadLetterId(0),
                subject: DeadLetterSubject::Message {
                    sink: self.sink.clone(),
                    sequence: message.sequence,
                },
                plugin: message.plugin.clone(),
                key: Some(message.key.clone()),
                position: message.cause,
                reason: reason.to_owned(),
                attempts: attempt,
                plugin_version: "".into(),
                at: now,
                status: DeadLetterStatus::Open,
                resolved_by: None,
                resolved_reason: None,
                event: Arc::clone(&message.event),
            });
            self.dirty = true;
        }
    }

    fn park_message(&mut self, lane: &LaneKey, sequence: Sequence) {
        let (plugin, key) = lane.clone();
        self.changes.parked.push((MessageLane { sink: self.sink.clone(), plugin, key }, sequence));
        self.watermark.finish(sequence.0);
        self.counters.received += 1;
        self.dirty = true;
    }

    /// Tells when everything settled so far is durable.
    pub fn reply_when_durable(&mut self, reply: oneshot::Sender<()>) {
        self.changes.replies.push(reply);
        self.dirty = true;
    }

    #[must_use]
    pub fn is_dirty(&self) -> bool {
        self.dirty
    }

    /// One set of changes may be with the committer's queue at a time.
    #[must_use]
    pub fn slot(&self) -> Arc<Semaphore> {
        Arc::clone(&self.slot)
    }

    pub fn hand_over(&mut self, permit: OwnedSemaphorePermit) {
        let mut changes = std::mem::take(&mut self.changes);
        changes.progress = Some(SinkProgress {
            sink: self.sink.clone(),
            cursor: self.watermark.cursor(),
            counters: self.counters,
        });
        changes.permit = Some(permit);
        self.dirty = false;
        let _ = self.work.send(Work::Sink(Box::new(changes)));
    }

    /// Hands over what is left, at the end.
    pub async fn flush(&mut self) {
        if self.dirty
            && let Ok(permit) = self.slot().acquire_owned().await
        {
            self.hand_over(permit);
        }
    }
}

/// The event that tells an instance of a command that could not be delivered.
fn undeliverable(message: &Message, attempts: u32, reason: &str, now: Timestamp) -> Event {
    let command = &message.event;
    let data = serde_json::json!({
        "id": command.id, "type": command.event_type, "reason": reason, "attempts": attempts,
        "command": &**command,
    });
    Event {
        id: format!("{}.undeliverable", command.id),
        source: command.source.clone(),
        event_type: reserved::COMMAND_UNDELIVERABLE.to_owned(),
        subject: Some(command.event_type.clone()),
        time: Some(now.to_rfc3339()),
        datacontenttype: None,
        dataschema: None,
        extensions: vec![
            (reserved::EXTENSION_PLUGIN.to_owned(), message.plugin.as_str().to_owned()),
            (reserved::EXTENSION_INSTANCE.to_owned(), message.key.as_str().to_owned()),
        ],
        data: data.to_string().into(),
    }
}
