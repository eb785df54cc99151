//! Reads what is on record, has threads decide it again, and gathers what differs.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::ops::ControlFlow;
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use sagabox_engine::model::{Answer, DeadLetterId, DecisionSummary, Event, State, Timestamp};
use sagabox_engine::seams::handler::Handler;
use serde::Serialize;
use tokio::runtime;

use super::states::States;
use crate::decisions::json::Difference;
use crate::decisions::kinds::{Aspects, KindCount, Kinds};
use crate::decisions::recorded::Messages;
use crate::io::locks::lock;
use crate::plugins::again::{self, Inputs};
use crate::store::connect::snapshot;
use crate::store::query::Snapshot;
use crate::store::query::rows::RecordedDecision;

/// Decisions travel to the threads in groups: waking one costs more than a call.
const GROUP: usize = 128;
/// Groups that may wait for the threads. What is read ahead is kept in memory.
const GROUPS_WAITING: usize = 32;

/// What is to be replayed.
#[derive(Clone, Debug, Default)]
pub struct Selection {
    /// Decided then or later.
    pub since: Timestamp,
    pub key: Option<String>,
    /// How many that differ are kept whole; all are counted.
    pub shown_max: usize,
    pub compare: Aspects,
}

#[derive(Debug, Default, Serialize)]
pub struct Outcome {
    pub plugin: String,
    pub candidate: String,
    /// Of the plugin that decided then.
    pub versions: BTreeSet<String>,
    pub alike: u64,
    pub differ: u64,
    /// Why some could not be replayed, and how many.
    pub skipped: BTreeMap<String, u64>,
    /// The first that differ, by position.
    pub differing: Vec<Differing>,
    /// In which ways they differ, with the first found of each, the most frequent first.
    pub kinds: Vec<KindCount<Differing>>,
    #[serde(skip)]
    gathered: Kinds<Differing>,
    #[serde(skip)]
    pub elapsed: Duration,
}

#[derive(Clone, Debug, Serialize)]
pub struct Differing {
    pub position: u64,
    pub key: String,
    pub event_type: String,
    pub event_id: String,
    pub differences: Vec<Difference>,
}

impl Outcome {
    #[must_use]
    pub fn replayed(&self) -> u64 {
        self.alike + self.differ
    }

    fn add(&mut self, result: Compared, shown_max: usize) {
        match result {
            Compared::NoHandlers => {}
            Compared::Alike => self.alike += 1,
            Compared::Skipped(why) => *self.skipped.entry(why).or_default() += 1,
            Compared::Differs(differing) => {
                self.differ += 1;
                let is_before = |kept: &Differing| differing.position < kept.position;
                self.gathered.add(&differing.differences, is_before, || differing.clone());
                let at = self.differing.partition_point(|d| d.position <= differing.position);
                self.differing.insert(at, differing);
                self.differing.truncate(shown_max);
            }
        }
    }
}

enum Compared {
    Alike,
    Differs(Differing),
    Skipped(String),
    /// The host did it itself.
    NoHandlers,
}

struct Job {
    decision: RecordedDecision,
    before: Option<State>,
}

/// What the threads share.
struct Replayer {
    handler: Arc<dyn Handler>,
    messages: Messages,
    edited: HashMap<DeadLetterId, String>,
    /// Streams are read as they are asked for; a connection of its own, because the
    /// other one is in the middle of the decisions.
    streams: tokio::sync::Mutex<Box<dyn Snapshot>>,
    runtime: runtime::Handle,
    compare: Aspects,
}

/// Replays what the plugin of the handler's name has decided.
///
/// # Errors
/// If the store cannot be read.
pub async fn replay(
    handler: Arc<dyn Handler>,
    url: &str,
    selection: &Selection,
    threads: usize,
) -> anyhow::Result<Outcome> {
    let started = Instant::now();
    let plugin = handler.manifest().name.to_string();
    let candidate = handler.manifest().version.to_string();
    let mut store = snapshot(url).await?;
    let replayer = Arc::new(Replayer {
        messages: store.messages(&plugin).await?,
        edited: store.edited(&plugin).await?,
        streams: tokio::sync::Mutex::new(snapshot(url).await?),
        runtime: runtime::Handle::current(),
        compare: selection.compare,
        handler,
    });
    let outcome =
        Arc::new(Mutex::new(Outcome { plugin: plugin.clone(), candidate, ..Outcome::default() }));
    let (sender, receiver) = sync_channel::<Vec<Job>>(GROUPS_WAITING);
    let receiver = Arc::new(Mutex::new(receiver));
    let shown_max = selection.shown_max;
    let workers: Vec<_> = (0..threads.max(1))
        .map(|_| {
            let (replayer, receiver, outcome) =
                (Arc::clone(&replayer), Arc::clone(&receiver), Arc::clone(&outcome));
            std::thread::spawn(move || work(&replayer, &receiver, &outcome, shown_max))
        })
        .collect();
    let read = read(&mut *store, &plugin, selection, &sender).await;
    drop(sender);
    let joined = tokio::task::spawn_blocking(move || {
        workers.into_iter().try_for_each(std::thread::JoinHandle::join)
    });
    joined.await?.map_err(|_| anyhow::anyhow!("a thread that replays ended: see above"))?;
    let (versions, orphans) = read?;
    let mut outcome = std::mem::take(&mut *lock(&outcome));
    if orphans > 0 {
        let why = "earlier decisions of its instance are no longer recorded".to_owned();
        outcome.skipped.insert(why, u64::try_from(orphans)?);
    }
    outcome.kinds = outcome.gathered.counts();
    outcome.versions = versions;
    outcome.elapsed = started.elapsed();
    Ok(outcome)
}

