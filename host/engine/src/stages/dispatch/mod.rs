//! The dispatcher of one plugin: reads the log, finds the instances that get an event, has the
//! handlers called, and turns their decisions into changes for the committer.
//!
//! It behaves as if the events were decided one after another in log order (guarantees 2 and 4),
//! although many are in progress:
//!
//!  - a *flight* is an event that is not settled yet; the watermark over the flights becomes the
//!    plugin's cursor;
//!  - a *lane* is an instance (or a key of a stateless role): its deliveries are called one after
//!    another, by position;
//!  - an *open* flight may still be claimed by an instance, because an earlier event is not
//!    decided. It closes when it is the earliest flight and all instances that it reached have
//!    decided; only then can the dispatcher conclude that no instance matches;
//!  - events are routed when all instances that they may reach are in memory; the others are loaded
//!    from the store first.
//!
//! Another version of the plugin may take over at any time (`swap.rs`).
//!
//! All state here is speculation ahead of the commit. When the outcome of a commit is unknown, the
//! engine drops the dispatcher and builds a new one from the store. The dispatcher knows no wasm
//! and no SQL, and it waits for no handler and for no I/O but its own reads of a log that it is far
//! behind.

mod asking;
mod calls;
mod compensating;
mod dead_letters;
mod deciding;
mod edits;
mod ending;
mod flights;
mod hand_over;
mod holds;
mod hops;
mod importing;
mod instance_cache;
mod intake;
mod key_scan;
mod look_back;
mod pausing;
mod reading;
mod routing;
mod spans;
mod swap;
mod unwritable;
mod versions;
mod waiting;

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use futures::StreamExt;
use futures::future::BoxFuture;
use futures::stream::FuturesUnordered;
use tokio::sync::{OwnedSemaphorePermit, mpsc};
use tokio_util::sync::CancellationToken;

use crate::changes::Work;
use crate::changes::asking::{Failed, FailedAt, Lookups};
use crate::changes::backlog::Backlog;
use crate::changes::canary::Canary;
use crate::changes::compensation::Refusals;
use crate::changes::controls::{Controls, PluginControls};
use crate::changes::jobs::{Caller, GROUP_MAX, Group, Job, JobResult};
use crate::changes::measures::Measures;
use crate::changes::readers::Readers;
use crate::changes::rejection::{Rejection, Rejections};
use crate::changes::requests::PluginRequest;
use crate::changes::resolve::DeadLetterIds;
use crate::changes::spans::Spans;
use crate::changes::tail::Tail;
use crate::model::{
    Answer, Correlation, DeadLetterId, Effect, Key, LogEntry, PluginName, Position, Subscription,
    Timestamp,
};
use crate::pure::dead_letters::DeadLetters;
use crate::pure::histogram::Histogram;
use crate::pure::identity::DecisionIdentity;
use crate::pure::lanes::Lanes;
use crate::pure::monotonic::Instant;
use crate::pure::retry::RetryPolicy;
use crate::seams::handler::{Call, Handler};
use crate::seams::store::{ReadError, RecoveredPlugin, Store};
use crate::stages::shard::Shards;
use crate::{Clock, Routes};

use calls::Calls;
use flights::Flights;
use hand_over::HandOver;
use holds::Holds;
use instance_cache::InstanceCache;
use intake::Intake;
use key_scan::KeyScan;
use look_back::LookBacks;
pub(crate) use swap::VersionChange;
pub(crate) use unwritable::Caution;
use unwritable::HandedOver;
use versions::PluginVersions;

/// The most events in flight. Bounds memory; far above what keeps two shards busy.
const FLIGHTS_MAX: usize = 8_192;
/// The most bytes of these events and of those that wait to be routed.
const FLIGHT_BYTES_MAX: usize = 64 << 20;
/// The longest wait of the loop, when nothing has a time.
const SLEEP_MAX: Duration = Duration::from_hours(24);

