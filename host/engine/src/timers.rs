//! Timers: an index of the next ones in memory, and the stage that fires them.
//! A fired timer is an event in the log, appended in the commit that removes the
//! timer: it takes effect once, survives restarts, and keeps the order per key
//! (guarantee 9). Whether it was replaced or cancelled meanwhile is the
//! dispatcher's to see.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use bytes::Bytes;
use tokio::sync::{Notify, mpsc};
use tokio_util::sync::CancellationToken;

use crate::Clock;
use crate::commit::Work;
use crate::identity;
use crate::model::{Event, Key, PluginName, TimerName, TimerRef, Timestamp, reserved};
use crate::store::{Store, TimerRow};

/// How many timers are kept in memory, about 20 MB; further ones are read when their time comes near.
const INDEX_TIMERS_MAX: usize = 65_536;
/// How many fire in one commit, so that thousands falling due at once leave room for other work.
const FIRE_MAX: usize = 512;
/// The wall clock may jump ahead while we sleep: it is looked at this often at least.
const SLEEP_MAX: Duration = Duration::from_millis(500);
const READ_RETRY: Duration = Duration::from_millis(200);

/// The earliest timers. Complete up to `horizon`.
pub struct TimerIndex {
    timers: Mutex<Index>,
    changed: Notify,
}

struct Index {
    timers: BTreeMap<(Timestamp, TimerRef), Bytes>,
    /// The one timer of each name.
    by_name: BTreeMap<(PluginName, Key, TimerName), TimerRef>,
    /// Timers due after this may be in the store alone.
    horizon: Timestamp,
    /// While the store is read, every new timer is kept: the read may not see it.
    reading: bool,
}

impl TimerIndex {
    /// Knows nothing yet: the first look reads the store.
    pub fn new() -> Self {
        let (timers, by_name) = (BTreeMap::new(), BTreeMap::new());
        let index = Index { timers, by_name, horizon: Timestamp(0), reading: false };
        Self { timers: Mutex::new(index), changed: Notify::new() }
    }

    /// Committed changes: timers set, which replace those of the same name, and cleared.
    pub fn update(&self, set: Vec<TimerRow>, cleared: &[(PluginName, Key, TimerName)]) {
        if set.is_empty() && cleared.is_empty() {
            return;
        }
        let mut index = self.lock();
        for name in cleared {
            index.forget(name);
        }
        for row in set {
            index.forget(&name_of(&row.timer));
            if index.reading || row.timer.due <= index.horizon {
                index.remember(row);
            }
        }
        index.trim();
        drop(index);
        self.changed.notify_one();
    }

    /// Timers that are due, at most so many. They leave the index.
    fn take_due(&self, now: Timestamp, limit: usize) -> Vec<TimerRow> {
        let mut index = self.lock();
        let mut due = Vec::new();
        while due.len() < limit
            && let Some(first) = index.timers.first_entry()
            && first.key().0 <= now
        {
            let ((_, timer), data) = first.remove_entry();
            index.by_name.remove(&name_of(&timer));
            due.push(TimerRow { timer, data });
        }
        due
    }

    /// When to look again, and whether the store must be read before that.
    fn next(&self) -> (Option<Timestamp>, Timestamp) {
        let index = self.lock();
        (index.timers.first_key_value().map(|((due, _), _)| *due), index.horizon)
    }

    fn begin_reading(&self) {
        self.lock().reading = true;
    }

    fn refill(&self, rows: Vec<TimerRow>, horizon: Timestamp) {
        let mut index = self.lock();
        index.reading = false;
        index.horizon = index.horizon.max(horizon);
        for row in rows {
            // What is known already is at least as new as what was read.
            if !index.by_name.contains_key(&name_of(&row.timer)) {
                index.remember(row);
            }
        }
        index.trim();
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, Index> {
        self.timers.lock().expect("no panic while the lock is held")
    }
}

impl Index {
    fn remember(&mut self, row: TimerRow) {
        self.by_name.insert(name_of(&row.timer), row.timer.clone());
        self.timers.insert((row.timer.due, row.timer), row.data);
    }

