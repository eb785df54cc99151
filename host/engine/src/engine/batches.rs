//! Runs a batch of an operator: acts on each of its items once, at its pace, and says how it ended.
//!
//! What an item's action does and the item's outcome are one commit. So whatever ends the run, the
//! next one goes on with the items that are pending, and with nothing else. After a call without a
//! certain answer the run waits until the engine has recovered, and reads what became of the item.
//!
//! It knows items, their outcomes and the answers of the stages. What selects the items, and who
//! may start a batch, it does not know.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use futures::future::BoxFuture;
use futures::stream::{FuturesUnordered, StreamExt as _};
use tokio_util::sync::CancellationToken;

use super::operators::ItemInstance;
use super::{Action, Engine, InstanceError, OfferError, Resolution, ResolveError};
use crate::model::{
    BatchAction, BatchId, BatchItem, BatchItemId, DeadLetterId, DeadLetterStatus, ItemNote,
    ItemOutcome, Key, PluginName, SinkName, StartedBatch, reserved,
};
use crate::pure::monotonic::Instant;
use crate::pure::pace::{Pace, TooMany};
use crate::seams::batches::BatchItems;
use crate::seams::store::ReadError;
use crate::stages::reads::detached;

/// Items in memory that have not begun: some hundred kilobytes.
const WINDOW: usize = 1_024;
/// Actions that wait for their commits at a time: as many as share one.
const CALLS_MAX: usize = 256;
/// Redrives that have not ended. Each has its event in the memory of a stage, or waits as a row.
const IN_PROGRESS_MAX: usize = 4_096;
/// The pause between two looks at what became of the redrives.
const LOOK: Duration = Duration::from_millis(50);
/// The pause before the batch acts again on an item that waits for others of its key.
const AGAIN: Duration = Duration::from_millis(50);
/// The pause before the batch acts again on an item whose plugin or sink does not exist, or whose
/// event found no room.
const AGAIN_UNSERVED: Duration = Duration::from_secs(1);
/// The pause before a failed read or write of items is repeated.
const RETRY: Duration = Duration::from_millis(200);

/// How a run of a batch ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum BatchEnd {
    /// Every item has its outcome.
    Done,
    /// Too many of the first items failed again. The text says how many.
    Stopped(String),
    /// It was stopped. No item begins after this, and the outcome of every call is stored.
    Interrupted,
}

impl Engine {
    /// Acts on the items of a batch that are pending, until all have their outcome or `stop` is
    /// cancelled. Only one run of a batch may be under way.
    pub async fn run_batch(
        &self,
        items: Arc<dyn BatchItems>,
        batch: StartedBatch,
        stop: &CancellationToken,
    ) -> BatchEnd {
        let now = Instant::now();
        let pace = Pace::new(batch.rate_per_second, batch.ignore_failures, now);
        let run = Run {
            of: Arc::new(Of { engine: self.clone(), items, batch }),
            stop,
            pace,
            window: BTreeMap::new(),
            read_to: None,
            calls: FuturesUnordered::new(),
            busy: BTreeSet::new(),
            in_progress: BTreeMap::new(),
            unsure: Vec::new(),
            notes: Vec::new(),
            waits_for: None,
            remarked: None,
            too_many: None,
            next_look: now,
        };
        run.run().await.unwrap_or(BatchEnd::Interrupted)
    }

    /// Whether the stages run, and everything that earlier stages did is certain.
    fn is_recovered(&self) -> bool {
        self.shared.epoch().is_some() && self.shared.readiness.get().is_ok()
    }
}

/// Items of one lane are acted on one after another. None: nothing waits behind the item.
type Lane = Option<(PluginName, Option<SinkName>, Key)>;

/// An item that has not begun.
struct Waiting {
    item: BatchItem,
    not_before: Instant,
}

/// The result of a call for an item.
enum Said {
    /// The action is durable.
    Began,
    Note(ItemOutcome, String),
    /// The action is possible soon.
    Later,
    /// The action is possible when something else has changed. The text says what.
    WaitsFor(String),
    /// The action may have taken effect.
    Unsure,
}

/// What a call needs.
struct Of {
    engine: Engine,
    items: Arc<dyn BatchItems>,
    batch: StartedBatch,
}

struct Run<'r> {
    of: Arc<Of>,
    stop: &'r CancellationToken,
    pace: Pace,
    window: BTreeMap<u64, Waiting>,
    /// The last item that was read; none if all were.
    read_to: Option<u64>,
    /// The calls run in tasks of their own, because a read that has begun must not wait for this
    /// task.
    calls: FuturesUnordered<BoxFuture<'static, (BatchItem, Said)>>,
    /// Lanes with a call or a redrive under way.
    busy: BTreeSet<Lane>,
    in_progress: BTreeMap<u64, (Lane, Begun)>,
    unsure: Vec<BatchItem>,
    notes: Vec<ItemNote>,
    waits_for: Option<String>,
    /// The value of `waits_for` that the store has.
    remarked: Option<String>,
    too_many: Option<TooMany>,
    next_look: Instant,
}

