//! How far the slowest plugin is behind the end of the log. Beyond a limit, `Engine::offer` refuses
//! events: events that are accepted much faster than they are handled would fill the disk.
//!
//! The committer updates the figures with each commit. A plugin that is new to a long log counts
//! only after it has once come near the log's end.

use std::collections::BTreeMap;
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, Ordering};

use crate::lock;
use crate::model::PluginName;

pub(crate) struct Backlog {
    max: u64,
    log: Mutex<Log>,
    is_too_long: AtomicBool,
}

#[derive(Default)]
struct Log {
    head: u64,
    plugins: BTreeMap<PluginName, Behind>,
}

struct Behind {
    settled: u64,
    /// A plugin that is new to a long log is far behind for a while, and nobody sends too
    /// fast. It counts from when it has once come near the log's end.
    counts: bool,
}

impl Backlog {
    pub(crate) fn new(max: u64) -> Self {
        Self { max, log: Mutex::default(), is_too_long: AtomicBool::new(false) }
    }

    /// No plugin is served yet.
    pub(crate) fn restart(&self, head: u64) {
        self.change(|log| *log = Log { head, plugins: BTreeMap::new() });
    }

    pub(crate) fn begin(&self, plugin: PluginName, settled: u64) {
        self.change(|log| _ = log.plugins.insert(plugin, Behind { settled, counts: false }));
    }

    pub(crate) fn end(&self, plugin: &PluginName) {
        self.change(|log| _ = log.plugins.remove(plugin));
    }

    /// A commit has moved the log's end, and these plugins.
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

    /// How many events of the log each plugin has before it.
    pub(crate) fn lags(&self) -> Vec<(PluginName, u64)> {
        let log = lock(&self.log);
        let lag = |behind: &Behind| log.head.saturating_sub(behind.settled);
        log.plugins.iter().map(|(plugin, behind)| (plugin.clone(), lag(behind))).collect()
    }

    fn change(&self, change: impl FnOnce(&mut Log)) {
        let mut log = lock(&self.log);
        change(&mut log);
        let Log { head, plugins } = &mut *log;
        let mut is_too_long = false;
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
}
