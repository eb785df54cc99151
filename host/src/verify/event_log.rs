//! A log of events, as backtests and simulations repeat it: what happened, and when it arrives.
//!
//! A log is a file with one CloudEvent on each line, or the store of a host. Every line is an
//! event, blank, or a fault that ends the reading with its number: nothing is dropped silently.
//! What has the source and id of an earlier event is kept, because the host decides what it is;
//! it is named.

use std::collections::{BTreeSet, HashMap};
use std::fs::File;
use std::io::{BufRead, BufReader, Read as _};
use std::ops::ControlFlow;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use anyhow::Context as _;
use rayon::prelude::*;
use sagabox_engine::model::{Event, Key, LogEntry, Origin, PluginName, Timestamp, reserved};
use sagabox_engine::pure::identity;
use serde::Deserialize;

use crate::io::cloudevents::check_reserved;
use crate::io::durations::instant;
use crate::io::files::BYTE_ORDER_MARK;
use crate::io::text_form::unpacked;
use crate::store::connect::snapshot;

/// Faults of a log beyond these are only counted: mostly one mistake makes all of them.
const FAULTS_SHOWN_MAX: usize = 20;
/// More than any event that a host accepts with its default limits, so that a file without ends of
/// lines does not fill the memory.
const LINE_BYTES_MAX: usize = 64 << 20;
/// Lines that are parsed at once have about so many bytes.
const GROUP_BYTES: usize = 4 << 20;

/// Which event arrives first.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Order {
    /// Each arrives at its own `time`; those of one time in the order of their lines.
    #[default]
    Time,
    /// Each arrives after the line before it: at its own `time`, or together with that line if its
    /// `time` is earlier or missing.
    File,
}

/// By which clock the events of a store arrive.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Times {
    /// By their own `time`; without one, when the host accepted them.
    #[default]
    Event,
    /// When the host accepted them.
    Accepted,
}

/// What happens.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Happening {
    Event(Arc<Event>),
    /// An operator cancels an instance, or ends it.
    Operator {
        ends: bool,
        plugin: PluginName,
        key: Key,
        by: String,
        reason: String,
    },
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Arrival {
    pub at: Timestamp,
    pub what: Happening,
}

/// An event with the source and id of an earlier one.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Duplicate {
    /// Where it and the earlier one stand, such as `log.ndjson:12`.
    pub place: String,
    pub earlier: String,
    /// It has other content.
    pub differs: bool,
}

/// A log, in the order in which its events arrive.
#[derive(Clone, Debug, Default)]
pub struct EventLog {
    pub arrivals: Vec<Arrival>,
    pub duplicates: Vec<Duplicate>,
    /// Events whose `time` is before that of an earlier line.
    pub out_of_order: usize,
    /// Events of a store that the host made, and that it makes again.
    pub made_by_host: usize,
}

/// A log that cannot be used.
#[derive(Debug, thiserror::Error)]
#[error("{}", .faults.join("\n"))]
pub struct Faulty {
    /// What is wrong, a line each.
    faults: Vec<String>,
    /// Events have no `time`; in the order of the lines, they may.
    pub lacks_times: bool,
}

impl EventLog {
    /// Reads files as one log; `-` is standard input. They may be compressed with gzip.
    ///
    /// # Errors
    /// [`Faulty`] if lines are no events or have no usable time; else why a file cannot be read.
    pub fn read(files: &[PathBuf], order: Order) -> anyhow::Result<Self> {
        let mut reading = Reading { order, ..Reading::default() };
        for file in files {
            if file == Path::new("-") {
                reading.unpack(std::io::stdin().lock(), "standard input")?;
            } else {
                let opened =
                    File::open(file).with_context(|| format!("open {}", file.display()))?;
                let buffered = BufReader::with_capacity(1 << 20, opened);
                reading.unpack(buffered, &file.display().to_string())?;
            }
        }
        reading.end()
    }

    /// Reads the log of a store. What the host made for `plugins` is left out: they make it again.
    /// What operators asked of their instances happens again.
    ///
    /// # Errors
    /// If the store cannot be read.
    pub async fn of_store(
        url: &str,
        plugins: &BTreeSet<PluginName>,
        times: Times,
        order: Order,
    ) -> anyhow::Result<Self> {
        let mut reading = Reading { order, ..Reading::default() };
        let sources: BTreeSet<String> = plugins.iter().map(identity::source).collect();
        let mut each = |row: LogEntry| {
            let event = Arc::unwrap_or_clone(row.event);
            let is_hosts = row.hops.0 > 0 || event.extension(reserved::EXTENSION_PLUGIN).is_some();
            let is_reserved = event.event_type.starts_with(reserved::PREFIX);
            if let Some(operator) = operator(&event).filter(|_| is_hosts) {
                match plugins.contains(&PluginName::from(operator.0)) {
                    true => reading.operated(row.received_at, &operator, &event),
                    false => reading.made_by_host += 1,
                }
            } else if is_hosts && (is_reserved || sources.contains(&event.source)) {
                reading.made_by_host += 1;
            } else {
                let own = event.time.as_deref().filter(|_| times == Times::Event);
                let at = own.and_then(|time| instant(time).ok()).unwrap_or(row.received_at);
                reading.add(event, Some(at), format!("position {}", row.position));
            }
            ControlFlow::Continue(())
        };
        snapshot(url).await?.log(&mut each).await?;
        reading.end()
    }

