//! Reports the spans of deliveries.

use crate::changes::spans::{Span, SpanKind, Spans};
use crate::model::Message;
use crate::pure::identity;
use crate::pure::monotonic::Instant;

/// Reports a delivery of a message, if its trace is sampled. `number` distinguishes it from other
/// deliveries of the message, and `failed` is the reason of its failure.
pub(super) fn report_delivery(
    spans: &Spans,
    message: &Message,
    number: u64,
    started: Instant,
    failed: Option<&str>,
) {
    let Some(context) = spans.sampled(&message.event) else { return };
    let own = context.with_span(identity::delivery_span(&message.event.id, number));
    let mut span = Span::ended(own, SpanKind::Deliver, message.sink.as_str(), started);
    span.parent = Some(context.span);
    span.attributes = vec![
        ("sagabox.plugin", message.plugin.as_str().to_owned()),
        ("sagabox.message.id", message.event.id.clone()),
        ("sagabox.message.type", message.event.event_type.clone()),
    ];
    spans.report(match failed {
        Some(reason) => span.with_failure(reason),
        None => span,
    });
}
