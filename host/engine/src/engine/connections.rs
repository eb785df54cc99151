//! The channels and structures that connect the stages of one epoch, and the stages made with
//! them: which stage has which end of which channel is in this file.
//!
//! It starts no task; `stages.rs` does. Dropping it releases its handle on the committer, which
//! ends when all handles are dropped.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex};

use tokio::sync::mpsc;

use super::delivering::Delivering;
use super::queues::Queues;
use super::{Epoch, Shared};
use crate::Routes;
use crate::changes::Work;
use crate::changes::compensation::Refusals;
use crate::changes::outbox::Outboxes;
use crate::changes::readers::Readers;
use crate::changes::rejection::Rejections;
use crate::changes::requests::{Dispatchers, Sinks};
use crate::changes::resolve::DeadLetterIds;
use crate::changes::tail::Tail;
use crate::changes::timer_index::TimerIndex;
use crate::model::{AgeMark, LogEntry, Position, SinkName};
use crate::seams::store::{Recovered, RecoveredSink};
use crate::stages::commit::Committer;
use crate::stages::dispatch::DispatchContext;
use crate::stages::housekeeping::Housekeeping;
use crate::stages::sinks::queue::first_lease;
use crate::stages::timers::Timers;

/// Bytes of the newest events in memory, where all plugins read them.
const LOG_TAIL_BYTES: usize = 64 << 20;

/// What connects the stages of one epoch.
pub(super) struct Connections {
    shared: Arc<Shared>,
    work: mpsc::UnboundedSender<Work>,
    log: Arc<Tail<LogEntry>>,
    readers: Arc<Readers>,
    outboxes: Arc<Outboxes>,
    timers: Arc<TimerIndex>,
    dead_letter_ids: Arc<DeadLetterIds>,
    rejections: Rejections,
    refusals: Arc<Refusals>,
    routes: Arc<Routes>,
    pub(super) dispatchers: Dispatchers,
    queues: Arc<Queues>,
    sinks: Sinks,
}

/// The receiving ends of an epoch's channels.
pub(super) struct Receivers {
    /// The work for the committer.
    pub work: mpsc::UnboundedReceiver<Work>,
    /// The sinks that had their first message.
    pub opened: mpsc::UnboundedReceiver<SinkName>,
}

impl Connections {
    /// Connections that begin with what the store recovered.
    pub(super) fn new(shared: &Arc<Shared>, recovered: &Recovered) -> (Self, Receivers) {
        let (work, work_of) = mpsc::unbounded_channel();
        let (opened, opened_of) = mpsc::unbounded_channel();
        let bytes = |entry: &LogEntry| entry.event.bytes();
        let last = |sink: &RecoveredSink| (sink.progress.sink.clone(), sink.last);
        let connections = Self {
            shared: Arc::clone(shared),
            work,
            log: Arc::new(Tail::new(recovered.position.0, LOG_TAIL_BYTES, bytes)),
            readers: Arc::new(Readers::default()),
            outboxes: Arc::new(Outboxes::new(recovered.sinks.iter().map(last), opened)),
            timers: Arc::new(TimerIndex::new(shared.parts.settings.timers_in_memory_max)),
            dead_letter_ids: DeadLetterIds::new(recovered.dead_letter),
            rejections: Rejections::default(),
            // Complete before the dispatchers start, because a decision may resolve dead letters
            // of any sink.
            refusals: Refusals::new(&recovered.sinks),
            routes: Arc::new(Routes::new(shared.parts.routes.clone())),
            dispatchers: Dispatchers::default(),
            queues: Arc::new(Queues::default()),
            sinks: Arc::new(Mutex::new(BTreeMap::new())),
        };
        (connections, Receivers { work: work_of, opened: opened_of })
    }

