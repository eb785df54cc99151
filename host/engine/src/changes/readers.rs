//! Which dispatchers a commit wakes: those that subscribe to the type of one of its events, or that
//! one of its events is addressed to. For all others only the cursor moves. The committer wakes
//! them together, at most 100 ms later; it wakes one at once if the end of what the tail keeps
//! comes near its place. A commit that appends nothing moves no cursor, and wakes no dispatcher.
//!
//! Waking a dispatcher costs more than the rows of a commit. With many plugins on one log, most of
//! the work would otherwise be to wake plugins that have nothing to do.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, Weak};

use tokio::sync::Notify;

use crate::lock;
use crate::model::{Event, PluginName, reserved};

/// A reader without an interest is woken when it is so many places behind: a quarter of what
/// the tail keeps, so that it never reads what is just written from the store.
const BEHIND_MAX: u64 = 4_096;

/// Ordered by name, so that a simulated run repeats.
#[derive(Default)]
pub(crate) struct Readers(Mutex<BTreeMap<PluginName, Weak<Reader>>>);

/// The place at which one plugin's dispatcher waits. Dropping it removes the reader.
pub(crate) struct Reader {
    /// The event types that it takes.
    types: Mutex<BTreeSet<String>>,
    /// The position up to which it is to read.
    due: AtomicU64,
    woken: Notify,
}

/// The readers that a set of events concerns.
pub(crate) struct Concerned {
    these: Vec<Arc<Reader>>,
    others: Vec<Arc<Reader>>,
}

impl Readers {
    /// Adds a reader, which begins with everything up to `head`.
    pub(crate) fn register(
        &self,
        plugin: PluginName,
        types: BTreeSet<String>,
        head: impl FnOnce() -> u64,
    ) -> Arc<Reader> {
        let reader = Arc::new(Reader {
            types: Mutex::new(types),
            due: AtomicU64::new(0),
            woken: Notify::new(),
        });
        let mut readers = lock(&self.0);
        readers.retain(|_, reader| reader.strong_count() > 0);
        readers.insert(plugin, Arc::downgrade(&reader));
        drop(readers);
        // Read when the reader is in the list: so of each commit either this or `wake` notifies it.
        reader.wake(head());
        reader
    }

    /// The readers that take one of these events, or to which one is addressed.
    pub(crate) fn concerned<'e>(&self, events: impl Iterator<Item = &'e Event>) -> Concerned {
        let (mut types, mut addressees) = (BTreeSet::new(), BTreeSet::new());
        for event in events {
            types.insert(event.event_type.as_str());
            addressees.extend(event.extension(reserved::EXTENSION_PLUGIN));
        }
        let mut concerned = Concerned { these: Vec::new(), others: Vec::new() };
        for (plugin, reader) in lock(&self.0).iter() {
            let Some(reader) = reader.upgrade() else { continue };
            let is_concerned = addressees.contains(plugin.as_str()) || reader.takes(&types);
            match is_concerned {
                true => concerned.these.push(reader),
                false => concerned.others.push(reader),
            }
        }
        concerned
    }

    /// The types of these events that no plugin takes.
    pub(crate) fn untaken<'e>(&self, events: impl Iterator<Item = &'e Event>) -> BTreeSet<String> {
        let mut types: BTreeSet<&str> = BTreeSet::new();
        let mut last = "";
        // Usually, events of one type come together.
        for event in events.filter(|event| event.extension(reserved::EXTENSION_PLUGIN).is_none()) {
            if event.event_type != last {
                last = &event.event_type;
                types.insert(last);
            }
        }
        for reader in lock(&self.0).values() {
            if types.is_empty() {
                break;
            }
            let Some(reader) = reader.upgrade() else { continue };
            let taken = lock(&reader.types);
            types.retain(|event_type| !taken.contains(*event_type));
        }
        types.into_iter().map(str::to_owned).collect()
    }

    /// Wakes all readers.
    pub(crate) fn wake(&self, head: u64) {
        let all: Vec<Arc<Reader>> = lock(&self.0).values().filter_map(Weak::upgrade).collect();
        all.iter().for_each(|reader| reader.wake(head));
    }
}

impl Concerned {
    /// Wakes the readers that the events concern. The events are in the tail, whose end is `head`
    /// now. Returns true if there are other readers, which wait for [`Readers::wake`].
    pub(crate) fn wake(self, head: u64) -> bool {
        self.these.iter().for_each(|reader| reader.wake(head));
        let mut are_behind = false;
        for reader in self.others {
            match head.saturating_sub(reader.due()) {
                0 => {}
                behind if behind > BEHIND_MAX => reader.wake(head),
                _ => are_behind = true,
            }
        }
        are_behind
    }
}

