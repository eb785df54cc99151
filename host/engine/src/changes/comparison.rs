//! Events that look like duplicates and are not: a sender gives two different events one source and
//! id. The second is ignored like every duplicate, because the host cannot know which of them is
//! meant; but its receipt says so.
//!
//! Events are compared only where there are duplicates. The newest events in memory are read at
//! most once in each [`TAIL_PAUSE`], and the newest ones in the store once in each [`STORE_PAUSE`].

use std::sync::{Arc, Mutex};
use std::time::Duration;

use crate::changes::receipt::Receipt;
use crate::changes::tail::Tail;
use crate::lock;
use crate::model::{Event, LogEntry, Origin, reserved};
use crate::pure::monotonic::Instant;
use crate::seams::store::Store;

/// Reading all entries in memory takes about a millisecond.
const TAIL_PAUSE: Duration = Duration::from_millis(20);
/// Reading the newest identities in the store takes some ten milliseconds.
const STORE_PAUSE: Duration = Duration::from_secs(1);
/// The most events of one request that are compared in the store.
const STORE_EVENTS_MAX: usize = 1_000;

#[derive(Default)]
pub(crate) struct Comparison {
    tail_at: Mutex<Option<Instant>>,
    store_at: Mutex<Option<Instant>>,
}

impl Comparison {
    /// Marks the duplicates among these receipts whose events differ from those that were
    /// accepted under their source and id.
    pub(crate) async fn mark(
        &self,
        receipts: &mut [Receipt],
        events: &[Arc<Event>],
        log: &Tail<LogEntry>,
        store: &dyn Store,
    ) {
        let duplicates = (0..).zip(receipts.iter()).filter(|(_, r)| **r == Receipt::Duplicate);
        let mut asked: Vec<usize> = duplicates.map(|(index, _)| index).collect();
        if asked.is_empty() || !is_time(&self.tail_at, TAIL_PAUSE) {
            return;
        }
        asked.sort_by_key(|at| identity(&events[*at]));
        let mut differing = Vec::new();
        let mut found = vec![false; asked.len()];
        log.each(|entry| {
            // An event that an operator redrove is not as its sender sent it.
            let is_back = entry.event.extension(reserved::EXTENSION_REDRIVEN).is_some();
            if entry.hops.origin() != Origin::Outside || is_back {
                return;
            }
            let accepted = identity(&entry.event);
            let first = asked.partition_point(|at| identity(&events[*at]) < accepted);
            let same = (first..).zip(&asked[first..]);
            for (place, at) in same.take_while(|(_, at)| identity(&events[**at]) == accepted) {
                found[place] = true;
                differing.extend(differ(&events[*at], &entry.event).then_some(*at));
            }
        });
        let mut found = found.into_iter();
        asked.retain(|_| !found.next().unwrap_or_default());
        asked.truncate(STORE_EVENTS_MAX);
        if !asked.is_empty() && is_time(&self.store_at, STORE_PAUSE) {
            let rest: Vec<Arc<Event>> = asked.iter().map(|at| Arc::clone(&events[*at])).collect();
            // A store that cannot be read now is reported elsewhere.
            let accepted = store.read_accepted(&rest).await.unwrap_or_default();
            let pairs = asked.iter().zip(accepted);
            differing.extend(pairs.filter_map(|(at, accepted)| {
                accepted.filter(|accepted| differ(&events[*at], accepted)).map(|_| *at)
            }));
        }
        differing.iter().for_each(|at| receipts[*at] = Receipt::Differing);
        if let Some(first) = differing.iter().min() {
            let Event { source, id, .. } = &*events[*first];
            tracing::warn!(
                %source, %id, count = differing.len(),
                "an event has the source and id of an earlier one, and other content; it is ignored \
                 as a duplicate"
            );
        }
    }
}

fn identity(event: &Event) -> (&str, &str) {
    (&event.source, &event.id)
}

/// A sender that repeats an event may give it a new date.
fn differ(a: &Event, b: &Event) -> bool {
    (&a.event_type, &a.subject, &a.data) != (&b.event_type, &b.subject, &b.data)
}

fn is_time(last: &Mutex<Option<Instant>>, pause: Duration) -> bool {
    let mut last = lock(last);
    let now = Instant::now();
    let is_time = last.is_none_or(|last| now >= crate::pure::monotonic::after(last, pause));
    if is_time {
        *last = Some(now);
    }
    is_time
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::{Hops, Position, Timestamp};
    use crate::seams::store::memory::MemoryStore;
    use crate::seams::store::{Append, Batch};

    fn event(id: &str, data: &str) -> Arc<Event> {
        let text = format!(
            r#"{{"specversion":"1.0","id":"{id}","source":"/s","type":"t","data":"{data}"}}"#
        );
        Arc::new(Event::from_json(text.as_bytes()).unwrap())
    }

    #[tokio::test(start_paused = true)]
    async fn what_differs_is_found_in_memory_and_in_the_store_and_not_too_often() {
        let (comparison, store) = (Comparison::default(), MemoryStore::new());
        let append = |position: u64, event: Arc<Event>| Append {
            position: Position(position),
            received_at: Timestamp(0),
            event,
            hops: Hops::OUTSIDE,
            fires: None,
            redriven: false,
        };
        let appends = vec![append(1, event("old", "a")), append(2, event("new", "a"))];
        let newest = append(2, event("new", "a"));
        store.commit(&Batch { appends, ..Batch::default() }).await.unwrap();
        let log = Tail::new(1, 1 << 20, |entry: &LogEntry| entry.event.bytes());
        let Append { position, received_at, event: kept, hops, .. } = newest;
        log.publish([(2, LogEntry { position, received_at, event: kept, hops })], 2);

        let asked = [event("new", "a"), event("new", "b"), event("old", "b"), event("x", "a")];
        let before = [
            Receipt::Duplicate,
            Receipt::Duplicate,
            Receipt::Duplicate,
            Receipt::Accepted(Position(3)),
        ];
        let mut receipts = before;
        comparison.mark(&mut receipts, &asked, &log, &store).await;
        let (same, differs) = (Receipt::Duplicate, Receipt::Differing);
        assert_eq!(receipts, [same, differs, differs, before[3]]);
        // At once again: nothing is compared.
        let mut receipts = before;
        comparison.mark(&mut receipts, &asked, &log, &store).await;
        assert_eq!(receipts, before);
        // A little later, only the events in memory are compared.
        tokio::time::advance(TAIL_PAUSE).await;
        comparison.mark(&mut receipts, &asked, &log, &store).await;
        assert_eq!(receipts, [same, differs, same, before[3]]);
    }
}
