//! What a plugin writes (its log, standard output and standard error) while a command examines it.
//! A host puts these lines into its log; commands have none, and show them.

use std::fmt;
use std::sync::{Arc, Mutex};

use tracing::field::{Field, Visit};
use tracing::{Event, Subscriber};
use tracing_subscriber::layer::{Context, Layer, SubscriberExt as _};

use crate::io::locks::lock;
use crate::plugins::wasm::LOG_TARGET;

/// Runs `examine` on this thread, and returns what plugins wrote in it: a line each, behind its
/// level.
pub(crate) fn written<T>(examine: impl FnOnce() -> T) -> (T, Vec<String>) {
    let lines = Lines::default();
    let subscriber = tracing_subscriber::registry().with(lines.clone());
    let result = tracing::subscriber::with_default(subscriber, examine);
    let written = std::mem::take(&mut *lock(&lines.0));
    (result, written)
}

#[derive(Clone, Default)]
struct Lines(Arc<Mutex<Vec<String>>>);

impl<S: Subscriber> Layer<S> for Lines {
    fn on_event(&self, event: &Event<'_>, _: Context<'_, S>) {
        if event.metadata().target() == LOG_TARGET {
            let mut text = Text::default();
            event.record(&mut text);
            let level = event.metadata().level().as_str().to_lowercase();
            lock(&self.0).push(format!("{level}: {}", text.0));
        }
    }
}

/// The text of a line, without the fields.
#[derive(Default)]
struct Text(String);

impl Visit for Text {
    fn record_debug(&mut self, field: &Field, value: &dyn fmt::Debug) {
        if field.name() == "message" {
            self.0 = format!("{value:?}");
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_lines_of_plugins_are_returned() {
        let (result, lines) = written(|| {
            tracing::info!(target: "plugin", plugin = "p", key = None::<&str>, "one {}", 1);
            tracing::warn!(plugin = "p", "of the host");
            tracing::trace!(target: "plugin", plugin = "p", "two");
            7
        });
        assert_eq!((result, lines), (7, vec!["info: one 1".to_owned(), "trace: two".to_owned()]));
        assert_eq!(written(|| ()).1, Vec::<String>::new());
    }
}
