//! Pure: whether a simulation fits the plugins. A name with a typing mistake would
//! otherwise look like something that never happens.

use std::collections::BTreeSet;

use sagabox_engine::model::Manifest;

use super::answers::{Answers, Lookups, Outcome};
use super::file::Simulation;

/// # Errors
/// Says which name is unknown, and which are known.
pub fn fit(simulation: &Simulation, manifests: &[&Manifest]) -> Result<(), String> {
    let (handled, sent) = (handled(manifests), sent(manifests));
    // Who reads streams reads events of every type.
    let reads_all = manifests.iter().any(|manifest| manifest.streams);
    for (index, coming) in simulation.events.iter().enumerate().filter(|_| !reads_all) {
        let place = format!("events[{index}]");
        is_known(&place, &coming.what.event_type, &handled, "subscribes to")?;
    }
    fit_answers(&simulation.answers, manifests)?;
    let all: BTreeSet<&str> = handled.union(&sent).copied().collect();
    for invariant in &simulation.invariants {
        for name in invariant.types() {
            let place = format!("invariants: {}", invariant.name);
            is_known(&place, name, &all, "sends or subscribes to")?;
        }
    }
    fit_lookups(&simulation.given.lookups, manifests).map_err(|why| format!("given.{why}"))
}

/// # Errors
/// If an answer is to a command that no plugin sends, or is an event that no plugin takes.
pub(crate) fn fit_answers(answers: &Answers, manifests: &[&Manifest]) -> Result<(), String> {
    let (handled, sent) = (handled(manifests), sent(manifests));
    for (command, answers) in answers.iter() {
        is_known("answers", command, &sent, "sends")?;
        for answer in answers {
            if let Outcome::Event { what, .. } = &answer.outcome {
                let place = format!("answers.{command}");
                is_known(&place, &what.event_type, &handled, "subscribes to")?;
            }
        }
    }
    Ok(())
}

/// # Errors
/// If a plugin needs a lookup for which no answers are given.
pub(crate) fn fit_lookups(lookups: &Lookups, manifests: &[&Manifest]) -> Result<(), String> {
    for lookup in manifests.iter().flat_map(|manifest| &manifest.lookups) {
        if !lookups.contains_key(lookup) {
            return Err(format!(
                "lookups: add the answers of `{lookup}`, by key, or under \"*\" for all other keys"
            ));
        }
    }
    Ok(())
}

fn handled<'m>(manifests: &[&'m Manifest]) -> BTreeSet<&'m str> {
    let subscriptions = manifests.iter().flat_map(|manifest| &manifest.subscriptions);
    subscriptions.map(|subscription| subscription.event_type.as_str()).collect()
}

fn sent<'m>(manifests: &[&'m Manifest]) -> BTreeSet<&'m str> {
    let sent =
        manifests.iter().flat_map(|manifest| manifest.commands.iter().chain(&manifest.events));
    sent.map(String::as_str).collect()
}

fn is_known(place: &str, name: &str, known: &BTreeSet<&str>, what: &str) -> Result<(), String> {
    if known.contains(name) {
        return Ok(());
    }
    let known: Vec<&str> = known.iter().copied().collect();
    Err(format!("{place}: no plugin here {what} `{name}`; known are {}", known.join(", ")))
}
