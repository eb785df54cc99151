//! Dead letters of messages: the actions of operators, and the messages that wait behind a dead
//! letter. What happens to each is decided in `pure/dead_letters.rs`. The decision is made durable
//! first; then the waiting rows are read back in portions and continue, as for events
//! (`dispatch/dead_letters.rs`).

use std::sync::Arc;

use tokio::sync::oneshot;

use crate::changes::resolve::{ResolveError, keep_reserved};
use crate::model::{
    Action, DeadLetter, DeadLetterStatus, DeadLetterSubject, Event, Message, MessageKind,
    Resolution, Sequence, SinkName,
};
use crate::pure::dead_letters::LaneItem;
use crate::pure::parking::{PORTION_BYTES, Portion};
use crate::seams::store::{ReadError, Store};
use crate::stages::reads::{detached, until_durable, until_read};

use super::parcel::{Lane, Parcel};
use super::{SinkLanes, WINDOW_BYTES};

/// The rows with which a key continues.
pub(super) struct Resumed {
    lane: Lane,
    dead_letter: Option<DeadLetter>,
    rows: Vec<Arc<Message>>,
    /// Whether they were deferred, and not parked.
    deferred: bool,
}

impl SinkLanes {
    /// As for events: the decision is made durable first, then the waiting rows are read back and
    /// continue.
    pub(super) fn resolve(
        &mut self,
        dead_letter: DeadLetter,
        mut resolution: Resolution,
    ) -> Result<(), ResolveError> {
        let lane = self.lane_of(&dead_letter);
        self.dead_letters
            .check(&lane, &dead_letter)
            .map_err(|refusal| ResolveError::refused(&dead_letter, refusal))?;
        if let Action::Redrive { edited: Some(event) } = &mut resolution.action {
            check_edited(&dead_letter, event)?;
        }
        if !self.output.take(dead_letter.id) {
            let status = DeadLetterStatus::Compensated.as_str();
            return Err(ResolveError::NotOpen { id: dead_letter.id.0, status });
        }
        self.dead_letters.resolve(&lane, dead_letter, resolution, &mut self.output);
        Ok(())
    }

    fn lane_of(&self, dead_letter: &DeadLetter) -> Lane {
        let key = dead_letter.key.clone().unwrap_or_else(|| "".into());
        Lane::new(self.order, &dead_letter.plugin, &key, dead_letter.place())
    }

    /// Lets the messages behind a dead letter continue that the store rejected. Its message is
    /// counted as discarded.
    pub(super) fn drop_dead_letter(&mut self, dead_letter: &DeadLetter) {
        let lane = self.lane_of(dead_letter);
        self.dead_letters.remove(&lane, dead_letter.place());
        self.output.take(dead_letter.id);
        self.output.count().discarded += 1;
    }

    /// Reads the portions of the keys that may continue, as many as there is room for.
    pub(super) fn read_portions(&mut self) {
        // At least one: otherwise a memory that is full of other keys could delay these for ever.
        while (self.lanes.len() == 0 || self.reader.bytes.now() < WINDOW_BYTES)
            && let Some((key, places)) = self.deferred.next_portion()
        {
            self.resume(Portion { key, dead_letter: None, places }, true, None);
        }
        while let Some(portion) = self.dead_letters.next_portion() {
            let durable = self.output.unless_durable();
            self.resume(portion, false, durable);
        }
    }

    fn resume(
        &mut self,
        portion: Portion<Lane>,
        deferred: bool,
        durable: Option<oneshot::Receiver<()>>,
    ) {
        let (store, sink) = (Arc::clone(&self.reader.store), self.sink.clone());
        self.resumes.push(detached(async move {
            until_durable(durable).await;
            let read = until_read(
                || read_portion(&*store, &sink, &portion),
                |error| tracing::warn!(%sink, %error, "reading parked messages failed; retrying"),
            );
            let (dead_letter, rows) = read.await;
            Resumed { lane: portion.key, dead_letter, rows, deferred }
        }));
    }

    pub(super) fn on_resumed(&mut self, resumed: Resumed) {
        let Resumed { lane, mut dead_letter, mut rows, deferred } = resumed;
        if deferred {
            self.deferred.end_portion(&lane, rows.iter().map(|message| message.sequence.0));
            for message in rows {
                self.push(&lane, Parcel::new(message, LaneItem::Fresh));
            }
            return;
        }
        let buffered =
            self.dead_letters.end_portion(&lane, &mut dead_letter, &mut rows, |message| {
                (message.sequence.0, message.event.bytes())
            });
        if let Some(dead_letter) = dead_letter {
            let message = Arc::new(message_of(&self.sink, &dead_letter));
            let item = LaneItem::DeadLetter(dead_letter.id);
            self.dead_letters.taken(dead_letter);
            self.take_back(&lane, message, item);
        }
        for message in rows {
            self.take_back(&lane, message, LaneItem::Parked);
        }
        for parcel in buffered {
            self.reader.bytes.subtract(parcel.message.event.bytes());
            self.enqueue(&lane, parcel);
        }
    }
}

fn message_of(sink: &SinkName, dead_letter: &DeadLetter) -> Message {
    let kind = match dead_letter.subject {
        DeadLetterSubject::Message { kind, .. } => kind,
        DeadLetterSubject::Event => MessageKind::Event,
    };
    Message {
        sink: sink.clone(),
        sequence: Sequence(dead_letter.place()),
        kind,
        plugin: dead_letter.plugin.clone(),
        key: dead_letter.key.clone().unwrap_or_else(|| "".into()),
        cause: dead_letter.position,
        // Its instance gets an event only about the first failure.
        instance: None,
        event: Arc::clone(dead_letter.current()),
        hops: dead_letter.hops,
    }
}

/// Its receiver knows it by its id, and its queue or route by its type, so these must not change.
fn check_edited(dead_letter: &DeadLetter, edited: &mut Event) -> Result<(), ResolveError> {
    let original = &dead_letter.event;
    let same = |event: &Event| (event.id.clone(), event.source.clone(), event.event_type.clone());
    if same(edited) != same(original) {
        let reason = format!(
            "its id, source and type must stay `{}`, `{}` and `{}`",
            original.id, original.source, original.event_type
        );
        return Err(ResolveError::Edited { id: dead_letter.id.0, reason });
    }
    keep_reserved(original, edited)
        .map_err(|reason| ResolveError::Edited { id: dead_letter.id.0, reason })
}

/// Reads the dead letter of a portion, and the first of its rows.
async fn read_portion(
    store: &dyn Store,
    sink: &SinkName,
    portion: &Portion<Lane>,
) -> Result<(Option<DeadLetter>, Vec<Arc<Message>>), ReadError> {
    let Portion { dead_letter, places, .. } = portion;
    let missing = |what: &str| Err(ReadError(format!("{what} of {sink} is missing")));
    let dead_letter = match dead_letter {
        Some(id) => match store.read_dead_letter(*id).await? {
            None => return missing("a dead letter"),
            found => found,
        },
        None => None,
    };
    let sequences: Vec<Sequence> = places.iter().copied().map(Sequence).collect();
    if sequences.is_empty() {
        return Ok((dead_letter, Vec::new()));
    }
    let rows = store.read_messages(sink, &sequences, PORTION_BYTES).await?;
    match rows.is_empty() {
        true => missing("a message that waits"),
        false => Ok((dead_letter, rows)),
    }
}