/// Which run began an item.
#[derive(Clone, Copy)]
enum Begun {
    /// An earlier one. The item says nothing about the pace of this one.
    Before,
    Now,
}

/// The run was stopped.
struct Interrupted;

impl Run<'_> {
    async fn run(mut self) -> Result<BatchEnd, Interrupted> {
        self.take_up().await?;
        loop {
            self.fill().await?;
            let begun = self.begin(Instant::now());
            if self.is_over() {
                self.flush().await?;
                return Ok(BatchEnd::Done);
            }
            if let Some(too_many) = self.too_many {
                self.end_calls().await?;
                return Ok(BatchEnd::Stopped(said_of(too_many)));
            }
            let is_idle = self.calls.is_empty() && self.in_progress.is_empty();
            if begun == 0 && is_idle && self.unsure.is_empty() && self.read_to.is_some() {
                // Each item in memory may wait for one that is not in memory yet.
                self.read_more().await?;
            }
            let wake = self.next_wake(Instant::now());
            tokio::select! {
                biased;
                () = self.stop.cancelled() => {
                    self.end_calls().await?;
                    return Ok(BatchEnd::Interrupted);
                }
                Some((item, said)) = self.calls.next(), if !self.calls.is_empty() => {
                    self.on_said(item, said);
                }
                () = tokio::time::sleep_until(wake) => {}
            }
            if Instant::now() >= self.next_look {
                self.look().await?;
            }
        }
    }

    /// Continues the items that an earlier run has begun.
    async fn take_up(&mut self) -> Result<(), Interrupted> {
        let (mut after, in_progress) = (0, ItemOutcome::InProgress);
        loop {
            let (items, id) = self.items();
            let read =
                insist(self.stop, || items.with_outcome(id, in_progress, after, WINDOW)).await?;
            let is_last = read.len() < WINDOW;
            for item in read {
                after = item.item;
                let lane = lane(&item);
                self.busy.insert(lane.clone());
                self.in_progress.insert(item.item, (lane, Begun::Before));
            }
            if is_last {
                self.read_to = Some(0);
                return Ok(());
            }
        }
    }

    async fn fill(&mut self) -> Result<(), Interrupted> {
        while self.read_to.is_some() && self.window.len() < WINDOW / 2 {
            self.read_more().await?;
        }
        Ok(())
    }

    async fn read_more(&mut self) -> Result<(), Interrupted> {
        let Some(after) = self.read_to else { return Ok(()) };
        let (items, id) = self.items();
        let pending = ItemOutcome::Pending;
        let read = insist(self.stop, || items.with_outcome(id, pending, after, WINDOW)).await?;
        let is_last = read.len() < WINDOW;
        self.read_to = read.last().filter(|_| !is_last).map(|item| item.item);
        let now = Instant::now();
        let waiting = read.into_iter().map(|item| (item.item, Waiting { item, not_before: now }));
        self.window.extend(waiting);
        Ok(())
    }

    /// Begins as many items as may begin now. Returns how many.
    fn begin(&mut self, now: Instant) -> usize {
        let under_way = self.calls.len() + self.in_progress.len();
        let mut room = self
            .pace
            .room(now)
            .min(CALLS_MAX.saturating_sub(self.calls.len()))
            .min(IN_PROGRESS_MAX.saturating_sub(under_way));
        if self.too_many.is_some() || self.stop.is_cancelled() {
            room = 0;
        }
        let mut chosen = Vec::new();
        for waiting in self.window.values() {
            if chosen.len() == room {
                break;
            }
            let lane = lane(&waiting.item);
            if waiting.not_before <= now && (lane.is_none() || self.busy.insert(lane)) {
                chosen.push(waiting.item.item);
            }
        }
        for item in &chosen {
            let Some(Waiting { item, .. }) = self.window.remove(item) else { continue };
            self.pace.begin(now);
            let of = Arc::clone(&self.of);
            self.calls.push(detached(async move {
                let said = act(&of, &item).await;
                (item, said)
            }));
        }
        chosen.len()
    }

    fn on_said(&mut self, item: BatchItem, said: Said) {
        let lane = lane(&item);
        let now = Instant::now();
        match said {
            Said::Began => {
                self.waits_for = None;
                self.in_progress.insert(item.item, (lane, Begun::Now));
                return;
            }
            // The lane stays busy until the outcome is certain.
            Said::Unsure => return self.unsure.push(item),
            Said::Note(outcome, reason) => {
                self.notes.push(ItemNote { item: item.item, outcome, reason });
            }
            Said::Later => self.put_back(item, now + AGAIN),
            Said::WaitsFor(what) => {
                self.waits_for = Some(what);
                self.put_back(item, now + AGAIN_UNSERVED);
            }
        }
        self.pace.take_back();
        self.busy.remove(&lane);
    }

    fn put_back(&mut self, item: BatchItem, not_before: Instant) {
        self.window.insert(item.item, Waiting { item, not_before });
    }

    /// Looks at what became of the items that began.
    async fn look(&mut self) -> Result<(), Interrupted> {
        self.flush().await?;
        let asked: Vec<u64> = self.in_progress.keys().copied().collect();
        for (item, outcome) in self.outcomes(&asked).await? {
            if outcome.is_final()
                && let Some((lane, begun)) = self.in_progress.remove(&item)
            {
                self.busy.remove(&lane);
                if let Begun::Now = begun {
                    let too_many = self.pace.settle(outcome == ItemOutcome::Failed);
                    self.too_many = self.too_many.or(too_many);
                }
            }
        }
        if !self.unsure.is_empty() && self.of.engine.is_recovered() {
            self.make_sure().await?;
        }
        self.next_look = Instant::now() + LOOK;
        Ok(())
    }

    /// Reads the outcome of calls that had no answer. The engine has recovered, so the store has
    /// what they did, or they did nothing.
    async fn make_sure(&mut self) -> Result<(), Interrupted> {
        let asked: Vec<u64> = self.unsure.iter().map(|item| item.item).collect();
        let found: BTreeMap<_, _> = self.outcomes(&asked).await?.into_iter().collect();
        let now = Instant::now();
        for item in std::mem::take(&mut self.unsure) {
            let lane = lane(&item);
            match found.get(&item.item) {
                Some(ItemOutcome::Pending) => {
                    self.pace.take_back();
                    self.busy.remove(&lane);
                    self.put_back(item, now + AGAIN);
                }
                Some(_) => _ = self.in_progress.insert(item.item, (lane, Begun::Now)),
                None => {
                    self.pace.take_back();
                    self.busy.remove(&lane);
                }
            }
        }
        Ok(())
    }

    /// Writes the outcomes that are noted, and what the batch waits for.
    async fn flush(&mut self) -> Result<(), Interrupted> {
        let (items, id) = self.items();
        if !self.notes.is_empty() {
            let notes = std::mem::take(&mut self.notes);
            insist(self.stop, || items.note(id, &notes)).await?;
        }
        if self.remarked != self.waits_for {
            let remark = self.waits_for.clone();
            insist(self.stop, || items.remark(id, remark.as_deref())).await?;
            self.remarked = remark;
        }
        Ok(())
    }

    /// Waits for the calls that are under way, and begins no more.
    async fn end_calls(&mut self) -> Result<(), Interrupted> {
        while let Some((item, said)) = self.calls.next().await {
            self.on_said(item, said);
        }
        let (items, id) = self.items();
        // The next run reads again what this one does not write.
        let notes = std::mem::take(&mut self.notes);
        if !notes.is_empty() {
            items.note(id, &notes).await.map_err(|_| Interrupted)?;
        }
        Ok(())
    }

    fn items(&self) -> (Arc<dyn BatchItems>, BatchId) {
        (Arc::clone(&self.of.items), self.of.batch.id)
    }

    async fn outcomes(&mut self, asked: &[u64]) -> Result<Vec<(u64, ItemOutcome)>, Interrupted> {
        if asked.is_empty() {
            return Ok(Vec::new());
        }
        let (items, id) = self.items();
        insist(self.stop, || items.outcomes(id, asked)).await
    }

    fn is_over(&self) -> bool {
        self.read_to.is_none()
            && self.window.is_empty()
            && self.calls.is_empty()
            && self.in_progress.is_empty()
            && self.unsure.is_empty()
    }

    /// The time of the next step that does not wait for a call.
    fn next_wake(&self, now: Instant) -> Instant {
        let has_to_look =
            !(self.in_progress.is_empty() && self.unsure.is_empty() && self.notes.is_empty());
        let look = has_to_look.then_some(self.next_look);
        let ready = self.window.values().map(|waiting| waiting.not_before).min();
        let begin = self.pace.next_room(now).zip(ready).map(|(room, ready)| room.max(ready));
        // If no other step has a time, the next look ends the waiting.
        look.into_iter().chain(begin.filter(|begin| *begin > now)).min().unwrap_or(now + LOOK)
    }
}

