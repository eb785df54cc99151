//! Fires timers. A fired timer is an event in the log. The commit that appends it marks the timer
//! as fired, so it takes effect once, survives restarts, and keeps the order of its key (guarantee
//! 9). No timer fires before the wall clock says that it is due.
//!
//! The dispatcher sees whether the timer was replaced or cancelled meanwhile, and ignores the event
//! then.

use std::sync::Arc;
use std::time::Duration;

use tokio::sync::{Semaphore, mpsc};
use tokio_util::sync::CancellationToken;

use crate::Clock;
use crate::changes::spans::{Span, SpanKind, Spans};
use crate::changes::timer_index::{Next, TimerIndex};
use crate::changes::{Fire, Work};
use crate::model::{Event, TimerPlace, TimerRef, Timestamp, Trace, TraceContext, reserved};
use crate::pure::identity;
use crate::pure::monotonic::Instant;
use crate::pure::retry::READ_RETRY;
use crate::seams::store::{Page, Store, TimerRow};

/// The timers that fire in one commit, so that thousands that fall due at once leave room for other
/// work. The bytes of their data are bounded, too.
const FIRE: Page = Page { rows: 512, bytes: 4 << 20 };
/// How many such sets may wait for their commit. Timers that fall due meanwhile stay in the store.
const FIRES_MAX: usize = 4;
/// Timers, and bytes of their data, that are read at once.
const PAGE: Page = Page { rows: 2_048, bytes: 8 << 20 };

pub(crate) struct Timers {
    pub store: Arc<dyn Store>,
    pub clock: Clock,
    /// The longest wait of the stage, because the wall clock may jump ahead meanwhile.
    pub date_check_max: Duration,
    pub index: Arc<TimerIndex>,
    pub work: mpsc::UnboundedSender<Work>,
    pub spans: Spans,
}

impl Timers {
    /// Runs until `stop`, and ends at once: timers that have not fired are in the store.
    pub(crate) async fn run(self, stop: CancellationToken) {
        tokio::select! {
            biased;
            () = stop.cancelled() => {}
            () = self.fire() => {}
        }
    }

    /// Returns when the committer is gone.
    async fn fire(&self) {
        let waiting = Arc::new(Semaphore::new(FIRES_MAX));
        loop {
            let Ok(permit) = Arc::clone(&waiting).acquire_owned().await else { return };
            let now = (self.clock)();
            let due = self.index.take_due(now, FIRE);
            if !due.is_empty() {
                let fired = due.into_iter().map(|row| {
                    let event = Arc::new(self.fired_event(&row, now));
                    (row, event)
                });
                let fire = Fire { timers: fired.collect(), permit };
                if self.work.send(Work::Fire(fire)).is_err() {
                    return;
                }
                // Lets a waiting batch go first.
                tokio::task::yield_now().await;
                continue;
            }
            let due = match self.index.next() {
                Next::Read { after } => {
                    self.read(after.as_ref()).await;
                    continue;
                }
                Next::Wait { due } => due,
            };
            let sleep = due.map_or(Duration::MAX, |due| due.since(now)).min(self.date_check_max);
            tokio::select! {
                biased;
                () = self.index.changed() => {}
                () = tokio::time::sleep(sleep.max(Duration::from_millis(1))) => {}
            }
        }
    }

    /// The event as which a timer fires. It carries on the trace of the decision that set it; if
    /// that is sampled, it is within the span of the timer.
    fn fired_event(&self, row: &TimerRow, now: Timestamp) -> Event {
        let mut event = fired_event(row, now);
        let Some(trace) = &row.trace else { return event };
        let mut trace = Trace::clone(trace);
        let context = TraceContext::parse(&trace.parent).filter(|context| context.is_sampled());
        if let Some(context) = context.filter(|_| self.spans.is_on()) {
            let own = context.with_span(identity::timer_span(&event.id));
            let late = now.since(row.timer.due);
            let started = Instant::now().checked_sub(late).unwrap_or_else(Instant::now);
            let name = row.timer.name.as_str();
            let mut span = Span::ended(own, SpanKind::FireTimer, name, started);
            span.parent = Some(context.span);
            span.attributes = vec![
                ("sagabox.plugin", row.timer.plugin.as_str().to_owned()),
                ("sagabox.key", row.timer.instance.as_str().to_owned()),
            ];
            self.spans.report(span);
            trace.parent = own.to_traceparent();
        }
        trace.add_to(&mut event.extensions);
        event
    }

    /// Reads a page of the timers after a place.
    async fn read(&self, after: Option<&TimerPlace>) {
        self.index.begin_reading();
        match self.store.read_timers(after, PAGE).await {
            Ok(page) => self.index.end_reading(Some(page)),
            Err(error) => {
                self.index.end_reading(None);
                tracing::warn!(%error, "reading timers failed; retrying");
                tokio::time::sleep(READ_RETRY).await;
            }
        }
    }
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
