//! The newest lines that plugins have logged, in memory, for people who look at a plugin or at one
//! of its failed calls. The host's log has all lines.

use std::collections::{BTreeMap, VecDeque};
use std::sync::{Arc, Mutex};
use std::time::{SystemTime, UNIX_EPOCH};

use sagabox_engine::model::Timestamp;
use serde::Serialize;
use utoipa::ToSchema;

use crate::io::locks::lock;
use crate::io::times::{Time, rfc3339};

/// The most lines of one plugin: some screens.
const LINES_MAX: usize = 500;
/// The most bytes of one plugin's lines. Both bounds are chosen, not measured.
const BYTES_MAX: usize = 256 << 10;

/// A line of a plugin's log.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, ToSchema)]
#[schema(as = LogLine)]
pub struct Line {
    /// Counts the lines of the plugin since the host started, from 1.
    pub number: u64,
    #[serde(serialize_with = "rfc3339")]
    #[schema(value_type = Time)]
    pub at: Timestamp,
    /// `error`, `warn`, `info`, `debug` or `trace`.
    #[schema(value_type = String)]
    pub level: &'static str,
    /// The key of the call; none while the plugin starts or migrates a state.
    pub key: Option<String>,
    /// The id of the call's event.
    pub event: Option<String>,
    pub text: String,
}

#[derive(Default)]
struct Lines {
    lines: VecDeque<Line>,
    bytes: usize,
    written: u64,
}

/// The lines of all plugins, by name. It is cheap to clone, and all clones share their lines.
#[derive(Clone, Default)]
pub struct RecentLines(Arc<Mutex<BTreeMap<String, Lines>>>);

impl RecentLines {
    /// Sets the `number` and `at` of the line.
    pub(super) fn add(&self, plugin: &str, line: Line) {
        let at = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        let at = Timestamp(u64::try_from(at.as_millis()).unwrap_or(u64::MAX));
        let mut plugins = lock(&self.0);
        if !plugins.contains_key(plugin) {
            plugins.insert(plugin.to_owned(), Lines::default());
        }
        if let Some(lines) = plugins.get_mut(plugin) {
            lines.add(Line { at, ..line });
        }
    }

    /// The lines of a plugin, the newest first.
    #[must_use]
    pub fn of(&self, plugin: &str) -> Vec<Line> {
        let plugins = lock(&self.0);
        plugins
            .get(plugin)
            .into_iter()
            .flat_map(|lines| lines.lines.iter().rev())
            .cloned()
            .collect()
    }
}

impl Lines {
    fn add(&mut self, line: Line) {
        self.written += 1;
        self.bytes += bytes(&line);
        self.lines.push_back(Line { number: self.written, ..line });
        while self.lines.len() > LINES_MAX || self.bytes > BYTES_MAX {
            let Some(first) = self.lines.pop_front() else { return };
            self.bytes -= bytes(&first);
        }
    }
}

fn bytes(line: &Line) -> usize {
    let of = |text: &Option<String>| text.as_ref().map_or(0, String::len);
    line.text.len() + of(&line.key) + of(&line.event)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn line(text: &str) -> Line {
        let (at, text) = (Timestamp(0), text.to_owned());
        Line { number: 0, at, level: "info", key: Some("k".to_owned()), event: None, text }
    }

    fn texts(lines: &RecentLines, plugin: &str) -> Vec<(u64, String)> {
        lines.of(plugin).into_iter().map(|line| (line.number, line.text)).collect()
    }

    #[test]
    fn each_plugin_has_its_own_newest_lines() {
        let lines = RecentLines::default();
        (0..=LINES_MAX).for_each(|n| lines.add("a", line(&n.to_string())));
        lines.add("b", line("other"));
        let of_a = texts(&lines, "a");
        assert_eq!(of_a.len(), LINES_MAX);
        assert_eq!(of_a[0], (501, LINES_MAX.to_string()));
        assert_eq!(of_a.last(), Some(&(2, "1".to_owned())));
        assert_eq!(texts(&lines, "b"), [(1, "other".to_owned())]);
        assert_eq!(texts(&lines, "c"), []);
    }

    #[test]
    fn they_are_bounded_in_bytes() {
        let lines = RecentLines::default();
        let long = "x".repeat(BYTES_MAX / 2);
        (0..3).for_each(|_| lines.add("a", line(&long)));
        assert_eq!(lines.of("a").len(), 1, "two of them with their keys are too long");
        lines.add("a", line(&"x".repeat(BYTES_MAX)));
        assert_eq!(lines.of("a").len(), 0);
        lines.add("a", line("short"));
        assert_eq!(texts(&lines, "a"), [(5, "short".to_owned())]);
    }
}