/// Repeats a read or write of items until it succeeds.
async fn insist<T, F>(stop: &CancellationToken, attempt: impl Fn() -> F) -> Result<T, Interrupted>
where
    F: Future<Output = Result<T, ReadError>>,
{
    loop {
        match attempt().await {
            Ok(answer) => return Ok(answer),
            Err(error) => tracing::warn!(%error, "a batch waits for the store"),
        }
        tokio::select! {
            biased;
            () = stop.cancelled() => return Err(Interrupted),
            () = tokio::time::sleep(RETRY) => {}
        }
    }
}

fn lane(item: &BatchItem) -> Lane {
    let key = item.key.clone()?;
    Some((item.plugin.clone(), item.sink.clone(), key))
}

fn said_of(too_many: TooMany) -> String {
    let TooMany { failed, of } = too_many;
    match of {
        1 => "the first item failed again".to_owned(),
        _ => format!("{failed} of {of} items failed again, before the batch reached its rate"),
    }
}

/// Acts on one item, and returns the result.
async fn act(of: &Of, item: &BatchItem) -> Said {
    let Of { engine, batch, .. } = of;
    let action = match batch.action {
        BatchAction::Redrive => Action::Redrive { edited: None },
        BatchAction::Skip => Action::Skip,
        BatchAction::Discard => Action::Discard,
        BatchAction::Cancel | BatchAction::End => return ask(engine, batch, item).await,
    };
    let Some(id) = item.dead_letter() else {
        return Said::Note(ItemOutcome::Refused, "the item is no dead letter".to_owned());
    };
    let (by, reason) = (batch.by.clone(), batch.reason.clone());
    let resolution = Resolution { action, by, reason, batch: Some(batch.id) };
    match engine.resolve(id, resolution).await {
        Ok(()) => Said::Began,
        Err(ResolveError::Unavailable(_) | ResolveError::InBatch { .. }) => Said::Unsure,
        Err(error @ ResolveError::Unserved(_)) => Said::WaitsFor(error.to_string()),
        Err(ResolveError::Resuming) => Said::Later,
        Err(error @ ResolveError::NotFirst { first, .. }) => behind(of, first, &error).await,
        Err(error @ (ResolveError::NotFound(_) | ResolveError::NotOpen { .. })) => {
            Said::Note(ItemOutcome::Changed, error.to_string())
        }
        Err(
            error @ (ResolveError::Waiting(_)
            | ResolveError::Edited { .. }
            | ResolveError::Unwritable { .. }),
        ) => Said::Note(ItemOutcome::Refused, error.to_string()),
    }
}

