//! How far the slowest plugin is behind the end of the log. Beyond a limit, `Engine::offer` refuses
//! events: events that are accepted much faster than they are handled would fill the disk.
//!
//! Work that operators hold back counts as well: the messages of paused sinks, and the rows behind
//! paused keys and message types. Together they may be as many as the events by which one plugin
//! may be behind.
//!
//! The committer updates the figures with each commit. A plugin that is new to a long log counts
//! only after it has once come near the log's end.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};

use crate::changes::outbox::MessageTail;
use crate::lock;
use crate::model::{PluginName, SinkName};

pub(crate) struct Backlog {
    max: u64,
    log: Mutex<Log>,
    is_too_long: AtomicBool,
}

#[derive(Default)]
struct Log {
    head: u64,
    plugins: BTreeMap<PluginName, Behind>,
    /// The work that operators hold back, by the plugin or sink that it waits for.
    held_back: BTreeMap<Holder, HeldBack>,
}

#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Holder {
    Plugin(PluginName),
    Sink(SinkName),
}

/// The work that waits because of a pause.
#[derive(Clone, Default)]
pub(crate) struct HeldBack {
    /// Parked rows.
    pub rows: u64,
    /// The outbox of a paused sink, and the sequence up to which it is settled.
    pub outbox: Option<(Arc<MessageTail>, u64)>,
}

impl HeldBack {
    fn count(&self) -> u64 {
        let outbox = self.outbox.as_ref();
        let messages = outbox.map_or(0, |(tail, settled)| tail.head().saturating_sub(*settled));
        self.rows.saturating_add(messages)
    }
}

struct Behind {
    settled: u64,
    /// Whether its lag counts. A plugin that is new to a long log is far behind for a while,
    /// although no sender is too fast. It counts from the moment at which it has once come near the
    /// log's end.
    counts: bool,
}

impl Backlog {
    pub(crate) fn new(max: u64) -> Self {
        Self { max, log: Mutex::default(), is_too_long: AtomicBool::new(false) }
    }

    /// A new epoch begins: no plugin is served yet.
    pub(crate) fn restart(&self, head: u64) {
        self.change(|log| *log = Log { head, ..Log::default() });
    }

    pub(crate) fn begin(&self, plugin: PluginName, settled: u64) {
        self.change(|log| _ = log.plugins.insert(plugin, Behind { settled, counts: false }));
    }

    pub(crate) fn end(&self, plugin: &PluginName) {
        self.change(|log| {
            log.plugins.remove(plugin);
            log.held_back.remove(&Holder::Plugin(plugin.clone()));
        });
    }

    /// A commit has moved the end of the log, and the cursors of these plugins.
    pub(crate) fn update<'a>(
        &self,
        settled: impl Iterator<Item = (&'a PluginName, u64)>,
        head: u64,
    ) {
        self.change(|log| {
            log.head = head;
            for (plugin, settled) in settled {
                if let Some(behind) = log.plugins.get_mut(plugin) {
                    behind.settled = settled;
                }
            }
        });
    }

    /// The number of events in the log that each plugin has not settled.
    pub(crate) fn lags(&self) -> Vec<(PluginName, u64)> {
        let log = lock(&self.log);
        let lag = |behind: &Behind| log.head.saturating_sub(behind.settled);
        log.plugins.iter().map(|(plugin, behind)| (plugin.clone(), lag(behind))).collect()
    }

    /// Notes the work that waits for a plugin or sink because an operator holds it back.
    pub(crate) fn hold_back(&self, holder: &Holder, held_back: HeldBack) {
        self.change(|log| match held_back.count() == 0 && held_back.outbox.is_none() {
            true => _ = log.held_back.remove(holder),
            false => _ = log.held_back.insert(holder.clone(), held_back),
        });
    }

    fn change(&self, change: impl FnOnce(&mut Log)) {
        let mut log = lock(&self.log);
        change(&mut log);
        let Log { head, plugins, held_back } = &mut *log;
        let held_back = held_back.values().map(HeldBack::count);
        let mut is_too_long = held_back.fold(0, u64::saturating_add) > self.max;
        for behind in plugins.values_mut() {
            let fits = head.saturating_sub(behind.settled) <= self.max;
            behind.counts |= fits;
            is_too_long |= behind.counts && !fits;
        }
        self.is_too_long.store(is_too_long, Ordering::Relaxed);
    }

    pub(crate) fn is_too_long(&self) -> bool {
        self.is_too_long.load(Ordering::Relaxed)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_slowest_plugin_counts_once_it_has_been_near() {
        let (fast, newcomer) = (PluginName::from("fast"), PluginName::from("newcomer"));
        let backlog = Backlog::new(10);
        backlog.restart(100);
        backlog.begin(fast.clone(), 95);
        backlog.begin(newcomer.clone(), 0);
        assert!(!backlog.is_too_long());
        backlog.update([(&fast, 95)].into_iter(), 106);
        assert!(backlog.is_too_long());
        backlog.update([(&fast, 96), (&newcomer, 90)].into_iter(), 106);
        assert!(!backlog.is_too_long());
        backlog.update([(&newcomer, 99)].into_iter(), 106);
        backlog.update([(&fast, 110)].into_iter(), 110);
        assert!(backlog.is_too_long(), "the newcomer has been near");
        backlog.end(&newcomer);
        assert!(!backlog.is_too_long());
    }
    #[test]
    fn what_operators_hold_back_counts_together() {
        let backlog = Backlog::new(10);
        let (web, orders) = (Holder::Sink("web".into()), Holder::Plugin("orders".into()));
        let tail = Arc::new(MessageTail::new(8, 1, |_| 1));
        let outbox = Some((Arc::clone(&tail), 2));
        backlog.hold_back(&web, HeldBack { rows: 1, outbox });
        backlog.hold_back(&orders, HeldBack { rows: 3, outbox: None });
        assert!(!backlog.is_too_long());
        tail.publish(std::iter::empty(), 9);
        backlog.update(std::iter::empty(), 0);
        assert!(backlog.is_too_long(), "the outbox has grown");
        backlog.hold_back(&orders, HeldBack::default());
        assert!(!backlog.is_too_long());
    }
}