/// Hands every selected decision, with the state before it, to the threads.
async fn read(
    store: &mut dyn Snapshot,
    plugin: &str,
    selection: &Selection,
    sender: &SyncSender<Vec<Job>>,
) -> anyhow::Result<(BTreeSet<String>, usize)> {
    let (mut versions, mut is_taken) = (BTreeSet::new(), true);
    let mut states = States::default();
    let mut group = Vec::with_capacity(GROUP);
    let since = selection.since;
    let mut each = |decision: RecordedDecision| {
        let record = &decision.record;
        let place = (record.key.clone(), record.position);
        let (previous, wrote) = (record.previous, record.state.clone());
        // A stateless role's decisions stand alone; a complete instance decides no more.
        let ends = is_last(&record.summary);
        if record.decided_at >= since && !versions.contains(&*record.plugin_version) {
            versions.insert(record.plugin_version.to_string());
        }
        for (decision, before) in states.take(place, previous, wrote, ends, decision) {
            if decision.record.decided_at < since {
                continue;
            }
            group.push(Job { decision, before });
            if group.len() == GROUP {
                let full = std::mem::replace(&mut group, Vec::with_capacity(GROUP));
                // Waits for the threads, so that what is read ahead stays bounded.
                is_taken &= sender.send(full).is_ok();
            }
        }
        if is_taken { ControlFlow::Continue(()) } else { ControlFlow::Break(()) }
    };
    store.decisions(plugin, selection.key.as_deref(), since, &mut each).await?;
    if !group.is_empty() {
        is_taken &= sender.send(group).is_ok();
    }
    anyhow::ensure!(is_taken, "no thread takes decisions to replay");
    Ok((versions, states.orphans()))
}

/// Whether the record says that its process is complete. Looked for as text, because
/// parsing is the threads' work; a record that only seems so costs a state in memory.
fn is_last(summary: &str) -> bool {
    summary.len() > 2
        && summary.contains("\"complete\":true")
        && DecisionSummary::from_json(summary).is_ok_and(|summary| summary.complete)
}

fn work(
    replayer: &Replayer,
    receiver: &Mutex<Receiver<Vec<Job>>>,
    outcome: &Mutex<Outcome>,
    shown_max: usize,
) {
    loop {
        let group = lock(receiver).recv();
        // The reader is through.
        let Ok(group) = group else { return };
        let results: Vec<Compared> = group.into_iter().map(|job| replayer.replayer(&job)).collect();
        let mut outcome = lock(outcome);
        for result in results {
            outcome.add(result, shown_max);
        }
    }
}

impl Replayer {
    fn replayer(&self, job: &Job) -> Compared {
        match self.decide_again(job) {
            Ok(result) => result,
            Err(why) => Compared::Skipped(why),
        }
    }

    /// # Errors
    /// Why the record does not suffice.
    fn decide_again(&self, Job { decision, before }: &Job) -> Result<Compared, String> {
        let RecordedDecision { record, event, hops } = decision;
        let summary = DecisionSummary::from_json(&record.summary);
        let summary = summary.map_err(|_| "its record is invalid".to_owned())?;
        if summary.ended.is_some() || summary.imported.is_some() {
            return Ok(Compared::NoHandlers);
        }
        let edited = summary.dead_letter.and_then(|dead_letter| self.edited.get(&dead_letter));
        let text = edited.or(event.as_ref());
        let text = text.ok_or_else(|| "its event is no longer in the log".to_owned())?;
        let event = Event::read(text.as_bytes());
        let event = Arc::new(event.map_err(|_| "its record is invalid".to_owned())?);
        let differs = |differences: Vec<Difference>| match differences.is_empty() {
            true => Compared::Alike,
            false => Compared::Differs(Differing {
                position: record.position.0,
                key: record.key.to_string(),
                event_type: event.event_type.clone(),
                event_id: event.id.clone(),
                differences,
            }),
        };
        let inputs = Inputs {
            record,
            summary: &summary,
            hops: *hops,
            answers: self.answers(&summary, record.position.0)?,
            event: Arc::clone(&event),
            before: before.as_ref(),
        };
        let outcome = again::decide(&*self.handler, &inputs);
        let handler = &*self.handler;
        let compared = again::differences(handler, &inputs, &outcome, &self.messages, self.compare);
        Ok(differs(compared))
    }

    fn answers(&self, summary: &DecisionSummary, position: u64) -> Result<Vec<Answer>, String> {
        again::answers(summary, |subject, count| self.stream(subject, position, count))
    }

    fn stream(&self, subject: &str, before: u64, count: u64) -> Result<Vec<Arc<Event>>, String> {
        let events = self
            .runtime
            .block_on(async { self.streams.lock().await.stream(subject, before).await });
        let events = events.map_err(|error| error.to_string())?;
        match u64::try_from(events.len()) == Ok(count) {
            true => Ok(events),
            false => Err("events of a stream that it received are no longer in the log".to_owned()),
        }
    }
}