    /// When the last event arrives.
    #[must_use]
    pub fn ends_at(&self) -> Timestamp {
        self.arrivals.last().map_or(Timestamp::default(), |last| last.at)
    }

    /// When the first event arrives.
    #[must_use]
    pub fn begins_at(&self) -> Timestamp {
        self.arrivals.first().map_or(Timestamp::default(), |first| first.at)
    }
}

/// What an operator asked of an instance: its plugin, its key, and whether to end it.
fn operator(event: &Event) -> Option<(&str, &str, bool)> {
    let ends = match event.event_type.as_str() {
        reserved::INSTANCE_CANCELLED => false,
        reserved::INSTANCE_ENDED => true,
        _ => return None,
    };
    let plugin = event.extension(reserved::EXTENSION_PLUGIN)?;
    Some((plugin, event.extension(reserved::EXTENSION_INSTANCE)?, ends))
}

/// What an operator gave as reasons.
#[derive(Default, Deserialize)]
struct Asked {
    #[serde(default)]
    by: String,
    #[serde(default)]
    reason: String,
}

#[derive(Default)]
struct Reading {
    order: Order,
    log: Vec<Arrival>,
    /// The latest time so far.
    latest: Option<Timestamp>,
    /// Where each identity came first: its place in `log`, and in the file.
    seen: HashMap<u128, (usize, String)>,
    duplicates: Vec<Duplicate>,
    out_of_order: usize,
    made_by_host: usize,
    lacks_times: bool,
    faults: Vec<String>,
    faults_more: usize,
}

/// A line that is not blank.
struct Line {
    /// Counts from one.
    number: u64,
    text: Vec<u8>,
}

/// A group of lines, bounded in bytes.
#[derive(Default)]
struct Lines {
    lines: Vec<Line>,
    /// The number of the last line that was read, blank or not.
    last: u64,
    /// No line follows.
    is_end: bool,
    /// The last line has more bytes than a line may have. What follows it is not read.
    is_too_long: bool,
}

impl Lines {
    /// Reads on behind line `last`.
    fn read(input: &mut impl BufRead, file: &str, last: u64) -> anyhow::Result<Self> {
        let (mut group, mut bytes) = (Self { last, ..Self::default() }, 0);
        while bytes < GROUP_BYTES {
            let mut line = Vec::new();
            let count = input.by_ref().take(LINE_BYTES_MAX as u64).read_until(b'\n', &mut line);
            let count = count.with_context(|| format!("read {file}:{}", group.last + 1))?;
            if count == 0 {
                group.is_end = true;
                break;
            }
            bytes += count;
            group.last += 1;
            if count == LINE_BYTES_MAX && !line.ends_with(b"\n") {
                (group.is_end, group.is_too_long) = (true, true);
                break;
            }
            let text = line.strip_prefix(BYTE_ORDER_MARK).filter(|_| group.last == 1);
            let text = text.unwrap_or(&line).trim_ascii();
            if !text.is_empty() {
                group.lines.push(Line { number: group.last, text: text.to_vec() });
            }
        }
        Ok(group)
    }
}

/// The event of a line, and its time; or what is wrong with it.
fn parse(text: &[u8]) -> Result<(Event, Option<Timestamp>), String> {
    let event = Event::from_json(text).map_err(|error| error.to_string())?;
    check_reserved(&event).map_err(|error| error.to_string())?;
    let at = event.time.as_deref().map(instant).transpose();
    let at = at.map_err(|why| format!("attribute `time`: {why}"))?;
    Ok((event, at))
}

impl Reading {
    fn unpack(&mut self, input: impl BufRead, file: &str) -> anyhow::Result<()> {
        let text = unpacked(input).with_context(|| format!("read {file}"))?;
        self.read(text, file)
    }

