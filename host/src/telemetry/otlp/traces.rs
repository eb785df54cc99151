//! Spans in the messages of the protocol.

use std::time::{Instant, SystemTime};

use opentelemetry_proto::tonic::resource::v1::Resource;
use opentelemetry_proto::tonic::trace::v1::status::StatusCode;
use opentelemetry_proto::tonic::trace::v1::{
    self as otlp, ResourceSpans, ScopeSpans, Status, span,
};
use sagabox_engine::engine::{Span, SpanKind};
use sagabox_engine::model::TraceContext;

use super::{attribute, nanos, scope};

pub(super) fn encode(spans: impl Iterator<Item = Span>, resource: &Resource) -> ResourceSpans {
    // Both clocks are read once for all spans, so that they keep their order.
    let clocks = (SystemTime::now(), Instant::now());
    let scope_spans = ScopeSpans {
        scope: Some(scope()),
        spans: spans.map(|span| one(span, clocks)).collect(),
        ..ScopeSpans::default()
    };
    ResourceSpans {
        resource: Some(resource.clone()),
        scope_spans: vec![scope_spans],
        ..ResourceSpans::default()
    }
}

fn one(reported: Span, (today, now): (SystemTime, Instant)) -> otlp::Span {
    let Span { context, parent, links, kind, object, started, took, attributes, failed } = reported;
    let started = nanos(today - now.saturating_duration_since(started.into_std()));
    let took = u64::try_from(took.as_nanos()).unwrap_or(u64::MAX);
    let (verb, kind) = match kind {
        SpanKind::Receive => ("receive", span::SpanKind::Server),
        SpanKind::Decide => ("decide", span::SpanKind::Internal),
        SpanKind::LookUp => ("look up", span::SpanKind::Client),
        SpanKind::FireTimer => ("timer", span::SpanKind::Internal),
        SpanKind::Deliver => ("deliver to", span::SpanKind::Producer),
    };
    otlp::Span {
        trace_id: trace_id(context),
        span_id: span_id(context),
        parent_span_id: parent.map_or_else(Vec::new, |parent| parent.0.to_be_bytes().to_vec()),
        flags: SAMPLED,
        name: format!("{verb} {object}"),
        kind: kind.into(),
        start_time_unix_nano: started,
        end_time_unix_nano: started.saturating_add(took),
        attributes: attributes.into_iter().map(|(key, value)| attribute(key, value)).collect(),
        links: links.into_iter().map(link).collect(),
        status: failed.map(|message| Status { message, code: StatusCode::Error.into() }),
        ..otlp::Span::default()
    }
}

/// The flags of W3C Trace Context.
const SAMPLED: u32 = 1;

fn link(context: TraceContext) -> span::Link {
    span::Link {
        trace_id: trace_id(context),
        span_id: span_id(context),
        flags: SAMPLED,
        ..span::Link::default()
    }
}

fn trace_id(context: TraceContext) -> Vec<u8> {
    context.trace.0.to_be_bytes().to_vec()
}

fn span_id(context: TraceContext) -> Vec<u8> {
    context.span.0.to_be_bytes().to_vec()
}
