//! Pure: the sink of a message. A type with a route goes to the configured sink. A command or an
//! enricher's event without a route goes to the queue of its type.

use std::collections::BTreeMap;

use crate::model::SinkName;

/// The prefix of the name of a queue's sink. Names of configured sinks have no colon.
const QUEUE: &str = "queue:";

/// Message type to sink.
#[derive(Clone, Debug, Default)]
pub(crate) struct Routes {
    routes: BTreeMap<String, SinkName>,
}

impl Routes {
    #[must_use]
    pub(crate) fn new(routes: BTreeMap<String, SinkName>) -> Self {
        Self { routes }
    }

    /// The configured sink of a type, or the queue of the type.
    #[must_use]
    pub(crate) fn sink(&self, message_type: &str) -> SinkName {
        self.configured(message_type).unwrap_or_else(|| queue(message_type))
    }

    #[must_use]
    pub(crate) fn configured(&self, message_type: &str) -> Option<SinkName> {
        self.routes.get(message_type).cloned()
    }
}

#[must_use]
pub(crate) fn queue(message_type: &str) -> SinkName {
    SinkName::new(format!("{QUEUE}{message_type}"))
}

/// The message type of a queue's sink; none for a configured sink.
#[must_use]
pub(crate) fn queue_name(sink: &SinkName) -> Option<&str> {
    sink.as_str().strip_prefix(QUEUE)
}