    fn read(&mut self, mut input: impl BufRead, file: &str) -> anyhow::Result<()> {
        let mut number = 0;
        loop {
            let group = Lines::read(&mut input, file, number)?;
            // Parsing is most of the work, and lines do not depend on each other.
            let events: Vec<_> = group.lines.par_iter().map(|line| parse(&line.text)).collect();
            for (line, event) in group.lines.iter().zip(events) {
                let place = format!("{file}:{}", line.number);
                match event {
                    Ok((event, at)) => self.add(event, at, place),
                    Err(why) => self.fault(&place, &why),
                }
            }
            if group.is_too_long {
                let why =
                    format!("has more than {LINE_BYTES_MAX} bytes; write each event on a line");
                self.fault(&format!("{file}:{}", group.last), &why);
            }
            if group.is_end {
                return Ok(());
            }
            number = group.last;
        }
    }

    fn add(&mut self, event: Event, at: Option<Timestamp>, place: String) {
        let at = match (at, self.order, self.latest) {
            (Some(at), Order::Time, _) | (Some(at), Order::File, None) => at,
            (at, Order::File, Some(latest)) => {
                self.out_of_order += usize::from(at.is_some_and(|at| at < latest));
                at.unwrap_or(latest).max(latest)
            }
            (None, Order::Time, _) => {
                self.lacks_times = true;
                return self.fault(&place, "attribute `time`: is missing");
            }
            (None, Order::File, None) => {
                let why = "attribute `time`: the first event of a log needs one";
                return self.fault(&place, why);
            }
        };
        if self.order == Order::Time {
            self.out_of_order += usize::from(self.latest.is_some_and(|latest| at < latest));
        }
        self.latest = Some(self.latest.map_or(at, |latest| latest.max(at)));
        self.note_duplicate(&event, place);
        self.log.push(Arrival { at, what: Happening::Event(Arc::new(event)) });
    }

    fn note_duplicate(&mut self, event: &Event, place: String) {
        let identity = identity::event_identity(Origin::Outside, event);
        let Some((first, earlier)) = self.seen.get(&identity) else {
            self.seen.insert(identity, (self.log.len(), place));
            return;
        };
        let differs = match &self.log[*first].what {
            Happening::Event(first) => **first != *event,
            Happening::Operator { .. } => false,
        };
        self.duplicates.push(Duplicate { place, earlier: earlier.clone(), differs });
    }

    fn operated(&mut self, at: Timestamp, (plugin, key, ends): &(&str, &str, bool), event: &Event) {
        let Asked { by, reason } = serde_json::from_slice(&event.data).unwrap_or_default();
        let (plugin, key) = (PluginName::from(*plugin), Key::from(*key));
        let what = Happening::Operator { ends: *ends, plugin, key, by, reason };
        let at = match self.order {
            Order::Time => at,
            Order::File => self.latest.map_or(at, |latest| latest.max(at)),
        };
        self.log.push(Arrival { at, what });
    }

    fn fault(&mut self, place: &str, why: &str) {
        match self.faults.len() < FAULTS_SHOWN_MAX {
            true => self.faults.push(format!("{place}: {why}")),
            false => self.faults_more += 1,
        }
    }

