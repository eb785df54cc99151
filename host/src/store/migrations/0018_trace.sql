-- The trace that a timer's event carries on: `traceparent`, and after a line break `tracestate`.
ALTER TABLE timers ADD COLUMN trace TEXT;
-- The `traceparent` of an instance's latest decision of which a span was reported.
ALTER TABLE instances ADD COLUMN traceparent TEXT;
