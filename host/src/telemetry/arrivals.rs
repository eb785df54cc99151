//! The traces of events that senders send: an event has one by its extension attributes, or the
//! request's header gives it one, or the host begins one. The span of an arrival ends when the
//! event is durable.

use std::time::Instant;

use axum::http::HeaderMap;
use sagabox_engine::engine::{Receipt, Span, SpanKind, Spans};
use sagabox_engine::model::{Event, TRACEPARENT, TRACESTATE, Trace, TraceContext};
use sagabox_engine::pure::identity;

use super::sampler::Sampler;

/// The bytes of a header that become an attribute. W3C Trace Context, section 3.3.1.5: a
/// `tracestate` of 512 characters should be handed on.
const HEADER_BYTES_MAX: usize = 1_024;
/// An event has at most 64 extension attributes; the trace takes two.
const EXTENSIONS_MAX: usize = 62;

pub(crate) struct Arrivals {
    spans: Spans,
    sampler: Sampler,
}

/// Sampled events of a request.
pub(crate) struct Sampled(Vec<SampledEvent>);

struct SampledEvent {
    /// Its place in the request.
    index: usize,
    context: TraceContext,
    own: TraceContext,
    event_type: String,
    event_id: String,
}

impl Arrivals {
    pub(crate) fn new(spans: Spans, sampler: Sampler) -> Self {
        Self { spans, sampler }
    }

    /// Gives events without a trace that of the request, or begins one.
    pub(crate) fn trace(&self, headers: &HeaderMap, events: &mut [Event]) -> Sampled {
        let of_request = of_headers(headers);
        let mut sampled = Vec::new();
        for (index, event) in events.iter_mut().enumerate() {
            if event.extension(TRACEPARENT).is_none() {
                self.give_trace(event, of_request.as_ref());
            }
            if let Some(context) = self.spans.sampled(event) {
                sampled.push(SampledEvent {
                    index,
                    context,
                    own: context.with_span(identity::arrival_span(event)),
                    event_type: event.event_type.clone(),
                    event_id: event.id.clone(),
                });
            }
        }
        Sampled(sampled)
    }

    fn give_trace(&self, event: &mut Event, of_request: Option<&Trace>) {
        let begun = match of_request {
            Some(trace) => Some(trace.clone()),
            None => self.sampler.next().filter(|_| self.spans.is_on()).map(|id| {
                let context = TraceContext::sampled(id, identity::arrival_span(event));
                Trace { parent: context.to_traceparent(), state: None }
            }),
        };
        if let Some(trace) = begun.filter(|_| event.extensions.len() <= EXTENSIONS_MAX) {
            // A `tracestate` without its `traceparent` means nothing.
            event.extensions.retain(|(name, _)| name != TRACESTATE);
            trace.add_to(&mut event.extensions);
        }
    }

    /// Reports the spans of a request's sampled events, once they are durable or refused.
    pub(crate) fn report<E: std::fmt::Display>(
        &self,
        sampled: &Sampled,
        started: Instant,
        outcome: Result<&[Receipt], &E>,
    ) {
        for event in &sampled.0 {
            let mut span =
                Span::ended(event.own, SpanKind::Receive, &event.event_type, started.into());
            // The first span of a trace that the host has begun has none before it.
            span.parent = (event.context.span != event.own.span).then_some(event.context.span);
            span.attributes = vec![("sagabox.event.id", event.event_id.clone())];
            self.spans.report(match outcome {
                Ok(receipts) => {
                    let outcome = match receipts.get(event.index) {
                        Some(Receipt::Duplicate | Receipt::Differing) => "duplicate",
                        Some(Receipt::Accepted(position)) => {
                            span.attributes.push(("sagabox.position", position.to_string()));
                            "accepted"
                        }
                        None => "unknown",
                    };
                    span.attributes.push(("sagabox.outcome", outcome.to_owned()));
                    span
                }
                Err(reason) => span.with_failure(&reason.to_string()),
            });
        }
    }
}

