//! Pure: whether a simulation fits the plugins. A name with a typing mistake would
//! otherwise look like something that never happens.

use std::collections::BTreeSet;

use sagabox_engine::model::Manifest;

use super::file::{Outcome, Simulation};

/// # Errors
/// Says which name nobody knows, and which are known.
pub fn fit(simulation: &Simulation, manifests: &[&Manifest]) -> Result<(), String> {
    let handled: BTreeSet<&str> = manifests
        .iter()
        .flat_map(|manifest| &manifest.subscriptions)
        .map(|subscription| subscription.event_type.as_str())
        .collect();
    let sent: BTreeSet<&str> = manifests
        .iter()
        .flat_map(|manifest| manifest.commands.iter().chain(&manifest.events))
        .map(String::as_str)
        .collect();
    let is_known = |place: &str, name: &str, known: &BTreeSet<&str>, what: &str| {
        if known.contains(name) {
            return Ok(());
        }
        let known: Vec<&str> = known.iter().copied().collect();
        Err(format!("{place}: no plugin here {what} `{name}`; known are {}", known.join(", ")))
    };
    // Who reads streams reads events of every type.
    let reads_all = manifests.iter().any(|manifest| manifest.streams);
    for (index, coming) in simulation.events.iter().enumerate().filter(|_| !reads_all) {
        let place = format!("events[{index}]");
        is_known(&place, &coming.what.event_type, &handled, "subscribes to")?;
    }
    for (command, answers) in &simulation.answers {
        is_known("answers", command, &sent, "sends")?;
        for answer in answers {
            if let Outcome::Event { what, .. } = &answer.outcome {
                let place = format!("answers.{command}");
                is_known(&place, &what.event_type, &handled, "subscribes to")?;
            }
        }
    }
    let all: BTreeSet<&str> = handled.union(&sent).copied().collect();
    for invariant in &simulation.invariants {
        for name in invariant.types() {
            let place = format!("invariants: {}", invariant.name);
            is_known(&place, name, &all, "sends or subscribes to")?;
        }
    }
    let lookups = manifests.iter().flat_map(|manifest| &manifest.lookups);
    for lookup in lookups {
        if !simulation.given.lookups.contains_key(lookup) {
            return Err(format!(
                "given.lookups: add the answers of `{lookup}`, by key, or under \"*\" for all other keys"
            ));
        }
    }
    Ok(())
}
