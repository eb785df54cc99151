//! The most of each limit that a plugin has used since the host started.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use sagabox_engine::seams::handler::Reply;
use serde::Serialize;
use utoipa::ToSchema;

use super::limits::{Limits, MEASURES, Measure};
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

/// The most that a call of one plugin has used of each limit, in the order of [`MEASURES`].
#[derive(Debug, Default)]
pub(super) struct Used([AtomicU64; MEASURES.len()]);

impl Used {
    /// Notes that a call has ended, with any result.
    pub(super) fn call(&self, time: Duration, memory_bytes: usize, table_elements: usize) {
        let time_ms = u64::try_from(time.as_millis()).unwrap_or(u64::MAX);
        for (most, (_, measure)) in self.0.iter().zip(&MEASURES) {
            match measure {
                Measure::CallTime => raise(most, time_ms),
                Measure::Memory => raise(most, memory_bytes as u64),
                Measure::TableElements => raise(most, table_elements as u64),
                Measure::Decision(..) | Measure::Questions(..) | Measure::None => {}
            }
        }
    }

    pub(super) fn reply(&self, reply: &Reply) {
        for (most, (_, measure)) in self.0.iter().zip(&MEASURES) {
            if let Some(measured) = measure.of(reply) {
                raise(most, measured.count as u64);
            }
        }
    }

    fn of(&self, limit: &str) -> Option<u64> {
        let of_all = self.0.iter().zip(&MEASURES);
        let mut measured = of_all.filter(|(_, (_, measure))| measure.is_measured());
        let (most, _) = measured.find(|(_, (name, _))| *name == limit)?;
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
