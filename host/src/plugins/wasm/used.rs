//! The most of each limit that a plugin has used since the host started.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use sagabox_engine::seams::handler::Reply;
use serde::Serialize;
use utoipa::ToSchema;

use super::limits::Limits;
use crate::io::locks::lock;

/// A limit of a plugin's calls.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, ToSchema)]
#[schema(as = CallLimit)]
pub struct LimitUse {
    /// Its key in the configuration.
    #[schema(value_type = String)]
    pub limit: &'static str,
    pub allowed: u64,
    /// The most that a call has used since the host started; none for a limit that is not measured.
    pub used: Option<u64>,
}

/// The most that a call of one plugin has used.
#[derive(Debug, Default)]
pub(super) struct Used {
    call_time_ms: AtomicU64,
    memory_bytes: AtomicU64,
    table_elements: AtomicU64,
    decision_bytes: AtomicU64,
    state_bytes: AtomicU64,
    messages: AtomicU64,
    timers: AtomicU64,
    keys: AtomicU64,
    questions: AtomicU64,
}

impl Used {
    /// Notes that a call has ended, with any result.
    pub(super) fn call(&self, time: Duration, memory_bytes: usize, table_elements: usize) {
        raise(&self.call_time_ms, u64::try_from(time.as_millis()).unwrap_or(u64::MAX));
        raise(&self.memory_bytes, memory_bytes as u64);
        raise(&self.table_elements, table_elements as u64);
    }

    pub(super) fn reply(&self, reply: &Reply) {
        match reply {
            Reply::Need(questions) => raise(&self.questions, questions.len() as u64),
            Reply::Decided(decision) => {
                raise(&self.decision_bytes, decision.bytes() as u64);
                let state = decision.state.as_ref().map_or(0, bytes::Bytes::len);
                raise(&self.state_bytes, state as u64);
                raise(&self.messages, decision.messages.len() as u64);
                raise(&self.timers, decision.timers.len() as u64);
                raise(&self.keys, decision.keys.len() as u64);
            }
        }
    }

    fn of(&self, limit: &str) -> Option<u64> {
        let most = match limit {
            "call_time_ms" => &self.call_time_ms,
            "memory_bytes" => &self.memory_bytes,
            "table_elements" => &self.table_elements,
            "decision_bytes" => &self.decision_bytes,
            "state_bytes" => &self.state_bytes,
            "messages" => &self.messages,
            "timers" => &self.timers,
            "keys" => &self.keys,
            "questions" => &self.questions,
            _ => return None,
        };
        Some(most.load(Ordering::Relaxed))
    }
}

/// Most calls use no more than one before them: they only read.
fn raise(most: &AtomicU64, used: u64) {
    if most.load(Ordering::Relaxed) < used {
        most.fetch_max(used, Ordering::Relaxed);
    }
}

/// The use of all plugins, by name: of their versions and candidates together.
#[derive(Clone, Debug, Default)]
pub(super) struct UsedByPlugin(Arc<Mutex<BTreeMap<String, Arc<Used>>>>);

impl UsedByPlugin {
    pub(super) fn of(&self, plugin: &str) -> Arc<Used> {
        Arc::clone(lock(&self.0).entry(plugin.to_owned()).or_default())
    }

    pub(super) fn against(&self, plugin: &str, limits: &Limits) -> Vec<LimitUse> {
        let used = self.of(plugin);
        let one = |(limit, allowed)| LimitUse { limit, allowed, used: used.of(limit) };
        limits.named().into_iter().map(one).collect()
    }
}

#[cfg(test)]
mod tests {
    use sagabox_engine::model::Decision;

    use super::*;

    #[test]
    fn the_most_that_any_call_has_used_counts() {
        let plugins = UsedByPlugin::default();
        let used = plugins.of("p");
        used.call(Duration::from_millis(30), 65_536, 10);
        used.call(Duration::from_micros(900), 131_072, 1);
        let state = Some("12345".into());
        used.reply(&Reply::Decided(Decision { state, ..Decision::default() }));
        used.reply(&Reply::Decided(Decision::default()));
        let shown = plugins.against("p", &Limits::default());
        let of = |name: &str| shown.iter().find(|limit| limit.limit == name).unwrap().used;
        assert_eq!((of("call_time_ms"), of("memory_bytes")), (Some(30), Some(131_072)));
        assert_eq!((of("table_elements"), of("state_bytes")), (Some(10), Some(5)));
        assert_eq!((of("messages"), of("log_lines")), (Some(0), None));
        let other = plugins.against("other", &Limits::default());
        assert!(other.iter().all(|limit| limit.used.unwrap_or(0) == 0), "{other:?}");
    }
}
