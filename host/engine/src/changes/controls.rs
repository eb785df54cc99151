//! The controls that operators have set: pauses and limits. The engine's handle changes them, the
//! stages read the ones that concern them, and each offer reads the pause of the door. They are
//! rows of the store, and each epoch starts with them.
//!
//! A stage reads its part when it starts and when it is asked to. So for each event nothing is read
//! here but one flag at the door.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Mutex, MutexGuard};

use tokio::sync::Notify;

use crate::lock;
use crate::model::{
    Control, ControlId, ControlKind, Key, Limit, Pause, PauseEnd, PluginName, SinkName, Target,
    Timestamp,
};
use crate::pure::monotonic::{Instant, after};
use crate::pure::routes;

#[derive(Default)]
pub(crate) struct Controls {
    set: Mutex<Set>,
    /// Whether the door is paused: each offer reads it.
    door_is_paused: AtomicBool,
    /// Notified of each change of a pause.
    changed: Notify,
}

#[derive(Default)]
struct Set {
    pauses: BTreeMap<Target, Timed>,
    limits: BTreeMap<Target, Limit>,
}

/// A pause, and when it is over by the monotonic clock.
#[derive(Clone)]
struct Timed {
    pause: Pause,
    ends_at: Option<Instant>,
}

/// The controls of a plugin.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct PluginControls {
    pub is_paused: bool,
    /// The keys that are paused.
    pub keys: BTreeSet<Key>,
}

/// The controls of a sink.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct SinkControls {
    pub is_paused: bool,
    /// Each of them bounds all messages of the sink.
    pub limits: Vec<Limit>,
    /// The message types that are paused. Empty for a queue, which has one type.
    pub paused_types: BTreeSet<String>,
    /// The limits of message types. Empty for a queue.
    pub type_limits: BTreeMap<String, Limit>,
}

/// When the next pause ends by itself.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum NextEnd {
    Never,
    /// By the monotonic clock, by the wall clock, or by both.
    Next(Option<Instant>, Option<Timestamp>),
}

impl Controls {
    /// Starts with the controls of the store.
    pub(crate) fn restore(&self, controls: Vec<Control>, today: Timestamp) {
        let mut set = self.lock();
        *set = Set::default();
        for control in controls {
            set.put(control, today);
        }
        self.publish(&set);
    }

    /// Notes that a control is set, and durable.
    pub(crate) fn put(&self, control: Control, today: Timestamp) {
        let mut set = self.lock();
        set.put(control, today);
        self.publish(&set);
    }

    /// Notes that a control is removed, durably.
    pub(crate) fn remove(&self, id: &ControlId) {
        let mut set = self.lock();
        match id.kind {
            ControlKind::Pause => _ = set.pauses.remove(&id.target),
            ControlKind::Limit => _ = set.limits.remove(&id.target),
        }
        self.publish(&set);
    }

    fn publish(&self, set: &Set) {
        self.door_is_paused.store(set.pauses.contains_key(&Target::Ingest), Ordering::Release);
        self.changed.notify_one();
    }

    pub(crate) fn pauses(&self) -> Vec<Pause> {
        self.lock().pauses.values().map(|set| set.pause.clone()).collect()
    }

    pub(crate) fn limits(&self) -> Vec<Limit> {
        self.lock().limits.values().cloned().collect()
    }

    pub(crate) fn is_paused(&self, target: &Target) -> bool {
        self.lock().pauses.contains_key(target)
    }

    pub(crate) fn is_limited(&self, target: &Target) -> bool {
        self.lock().limits.contains_key(target)
    }

    /// The pause of the door, if there is one.
    pub(crate) fn door(&self) -> Option<Pause> {
        // Without a pause, an offer costs this load.
        if !self.door_is_paused.load(Ordering::Acquire) {
            return None;
        }
        self.lock().pauses.get(&Target::Ingest).map(|set| set.pause.clone())
    }

    pub(crate) fn of_plugin(&self, name: &PluginName) -> PluginControls {
        let set = self.lock();
        let mut controls = PluginControls::default();
        for target in set.pauses.keys() {
            match target {
                Target::Plugin { plugin } if plugin == name => controls.is_paused = true,
                Target::Key { plugin, key } if plugin == name => {
                    controls.keys.insert(key.clone());
                }
                _ => {}
            }
        }
        controls
    }

    pub(crate) fn of_sink(&self, name: &SinkName) -> SinkControls {
        let set = self.lock();
        let queue = routes::queue_name(name);
        let mut controls = SinkControls::default();
        for target in set.pauses.keys() {
            match target {
                Target::Sink { sink } if sink == name => controls.is_paused = true,
                Target::Type { message_type } => match queue {
                    Some(queue) => controls.is_paused |= queue == message_type,
                    None => _ = controls.paused_types.insert(message_type.clone()),
                },
                _ => {}
            }
        }
        for (target, limit) in &set.limits {
            match target {
                Target::Sink { sink } if sink == name => controls.limits.push(limit.clone()),
                Target::Type { message_type } => match queue {
                    Some(queue) if queue == message_type => controls.limits.push(limit.clone()),
                    Some(_) => {}
                    None => _ = controls.type_limits.insert(message_type.clone(), limit.clone()),
                },
                _ => {}
            }
        }
        controls
    }

