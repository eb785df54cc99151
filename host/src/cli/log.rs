//! The log of a host: lines of text for people, or of JSON for programs, on standard error.
//!
//! What is logged may come from outside. It can neither start nor end a line, set a colour, nor
//! look like another field.

use std::fmt;
use std::io::{self, IsTerminal as _};
use std::sync::OnceLock;

use tracing::field::{Field, Visit};
use tracing::{Level, Metadata};
use tracing_subscriber::EnvFilter;
use tracing_subscriber::field::RecordFields;
use tracing_subscriber::filter::{Directive, LevelFilter};
use tracing_subscriber::fmt::format::Writer;
use tracing_subscriber::fmt::{FormatFields, MakeWriter};
use tracing_subscriber::reload::Handle;

use super::input_error::InputError;
use crate::config::LogFormat;
use crate::io::printable::{printable, printable_json};

const VARIABLE: &str = "RUST_LOG";
const DEFAULT: &str = "info";
/// The targets that `RUST_LOG` may name without a level. Another name is more likely a mistake
/// in a level, which would silence the log.
const OWN_TARGETS: [&str; 3] = ["sagabox", "sagabox_engine", "plugin"];

/// The format of the log; empty until the log is set up.
static FORMAT: OnceLock<LogFormat> = OnceLock::new();

/// Replaces what is logged; empty until the log is set up.
static REPLACE: OnceLock<Box<dyn Fn(EnvFilter) + Send + Sync>> = OnceLock::new();

/// Sets up the log of this process. `configured` counts if `RUST_LOG` is not set.
///
/// # Errors
/// If the value of `RUST_LOG`, or the one that is configured, is not valid.
pub(crate) fn begin(format: LogFormat, configured: Option<&str>) -> Result<(), InputError> {
    let filter = chosen(configured).map_err(InputError)?;
    let is_colored = io::stderr().is_terminal() && wants_color(|name| std::env::var_os(name));
    let lines = Lines { format, is_colored };
    let log = tracing_subscriber::fmt().with_env_filter(filter).with_ansi(false).with_writer(lines);
    match format {
        LogFormat::Text => {
            let log = log.fmt_fields(Fields).with_filter_reloading();
            replaced_by(log.reload_handle());
            log.init();
        }
        LogFormat::Json => {
            let log = log.json().flatten_event(true).with_filter_reloading();
            replaced_by(log.reload_handle());
            log.init();
        }
    }
    let _ = FORMAT.set(format);
    std::panic::set_hook(Box::new(|panic| {
        let thread = std::thread::current();
        let name = thread.name().unwrap_or("?");
        let place = panic.location().map(ToString::to_string).unwrap_or_default();
        let message = panic.payload_as_str().unwrap_or("(no message)");
        tracing::error!("thread `{name}` panicked at {place}: {message}");
    }));
    Ok(())
}

fn replaced_by<S: 'static>(handle: Handle<EnvFilter, S>) {
    // It fails only when the log is gone.
    let _ = REPLACE.set(Box::new(move |filter| drop(handle.reload(filter))));
}

/// Changes what is logged. `RUST_LOG`, which cannot change, still has precedence.
///
/// # Errors
/// If the value is not valid.
pub(crate) fn set_filter(configured: Option<&str>) -> Result<(), InputError> {
    let filter = chosen(configured).map_err(InputError)?;
    if let Some(replace) = REPLACE.get() {
        replace(filter);
    }
    Ok(())
}

fn chosen(configured: Option<&str>) -> Result<EnvFilter, String> {
    match (std::env::var_os(VARIABLE), configured) {
        (None, Some(text)) => {
            filter(Some(text.as_ref())).map_err(|error| error.replacen(VARIABLE, "log.filter", 1))
        }
        (given, _) => filter(given.as_deref()),
    }
}

/// Whether standard error is a log of JSON lines, so that nothing else may be written there.
pub(crate) fn is_json() -> bool {
    FORMAT.get() == Some(&LogFormat::Json)
}

/// Whether the environment allows colours (<https://no-color.org>).
pub(crate) fn wants_color(variable: impl Fn(&str) -> Option<std::ffi::OsString>) -> bool {
    let refuses = variable("NO_COLOR").is_some_and(|value| !value.is_empty());
    !refuses && variable("TERM").is_none_or(|terminal| terminal != "dumb")
}