/// An earlier dead letter of the same key is unresolved. If this batch resolves it, or another
/// action is under way, the item waits for that.
async fn behind(of: &Of, first: u64, refused: &ResolveError) -> Said {
    let Of { engine, items, batch } = of;
    let Ok(outcomes) = items.outcomes(batch.id, &[first]).await else { return Said::Later };
    if outcomes.first().is_some_and(|(_, outcome)| !outcome.is_final()) {
        return Said::Later;
    }
    match engine.shared.parts.store.read_dead_letter(DeadLetterId(first)).await {
        Ok(Some(dead_letter)) if dead_letter.status == DeadLetterStatus::Open => {
            Said::Note(ItemOutcome::Refused, refused.to_string())
        }
        _ => Said::Later,
    }
}

/// Cancels or ends the instance that the item is.
async fn ask(engine: &Engine, batch: &StartedBatch, item: &BatchItem) -> Said {
    let (Some(key), Some(started)) = (&item.key, item.started) else {
        return Said::Note(ItemOutcome::Refused, "the item is no instance".to_owned());
    };
    let event_type = match batch.action {
        BatchAction::Cancel => reserved::INSTANCE_CANCELLED,
        _ => reserved::INSTANCE_ENDED,
    };
    let of = ItemInstance { item: BatchItemId { batch: batch.id, item: item.item }, started };
    let who = (batch.by.as_str(), batch.reason.as_str());
    match engine.append_for(&item.plugin, key, event_type, who, Some(of)).await {
        Ok(()) => Said::Began,
        Err(error @ InstanceError::NotLoaded(_)) => Said::WaitsFor(error.to_string()),
        Err(InstanceError::Offer(OfferError::Busy { .. })) => {
            Said::WaitsFor("the host accepts no more events at the moment".to_owned())
        }
        Err(InstanceError::Offer(OfferError::Rejected(reason))) => {
            Said::Note(ItemOutcome::Refused, reason)
        }
        Err(InstanceError::Offer(_)) => Said::Unsure,
        Err(
            error @ (InstanceError::NotFound { .. }
            | InstanceError::NotRunning { .. }
            | InstanceError::Replaced { .. }),
        ) => Said::Note(ItemOutcome::Changed, error.to_string()),
        Err(error @ (InstanceError::Stateless(_) | InstanceError::NotSubscribed(_))) => {
            Said::Note(ItemOutcome::Refused, error.to_string())
        }
    }
}