    /// The pauses whose time is over.
    pub(crate) fn over(&self, now: Instant, today: Timestamp) -> Vec<Target> {
        let set = self.lock();
        let is_over = |pause: &Timed| match pause.pause.end {
            None => false,
            Some(PauseEnd::At(date)) => date <= today,
            Some(PauseEnd::After(_)) => pause.ends_at.is_some_and(|at| at <= now),
        };
        let over = set.pauses.iter().filter(|(_, pause)| is_over(pause));
        over.map(|(target, _)| target.clone()).collect()
    }

    pub(crate) fn next_end(&self) -> NextEnd {
        let set = self.lock();
        let pauses = || set.pauses.values();
        let at = pauses().filter_map(|set| set.ends_at).min();
        let date = pauses().filter_map(|set| match set.pause.end {
            Some(PauseEnd::At(date)) => Some(date),
            _ => None,
        });
        match (at, date.min()) {
            (None, None) => NextEnd::Never,
            (at, date) => NextEnd::Next(at, date),
        }
    }

    /// Resolves when a control has changed since this was called last.
    pub(crate) async fn changed(&self) {
        self.changed.notified().await;
    }

    fn lock(&self) -> MutexGuard<'_, Set> {
        lock(&self.set)
    }
}

impl Set {
    fn put(&mut self, control: Control, today: Timestamp) {
        match control {
            Control::Pause(pause) => {
                let ends_at = match pause.end {
                    Some(PauseEnd::After(_)) => pause.left(today),
                    _ => None,
                };
                let ends_at = ends_at.map(|left| after(Instant::now(), left));
                self.pauses.insert(pause.target.clone(), Timed { pause, ends_at });
            }
            Control::Limit(limit) => _ = self.limits.insert(limit.target.clone(), limit),
        }
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    const HOUR: Duration = Duration::from_secs(3_600);
    const DAY: Timestamp = Timestamp(1_800_000_000_000);

    fn pause(target: Target, end: Option<PauseEnd>) -> Control {
        let (by, reason) = ("ada".to_owned(), "a release".to_owned());
        Control::Pause(Pause { target, by, reason, since: DAY, end })
    }

    fn of_type(name: &str) -> Target {
        Target::Type { message_type: name.to_owned() }
    }

    #[tokio::test(start_paused = true)]
    async fn each_stage_finds_what_concerns_it() {
        let controls = Controls::default();
        assert_eq!(controls.door(), None);
        let key = Target::Key { plugin: "p".into(), key: "k".into() };
        let targets = [
            Target::Ingest,
            Target::Plugin { plugin: "q".into() },
            key.clone(),
            Target::Sink { sink: "web".into() },
            of_type("Pay"),
        ];
        controls.restore(targets.map(|target| pause(target, None)).to_vec(), DAY);
        assert!(controls.door().is_some());
        let p = controls.of_plugin(&"p".into());
        assert_eq!((p.is_paused, p.keys), (false, BTreeSet::from(["k".into()])));
        assert!(controls.of_plugin(&"q".into()).is_paused);
        assert!(controls.of_sink(&"web".into()).is_paused);
        assert!(controls.of_sink(&"queue:Pay".into()).is_paused, "a queue has one type");
        assert!(!controls.of_sink(&"queue:Ship".into()).is_paused);
        let other = controls.of_sink(&"other".into());
        assert_eq!((other.is_paused, other.paused_types.len()), (false, 1));
        controls.remove(&ControlId { kind: ControlKind::Pause, target: key.clone() });
        assert!(!controls.is_paused(&key) && controls.is_paused(&Target::Ingest));
    }

    #[tokio::test(start_paused = true)]
    async fn a_pause_ends_by_the_clock_that_it_names() {
        let controls = Controls::default();
        let until = DAY.after(HOUR);
        controls.put(pause(of_type("wait"), Some(PauseEnd::After(until))), DAY);
        controls.put(pause(of_type("date"), Some(PauseEnd::At(until))), DAY);
        controls.put(pause(of_type("open"), None), DAY);
        let now = Instant::now();
        assert_eq!(controls.next_end(), NextEnd::Next(Some(now + HOUR), Some(until)));
        assert_eq!(controls.over(now, DAY), []);
        assert_eq!(controls.over(now, until), [of_type("date")], "the wall clock was set");
        assert_eq!(controls.over(now + HOUR, DAY), [of_type("wait")]);
        assert_eq!(controls.over(now + HOUR, until).len(), 2);
    }
}