fn filter(given: Option<&std::ffi::OsStr>) -> Result<EnvFilter, String> {
    let text = match given.map(std::ffi::OsStr::to_str) {
        None => DEFAULT,
        Some(None) => return Err(format!("{VARIABLE} is not UTF-8")),
        Some(Some(text)) => text,
    };
    let parts = text.split(',').map(str::trim).filter(|part| !part.is_empty());
    let mut filter = EnvFilter::default().add_directive(LevelFilter::OFF.into());
    let mut is_empty = true;
    for part in parts {
        filter = filter.add_directive(directive(part)?);
        is_empty = false;
    }
    Ok(if is_empty { EnvFilter::new(DEFAULT) } else { filter })
}

fn directive(text: &str) -> Result<Directive, String> {
    let wrong = || {
        format!(
            "{VARIABLE}: `{}` is invalid; write a level (error, warn, info, debug, trace, \
             off) or TARGET=LEVEL, such as `info,sagabox_engine=debug`",
            printable(text)
        )
    };
    let target = text.split("::").next().unwrap_or_default();
    let is_known =
        text.contains('=') || text.parse::<LevelFilter>().is_ok() || OWN_TARGETS.contains(&target);
    if !is_known {
        return Err(wrong());
    }
    text.parse().map_err(|_| wrong())
}

/// Writes `message name=value`. A value that could contain a field is quoted.
struct Fields;

impl<'w> FormatFields<'w> for Fields {
    fn format_fields<R: RecordFields>(&self, writer: Writer<'w>, fields: R) -> fmt::Result {
        let mut line = Line { writer, is_first: true, outcome: Ok(()) };
        fields.record(&mut line);
        line.outcome
    }
}

struct Line<'w> {
    writer: Writer<'w>,
    is_first: bool,
    outcome: fmt::Result,
}

impl Line<'_> {
    fn add(&mut self, field: &Field, text: &str) {
        if self.outcome.is_ok() {
            let space = if std::mem::take(&mut self.is_first) { "" } else { " " };
            self.outcome = match field.name() {
                "message" => write!(self.writer, "{space}{text}"),
                name => write!(self.writer, "{space}{name}={}", Quoted(text)),
            };
        }
    }
}

impl Visit for Line<'_> {
    fn record_str(&mut self, field: &Field, value: &str) {
        self.add(field, value);
    }

    fn record_debug(&mut self, field: &Field, value: &dyn fmt::Debug) {
        self.add(field, &format!("{value:?}"));
    }
}

struct Quoted<'t>(&'t str);

impl fmt::Display for Quoted<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let is_plain = |c: char| !c.is_whitespace() && !matches!(c, '"' | '=');
        if !self.0.is_empty() && self.0.chars().all(is_plain) {
            return f.write_str(self.0);
        }
        write!(f, "\"{}\"", self.0.replace('"', "\\\""))
    }
}

/// Writes each line to standard error, with one write.
#[derive(Clone, Copy)]
struct Lines {
    format: LogFormat,
    is_colored: bool,
}

struct LineWriter {
    lines: Lines,
    level: Level,
}

impl<'w> MakeWriter<'w> for Lines {
    type Writer = LineWriter;

    fn make_writer(&'w self) -> LineWriter {
        LineWriter { lines: *self, level: Level::INFO }
    }

    fn make_writer_for(&'w self, metadata: &Metadata<'_>) -> LineWriter {
        LineWriter { lines: *self, level: *metadata.level() }
    }
}

impl io::Write for LineWriter {
    /// Called once for each line.
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let line = String::from_utf8_lossy(bytes);
        let line = self.lines.render(line.strip_suffix('\n').unwrap_or(&line), self.level);
        io::stderr().write_all(line.as_bytes())?;
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        io::stderr().flush()
    }
}

impl Lines {
    fn render(self, line: &str, level: Level) -> String {
        let mut text = match self.format {
            LogFormat::Text => printable(line).into_owned(),
            LogFormat::Json => printable_json(line).into_owned(),
        };
        if self.is_colored && self.format == LogFormat::Text {
            let color = match level {
                Level::ERROR => 31,
                Level::WARN => 33,
                Level::INFO => 32,
                Level::DEBUG => 34,
                Level::TRACE => 35,
            };
            let name = level.as_str();
            text = text.replacen(name, &format!("\x1b[{color}m{name}\x1b[0m"), 1);
        }
        text.push('\n');
        text
    }
}

