//! Reports the spans of a plugin's decisions, and passes the trace of an event on to what is
//! decided about it. An event without a trace costs one look at its attributes.

use crate::changes::spans::{Span, SpanKind, Spans};
use crate::model::{
    Event, Key, LogEntry, Origin, PluginName, Question, SpanId, TRACEPARENT, TRACESTATE, Trace,
    TraceContext,
};
use crate::pure::identity::{self, DecisionIdentity};
use crate::pure::monotonic::Instant;

use super::{Delivery, Dispatcher};

/// What is noted about a delivery whose event is sampled.
pub(super) struct Traced {
    /// The context of the event.
    context: TraceContext,
    /// When the first call of this attempt was made.
    started: Instant,
}

/// The trace that a decision passes on, and the span of the decision if that is recorded.
#[derive(Default)]
pub(super) struct HandedOn {
    pub(super) trace: Option<Trace>,
    pub(super) span: Option<TraceContext>,
}

impl Delivery {
    /// Notes that the handler is about to be called.
    pub(super) fn begin_span(&mut self, spans: &Spans) {
        if self.traced.is_none()
            && let Some(context) = spans.sampled(&self.entry.event)
        {
            self.traced = Some(Box::new(Traced { context, started: Instant::now() }));
        }
    }

    /// The span of the decision, once it is made; none if it is not recorded.
    pub(super) fn span(&self) -> Option<TraceContext> {
        let (traced, identity) = (self.traced.as_ref()?, self.identity?);
        Some(traced.context.with_span(identity.span(0)))
    }
}

impl Dispatcher {
    /// Reports the span of a decision, and returns the trace that its messages and timers carry on.
    pub(super) fn report_decision(
        &mut self,
        key: &Key,
        entry: &LogEntry,
        traced: Option<Box<Traced>>,
        identity: DecisionIdentity,
        attempt: u32,
    ) -> HandedOn {
        let Some(traced) = traced else {
            return HandedOn { trace: Trace::of(&entry.event), span: None };
        };
        let own = traced.context.with_span(identity.span(0));
        let before = self.instance_cache.get(key).and_then(|instance| instance.trace.as_deref());
        let other = before.filter(|before| before.trace != own.trace).copied();
        let mut span = decision_span((&self.plugin, key, entry), &traced, own, attempt);
        span.links.extend(other);
        self.context.spans.report(span);
        let state = entry.event.extension(TRACESTATE).map(str::to_owned);
        let trace = Trace { parent: own.to_traceparent(), state };
        HandedOn { trace: Some(trace), span: Some(own) }
    }
}

/// Reports that an attempt failed. The next attempt has a span of its own.
pub(super) fn report_failure(
    spans: &Spans,
    about: (&PluginName, &Key, &LogEntry),
    (traced, identity): (&Traced, DecisionIdentity),
    attempt: u32,
    reason: &str,
) {
    let own = traced.context.with_span(identity.span(attempt));
    spans.report(decision_span(about, traced, own, attempt).with_failure(reason));
}

fn decision_span(
    (plugin, key, entry): (&PluginName, &Key, &LogEntry),
    traced: &Traced,
    own: TraceContext,
    attempt: u32,
) -> Span {
    let mut span = Span::ended(own, SpanKind::Decide, plugin.as_str(), traced.started);
    span.parent = Some(parent(entry, traced.context));
    span.attributes = vec![
        ("sagabox.plugin", plugin.as_str().to_owned()),
        ("sagabox.key", key.as_str().to_owned()),
        ("sagabox.position", entry.position.to_string()),
        ("sagabox.event.type", entry.event.event_type.clone()),
        ("sagabox.attempt", attempt.to_string()),
    ];
    span
}

/// The parent of the decision's span: the arrival of the event, if a sender sent it, otherwise the
/// span in which the host made it.
fn parent(entry: &LogEntry, context: TraceContext) -> SpanId {
    match entry.hops.origin() {
        Origin::Outside => identity::arrival_span(&entry.event),
        Origin::Host => context.span,
    }
}

/// The span of an answer to a handler's question, within the span of its decision.
pub(super) fn answer_span(
    decision: TraceContext,
    question: &Question,
    started: Instant,
    failed: Option<String>,
) -> Span {
    let (object, attribute) = match question {
        Question::Lookup { name, key } => (name.as_str(), ("sagabox.lookup.key", key.clone())),
        Question::Stream(subject) => ("stream", ("sagabox.stream", subject.clone())),
    };
    let own = decision.with_span(identity::answer_span(decision.span, question));
    let mut span = Span::ended(own, SpanKind::LookUp, object, started);
    span.parent = Some(decision.span);
    span.attributes = vec![attribute];
    match failed {
        Some(reason) => span.with_failure(&reason),
        None => span,
    }
}

/// The extension attributes of what a plugin sends, without those that only the host sets: a plugin
/// joins no trace but that of the event which it decides.
pub(super) fn without_trace(extensions: &[(String, String)]) -> Vec<(String, String)> {
    let is_of_host = |name: &str| matches!(name, TRACEPARENT | TRACESTATE);
    extensions.iter().filter(|(name, _)| !is_of_host(name)).cloned().collect()
}

/// Keeps the original's trace on an event that an operator edited.
pub(super) fn keep_trace(original: &Event, edited: &mut Event) {
    edited.extensions = without_trace(&edited.extensions);
    if let Some(trace) = Trace::of(original) {
        trace.add_to(&mut edited.extensions);
    }
}