    pub(super) fn dispatch_context(&self) -> DispatchContext {
        let (shared, parts) = (&self.shared, &self.shared.parts);
        DispatchContext {
            shards: shared.shards.clone(),
            store: Arc::clone(&parts.store),
            lookups: Arc::clone(&shared.lookups),
            clock: Arc::clone(&parts.clock),
            retry: parts.settings.retry(),
            instance_bytes_max: parts.settings.instance_bytes_max,
            held_bytes_max: parts.settings.held_bytes_max,
            waiting_max: parts.settings.waiting_max,
            wait_in_memory_max: parts.settings.wait_in_memory_max,
            date_check_max: parts.settings.date_check_max,
            entries_read_max: parts.settings.entries_read_max,
            hops_max: parts.settings.hops_max,
            routes: Arc::clone(&self.routes),
            log: Arc::clone(&self.log),
            readers: Arc::clone(&self.readers),
            work: self.work.clone(),
            dead_letter_ids: Arc::clone(&self.dead_letter_ids),
            rejections: self.rejections.clone(),
            refusals: Arc::clone(&self.refusals),
            measures: Arc::clone(&shared.measures),
            spans: parts.settings.spans.clone(),
            controls: Arc::clone(&shared.controls),
            backlog: Arc::clone(&shared.backlog),
        }
    }

    pub(super) fn timers(&self) -> Timers {
        let parts = &self.shared.parts;
        Timers {
            store: Arc::clone(&parts.store),
            clock: Arc::clone(&parts.clock),
            date_check_max: parts.settings.date_check_max,
            index: Arc::clone(&self.timers),
            work: self.work.clone(),
            spans: parts.settings.spans.clone(),
        }
    }

    pub(super) fn housekeeping(&self, age_marks: Vec<AgeMark>) -> Housekeeping {
        let parts = &self.shared.parts;
        Housekeeping {
            store: Arc::clone(&parts.store),
            clock: Arc::clone(&parts.clock),
            retention: parts.settings.retention.clone(),
            desired_state: Arc::clone(&self.shared.desired_state),
            dispatchers: self.dispatchers.clone(),
            log: Arc::clone(&self.log),
            work: self.work.clone(),
            age_marks,
        }
    }

    /// The committer, which continues behind the last position that the store has.
    pub(super) fn committer(&self, last: Position) -> Committer {
        let (shared, parts) = (&self.shared, &self.shared.parts);
        Committer {
            store: Arc::clone(&parts.store),
            clock: Arc::clone(&parts.clock),
            log: Arc::clone(&self.log),
            outboxes: Arc::clone(&self.outboxes),
            timers: Arc::clone(&self.timers),
            readiness: Arc::clone(&shared.readiness),
            backlog: Arc::clone(&shared.backlog),
            readers: Arc::clone(&self.readers),
            readers_due: None,
            rejections: self.rejections.clone(),
            heads: Vec::new(),
            position: last,
            committed: last,
            stale: BTreeMap::new(),
            measures: Arc::clone(&shared.measures),
            routes: Arc::clone(&self.routes),
        }
    }

    /// The stage that starts relays and queues, first those of the recovered sinks.
    pub(super) fn delivering(&self, recovered: Vec<RecoveredSink>) -> Delivering {
        let by_name = recovered.into_iter().map(|sink| (sink.progress.sink.clone(), sink));
        Delivering {
            shared: Arc::clone(&self.shared),
            work: self.work.clone(),
            outboxes: Arc::clone(&self.outboxes),
            queues: Arc::clone(&self.queues),
            sinks: Arc::clone(&self.sinks),
            dead_letter_ids: Arc::clone(&self.dead_letter_ids),
            refusals: Arc::clone(&self.refusals),
            recovered: by_name.collect(),
            started: BTreeSet::new(),
            next_lease: first_lease((self.shared.parts.clock)()),
        }
    }

    /// The channels by which the engine's handle reaches the stages.
    pub(super) fn epoch(self) -> Epoch {
        let Self { work, log, queues, outboxes, dispatchers, sinks, .. } = self;
        Epoch { work, log, queues, outboxes, plugins: dispatchers, sinks }
    }
}