/// What all dispatchers of an epoch share.
#[derive(Clone)]
pub(crate) struct DispatchContext {
    pub shards: Shards,
    pub store: Arc<dyn Store>,
    pub lookups: Arc<Lookups>,
    pub clock: Clock,
    pub retry: RetryPolicy,
    pub instance_bytes_max: usize,
    pub held_bytes_max: usize,
    pub waiting_max: u64,
    pub wait_in_memory_max: Duration,
    pub date_check_max: Duration,
    pub entries_read_max: usize,
    pub hops_max: u32,
    pub routes: Arc<Routes>,
    pub log: Arc<Tail<LogEntry>>,
    pub readers: Arc<Readers>,
    pub work: mpsc::UnboundedSender<Work>,
    pub dead_letter_ids: Arc<DeadLetterIds>,
    pub rejections: Rejections,
    pub refusals: Arc<Refusals>,
    pub measures: Arc<Measures>,
    pub spans: Spans,
    pub controls: Arc<Controls>,
    pub backlog: Arc<Backlog>,
}

/// What one dispatcher starts with.
pub(crate) struct Beginning {
    pub handler: Arc<dyn Handler>,
    pub canary: Option<Canary>,
    pub recovered: RecoveredPlugin,
    /// Events up to this position were accepted while the plugin was not served, and are not for
    /// it.
    pub missed_to: Position,
    pub requests: mpsc::UnboundedReceiver<PluginRequest>,
    pub versions: mpsc::UnboundedReceiver<VersionChange>,
    /// What the dispatcher before learnt about events whose rows the store cannot write.
    pub caution: Caution,
}

/// How a dispatcher ended.
pub(crate) enum Exit {
    Stopped,
    /// The store rejected what it handed over: another dispatcher takes over, and starts from the
    /// store.
    Again(Caution),
}

/// What a dispatcher receives from outside its own loop.
pub(crate) struct Inbox {
    pub results: mpsc::UnboundedReceiver<Vec<JobResult>>,
    pub requests: mpsc::UnboundedReceiver<PluginRequest>,
    pub versions: mpsc::UnboundedReceiver<VersionChange>,
    pub rejections: mpsc::UnboundedReceiver<Rejection>,
}

pub(crate) struct Dispatcher {
    context: DispatchContext,
    plugin: PluginName,
    versions: PluginVersions,
    intake: Intake,
    flights: Flights,
    lanes: Lanes<Key, Delivery>,
    dead_letters: DeadLetters<Key, Delivery, Option<Box<Troubles>>>,
    /// Dead letters without a key that this epoch has resolved.
    requeued: BTreeSet<DeadLetterId>,
    holds: Holds,
    look_backs: LookBacks,
    instance_cache: InstanceCache,
    key_scan: KeyScan,
    output: HandOver,
    calls: Calls,
    asks: FuturesUnordered<BoxFuture<'static, Asked>>,
    /// The number of questions in progress whose deliveries have left memory.
    slow_asks: usize,
    resumes: FuturesUnordered<BoxFuture<'static, dead_letters::Resumed>>,
    reroutes: FuturesUnordered<BoxFuture<'static, edits::Rerouted>>,
    caution: Caution,
    /// The ages of events, see `changes/measures.rs`.
    event_age: Arc<Histogram>,
    /// What operators have paused, as the dispatcher follows it.
    controls: PluginControls,
}

/// An event for one instance or lane.
struct Delivery {
    entry: LogEntry,
    effect: Effect,
    by_instance: bool,
    keys: Arc<[Key]>,
    via: Via,
    /// When the event was accepted that causes the decision: this event, or the one that made the
    /// claim which it waited for. None if an operator is the cause.
    accepted_at: Option<Timestamp>,
    attempt: u32,
    /// The failures so far, if there are any.
    troubles: Option<Box<Troubles>>,
    /// Set at the attempt's first call, so that its answers do not change the time.
    now: Option<Timestamp>,
    answers: Vec<Answer>,
    rounds: u32,
    /// What the handler logged in its last call, if that has not led to a decision.
    log: Option<Arc<str>>,
    /// Derived at the first call, because it costs two hashes.
    identity: Option<DecisionIdentity>,
    /// Set at an attempt's first call, if the event is sampled.
    traced: Option<Box<spans::Traced>>,
}

