//! What a plugin logs, under its name and within its limits.

use std::collections::VecDeque;
use std::sync::Arc;

use sagabox_engine::model::{Event, Key, Timestamp, TraceContext};
use tracing::field::display;

use super::lines::{Line, RecentLines};

/// The target of what plugins write, which tells it from what the host writes.
pub const TARGET: &str = "plugin";

/// What becomes part of a failure's reason.
const LAST_BYTES_MAX: usize = 500;
/// How runtimes begin what they write when a program cannot go on. The long trace behind it must not
/// push it out of the reason.
const LAST_WORDS: [&str; 3] = ["fatal error: ", "panic: ", "runtime: out of memory"];

/// What a call is about: each of its lines says so.
pub(super) struct About {
    pub(super) key: Key,
    pub(super) event: Arc<Event>,
}

/// Of one call. Lines over the limits are dropped, and that is said once.
pub(super) struct CallLog {
    plugin: String,
    /// None while the plugin starts, and where it migrates a state.
    about: Option<About>,
    lines_max: usize,
    bytes_max: usize,
    lines: usize,
    bytes: usize,
    dropped: usize,
    /// The last lines of the call, for the reason if it fails.
    last: VecDeque<String>,
    last_bytes: usize,
    last_bytes_max: usize,
    /// The last words of a program have begun: what is kept stays.
    ends: bool,
    /// Where people find the newest lines; none for a plugin that has no name yet.
    recent: Option<RecentLines>,
}

impl CallLog {
    pub(crate) fn new(plugin: &str, lines_max: usize, bytes_max: usize) -> Self {
        Self {
            plugin: plugin.to_owned(),
            about: None,
            lines_max,
            bytes_max,
            lines: 0,
            bytes: 0,
            dropped: 0,
            last: VecDeque::new(),
            last_bytes: 0,
            last_bytes_max: LAST_BYTES_MAX,
            ends: false,
            recent: None,
        }
    }

    /// The same, but that all lines of a call are kept and not only the last.
    pub(crate) fn that_keeps_all(mut self) -> Self {
        self.last_bytes_max = self.bytes_max;
        self
    }

    pub(super) fn that_is_kept_in(self, recent: RecentLines) -> Self {
        Self { recent: Some(recent), ..self }
    }

    pub(super) fn begin_call(&mut self, about: Option<About>) {
        self.about = about;
        self.last.clear();
        (self.last_bytes, self.ends) = (0, false);
    }

    /// What the call wrote last, in its order.
    pub(crate) fn said(&self) -> impl Iterator<Item = &str> {
        self.last.iter().map(String::as_str)
    }

    fn keep(&mut self, line: &str) {
        if !self.ends && LAST_WORDS.iter().any(|words| line.starts_with(words)) {
            self.ends = true;
            if self.last_bytes > self.last_bytes_max / 2 {
                self.last.clear();
                self.last_bytes = 0;
            }
        }
        let room = self.last_bytes_max - if self.ends { self.last_bytes } else { 0 };
        let line = &line[..line.floor_char_boundary(room)];
        if line.is_empty() {
            return;
        }
        self.last_bytes += line.len();
        self.last.push_back(line.to_owned());
        while self.last_bytes > self.last_bytes_max {
            let Some(first) = self.last.pop_front() else { break };
            self.last_bytes -= first.len();
        }
    }

    /// A text of several lines is so many lines of the log: a plugin writes none that
    /// look as if they were another's.
    pub(crate) fn write(&mut self, level: tracing::Level, text: &str) {
        for line in text.split(['\n', '\r']).filter(|line| !line.is_empty()) {
            match self.admit(line) {
                Some(line) => {
                    self.emit(level, line);
                    self.keep(line);
                }
                None => self.dropped += 1,
            }
        }
    }

