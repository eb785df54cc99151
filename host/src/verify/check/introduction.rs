//! Whether a plugin is near the time in which it has to start and to describe itself: a slower or
//! busier machine would refuse it.

use std::time::Duration;

use super::{Facts, Finding, Severity};
use crate::plugins::wasm::Introduction;

/// A part of the limit, because machines differ by this much at least. It is not measured.
const PART_OF_LIMIT: u32 = 2;

#[must_use]
pub fn check_introduction(plugins: &[Facts]) -> Vec<Finding> {
    plugins.iter().filter_map(slow).collect()
}

fn slow(plugin: &Facts) -> Option<Finding> {
    let Introduction { start, describe } = plugin.introduction;
    let limit = plugin.limits.call_time;
    let of = |(what, took): (&str, Duration)| {
        format!(
            "it takes {} ms to {what}; a host refuses a plugin that takes more than {} ms (limit \
             call_time_ms), so a slower machine may refuse it: do less where the code loads",
            took.as_millis(),
            limit.as_millis()
        )
    };
    let slowest = [("start", start), ("describe itself", describe)].into_iter();
    let slowest = slowest.max_by_key(|(_, took)| *took)?;
    let is_slow = slowest.1 > limit / PART_OF_LIMIT;
    is_slow.then(|| Finding::new(Severity::Warning, plugin.name(), of(slowest)))
}

#[cfg(test)]
mod tests {
    use sagabox_engine::model::Role;

    use super::*;
    use crate::verify::check::samples::plugin;

    #[test]
    fn a_plugin_that_starts_or_describes_itself_slowly_is_named() {
        let found = |start: u64, describe: u64| {
            let mut facts = plugin("shop", Role::Saga, &["Paid"], &[], &[]);
            let time = Duration::from_millis;
            facts.introduction = Introduction { start: time(start), describe: time(describe) };
            facts.limits.call_time = time(1_000);
            let found = check_introduction(&[facts]);
            found.into_iter().map(|finding| finding.text).collect::<Vec<_>>()
        };
        assert_eq!(found(500, 500), Vec::<String>::new());
        assert!(found(501, 20)[0].starts_with("it takes 501 ms to start; a host refuses"));
        assert!(found(20, 700)[0].starts_with("it takes 700 ms to describe itself; a host"));
    }
}