/// All failures of a delivery, whatever their cause: the pauses grow with them.
#[derive(Default)]
struct Troubles {
    failures: u32,
    /// The state of a lookup when it failed last for reasons of its own.
    failed_at: Option<FailedAt>,
    /// Set if the delivery left memory while its questions were asked.
    asking: Option<Asking>,
}

/// What a delivery that left memory continues with.
#[derive(Default)]
struct Asking {
    now: Option<Timestamp>,
    answers: Vec<Answer>,
    rounds: u32,
    log: Option<Arc<str>>,
    /// The answers that arrived meanwhile, and the generation of the version that asked.
    arrived: Option<(u32, Result<Vec<Answer>, Failed>)>,
}

/// The bookkeeping to which a delivery belongs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Via {
    Flight,
    Hold,
    /// It was parked, and is read back.
    Parked,
    /// It is the event of a dead letter that is redriven.
    DeadLetter(DeadLetterId),
}

/// Answers for a delivery.
struct Asked {
    position: Position,
    key: Key,
    generation: u32,
    /// Whether its delivery has left memory.
    is_slow: bool,
    answers: Answers,
}

enum Answers {
    Arrived(Result<Vec<Answer>, Failed>),
    /// The answers take long.
    Pending(BoxFuture<'static, Result<Vec<Answer>, Failed>>),
}

impl Dispatcher {
    /// # Errors
    /// Fails if the plugin's instances cannot be read.
    pub(crate) async fn recover(
        context: DispatchContext,
        beginning: Beginning,
    ) -> Result<(Self, Inbox), ReadError> {
        let Beginning { handler, canary, recovered, missed_to, requests, versions, caution } =
            beginning;
        let plugin = handler.manifest().name.clone();
        let mut deciding = PluginVersions::new(handler);
        deciding.set_canary(canary);
        let (results, results_of) = mpsc::unbounded_channel();
        let progress = recovered.progress;
        let waiting_max = context.waiting_max;
        let log = Arc::clone(&context.log);
        let reader = context.readers.register(plugin.clone(), deciding.types(), || log.head());
        let (rejections, rejections_of) = context.rejections.begin(&plugin);
        let work = context.work.clone();
        let output = HandOver::new(plugin.clone(), progress.counters, work, rejections);
        let event_age = context.measures.of_plugin(&plugin);
        let mut dispatcher = Self {
            context,
            plugin,
            event_age,
            versions: deciding,
            intake: Intake::new(reader, missed_to, Position(progress.cursor.settled)),
            flights: Flights::new(progress.cursor, recovered.partly_decided),
            lanes: Lanes::default(),
            dead_letters: DeadLetters::new(waiting_max),
            requeued: BTreeSet::new(),
            holds: Holds::default(),
            look_backs: LookBacks::default(),
            instance_cache: InstanceCache::new(0, true),
            key_scan: KeyScan::default(),
            output,
            calls: Calls::new(results),
            asks: FuturesUnordered::new(),
            slow_asks: 0,
            resumes: FuturesUnordered::new(),
            reroutes: FuturesUnordered::new(),
            caution,
            controls: PluginControls::default(),
        };
        dispatcher.restore_parked(&recovered.parked);
        dispatcher.follow_controls();
        if dispatcher.versions.has_instances() {
            dispatcher.restore().await?;
        }
        dispatcher.dead_letter_timers_again();
        let inbox = Inbox { results: results_of, requests, versions, rejections: rejections_of };
        Ok((dispatcher, inbox))
    }