impl Reader {
    /// Takes other types from now on, and reads up to `head` with them.
    pub(crate) fn subscribe(&self, types: BTreeSet<String>, head: impl FnOnce() -> u64) {
        *lock(&self.types) = types;
        self.wake(head());
    }

    /// Resolves when there is something to read after this place.
    pub(crate) async fn wait(&self, after: u64) {
        while self.due() <= after {
            self.woken.notified().await;
        }
    }

    fn wake(&self, head: u64) {
        if self.due.fetch_max(head, Ordering::AcqRel) < head {
            self.woken.notify_one();
        }
    }

    fn due(&self) -> u64 {
        self.due.load(Ordering::Acquire)
    }

    fn takes(&self, types: &BTreeSet<&str>) -> bool {
        let own = lock(&self.types);
        types.iter().any(|event_type| own.contains(*event_type))
    }
}

#[cfg(test)]
mod tests {
    use futures::FutureExt as _;

    use super::*;

    fn event(event_type: &str, addressee: Option<&str>) -> Event {
        let text = r#"{"specversion":"1.0","id":"1","source":"/s","type":"t"}"#;
        let mut event = Event::from_json(text.as_bytes()).unwrap();
        event.event_type = event_type.to_owned();
        let addressee = addressee.map(|plugin| (reserved::EXTENSION_PLUGIN, plugin));
        event.extensions.extend(addressee.map(|(name, to)| (name.to_owned(), to.to_owned())));
        event
    }

    fn types(types: &[&str]) -> BTreeSet<String> {
        types.iter().map(|name| (*name).to_owned()).collect()
    }

    fn is_due(reader: &Reader, after: u64) -> bool {
        reader.wait(after).now_or_never().is_some()
    }

    #[test]
    fn those_are_woken_for_whom_there_is_something() {
        let readers = Readers::default();
        let register = |name: &str, of: &[&str]| readers.register(name.into(), types(of), || 5);
        let (a, b, c) = (register("a", &["t", "u"]), register("b", &["v"]), register("c", &[]));
        assert!(is_due(&a, 4) && !is_due(&a, 5), "what was there before is read");
        let events = [event("t", None), event("sagabox.timer.fired", Some("c"))];
        assert!(readers.concerned(events.iter()).wake(7), "b is behind");
        assert_eq!([&a, &b, &c].map(|reader| is_due(reader, 6)), [true, false, true]);
        readers.wake(7);
        assert!(is_due(&b, 6));
        drop(b);
        assert!(!readers.concerned(events.iter()).wake(8), "b does not read any more");
    }

    #[test]
    fn types_that_no_plugin_takes_are_named() {
        let readers = Readers::default();
        let register = |name: &str, of: &[&str]| readers.register(name.into(), types(of), || 0);
        let events = ["t", "t", "u", "w", "t"].map(|event_type| event(event_type, None));
        assert_eq!(readers.untaken(events.iter()), types(&["t", "u", "w"]));
        let (a, b) = (register("a", &["t"]), register("b", &["v", "w"]));
        assert_eq!(readers.untaken(events.iter()), types(&["u"]));
        let addressed = event("u", Some("a"));
        assert_eq!(readers.untaken([addressed].iter()), types(&[]));
        drop((a, b));
        assert_eq!(readers.untaken(events.iter()), types(&["t", "u", "w"]));
    }

    #[test]
    fn no_reader_falls_out_of_the_tail_for_want_of_interest() {
        let readers = Readers::default();
        let reader = readers.register("a".into(), types(&["t"]), || 0);
        let others = [event("u", None)];
        for head in 1..=BEHIND_MAX {
            assert!(readers.concerned(others.iter()).wake(head));
        }
        assert!(!is_due(&reader, 0));
        assert!(!readers.concerned(others.iter()).wake(BEHIND_MAX + 1));
        assert!(is_due(&reader, BEHIND_MAX));
    }

    #[test]
    fn a_commit_without_events_keeps_no_reader_waiting() {
        let readers = Readers::default();
        let reader = readers.register("a".into(), types(&["t"]), || 5);
        assert!(!readers.concerned(std::iter::empty()).wake(5), "there is nothing to read");
        assert!(readers.concerned([event("u", None)].iter()).wake(6));
        assert!(readers.concerned(std::iter::empty()).wake(6), "it is still behind");
        readers.wake(6);
        assert!(!readers.concerned(std::iter::empty()).wake(6));
        assert!(is_due(&reader, 5));
    }

    #[test]
    fn a_version_with_other_subscriptions_reads_what_there_is() {
        let readers = Readers::default();
        let reader = readers.register("a".into(), types(&["t"]), || 0);
        readers.concerned([event("u", None)].iter()).wake(3);
        reader.subscribe(types(&["u"]), || 3);
        assert!(is_due(&reader, 2));
        readers.concerned([event("u", None)].iter()).wake(4);
        assert!(is_due(&reader, 3));
    }
}