/// The trace of a request; none if it has none, or one that breaks the rules of W3C Trace Context.
fn of_headers(headers: &HeaderMap) -> Option<Trace> {
    let mut parents = headers.get_all(TRACEPARENT).iter();
    let (parent, None) = (parents.next()?, parents.next()) else { return None };
    let parent = parent.to_str().ok().filter(|text| text.len() <= HEADER_BYTES_MAX)?;
    TraceContext::parse(parent)?;
    // Several headers are one list.
    let states = headers.get_all(TRACESTATE).iter().map(|value| value.to_str().ok());
    let state = states.collect::<Option<Vec<_>>>().unwrap_or_default().join(",");
    let is_attribute = |state: &String| {
        (1..=HEADER_BYTES_MAX).contains(&state.len()) && !state.contains(|c: char| c.is_control())
    };
    Some(Trace { parent: parent.to_owned(), state: Some(state).filter(is_attribute) })
}

#[cfg(test)]
mod tests {
    use sagabox_engine::model::Position;

    use super::*;

    const PARENT: &str = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01";
    const OTHER: &str = "00-1af7651916cd43dd8448eb211c80319c-b7ad6b7169203332-00";

    fn headers(all: &[(&'static str, &str)]) -> HeaderMap {
        all.iter().map(|(name, value)| (name.parse().unwrap(), value.parse().unwrap())).collect()
    }

    fn event(extensions: &[(&str, &str)]) -> Event {
        let json = br#"{"specversion":"1.0","id":"1","source":"/s","type":"t"}"#;
        let own = extensions.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned()));
        Event { extensions: own.collect(), ..Event::from_json(json).unwrap() }
    }

    #[track_caller]
    fn check(given: &[(&'static str, &str)], own: &[(&str, &str)], expected: &[(&str, &str)]) {
        let arrivals = Arrivals::new(Spans::default(), Sampler::new(1.0));
        let mut events = [event(own)];
        assert!(arrivals.trace(&headers(given), &mut events).0.is_empty());
        assert_eq!(events[0], event(expected));
        events[0].validate().unwrap();
    }

    #[test]
    fn the_header_is_the_fallback_of_the_attribute() {
        check(&[], &[], &[]);
        check(&[(TRACEPARENT, PARENT)], &[], &[(TRACEPARENT, PARENT)]);
        check(
            &[(TRACEPARENT, PARENT), (TRACESTATE, "a=1"), (TRACESTATE, "b=2")],
            &[(TRACESTATE, "c=3")],
            &[(TRACEPARENT, PARENT), (TRACESTATE, "a=1,b=2")],
        );
        let own = [(TRACEPARENT, OTHER)];
        check(&[(TRACEPARENT, PARENT), (TRACESTATE, "a=1")], &own, &own);
        check(&[(TRACEPARENT, PARENT)], &[(TRACEPARENT, "00-1")], &[(TRACEPARENT, "00-1")]);
    }

    #[test]
    fn a_header_that_breaks_the_rules_is_no_trace() {
        check(&[(TRACEPARENT, "00-1-2-01")], &[], &[]);
        check(&[(TRACEPARENT, PARENT), (TRACEPARENT, OTHER)], &[], &[]);
        check(&[(TRACESTATE, "a=1")], &[], &[]);
        let long = "x".repeat(HEADER_BYTES_MAX + 1);
        check(&[(TRACEPARENT, PARENT), (TRACESTATE, &long)], &[], &[(TRACEPARENT, PARENT)]);
    }

    #[test]
    fn a_trace_that_the_host_begins_begins_with_the_arrival() {
        let (spans, mut reported) = Spans::channel(8);
        let arrivals = Arrivals::new(spans, Sampler::new(1.0));
        let mut events =
            [event(&[]), event(&[(TRACEPARENT, PARENT)]), event(&[(TRACEPARENT, OTHER)])];
        let sampled = arrivals.trace(&HeaderMap::new(), &mut events);
        let receipts = [Receipt::Accepted(Position(7)), Receipt::Duplicate, Receipt::Duplicate];
        arrivals.report::<String>(&sampled, Instant::now(), Ok(&receipts));
        let begun = reported.try_recv().unwrap();
        assert_eq!(begun.parent, None);
        assert_eq!(TraceContext::of(&events[0]), Some(begun.context));
        let from_sender = reported.try_recv().unwrap();
        let parent = TraceContext::parse(PARENT).unwrap();
        assert_eq!(from_sender.parent, Some(parent.span));
        assert_eq!(from_sender.context.trace, parent.trace);
        assert!(reported.try_recv().is_err(), "an event that is not sampled has no span");
    }
}