#[cfg(test)]
mod tests {
    use std::sync::{Arc, Mutex};

    use super::*;

    #[track_caller]
    fn check_filter(given: &str, expected: Result<&str, &str>) {
        let found = filter(Some(std::ffi::OsStr::new(given)));
        match (found, expected) {
            (Ok(found), Ok(expected)) => assert_eq!(found.to_string(), expected),
            (Err(found), Err(part)) => assert!(found.contains(part), "{found}"),
            (found, expected) => panic!("{given}: {found:?}, not {expected:?}"),
        }
    }

    #[test]
    fn a_slip_in_the_filter_is_named() {
        check_filter("debug", Ok("debug"));
        check_filter("", Ok("info"));
        check_filter(" , ", Ok("info"));
        check_filter("warn,sagabox_engine=debug", Ok("sagabox_engine=debug,warn"));
        for slip in ["inof", "sagabox=verbose", "info,=", "a=b=c", "INFO WARN", "debug;info"] {
            let part = slip.rsplit(',').next().unwrap();
            check_filter(slip, Err(&format!("RUST_LOG: `{part}` is invalid")));
        }
    }

    #[test]
    fn colors_are_for_terminals_that_want_them() {
        let with = |name: &'static str, value: &'static str| {
            wants_color(|asked| (asked == name).then(|| value.into()))
        };
        assert!(with("TERM", "xterm") && with("NO_COLOR", ""));
        assert!(!with("NO_COLOR", "1") && !with("TERM", "dumb"));
    }

    /// The line that is logged for a value from outside.
    fn logged(format: LogFormat, value: &str) -> String {
        #[derive(Clone, Default)]
        struct Kept(Arc<Mutex<Vec<u8>>>);
        impl io::Write for Kept {
            fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
                let lines =
                    Lines { format: FORMAT_OF_TEST.with(std::cell::Cell::get), is_colored: false };
                let text = String::from_utf8_lossy(bytes);
                let line = lines.render(text.strip_suffix('\n').unwrap_or(&text), Level::INFO);
                self.0.lock().unwrap().extend_from_slice(line.as_bytes());
                Ok(bytes.len())
            }
            fn flush(&mut self) -> io::Result<()> {
                Ok(())
            }
        }
        thread_local! {
            static FORMAT_OF_TEST: std::cell::Cell<LogFormat> = const { std::cell::Cell::new(LogFormat::Text) };
        }
        FORMAT_OF_TEST.with(|cell| cell.set(format));
        let kept = Kept::default();
        let writer = kept.clone();
        let log = tracing_subscriber::fmt().with_ansi(false).with_writer(move || writer.clone());
        let log = log.without_time();
        let say = || tracing::info!(key = %value, name = value, "it {value} happened");
        match format {
            LogFormat::Text => {
                tracing::subscriber::with_default(log.fmt_fields(Fields).finish(), say);
            }
            LogFormat::Json => {
                let log = log.json().flatten_event(true);
                tracing::subscriber::with_default(log.finish(), say);
            }
        }
        let bytes = kept.0.lock().unwrap().clone();
        String::from_utf8(bytes).unwrap()
    }

    #[test]
    fn a_value_cannot_leave_its_place_in_a_line() {
        let target = module_path!();
        let plain = logged(LogFormat::Text, "k-1");
        assert_eq!(plain, format!(" INFO {target}: it k-1 happened key=k-1 name=k-1\n"));
        for evil in ["a\nERROR forged", "a plugin=other", "\u{1b}[2J", "a\" b=\"c", "\u{202e}x", ""]
        {
            let text = logged(LogFormat::Text, evil);
            assert_eq!(text.matches('\n').count(), 1, "{text:?}");
            assert!(!text.contains('\u{1b}') && !text.contains('\u{202e}'), "{text:?}");
            assert!(text.contains(&format!("key={}", printable(&Quoted(evil).to_string()))));
            let json = logged(LogFormat::Json, evil);
            assert_eq!(json.matches('\n').count(), 1, "{json:?}");
            let line: serde_json::Value = serde_json::from_str(&json).unwrap();
            assert_eq!((&line["key"], &line["level"]), (&evil.into(), &"INFO".into()));
            assert!(printable_json(&json) == json, "{json:?}");
        }
    }
}
