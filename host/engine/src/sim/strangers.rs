//! Events of types that the orders take, with their keys, from a source that they do not take them
//! from: each is ignored and counted, whenever it comes, and changes nothing.

use super::plan::Plan;
use super::scripts::ORDERS;
use crate::model::{Event, PluginName};
use crate::seams::store::memory::Tables;

const SOURCE: &str = "/stranger";
/// Only the orders take these.
const TYPES: [&str; 3] = ["place", "pack", "deliver"];

/// Not drawn like the rest of the plan, so that seeds that found a bug stay the same.
pub(crate) fn add(plan: &mut Plan, seed: u64) {
    let copied = plan.events.iter().filter(|event| TYPES.contains(&&*event.event_type));
    let strange = copied.enumerate().filter(|(n, _)| (*n as u64 + seed).is_multiple_of(3));
    let strange = strange.map(|(_, event)| Event {
        id: format!("stranger-{}", event.id),
        source: SOURCE.to_owned(),
        ..event.clone()
    });
    for (n, event) in strange.collect::<Vec<_>>().into_iter().enumerate() {
        let at = (n as u64 * 5 + seed) % (plan.events.len() as u64 + 1);
        plan.events.insert(usize::try_from(at).unwrap_or_default(), event);
    }
}

/// # Errors
/// If one was decided, or is not counted.
pub(crate) fn check(tables: &Tables) -> Result<(), String> {
    let strange = tables.log.values().filter(|entry| entry.event.source == SOURCE);
    let strange = strange.map(|entry| entry.position).collect::<Vec<_>>();
    let orders = PluginName::from(ORDERS);
    let decided = tables
        .decisions
        .values()
        .find(|decision| decision.plugin == orders && strange.contains(&decision.position));
    if let Some(decided) = decided {
        return Err(format!("the orders decided an event of another source: {decided:?}"));
    }
    let counters = tables.plugins.get(&orders).map(|progress| progress.counters);
    let counted = counters.unwrap_or_default().ignored_source;
    match counted == strange.len() as u64 {
        true => Ok(()),
        false => Err(format!(
            "guarantee 7: {} events came from another source, and {counted} are counted",
            strange.len()
        )),
    }
}
