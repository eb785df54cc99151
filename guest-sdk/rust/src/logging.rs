//! Lines for the host's log. The host adds the plugin, the key and the event.

use core::fmt;
use std::sync::OnceLock;

/// How urgent a line is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]

pub enum Level {
    /// Every step.
    Trace,
    /// What helps to find a mistake.
    Debug,
    /// What an operator may want to know.
    Info,
    /// What looks wrong.
    Warn,
    /// What is wrong.
    Error,
}

/// Writes a line to the host's log.
#[doc(hidden)]
pub type Sink = fn(Level, &str);

static SINK: OnceLock<Sink> = OnceLock::new();

/// Where lines go: the component calls it before anything else. Panics, which end in a trap
/// without words, are written as well; the host adds them to the reason of the dead letter.
#[doc(hidden)]
pub fn install(sink: Sink) {
    if SINK.set(sink).is_err() {
        return;
    }
    std::panic::set_hook(Box::new(|panic| write(Level::Error, format_args!("{panic}"))));
    if log::set_logger(&Facade).is_ok() {
        log::set_max_level(log::LevelFilter::Trace);
    }
}

/// One line, or several. In a native test it goes to the test's output.
#[doc(hidden)]
pub fn write(level: Level, text: fmt::Arguments<'_>) {
    match SINK.get() {
        Some(sink) => sink(level, &text.to_string()),
        None => std::println!("{text}"),
    }
}

/// Takes the records of the crate `log`, from the plugin or from a library that it uses.
struct Facade;

impl log::Log for Facade {
    fn enabled(&self, _: &log::Metadata<'_>) -> bool {
        true
    }

    fn log(&self, record: &log::Record<'_>) {
        let level = match record.level() {
            log::Level::Trace => Level::Trace,
            log::Level::Debug => Level::Debug,
            log::Level::Info => Level::Info,
            log::Level::Warn => Level::Warn,
            log::Level::Error => Level::Error,
        };
        write(level, *record.args());
    }

    fn flush(&self) {}
}

/// As [`std::println!`], to the host's log. In handlers the name alone is enough; elsewhere say
/// `use sagabox_sdk::println;`.
#[macro_export]
macro_rules! println {
    ($($text:tt)*) => {
        $crate::logging::write($crate::logging::Level::Info, ::core::format_args!($($text)*))
    };
}

/// As [`println!`], for warnings.
#[macro_export]
macro_rules! eprintln {
    ($($text:tt)*) => {
        $crate::logging::write($crate::logging::Level::Warn, ::core::format_args!($($text)*))
    };
}

/// As [`std::dbg!`], to the host's log.
#[macro_export]
macro_rules! dbg {
    ($value:expr $(,)?) => {
        match $value {
            value => {
                let (file, line) = (::core::file!(), ::core::line!());
                let name = ::core::stringify!($value);
                let text = ::core::format_args!("[{file}:{line}] {name} = {value:?}");
                $crate::logging::write($crate::logging::Level::Debug, text);
                value
            }
        }
    };
}