    fn end(mut self) -> anyhow::Result<EventLog> {
        if self.faults_more > 0 {
            self.faults.push(format!("… and {} more lines", self.faults_more));
        }
        if self.faults.is_empty() && self.log.is_empty() {
            self.faults.push("the log has no event".to_owned());
        }
        if !self.faults.is_empty() {
            let Self { faults, lacks_times, .. } = self;
            return Err(Faulty { faults, lacks_times }.into());
        }
        if self.order == Order::Time {
            // A stable sort: what came at one time stays in its order.
            self.log.sort_by_key(|arrival| arrival.at);
        }
        Ok(EventLog {
            arrivals: self.log,
            duplicates: self.duplicates,
            out_of_order: self.out_of_order,
            made_by_host: self.made_by_host,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn line(id: &str, time: Option<&str>) -> String {
        let time = time.map_or_else(String::new, |time| format!(r#","time":"{time}""#));
        format!(r#"{{"specversion":"1.0","id":"{id}","source":"s","type":"t"{time}}}"#)
    }

    fn read(text: &str, order: Order) -> anyhow::Result<EventLog> {
        let mut reading = Reading { order, ..Reading::default() };
        reading.read(text.as_bytes(), "log")?;
        reading.end()
    }

    /// The ids, and the seconds at which they arrive.
    #[track_caller]
    fn check(lines: &[(&str, Option<&str>)], order: Order, expected: &[(&str, u64)]) -> EventLog {
        let text: Vec<String> = lines.iter().map(|(id, time)| line(id, *time)).collect();
        let log = read(&text.join("\n"), order).unwrap();
        let arrivals = log.arrivals.iter().map(|arrival| match &arrival.what {
            Happening::Event(event) => (event.id.as_str(), arrival.at.0 / 1_000),
            Happening::Operator { .. } => panic!("{arrival:?}"),
        });
        assert_eq!(arrivals.collect::<Vec<_>>(), expected);
        log
    }

    const ONE: Option<&str> = Some("1970-01-01T00:00:01Z");
    const TWO: Option<&str> = Some("1970-01-01T00:00:02Z");
    const THREE: Option<&str> = Some("1970-01-01T00:00:03Z");

    #[test]
    fn events_arrive_in_the_order_of_their_times() {
        let lines = [("c", THREE), ("a", ONE), ("b", TWO), ("b2", TWO)];
        let expected = [("a", 1), ("b", 2), ("b2", 2), ("c", 3)];
        let log = check(&lines, Order::Time, &expected);
        assert_eq!((log.out_of_order, log.begins_at().0, log.ends_at().0), (3, 1_000, 3_000));
    }

    #[test]
    fn events_arrive_in_the_order_of_their_lines() {
        let lines = [("b", TWO), ("none", None), ("a", ONE), ("c", THREE)];
        let expected = [("b", 2), ("none", 2), ("a", 2), ("c", 3)];
        assert_eq!(check(&lines, Order::File, &expected).out_of_order, 1);
    }

    #[test]
    fn a_duplicate_is_named_and_kept() {
        let text = [line("a", ONE), String::new(), line("a", ONE), line("a", TWO)].join("\r\n");
        let log = read(&format!("\u{feff}{text}"), Order::Time).unwrap();
        assert_eq!(log.arrivals.len(), 3);
        let named = |line: u64, differs| Duplicate {
            place: format!("log:{line}"),
            earlier: "log:1".to_owned(),
            differs,
        };
        assert_eq!(log.duplicates, [named(3, false), named(4, true)]);
    }

    #[test]
    fn lines_keep_their_numbers_and_their_order_from_group_to_group() {
        let count = 3 * GROUP_BYTES / line("000000", ONE).len();
        let lines = |faulty: &[usize]| {
            let lines = (1..=count).map(|number| match faulty.contains(&number) {
                true => format!("{{ {number}"),
                false => format!("\n{}", line(&format!("{number:06}"), ONE)),
            });
            lines.collect::<Vec<_>>().join("\n")
        };
        let log = read(&lines(&[]), Order::File).unwrap();
        let ids = log.arrivals.iter().map(|arrival| match &arrival.what {
            Happening::Event(event) => event.id.parse::<usize>().unwrap(),
            Happening::Operator { .. } => panic!("{arrival:?}"),
        });
        assert!(ids.eq(1..=count));
        let faulty = read(&lines(&[1, count]), Order::File).unwrap_err().to_string();
        let places: Vec<&str> =
            faulty.lines().map(|fault| fault.split(": ").next().unwrap_or_default()).collect();
        // The two faulty lines lack the blank line before them.
        assert_eq!(places, ["log:1".to_owned(), format!("log:{}", 2 * count - 2)]);
    }

    #[test]
    fn a_line_without_an_end_does_not_fill_the_memory() {
        let endless = BufReader::new(std::io::repeat(b'x'));
        let mut reading = Reading::default();
        reading.read(endless, "log").unwrap();
        let error = reading.end().unwrap_err().to_string();
        assert!(error.starts_with("log:1: has more than 67108864 bytes"), "{error}");
    }

    #[test]
    fn every_line_that_cannot_be_used_is_named() {
        let lines = [
            line("a", ONE),
            "{".to_owned(),
            line("b", None),
            line("c", Some("yesterday")),
            line("d", Some("1969-12-31T23:59:59Z")),
            line("e", ONE).replace("\"t\"", "\"sagabox.timer.fired\""),
        ];
        let error = read(&lines.join("\n"), Order::Time).unwrap_err().to_string();
        let faults: Vec<&str> = error.lines().collect();
        for (fault, begins) in faults.iter().zip([
            "log:2: attribute `data`: not a CloudEvent in JSON",
            "log:3: attribute `time`: is missing",
            "log:4: attribute `time`: ",
            "log:5: attribute `time`: `1969-12-31T23:59:59Z` is not a time",
            "log:6: attribute `type`: types that begin with `sagabox.` are reserved",
        ]) {
            assert!(fault.starts_with(begins), "{fault}");
        }
        assert_eq!(faults.len(), 5);
        let many = vec!["{".to_owned(); 30].join("\n");
        let error = read(&many, Order::Time).unwrap_err().to_string();
        assert!(error.ends_with("\n… and 10 more lines"), "{error}");
        assert_eq!(error.lines().count(), FAULTS_SHOWN_MAX + 1);
    }

    #[test]
    fn a_log_needs_an_event_and_a_first_time() {
        let error = read("\n\n", Order::Time).unwrap_err().to_string();
        assert_eq!(error, "the log has no event");
        let error = read(&line("a", None), Order::File).unwrap_err().to_string();
        assert_eq!(error, "log:1: attribute `time`: the first event of a log needs one");
    }
}