    /// Runs until `stop`; then waits for the calls in progress, and hands over the last changes.
    pub(crate) async fn run(mut self, mut inbox: Inbox, stop: CancellationToken) -> Exit {
        loop {
            if self.holds_back() {
                match self.make_durable(&mut inbox, &stop).await {
                    HandedOver::Durable => {}
                    HandedOver::Stopped => break,
                    HandedOver::Rejected(reason, batch) => {
                        return self.begin_again(&reason, &batch, &mut inbox, &stop).await;
                    }
                }
            }
            self.lanes.wake(Instant::now());
            self.dead_letters.wake(Instant::now());
            self.pump();
            self.close();
            self.end_holds();
            self.check_log();
            self.read_portions();
            self.make_room();
            if self.holds_back() {
                continue;
            }
            let hand_over = self.output.is_due();
            let is_paused = self.controls.is_paused && !self.flights.is_empty();
            let reads = self.output.has_room() && self.has_room() && !is_paused;
            let slot = self.output.slot();
            let (reader, read_to) = self.intake.tail();
            let sleep = self.sleep();
            tokio::select! {
                biased;
                () = stop.cancelled() => break,
                Some(rejection) = inbox.rejections.recv() => match rejection {
                    Rejection::Timer(timer) => self.dead_letter_timer(timer),
                    Rejection::Changes { reason, batch } => {
                        return self.begin_again(&reason, &batch, &mut inbox, &stop).await;
                    }
                },
                permit = slot.acquire_owned(), if hand_over => {
                    if let Ok(permit) = permit {
                        self.hand_over(permit);
                    }
                }
                Some(versions) = inbox.versions.recv() => self.swap(versions),
                Some(done) = inbox.results.recv() => self.on_results(done),
                Some(request) = inbox.requests.recv() => match request {
                    PluginRequest::Resolve(request) => self.on_resolve(*request),
                    PluginRequest::Remove(request) => self.on_remove(request),
                    PluginRequest::Controls(reply) => self.on_controls(reply),
                    PluginRequest::Waiting(reply) => self.on_waiting(reply),
                    PluginRequest::AttemptNow(key, reply) => self.on_attempt_now(&key, reply),
                },
                Some(resumed) = self.resumes.next(), if !self.resumes.is_empty() => self.on_resumed(resumed),
                Some(rerouted) = self.reroutes.next(), if !self.reroutes.is_empty() => self.on_rerouted(rerouted),
                Some(asked) = self.asks.next(), if !self.asks.is_empty() => self.on_asked(asked),
                Some(seen) = self.look_backs.next(), if !self.look_backs.is_empty() => self.on_looked_back(seen),
                Some(found) = self.intake.loaded(), if self.intake.is_loading() => self.on_found(found),
                head = self.holds.checked(), if self.holds.is_checking() => self.on_log_checked(head),
                keys = self.key_scan.next(), if self.key_scan.is_under_way() => self.on_keys(&keys),
                () = reader.wait(read_to.0), if reads => self.read().await,
                () = tokio::time::sleep(sleep) => {}
            }
        }
        self.drain(&mut inbox).await;
        Exit::Stopped
    }

    /// Waits for the calls in progress, and hands over the last changes.
    async fn drain(mut self, inbox: &mut Inbox) {
        self.recall();
        while self.calls.under_way() > 0 {
            let Some(done) = inbox.results.recv().await else { break };
            self.on_results(done);
        }
        self.close();
        self.end_holds();
        if !self.output.is_clean()
            && let Ok(permit) = self.output.slot().acquire_owned().await
        {
            self.hand_over(permit);
        }
        // The next dispatcher of the plugin starts with what is stored.
        self.output.drain().await;
    }

    fn sleep(&self) -> Duration {
        let lanes = self.lanes.next_wake().into_iter().chain(self.dead_letters.next_wake()).min();
        let lanes = lanes.map(|at| at.saturating_duration_since(Instant::now()));
        let date = (self.context.clock)();
        // A hold that is due already waits for another event.
        let holds = self.holds.next_deadline().filter(|until| *until > date);
        let holds = holds.map(|until| until.since(date).min(self.context.date_check_max));
        let wakes = [lanes, holds, self.output.due_in()].into_iter().flatten();
        let sleep = wakes.min().unwrap_or(SLEEP_MAX).min(SLEEP_MAX);
        // A timer of zero would spin while the committer is busy.
        sleep.max(Duration::from_millis(1))
    }