    /// As much of the line as the limits leave.
    fn admit<'l>(&mut self, line: &'l str) -> Option<&'l str> {
        let room = self.bytes_max.saturating_sub(self.bytes);
        if self.lines == self.lines_max || room == 0 {
            return None;
        }
        let line = &line[..line.floor_char_boundary(room)];
        self.lines += 1;
        // A cut line takes what is left, also where no character fits any more.
        self.bytes += line.len().max(1);
        Some(line)
    }

    /// The next call may log as much again.
    pub(crate) fn end_call(&mut self) {
        if self.dropped > 0 {
            let (lines, bytes) = (self.lines_max, self.bytes_max);
            let text = format!(
                "{} further lines of this call are dropped: a call logs at most {lines} lines \
                 (limit log_lines) and {bytes} bytes (limit log_bytes)",
                self.dropped
            );
            self.emit(tracing::Level::WARN, &text);
        }
        (self.lines, self.bytes, self.dropped) = (0, 0, 0);
        self.about = None;
    }

    fn emit(&self, level: tracing::Level, line: &str) {
        let plugin = self.plugin.as_str();
        let about = self.about.as_ref();
        let key = about.map(|about| about.key.as_str());
        let event = about.map(|about| about.event.id.as_str());
        let event_type = about.map(|about| about.event.event_type.as_str());
        let trace = about.and_then(|about| TraceContext::of_sampled(&about.event));
        let trace_id = trace.map(|trace| display(trace.trace));
        let span_id = trace.map(|trace| display(trace.span));
        macro_rules! emit {
            ($level:ident) => {
                tracing::$level!(
                    target: TARGET, plugin, key, event, event_type, trace_id, span_id, "{line}"
                )
            };
        }
        if let Some(recent) = &self.recent {
            let (key, event) = (key.map(str::to_owned), event.map(str::to_owned));
            let (number, at, text) = (0, Timestamp(0), line.to_owned());
            recent.add(plugin, Line { number, at, level: named(level), key, event, text });
        }
        match level {
            tracing::Level::ERROR => emit!(error),
            tracing::Level::WARN => emit!(warn),
            tracing::Level::INFO => emit!(info),
            tracing::Level::DEBUG => emit!(debug),
            tracing::Level::TRACE => emit!(trace),
        }
    }
}

fn named(level: tracing::Level) -> &'static str {
    match level {
        tracing::Level::ERROR => "error",
        tracing::Level::WARN => "warn",
        tracing::Level::INFO => "info",
        tracing::Level::DEBUG => "debug",
        tracing::Level::TRACE => "trace",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_and_bytes_of_a_call_are_bounded() {
        let mut log = CallLog::new("p", 2, 6);
        assert_eq!(log.admit("abc"), Some("abc"));
        assert_eq!(log.admit("d€€"), Some("d"), "a character is not cut in two");
        assert_eq!(log.admit("e"), None, "the third line");
        log.write(tracing::Level::INFO, "one\ntwo\r\n\nthree");
        assert_eq!(log.dropped, 3);
        log.end_call();
        assert_eq!(log.admit("abcdefgh"), Some("abcdef"));
        assert_eq!(log.admit("i"), None, "the seventh byte");
    }

    #[test]
    fn the_last_lines_of_a_call_are_kept_for_its_failure() {
        let mut log = CallLog::new("p", 100, 10_000);
        let said = |log: &CallLog| log.said().map(str::to_owned).collect::<Vec<_>>();
        log.write(tracing::Level::INFO, &"x".repeat(400));
        log.write(tracing::Level::INFO, "one\ntwo");
        assert_eq!(said(&log).len(), 3);
        log.write(tracing::Level::INFO, &"y".repeat(100));
        assert_eq!(said(&log)[..2], ["one", "two"]);
        log.end_call();
        assert_eq!(said(&log).len(), 3, "its failure is explained afterwards");
        log.write(tracing::Level::INFO, &"z".repeat(600));
        assert_eq!(said(&log), ["z".repeat(500)]);
        log.begin_call(None);
        assert_eq!(said(&log), Vec::<String>::new());
        log.write(tracing::Level::INFO, &"x".repeat(400));
        log.write(tracing::Level::WARN, "fatal error: out of memory\ngoroutine 1 [running]:");
        (0..90).for_each(|_| log.write(tracing::Level::WARN, &"x".repeat(100)));
        let kept = said(&log);
        assert_eq!(kept[..2], ["fatal error: out of memory", "goroutine 1 [running]:"]);
        assert_eq!(kept.concat().len(), LAST_BYTES_MAX, "the trace behind it is cut");
        log.begin_call(None);
        let mut log = CallLog::new("p", 100, 10_000).that_keeps_all();
        (0..90).for_each(|_| log.write(tracing::Level::INFO, &"x".repeat(100)));
        assert_eq!(said(&log).len(), 90);
    }
}
