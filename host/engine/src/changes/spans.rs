//! Spans: the stages report them for events whose trace is sampled, to an exporter outside of the
//! engine. The channel is bounded; spans that do not fit are dropped and counted, and no stage
//! waits.
//!
//! Ids of spans follow from identities (`pure/identity.rs`). So a message names the span of its
//! decision before the span has ended, nothing is stored, and a repeated call has the same span.

use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use tokio::sync::mpsc;

use crate::model::{Event, SpanId, TraceContext};
use crate::pure::monotonic::Instant;

/// The most bytes of a reason in a span.
const REASON_BYTES_MAX: usize = 256;

/// A part of a trace that has ended.
#[derive(Clone, Debug)]
pub struct Span {
    /// The span's own context.
    pub context: TraceContext,
    /// The span within which it happened; none for the first of a trace.
    pub parent: Option<SpanId>,
    /// Spans of other traces that were causes as well.
    pub links: Vec<TraceContext>,
    /// What it did.
    pub kind: SpanKind,
    /// What it did it to: the event type, plugin, lookup, timer or sink.
    pub object: String,
    /// When it began, by the monotonic clock.
    pub started: Instant,
    /// How long it took.
    pub took: Duration,
    /// Further facts. The names are those of the documentation.
    pub attributes: Vec<(&'static str, String)>,
    /// Why it failed, shortened; none if it did not.
    pub failed: Option<String>,
}

/// What a span did.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SpanKind {
    /// The host accepted an event.
    Receive,
    /// A plugin decided an event, or failed to.
    Decide,
    /// The host asked a lookup or read a stream for a handler.
    LookUp,
    /// A timer waited for its turn: from its due date until it fired.
    FireTimer,
    /// A sink or worker got a message, or did not take it.
    Deliver,
}

impl Span {
    /// A span that has ended now.
    #[must_use]
    pub fn ended(context: TraceContext, kind: SpanKind, object: &str, started: Instant) -> Self {
        Self {
            context,
            parent: None,
            links: Vec::new(),
            kind,
            object: object.to_owned(),
            started,
            took: started.elapsed(),
            attributes: Vec::new(),
            failed: None,
        }
    }

    /// Notes why it failed.
    #[must_use]
    pub fn with_failure(mut self, reason: &str) -> Self {
        self.failed = Some(reason[..reason.floor_char_boundary(REASON_BYTES_MAX)].to_owned());
        self
    }
}

/// Where stages report spans. The default reports none.
#[derive(Clone, Default)]
pub struct Spans(Option<Arc<Reporting>>);

struct Reporting {
    spans: mpsc::Sender<Span>,
    dropped: AtomicU64,
}

impl Spans {
    /// Reports to the receiver, which holds so many spans at most.
    #[must_use]
    pub fn channel(capacity: usize) -> (Self, mpsc::Receiver<Span>) {
        let (spans, receiver) = mpsc::channel(capacity);
        let reporting = Reporting { spans, dropped: AtomicU64::new(0) };
        (Self(Some(Arc::new(reporting))), receiver)
    }

    /// The context of an event of which spans are reported; none if nothing is reported, or if
    /// the event is not sampled.
    #[must_use]
    pub fn sampled(&self, event: &Event) -> Option<TraceContext> {
        self.0.as_ref()?;
        TraceContext::of_sampled(event)
    }

    /// Whether spans are reported at all.
    #[must_use]
    pub fn is_on(&self) -> bool {
        self.0.is_some()
    }

    /// Reports a span, or drops it if the receiver is behind.
    pub fn report(&self, span: Span) {
        if let Some(reporting) = &self.0
            && reporting.spans.try_send(span).is_err()
        {
            reporting.dropped.fetch_add(1, Ordering::Relaxed);
        }
    }

    /// How many spans were dropped.
    #[must_use]
    pub fn dropped(&self) -> u64 {
        self.0.as_ref().map_or(0, |reporting| reporting.dropped.load(Ordering::Relaxed))
    }
}

impl fmt::Debug for Spans {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.debug_tuple("Spans").field(&self.is_on()).finish()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::TraceId;

    #[test]
    fn what_does_not_fit_is_dropped_and_counted() {
        let (spans, mut received) = Spans::channel(2);
        let context = TraceContext::sampled(TraceId(1), SpanId(2));
        for object in ["a", "b", "c"] {
            let span = Span::ended(context, SpanKind::Decide, object, Instant::now());
            spans.report(span.with_failure(&"é".repeat(200)));
        }
        assert_eq!(spans.dropped(), 1);
        let span = received.try_recv().unwrap();
        assert_eq!((span.object.as_str(), span.failed.unwrap().len()), ("a", 256));
        drop(received);
        spans.report(Span::ended(context, SpanKind::Decide, "d", Instant::now()));
        assert_eq!(spans.dropped(), 2, "an exporter that ended disturbs nothing");
    }
}