    /// Calls the handlers for all lanes that are ready.
    fn pump(&mut self) {
        let (mut jobs, mut of_canary) = (Vec::new(), Vec::new());
        while !self.holds_back()
            && !self.controls.is_paused
            && (!self.is_careful() || self.calls.under_way() + jobs.len() + of_canary.len() == 0)
            && self.calls.has_room(jobs.len() + of_canary.len())
            && let Some((key, order, _)) = self.lanes.take()
        {
            let position = Position(order);
            if self.leaves_because_paused(&key, position) {
                continue;
            }
            let Some(call) = self.prepare(&key, position) else { continue };
            let generation = self.versions.generation_of(&key);
            let group = match generation == self.versions.serving_generation() {
                true => &mut jobs,
                false => &mut of_canary,
            };
            group.push(Job { position, key, generation, call });
            if group.len() == GROUP_MAX {
                let full = std::mem::take(group);
                self.call(generation, full);
            }
        }
        self.call(self.versions.serving_generation(), jobs);
        if let Some(canary) = self.versions.canary_generation() {
            self.call(canary, of_canary);
        }
    }

    /// Takes calls back if the decisions are larger than was expected when the calls were given to
    /// the shards: those that no thread has begun are made later, when there is room.
    fn take_back_calls(&mut self) {
        if !self.calls.are_too_many() {
            return;
        }
        let jobs = self.context.shards.recall(&self.plugin, self.calls.results());
        self.calls.end(jobs.len());
        for job in jobs {
            self.lanes.put_back(&job.key, job.position.0, Instant::now());
        }
    }

    /// Calls the version of this generation, which is one of those that serve.
    fn call(&mut self, generation: u32, jobs: Vec<Job>) {
        if jobs.is_empty() {
            return;
        }
        self.calls.begin(jobs.len());
        let (handler, is_canary) = self.versions.handler(generation);
        self.context.shards.call(Group {
            caller: Caller { plugin: self.plugin.clone(), is_canary },
            handler: Arc::clone(handler),
            jobs,
            results: self.calls.results().clone(),
        });
    }

    /// The input of the call for a delivery.
    fn input(&mut self, key: &Key, position: Position) -> Option<Call> {
        let now = (self.context.clock)();
        let state = self.instance_cache.get(key).and_then(|instance| instance.state.clone());
        let plugin = &self.plugin;
        let delivery = self.lanes.get_mut(key, position.0)?;
        if delivery.now.is_none() && delivery.attempt == 1 {
            self.event_age.observe(now.since(delivery.entry.received_at));
        }
        delivery.begin_span(&self.context.spans);
        Some(Call {
            event: Arc::clone(&delivery.entry.event),
            state,
            now: *delivery.now.get_or_insert(now),
            attempt: delivery.attempt,
            key: key.clone(),
            answers: delivery.answers.clone(),
            seed: delivery.identity(plugin, key).seed(),
        })
    }

    fn hand_over(&mut self, permit: OwnedSemaphorePermit) {
        self.calls.handed_over();
        let (decided, settled) = self.flights.take_partly_decided();
        let rows = self.output.rows();
        rows.partly_decided = decided;
        rows.partly_decided_removed = settled;
        if !self.controls.keys.is_empty() {
            self.report_held_back();
        }
        self.output.send(permit, self.flights.cursor());
    }

    /// Settles an event that no instance or lane gets.
    fn finish(&mut self, position: Position) {
        self.flights.finish(position);
        self.output.cursor_moved();
    }
}

fn is_for_instance(subscription: &Subscription) -> bool {
    subscription.key == Correlation::Instance
}
