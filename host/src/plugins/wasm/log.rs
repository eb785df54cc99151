//! The log lines of a plugin, under its name and within its limits.

use std::sync::Arc;

use sagabox_engine::model::{Event, Key, Timestamp, TraceContext};
use sagabox_engine::seams::handler::CALL_LOG_BYTES_MAX;
use tracing::field::display;

use super::lines::{Line, RecentLines};

/// The target of plugins' log lines, which distinguishes them from the host's.
pub const TARGET: &str = "plugin";

/// The most bytes of lines in a failure's reason.
const LAST_BYTES_MAX: usize = 500;
/// How runtimes begin what they write when a program cannot go on. The long trace behind it must not
/// push it out of the reason.
const LAST_WORDS: [&str; 3] = ["fatal error: ", "panic: ", "runtime: out of memory"];

/// What a call is about. Each of its lines has these fields.
pub(super) struct About {
    pub(super) key: Key,
    pub(super) event: Arc<Event>,
}

/// The log of one call. Lines over the limits are dropped, and one line says so.
pub(super) struct CallLog {
    plugin: String,
    /// None while the plugin starts, and while it migrates a state.
    about: Option<About>,
    lines_max: usize,
    bytes_max: usize,
    lines: usize,
    bytes: usize,
    dropped: usize,
    /// The last lines of the call, each with its level before it, for people who look at its
    /// failure. It is one text, so that a line costs no allocation of its own.
    kept: String,
    kept_bytes_max: usize,
    /// The last words of a program have begun: what is kept stays.
    ends: bool,
    /// Where people find the newest lines; none for a plugin whose name is not known yet.
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
            kept: String::new(),
            kept_bytes_max: CALL_LOG_BYTES_MAX,
            ends: false,
            recent: None,
        }
    }

    /// The same, but it keeps all lines of a call and not only the last ones.
    pub(crate) fn that_keeps_all(mut self) -> Self {
        self.kept_bytes_max = usize::MAX;
        self
    }

    pub(super) fn that_is_kept_in(self, recent: RecentLines) -> Self {
        Self { recent: Some(recent), ..self }
    }

    pub(super) fn begin_call(&mut self, about: Option<About>) {
        self.about = about;
        self.kept.clear();
        self.ends = false;
    }

    /// The last lines of the call, in order.
    pub(crate) fn said(&self) -> impl DoubleEndedIterator<Item = &str> {
        self.kept.lines().filter_map(|line| Some(line.split_once(' ')?.1))
    }

    /// The very last of what the call wrote, on one line. The trace behind the last words of a
    /// program is cut.
    pub(super) fn last_words(&self) -> String {
        let lines: Vec<&str> = self.said().collect();
        let fit = |max: usize, line: &str, bytes: &mut usize| {
            *bytes += line.len();
            *bytes <= max
        };
        let ends = lines.iter().position(|line| are_last_words(line));
        let (before, behind) = lines.split_at(ends.unwrap_or(lines.len()));
        let (max, mut bytes) = (LAST_BYTES_MAX / if ends.is_some() { 2 } else { 1 }, 0);
        let before = before.iter().rev().map(|line| cut(line, LAST_BYTES_MAX));
        let mut words: Vec<&str> = before.take_while(|line| fit(max, line, &mut bytes)).collect();
        words.reverse();
        let mut room = LAST_BYTES_MAX - words.iter().map(|line| line.len()).sum::<usize>();
        for line in behind {
            let line = cut(line, room);
            room -= line.len();
            words.extend(Some(line).filter(|line| !line.is_empty()));
        }
        words.join(" | ")
    }

    /// What the call wrote last, for its dead letter.
    pub(super) fn take(&mut self) -> String {
        self.drop_over(self.kept_bytes_max);
        self.kept.pop();
        std::mem::take(&mut self.kept)
    }

    fn keep(&mut self, level: tracing::Level, line: &str) {
        if !self.ends && are_last_words(line) {
            self.ends = true;
            self.drop_over(self.kept_bytes_max / 2);
        }
        let taken = if self.ends { self.kept.len() } else { 0 };
        // Room for the level and the end of the line.
        let room = self.kept_bytes_max.saturating_sub(taken + "error \n".len());
        let line = cut(line, room);
        if line.is_empty() {
            return;
        }
        for part in [named(level), " ", line, "\n"] {
            self.kept.push_str(part);
        }
        // Not with each line: each time moves what stays.
        if self.kept.len() / 2 > self.kept_bytes_max {
            self.drop_over(self.kept_bytes_max);
        }
    }

    /// Drops the oldest lines over so many bytes.
    fn drop_over(&mut self, bytes: usize) {
        // The end of the last line is not part of what is kept.
        let over = self.kept.len().saturating_sub(bytes.saturating_add(1));
        let Some(last) = over.checked_sub(1) else { return };
        let end = self.kept.as_bytes()[last..].iter().position(|byte| *byte == b'\n');
        self.kept.drain(..end.map_or(self.kept.len(), |end| last + end + 1));
    }

    /// A text of several lines becomes several log lines, so that a plugin cannot write a line that
    /// looks like another's.
    pub(crate) fn write(&mut self, level: tracing::Level, text: &str) {
        for line in text.split(['\n', '\r']).filter(|line| !line.is_empty()) {
            match self.admit(line) {
                Some(line) => {
                    self.emit(level, line);
                    self.keep(level, line);
                }
                None => self.dropped += 1,
            }
        }
    }

    /// The part of the line that the limits admit.
    fn admit<'l>(&mut self, line: &'l str) -> Option<&'l str> {
        let room = self.bytes_max.saturating_sub(self.bytes);
        if self.lines == self.lines_max || room == 0 {
            return None;
        }
        let line = &line[..line.floor_char_boundary(room)];
        self.lines += 1;
        // A cut line uses up the rest of the limit, also if no character fits any more.
        self.bytes += line.len().max(1);
        Some(line)
    }

    /// Resets the limits for the next call.
    pub(crate) fn end_call(&mut self) {
        if self.dropped > 0 {
            let (lines, bytes) = (self.lines_max, self.bytes_max);
            let text = format!(
                "{} further lines of this call are dropped: a call logs at most {lines} lines \
                 (limit log_lines) and {bytes} bytes (limit log_bytes)",
                self.dropped
            );
            self.emit(tracing::Level::WARN, &text);
            self.keep(tracing::Level::WARN, &text);
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

fn are_last_words(line: &str) -> bool {
    LAST_WORDS.iter().any(|words| line.starts_with(words))
}

/// As much of a line as fits.
fn cut(line: &str, bytes: usize) -> &str {
    &line[..line.floor_char_boundary(bytes)]
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
    fn the_last_lines_of_a_call_are_reported_with_its_failure() {
        let mut log = CallLog::new("p", 100, 10_000);
        log.write(tracing::Level::INFO, &"x".repeat(400));
        log.write(tracing::Level::INFO, "one\ntwo");
        assert_eq!(log.last_words(), format!("{} | one | two", "x".repeat(400)));
        log.write(tracing::Level::INFO, &"y".repeat(100));
        assert_eq!(log.last_words(), format!("one | two | {}", "y".repeat(100)));
        log.end_call();
        assert!(log.last_words().starts_with("one"), "its failure is explained afterwards");
        log.write(tracing::Level::INFO, &"z".repeat(600));
        assert_eq!(log.last_words(), "z".repeat(500));
        log.begin_call(None);
        assert_eq!(log.last_words(), "");
        log.write(tracing::Level::INFO, &"x".repeat(400));
        log.write(tracing::Level::WARN, "fatal error: out of memory\ngoroutine 1 [running]:");
        (0..90).for_each(|_| log.write(tracing::Level::WARN, &"x".repeat(100)));
        let words = log.last_words();
        let begin = "fatal error: out of memory | goroutine 1 [running]: | xxx";
        assert!(words.starts_with(begin), "{words}");
        assert_eq!(words.replace(" | ", "").len(), LAST_BYTES_MAX, "the trace behind it is cut");
        let mut log = CallLog::new("p", 100, 10_000);
        log.write(tracing::Level::INFO, "one\npanic: two\nthree");
        assert_eq!(log.last_words(), "one | panic: two | three");
        log.begin_call(None);
        let mut log = CallLog::new("p", 100, 10_000).that_keeps_all();
        (0..90).for_each(|_| log.write(tracing::Level::INFO, &"x".repeat(100)));
        assert_eq!(log.said().count(), 90);
    }

    #[test]
    fn the_newest_lines_of_a_call_are_kept_with_their_levels() {
        let mut log = CallLog::new("p", 5_000, 1 << 20);
        assert_eq!(log.take(), "");
        log.write(tracing::Level::INFO, "paid \u{1b}[31m");
        log.write(tracing::Level::ERROR, "");
        log.write(tracing::Level::WARN, "a b\r\nc");
        assert_eq!(log.take(), "info paid \u{1b}[31m\nwarn a b\nwarn c");
        assert_eq!(log.take(), "");
        (0..4_000).for_each(|n| log.write(tracing::Level::DEBUG, &format!("line {n:04} €")));
        let kept = log.take();
        assert!(kept.ends_with("\ndebug line 3999 €"), "{kept}");
        let line = "debug line 0000 €\n".len();
        let lines = (CALL_LOG_BYTES_MAX + 1) / line;
        assert_eq!(kept.len() + 1, lines * line, "as many whole lines as fit");
        log.write(tracing::Level::ERROR, "first");
        log.write(tracing::Level::ERROR, &"€".repeat(CALL_LOG_BYTES_MAX));
        let kept = log.take();
        assert!(kept.starts_with("error €") && kept.len() <= CALL_LOG_BYTES_MAX, "{}", kept.len());
    }

    #[test]
    fn the_kept_lines_end_with_what_was_dropped() {
        let mut log = CallLog::new("p", 1, 100);
        log.write(tracing::Level::INFO, "one\ntwo");
        log.end_call();
        let kept = log.take();
        assert!(
            kept.starts_with("info one\nwarn 1 further lines of this call are dropped"),
            "{kept}"
        );
    }
}
