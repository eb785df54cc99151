//! W3C Trace Context, as events carry it: the extension attributes `traceparent` and `tracestate`
//! of the CloudEvents extension "Distributed Tracing". The rules are those of the W3C
//! recommendation "Trace Context", level 1, section 3.
//!
//! The host hands the attributes on as they are, also if it cannot read them. It reads them only
//! where it records spans.

use std::fmt;

use super::Event;

/// The extension attribute and HTTP header with the trace and the span.
pub const TRACEPARENT: &str = "traceparent";
/// The extension attribute and HTTP header with data of tracing systems.
pub const TRACESTATE: &str = "tracestate";

/// The length of version 00.
const LENGTH: usize = 55;
const SAMPLED: u8 = 1;

/// A trace's id. It is never zero.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct TraceId(pub u128);

/// A span's id within its trace. It is never zero.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct SpanId(pub u64);

impl fmt::Display for TraceId {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "{:032x}", self.0)
    }
}

impl fmt::Display for SpanId {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "{:016x}", self.0)
    }
}

/// The place of a span in a trace: a `traceparent` that was read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TraceContext {
    /// The trace.
    pub trace: TraceId,
    /// The span.
    pub span: SpanId,
    flags: u8,
}

impl TraceContext {
    /// A span that is recorded.
    #[must_use]
    pub fn sampled(trace: TraceId, span: SpanId) -> Self {
        Self { trace, span, flags: SAMPLED }
    }

    /// Reads a `traceparent`; none if it breaks the rules.
    #[must_use]
    pub fn parse(text: &str) -> Option<Self> {
        let bytes = text.as_bytes();
        let is_of_length = match bytes.get(..2)? {
            b"00" => bytes.len() == LENGTH,
            b"ff" => false,
            // Later versions may have more behind another separator.
            _ => bytes.len() == LENGTH || bytes.get(LENGTH) == Some(&b'-'),
        };
        if !is_of_length || [2, 35, 52].iter().any(|index| bytes[*index] != b'-') {
            return None;
        }
        let hexadecimal = |range: std::ops::Range<usize>| {
            bytes[range].iter().try_fold(0_u128, |number, byte| {
                let digit = match byte {
                    b'0'..=b'9' => byte - b'0',
                    b'a'..=b'f' => byte - b'a' + 10,
                    _ => return None,
                };
                Some(number << 4 | u128::from(digit))
            })
        };
        hexadecimal(0..2)?;
        let (trace, span) = (hexadecimal(3..35)?, hexadecimal(36..52)?);
        let flags = u8::try_from(hexadecimal(53..55)?).ok()?;
        let span = u64::try_from(span).ok()?;
        (trace != 0 && span != 0).then_some(Self {
            trace: TraceId(trace),
            span: SpanId(span),
            flags,
        })
    }

    /// The context of an event; none if it has none, or one that breaks the rules.
    #[must_use]
    pub fn of(event: &Event) -> Option<Self> {
        Self::parse(event.extension(TRACEPARENT)?)
    }

    /// The context of an event that is sampled; none of another event.
    #[must_use]
    pub fn of_sampled(event: &Event) -> Option<Self> {
        Self::of(event).filter(|context| context.is_sampled())
    }

    /// Whether the system that began the trace, or this host, records it.
    #[must_use]
    pub fn is_sampled(self) -> bool {
        self.flags & SAMPLED != 0
    }

    /// Another span of the same trace.
    #[must_use]
    pub fn with_span(self, span: SpanId) -> Self {
        Self { span, ..self }
    }

    /// The `traceparent`, in version 00.
    #[must_use]
    pub fn to_traceparent(self) -> String {
        format!("00-{}-{}-{:02x}", self.trace, self.span, self.flags)
    }
}

/// What an event or a timer hands on to what follows from it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Trace {
    /// The `traceparent`, byte for byte if the host records no span.
    pub parent: String,
    /// The `tracestate`, byte for byte; none if there is none.
    pub state: Option<String>,
}

impl Trace {
    /// What the event carries; none if it has no `traceparent`. A `tracestate` alone means
    /// nothing.
    #[must_use]
    pub fn of(event: &Event) -> Option<Self> {
        let parent = event.extension(TRACEPARENT)?.to_owned();
        Some(Self { parent, state: event.extension(TRACESTATE).map(str::to_owned) })
    }

    /// Adds it to the extension attributes of an event that has none.
    pub fn add_to(&self, extensions: &mut Vec<(String, String)>) {
        extensions.push((TRACEPARENT.to_owned(), self.parent.clone()));
        let state = self.state.clone();
        extensions.extend(state.map(|state| (TRACESTATE.to_owned(), state)));
    }

    /// One text, as stores keep it.
    #[must_use]
    pub fn to_text(&self) -> String {
        match &self.state {
            // No attribute has a line break.
            Some(state) => format!("{}\n{state}", self.parent),
            None => self.parent.clone(),
        }
    }

    /// Reads what [`Trace::to_text`] wrote.
    #[must_use]
    pub fn from_text(text: &str) -> Self {
        let (parent, state) = match text.split_once('\n') {
            Some((parent, state)) => (parent, Some(state.to_owned())),
            None => (text, None),
        };
        Self { parent: parent.to_owned(), state }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const EXAMPLE: &str = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01";

    #[test]
    fn a_traceparent_is_read_and_written() {
        let context = TraceContext::parse(EXAMPLE).unwrap();
        assert_eq!(context.to_traceparent(), EXAMPLE);
        assert!(context.is_sampled());
        let unsampled = TraceContext::parse(&EXAMPLE.replace("-01", "-00")).unwrap();
        assert!(!unsampled.is_sampled());
        // A later version is read as far as it is known.
        let later = EXAMPLE.replacen("00", "cc", 1) + "-what-else";
        assert_eq!(TraceContext::parse(&later), Some(context));
        let other = context.with_span(SpanId(1)).to_traceparent();
        assert_eq!(other, "00-0af7651916cd43dd8448eb211c80319c-0000000000000001-01");
    }

    #[test]
    fn what_breaks_the_rules_is_no_context() {
        for text in [
            "",
            "00",
            "00-1-2-01",
            &EXAMPLE.replacen("00", "ff", 1),
            &EXAMPLE.replacen("00", "0x", 1),
            &EXAMPLE.to_uppercase(),
            &EXAMPLE.replace("0af7651916cd43dd8448eb211c80319c", &"0".repeat(32)),
            &EXAMPLE.replace("b7ad6b7169203331", &"0".repeat(16)),
            &EXAMPLE.replace("-b", "+b"),
            &format!("{EXAMPLE}-00"),
            &format!("{}x", EXAMPLE.replacen("00", "01", 1)),
            &EXAMPLE.replace("203331", "2033é"),
        ] {
            assert_eq!(TraceContext::parse(text), None, "{text}");
        }
    }

    #[test]
    fn what_is_kept_is_read_back() {
        for state in [None, Some("a=1,b=2".to_owned())] {
            let trace = Trace { parent: EXAMPLE.to_owned(), state };
            assert_eq!(Trace::from_text(&trace.to_text()), trace);
        }
    }
}