    fn forget(&mut self, name: &(PluginName, Key, TimerName)) {
        if let Some(timer) = self.by_name.remove(name) {
            self.timers.remove(&(timer.due, timer));
        }
    }

    fn trim(&mut self) {
        while self.timers.len() > INDEX_TIMERS_MAX {
            if let Some(((due, timer), _)) = self.timers.pop_last() {
                self.by_name.remove(&name_of(&timer));
                self.horizon = Timestamp(due.0.saturating_sub(1));
            }
        }
    }
}

pub struct Timers {
    pub store: Arc<dyn Store>,
    pub clock: Clock,
    pub index: Arc<TimerIndex>,
    pub work: mpsc::UnboundedSender<Work>,
}

impl Timers {
    pub async fn run(self, stop: CancellationToken) {
        loop {
            let now = (self.clock)();
            let due = self.index.take_due(now, FIRE_MAX);
            if !due.is_empty() {
                let fired = due.into_iter().map(|row| {
                    let event = Arc::new(fired_event(&row, now));
                    (row, event)
                });
                if self.work.send(Work::Fire(fired.collect())).is_err() {
                    return;
                }
                // Lets a waiting batch go first.
                tokio::task::yield_now().await;
                continue;
            }
            let (next, horizon) = self.index.next();
            if horizon <= now || (next.is_none() && horizon < Timestamp::MAX) {
                self.read_ahead(now, horizon).await;
                continue;
            }
            let sleep = next.map_or(SLEEP_MAX, |next| next.since(now).min(SLEEP_MAX));
            tokio::select! {
                biased;
                () = stop.cancelled() => return,
                () = self.index.changed.notified() => {}
                () = tokio::time::sleep(sleep.max(Duration::from_millis(1))) => {}
            }
        }
    }

    /// Reads the next timers after the horizon. Those at or before it are in the
    /// index, or fired and about to be removed.
    async fn read_ahead(&self, now: Timestamp, horizon: Timestamp) {
        self.index.begin_reading();
        match self.store.read_timers(Timestamp::MAX, INDEX_TIMERS_MAX).await {
            Ok(rows) => {
                let complete = rows.len() < INDEX_TIMERS_MAX;
                let last = rows.last().map_or(now, |row| row.timer.due);
                let reached = if complete { Timestamp::MAX } else { last };
                let fresh =
                    rows.into_iter().filter(|row| row.timer.due > horizon || horizon.0 == 0);
                self.index.refill(fresh.collect(), reached.max(Timestamp(now.0 + 1)));
            }
            Err(error) => {
                tracing::warn!(%error, "timers cannot be read; trying again");
                tokio::time::sleep(READ_RETRY).await;
            }
        }
    }
}

fn name_of(timer: &TimerRef) -> (PluginName, Key, TimerName) {
    (timer.plugin.clone(), timer.instance.clone(), timer.name.clone())
}

fn fired_event(row: &TimerRow, now: Timestamp) -> Event {
    let TimerRef { plugin, instance, name, due, set_by } = &row.timer;
    Event {
        id: identity::timer_event_id(&row.timer),
        source: identity::source(plugin),
        event_type: reserved::TIMER_FIRED.to_owned(),
        subject: Some(name.as_str().to_owned()),
        time: Some(now.max(*due).to_rfc3339()),
        datacontenttype: None,
        dataschema: None,
        extensions: vec![
            (reserved::EXTENSION_PLUGIN.to_owned(), plugin.as_str().to_owned()),
            (reserved::EXTENSION_INSTANCE.to_owned(), instance.as_str().to_owned()),
            (reserved::EXTENSION_SET_BY.to_owned(), set_by.to_string()),
        ],
        data: row.data.clone(),
    }
}
