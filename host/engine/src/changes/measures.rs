//! The durations of commits, decisions and deliveries. The stages write them, and metrics read them
//! through `Engine::measured`. They outlive the epochs: counters never decrease.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};

use crate::lock;
use crate::model::{Message, PluginName, SinkName, Timestamp};
use crate::pure::histogram::{Distribution, Histogram};

/// What the stages have measured since the host started.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Measured {
    /// The time of one commit of the store.
    pub commit: Distribution,
    /// The age of an event when a plugin is called for it first: from the time at which the host
    /// received it.
    pub event_age: BTreeMap<PluginName, Distribution>,
    /// The figures of each sink.
    pub sinks: BTreeMap<SinkName, MeasuredSink>,
    /// Dead letters by plugin; with the sink if they are of messages. An engine that recovers may
    /// count one again.
    pub dead_letters: BTreeMap<(PluginName, Option<SinkName>), DeadLetters>,
    /// Events that an instance has decided, and that are not held for further instances because the
    /// plugin holds as many bytes as it may. Each is in the accounts as handled.
    pub not_held: BTreeMap<PluginName, u64>,
}

/// Dead letters of one plugin, or of its messages at one sink.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct DeadLetters {
    /// How many became dead letters.
    pub count: u64,
    /// The reason of the newest one.
    pub last_reason: String,
}

/// What the stage of a sink has measured.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct MeasuredSink {
    /// The time of one attempt: until the sink answers, or of a queue until the worker
    /// acknowledges or gives the message back.
    pub delivery: Distribution,
    /// The age of a message when the sink has taken it, or when a worker leases it first: from
    /// the time of its decision.
    pub message_age: Distribution,
}

/// See [`Measured`].
#[derive(Default)]
pub(crate) struct Measures {
    pub commit: Histogram,
    plugins: Mutex<BTreeMap<PluginName, Arc<Histogram>>>,
    sinks: Mutex<BTreeMap<SinkName, Arc<SinkMeasures>>>,
    dead_letters: Mutex<BTreeMap<(PluginName, Option<SinkName>), DeadLetters>>,
    not_held: Mutex<BTreeMap<PluginName, u64>>,
}

/// See [`MeasuredSink`].
#[derive(Default)]
pub(crate) struct SinkMeasures {
    pub delivery: Histogram,
    pub message_age: Histogram,
}

impl SinkMeasures {
    /// Notes that a sink has taken a message, or that a worker has leased it first.
    pub(crate) fn took(&self, message: &Message, today: Timestamp) {
        let decided_at = message.event.time.as_deref().and_then(Timestamp::from_rfc3339);
        if let Some(decided_at) = decided_at {
            self.message_age.observe(today.since(decided_at));
        }
    }
}

impl Measures {
    /// The histogram of a plugin's dispatcher.
    pub(crate) fn of_plugin(&self, plugin: &PluginName) -> Arc<Histogram> {
        Arc::clone(lock(&self.plugins).entry(plugin.clone()).or_default())
    }

    /// The measures of a sink's stage.
    pub(crate) fn of_sink(&self, sink: &SinkName) -> Arc<SinkMeasures> {
        Arc::clone(lock(&self.sinks).entry(sink.clone()).or_default())
    }

    /// Counts an event, or a message at a sink, that became a dead letter.
    pub(crate) fn count_dead_letter(
        &self,
        plugin: &PluginName,
        sink: Option<&SinkName>,
        reason: &str,
    ) {
        let mut all = lock(&self.dead_letters);
        let dead_letters = all.entry((plugin.clone(), sink.cloned())).or_default();
        dead_letters.count += 1;
        reason.clone_into(&mut dead_letters.last_reason);
    }

    /// Counts an event that an instance has decided, and that is not held for further instances.
    pub(crate) fn count_not_held(&self, plugin: &PluginName) {
        *lock(&self.not_held).entry(plugin.clone()).or_default() += 1;
    }

    pub(crate) fn measured(&self) -> Measured {
        let plugins = lock(&self.plugins);
        let sinks = lock(&self.sinks);
        let of_sink = |sink: &SinkMeasures| MeasuredSink {
            delivery: sink.delivery.distribution(),
            message_age: sink.message_age.distribution(),
        };
        Measured {
            commit: self.commit.distribution(),
            event_age: plugins
                .iter()
                .map(|(name, age)| (name.clone(), age.distribution()))
                .collect(),
            dead_letters: lock(&self.dead_letters).clone(),
            not_held: lock(&self.not_held).clone(),
            sinks: sinks.iter().map(|(name, sink)| (name.clone(), of_sink(sink))).collect(),
        }
    }
}
